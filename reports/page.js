"use strict";
// What every page does for its readers: contents, theme, folds, sorting, copying, charts. It runs after the content.
document.documentElement.classList.add("js");
const page = JSON.parse(document.getElementById("page-data").textContent);
page.views = {};
// Data sets come column by column.
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

// The choice between the system's theme and one of the two, kept for the next page where the browser allows it.
function makeTheme() {
  const themes = ["automatic", "light", "dark"];
  const rules = [...document.styleSheets].flatMap((sheet) => [...sheet.cssRules]);
  const dark = rules.filter((rule) => rule.conditionText?.includes("prefers-color-scheme: dark"));
  const original = dark.map((rule) => rule.media.mediaText);
  let theme = themes[0];
  try {
    theme = themes.find((name) => name === localStorage.getItem("theme")) ?? theme;
  } catch {
    // A browser that keeps nothing for files on disk.
  }
  const made = button("", () => {
    theme = themes[(themes.indexOf(theme) + 1) % themes.length];
    try {
      localStorage.setItem("theme", theme);
    } catch {
      // As above: the choice holds for this page.
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

// The contents: a link to each section, and the theme.
function makeContents() {
  const list = make("ul");
  for (const section of document.querySelectorAll("main section[id]")) {
    const heading = section.querySelector("h2");
    if (heading) list.append(make("li", {}, make("a", { href: `#${section.id}` }, heading.textContent)));
  }
  const nav = make("nav", { "aria-label": "Contents" }, list, makeTheme());
  document.querySelector("main").prepend(nav);
}

// Opens every fold around the place that an address names, and that of a section whose content is one.
function unfold() {
  let target = null;
  try {
    target = document.querySelector(":target") ?? document.getElementById(decodeURIComponent(location.hash.slice(1)));
  } catch {
    // Not an address of this page.
  }
  const within = target?.querySelector(":scope > details.folded");
  for (let at = within ?? target; at; at = at.parentElement) {
    if (at.tagName === "DETAILS") at.open = true;
  }
}

// Sorts a table by a click on a heading, by a second click the other way; what is missing comes last. What a row unfolds
// to is a row of its own below it (class "fold"), and goes where it goes.
function makeSortable(table) {
  const body = table.tBodies[0];
  const isFold = (row) => row?.classList.contains("fold");
  const rows = [...body.rows].filter((row) => !isFold(row));
  const headings = [...table.tHead.rows[0].cells];
  // A picture has no words to sort by.
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

// Charts are drawn by Vega-Lite, whose expressions are interpreted, so that no text ever becomes a program. One in a fold
// is drawn when the fold opens, because only then it has a width. A filter may leave nothing, which is no warning.
page.draw = async (figure) => {
  const name = figure.dataset.chart;
  if (name in page.views || figure.closest("details:not([open])")) return;
  page.views[name] = null;
  const spec = { ...page.charts[name], datasets: page.datasets };
  const options = { ast: true, renderer: "svg", actions: false, defaultStyle: false, logLevel: 1, tooltip: { theme: "page" } };
  const drawn = await vegaEmbed(figure.querySelector(".drawing"), spec, options);
  const { view } = drawn;
  page.views[name] = view;
  // A page may take a click on a point as its own; else a point with an address is a link.
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

// Shows only those rows of a data set that pass, in every chart that uses it.
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
