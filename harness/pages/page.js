"use strict";
// Functions of all pages: contents, theme, folds, sorting, copying, charts. The script runs after the content.
document.documentElement.classList.add("js");
const page = JSON.parse(document.getElementById("page-data").textContent);
page.views = {};
// Data sets are embedded as columns.
for (const [name, columns] of Object.entries(page.datasets)) {
  const values = Object.entries(columns);
  page.datasets[name] = (values[0]?.[1] ?? []).map((_, n) => Object.fromEntries(values.map(([column, list]) => [column, list[n]])));
}

function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value != null) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}
const button = (words, onclick, attributes = {}) => make("button", { type: "button", onclick, ...attributes }, words);

// Button for the theme (automatic, light or dark); the choice is kept in local storage, if available.
function makeTheme() {
  const themes = ["automatic", "light", "dark"];
  const rules = [...document.styleSheets].flatMap((sheet) => [...sheet.cssRules]);
  const dark = rules.filter((rule) => rule.conditionText?.includes("prefers-color-scheme: dark"));
  const original = dark.map((rule) => rule.media.mediaText);
  let theme = themes[0];
  try {
    theme = themes.find((name) => name === localStorage.getItem("theme")) ?? theme;
  } catch {
    // No local storage for files in this browser.
  }
  const made = button("", () => {
    theme = themes[(themes.indexOf(theme) + 1) % themes.length];
    try {
      localStorage.setItem("theme", theme);
    } catch {
      // No local storage: the choice applies to this page only.
    }
    show();
  }, { class: "theme" });
  function show() {
    for (const [place, rule] of dark.entries()) rule.media.mediaText = { light: "not all", dark: "screen" }[theme] ?? original[place];
    document.documentElement.style.colorScheme = theme === "automatic" ? "" : theme;
    made.textContent = `Theme: ${theme}`;
  }
  show();
  return made;
}

// The contents: a link to each section, and the theme button.
function makeContents() {
  const list = make("ul");
  for (const section of document.querySelectorAll("main section[id]")) {
    const heading = section.querySelector("h2");
    if (heading) list.append(make("li", {}, make("a", { href: `#${section.id}` }, heading.textContent)));
  }
  const nav = make("nav", { "aria-label": "Contents" }, list, makeTheme());
  document.querySelector("main").prepend(nav);
}

// Opens all folds around the target of the URL fragment, and the fold inside a section that is the target.
function unfold() {
  let target = null;
  try {
    target = document.querySelector(":target") ?? document.getElementById(decodeURIComponent(location.hash.slice(1)));
  } catch {
    // The fragment is not an id of this page.
  }
  const within = target?.querySelector(":scope > details.folded");
  for (let at = within ?? target; at; at = at.parentElement) {
    if (at.tagName === "DETAILS") at.open = true;
  }
}

// Makes a table sortable: a click on a heading sorts, a second click reverses the order; missing values are last. A row of
// class "fold" has the details of the row above and moves with this row.
function makeSortable(table) {
  const body = table.tBodies[0];
  const isFold = (row) => row?.classList.contains("fold");
  const rows = [...body.rows].filter((row) => !isFold(row));
  const headings = [...table.tHead.rows[0].cells];
  // Pictures are ignored as sort keys.
  const words = (cell) => [...cell.childNodes].map((part) => (part.localName === "svg" ? "" : part.textContent)).join("").trim();

  for (const heading of headings) {
    const cells = rows.map((row) => row.cells[heading.cellIndex]);
    const exact = cells.some((cell) => cell.querySelector("data"));
    if (!exact && cells.every((cell) => words(cell) === "")) continue;
    const made = button("", () => sort(heading, exact), { class: "sort" });
    made.append(...heading.childNodes);
    heading.append(made);
  }

  function sort(heading, exact) {
    const ways = ["ascending", "descending"];
    const first = heading.dataset.first === "largest" ? 1 : 0;
    const way = heading.getAttribute("aria-sort") === ways[first] ? ways[1 - first] : ways[first];
    for (const other of headings) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", way);
    const folds = new Map(rows.map((row) => [row, isFold(row.nextElementSibling) ? [row.nextElementSibling] : []]));
    const numeric = exact || heading.classList.contains("number");
    const sign = way === "ascending" ? 1 : -1;
    const keyed = rows.map((row) => [key(row.cells[heading.cellIndex], numeric, exact), row]);
    keyed.sort(([one], [other]) => {
      if (one === null || other === null) return (one === null) - (other === null);
      return sign * (numeric ? one - other : one.localeCompare(other, "en", { numeric: true }));
    });
    body.append(...keyed.flatMap(([, row]) => [row, ...folds.get(row)]));
    table.dispatchEvent(new CustomEvent("sorted"));
  }

  function key(cell, numeric, exact) {
    const text = words(cell);
    if (!numeric) return text === "" || text === "\u2013" ? null : text;
    const number = exact ? Number(cell.querySelector("data")?.value ?? NaN) : Number.parseFloat(text.replaceAll(",", ""));
    return Number.isNaN(number) ? null : number;
  }
}

function makeCopying(place) {
  const made = button("Copy", async () => {
    const code = place.querySelector("code");
    try {
      await navigator.clipboard.writeText(code.textContent);
      made.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(code);
      made.textContent = "Selected";
    }
  });
  place.append(made);
}

function download(name, address) {
  make("a", { href: address, download: name }).click();
}

// Vega-Lite draws the charts with interpreted expressions (ast), so that no text is executed as code. A chart in a fold is
// drawn when the fold opens, because a closed fold has no width. Log level 1: an empty chart after a filter is no warning.
page.draw = async (figure) => {
  const name = figure.dataset.chart;
  if (name in page.views || figure.closest("details:not([open])")) return;
  page.views[name] = null;
  const spec = { ...page.charts[name], datasets: page.datasets };
  const options = { ast: true, renderer: "svg", actions: false, defaultStyle: false, logLevel: 1, tooltip: { theme: "page" } };
  const drawn = await vegaEmbed(figure.querySelector(".drawing"), spec, options);
  const { view } = drawn;
  page.views[name] = view;
  // A page may handle a click on a point itself; otherwise a point with ``href`` is a link.
  view.addEventListener("click", (_, item) => {
    const event = new CustomEvent("pick", { detail: item?.datum ?? {}, bubbles: true, cancelable: true });
    if (figure.dispatchEvent(event) && typeof item?.datum?.href === "string") location.hash = item.datum.href;
  });
  for (const kind of ["svg", "png"]) {
    const save = async () => download(`${name}.${kind}`, await view.toImageURL(kind, 2));
    figure.querySelector(".save").append(" ", button(kind.toUpperCase(), save, { "aria-label": `Save this chart as ${kind.toUpperCase()}` }));
  }
  figure.dispatchEvent(new CustomEvent("drawn", { bubbles: true }));
};
page.drawAll = () => Promise.all([...document.querySelectorAll("[data-chart]")].map(page.draw));

// Shows only the rows of a data set for which ``passes`` is true, in all charts that use the data set.
page.filter = (dataset, passes) => {
  const rows = page.datasets[dataset].filter(passes);
  for (const [name, view] of Object.entries(page.views)) {
    if (view && JSON.stringify(page.charts[name]).includes(`{"name":${JSON.stringify(dataset)}}`)) view.data(dataset, rows).runAsync();
  }
};

makeContents();
for (const table of document.querySelectorAll("table[data-sortable]")) makeSortable(table);
for (const place of document.querySelectorAll("[data-copy]")) makeCopying(place);
document.addEventListener("toggle", (event) => event.target.open && page.drawAll(), true);
addEventListener("hashchange", unfold);
unfold();
page.ready = page.drawAll();
