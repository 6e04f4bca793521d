"use strict";
// Lets readers filter, sort and open the networks of a study. Without it the page says the same, but stands still.
// It is loaded before the content, so that long tables are cut before they are laid out.
document.documentElement.classList.add("js");

// Numbers as reports/numbers.py prints them.
const words = {
  missing: "\u2013",
  count: (value) => (value == null ? words.missing : Math.round(value).toLocaleString("en")),
  decimal: (value, digits) => (value == null ? words.missing : value.toFixed(digits)),
  pct: (value, digits) => (value == null ? words.missing : `${value.toFixed(digits)} %`),
  spread: (mean, deviation, digits) =>
    deviation == null ? words.decimal(mean, digits) : `${words.decimal(mean, digits)} \u00b1 ${words.decimal(deviation, digits)}`,
  duration: (seconds) => {
    const whole = Math.round(seconds);
    if (whole < 60) return `${whole} s`;
    const minutes = Math.floor(whole / 60);
    if (minutes < 60) return whole % 60 ? `${minutes} min ${whole % 60} s` : `${minutes} min`;
    return minutes % 60 ? `${Math.floor(minutes / 60)} h ${minutes % 60} min` : `${minutes / 60} h`;
  },
};

function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value != null) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

// Sorting. A click on a heading sorts by its column, a second one the other way; what is missing comes last.
function makeSortable(table) {
  const body = table.tBodies[0];
  const original = [...body.rows];
  const headings = [...table.tHead.rows[0].cells];
  for (const [place, heading] of headings.entries()) {
    // A column of bars has no words to sort by.
    if (original[0]?.cells[place].querySelector("svg")) continue;
    const numeric = heading.classList.contains("number");
    const button = make("button", { type: "button", class: "sort", onclick: () => sort(heading, place, numeric) });
    button.append(...heading.childNodes);
    heading.append(button);
  }

  function sort(heading, place, numeric) {
    const way = heading.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
    for (const other of headings) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", way);
    const keyed = original.map((row) => [key(row.cells[place].textContent, numeric), row]);
    const sign = way === "ascending" ? 1 : -1;
    keyed.sort(([one], [other]) => {
      if (one === null || other === null) return (one === null) - (other === null);
      return sign * (numeric ? one - other : one.localeCompare(other, "en", { numeric: true }));
    });
    body.append(...keyed.map(([, row]) => row));
    table.dispatchEvent(new CustomEvent("sorted"));
  }

  function key(text, numeric) {
    const trimmed = text.trim();
    if (trimmed === "" || trimmed === words.missing) return null;
    if (!numeric) return trimmed;
    const number = Number.parseFloat(trimmed.replaceAll(",", ""));
    return Number.isNaN(number) ? null : number;
  }
}

// The choice between the system's theme and one of the two, kept for the next page where the browser allows it.
function makeTheme() {
  const themes = ["automatic", "light", "dark"];
  const rules = [...document.styleSheets].flatMap((sheet) => [...sheet.cssRules]);
  const dark = rules.filter((rule) => rule.conditionText?.includes("prefers-color-scheme: dark"));
  const original = dark.map((rule) => rule.media.mediaText);
  const media = { light: "not all", dark: "screen" };
  const button = make("button", { type: "button", class: "theme", onclick: next });
  let theme = themes[0];
  try {
    theme = themes.find((name) => name === localStorage.getItem("theme")) ?? theme;
  } catch {
    // A browser that keeps nothing for files on disk.
  }
  show();
  return button;

  function next() {
    theme = themes[(themes.indexOf(theme) + 1) % themes.length];
    try {
      localStorage.setItem("theme", theme);
    } catch {
      // As above: the choice holds for this page.
    }
    show();
  }

  function show() {
    for (const [place, rule] of dark.entries()) rule.media.mediaText = media[theme] ?? original[place];
    document.documentElement.style.colorScheme = theme === "automatic" ? "" : theme;
    button.textContent = `Theme: ${theme}`;
  }
}

// Opens every fold around the place that an address names.
function unfold() {
  const target = document.querySelector(":target");
  for (let at = target; at; at = at.parentElement) {
    if (at.tagName === "DETAILS") at.open = true;
  }
}

function makeStudy(data) {
  const LIMIT = 500;
  const find = (identifier) => document.getElementById(identifier);
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const { choices, spent } = data;
  const size = data.networks.state.length;
  const table = document.querySelector("#networks table");
  const rows = table ? [...table.tBodies[0].rows] : [];
  const notation = rows.map((row) => row.cells[row.cells.length - 1].textContent);
  const networks = unpacked(data.networks);
  const haystack = rows.map((row, n) => `${[...row.cells].map((cell) => cell.textContent).join(" ")} ${networks.origin[n]}`.toLowerCase());
  const parts = Array.from({ length: size }, () => []);
  for (const part of all("[data-n]")) parts[part.dataset.n]?.push(part);
  const bar = find("filter");
  const inputs = Object.fromEntries(all("[name]", bar).map((input) => [input.name, input]));
  const tip = make("div", { class: "tip", hidden: "", "aria-hidden": "true" });
  let shown = Array(size).fill(true);
  let everything = size <= LIMIT;

  // What the page leaves out of its data because the table has it, or because most networks lack it.
  function unpacked({ states, origins, ...columns }) {
    const tested = Array.from({ length: size }, (_, n) => data.tested[n] ?? [null, null, null, 0]);
    for (const choice of choices.list) {
      const places = [...choice.picked].map((sign) => sign.charCodeAt(0) - 48);
      choice.picked = places.map((place) => choice.options[place]?.[0] ?? null);
    }
    return {
      hash: rows.map((row) => row.cells[1].textContent),
      macs: rows.map((row) => Number.parseInt(row.cells[4].textContent.replaceAll(",", ""), 10) || null),
      ...columns,
      state: columns.state.map((place) => states[place]),
      origin: columns.origin.map((place) => origins[place]),
      validation_deviation: columns.state.map((_, n) => data.deviations[n] ?? null),
      tier: tested.map(([tier]) => tier),
      test_accuracy_pct: tested.map(([, mean]) => mean),
      test_deviation: tested.map(([, , deviation]) => deviation),
      test_seeds: tested.map(([, , , seeds]) => seeds),
    };
  }

  // One filter for all views.

  function readFilter() {
    const number = (name) => (inputs[name].value.trim() === "" ? null : Number(inputs[name].value));
    const within = (value, low, high) =>
      (low === null && high === null) || (value != null && (low === null || value >= low) && (high === null || value <= high));
    const wanted = inputs.q.value.toLowerCase().split(/\s+/).filter(Boolean);
    const state = inputs.state.value;
    const bounds = ["smallest", "largest", "least", "most"].map(number);
    return (n) =>
      wanted.every((word) => haystack[n]?.includes(word)) &&
      (state === "" || networks.state[n] === state) &&
      within(networks.parameters[n], bounds[0], bounds[1]) &&
      within(networks.validation_accuracy_pct[n], bounds[2], bounds[3]) &&
      (!inputs.front.checked || networks.on_front[n]) &&
      (!inputs.tested.checked || networks.test_accuracy_pct[n] != null);
  }

  function filter() {
    const passes = readFilter();
    shown = shown.map((_, n) => passes(n));
    for (const [n, of] of parts.entries()) for (const part of of) part.classList.toggle("out", !shown[n]);
    cutRows();
    showChoices();
    showTime();
    keepAddress();
  }

  function cutRows() {
    if (!table) return;
    let room = everything ? Infinity : LIMIT;
    for (const row of table.tBodies[0].rows) {
      const visible = shown[row.number] && room > 0;
      if (visible) room -= 1;
      row.hidden = !visible;
    }
    const found = shown.filter(Boolean).length;
    const cut = room === 0 && found > LIMIT;
    const rest = cut ? ` The table shows the first ${LIMIT}.` : "";
    find("shown").textContent = `${words.count(found)} of ${words.count(size)} networks.${rest}`;
    find("all-rows").hidden = !cut;
  }

  function keepAddress() {
    const given = new URLSearchParams();
    for (const [name, input] of Object.entries(inputs)) {
      const value = input.type === "checkbox" ? (input.checked ? "1" : "") : input.value.trim();
      if (value) given.set(name, value);
    }
    const text = given.toString();
    if (text) history.replaceState(null, "", `#?${text}`);
    else if (location.hash.startsWith("#?")) history.replaceState(null, "", location.pathname + location.search);
  }

  function readAddress() {
    const given = new URLSearchParams(location.hash.startsWith("#?") ? location.hash.slice(2) : "");
    for (const [name, input] of Object.entries(inputs)) {
      if (input.type === "checkbox") input.checked = given.get(name) === "1";
      else input.value = given.get(name) ?? "";
    }
    // A select that was asked for a word it does not have holds nothing.
    if (inputs.state.selectedIndex < 0) inputs.state.value = "";
  }

  // What is counted over networks, counted again over those shown. reports/choices.py says what the figures are.

  function showChoices() {
    const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
    const squares = (values, centre) => values.reduce((sum, value) => sum + (value - centre) ** 2, 0);
    const score = (accuracy) => Math.log(Math.max(100 - accuracy, 0.01));
    for (const [c, choice] of choices.list.entries()) {
      const groups = choice.options.map(() => []);
      for (const [n, index] of choice.picked.entries()) {
        if (index != null && shown[n]) groups[choice.options.findIndex((option) => option[0] === index)].push(n);
      }
      const filled = groups.filter((group) => group.length).map((group) => group.map((n) => score(choices.accuracy_pct[n])));
      const every = filled.flat();
      const total = every.length ? squares(every, mean(every)) : 0;
      const inside = filled.reduce((sum, group) => sum + squares(group, mean(group)), 0);
      const left = every.length - filled.length;
      const explained = total > 0 && left > 0 ? Math.max(0, 1 - ((inside / total) * (every.length - 1)) / left) : 0;
      let best = null;
      for (const [place, [index, name]] of choice.options.entries()) {
        const accuracies = groups[place].map((n) => choices.accuracy_pct[n]);
        const sizes = groups[place].map((n) => networks.parameters[n]).sort((one, other) => one - other);
        const average = accuracies.length ? mean(accuracies) : null;
        if (average !== null && (best === null || average > best[1])) best = [name, average];
        fill(`option-${c}-${index}`, {
          2: words.count(accuracies.length),
          3: words.decimal(average, 2),
          4: words.decimal(accuracies.length ? Math.max(...accuracies) : null, 2),
          5: words.count(sizes[(sizes.length - 1) >> 1]),
        });
      }
      fill(`choice-${c}`, {
        1: words.pct(100 * explained, 0),
        3: words.count(every.length),
        4: String(filled.length),
        5: best ? `${best[0]}: ${words.decimal(best[1], 2)} % on average` : words.missing,
      });
      stretch(`choice-${c}`, explained);
    }
  }

  function showTime() {
    const kinds = Object.entries(spent).map(([kind, of]) => {
      const seconds = Object.entries(of).reduce((sum, [n, value]) => sum + (shown[n] ? value : 0), 0);
      return [kind, seconds];
    });
    // The rest belongs to no network, so a part of them has none.
    if (find("spent-rest")) {
      find("spent-rest").hidden = !shown.every(Boolean);
      if (shown.every(Boolean)) kinds.push(["rest", data.rest_seconds]);
    }
    const total = kinds.reduce((sum, [, seconds]) => sum + seconds, 0);
    const largest = Math.max(...kinds.map(([, seconds]) => seconds));
    for (const [kind, seconds] of kinds) {
      fill(`spent-${kind}`, { 1: words.duration(seconds), 2: words.pct(total ? (100 * seconds) / total : 0, 1) });
      stretch(`spent-${kind}`, largest ? seconds / largest : 0);
    }
  }

  function fill(identifier, cells) {
    const row = find(identifier);
    for (const [place, text] of Object.entries(cells)) if (row) (row.cells[place].querySelector("bdi") ?? row.cells[place]).textContent = text;
  }

  function stretch(identifier, length) {
    find(identifier)?.querySelector("rect").setAttribute("width", Math.max(100 * length, 0.5));
  }

  // The points of a picture: one stop for the tab key, arrows go from point to point.

  function makePoints(picture) {
    const points = all(".mark[data-n]", picture);
    let places = null;
    if (points.length) ready(points[0]);
    picture.addEventListener("keydown", (event) => {
      const point = event.target.closest(".mark[data-n]");
      if (!point) return;
      const steps = { ArrowRight: ["x", 1], ArrowLeft: ["x", -1], ArrowUp: ["y", -1], ArrowDown: ["y", 1] };
      if (event.key === "Enter" || event.key === " ") open(Number(point.dataset.n), point);
      else if (event.key in steps) move(point, ...steps[event.key]);
      else if (event.key === "Home" || event.key === "End") move(null, "x", event.key === "Home" ? 1 : -1);
      else return;
      event.preventDefault();
    });

    function move(point, axis, step) {
      places ??= points.map((item) => {
        const box = item.getBBox();
        return { item, x: box.x + box.width / 2, y: box.y + box.height / 2 };
      });
      const order = places.filter(({ item }) => !item.classList.contains("out"));
      order.sort((one, other) => one[axis] - other[axis] || one.x - other.x);
      const at = point ? order.findIndex(({ item }) => item === point) : step > 0 ? -1 : order.length;
      const next = order[at + step]?.item;
      if (!next) return;
      for (const item of all("[tabindex]", picture)) item.removeAttribute("tabindex");
      ready(next);
      next.focus();
    }

    function ready(item) {
      item.setAttribute("tabindex", "0");
      item.setAttribute("role", "button");
      item.setAttribute("aria-label", summary(Number(item.dataset.n)).join(", "));
    }
    // When a filter takes away the point that the tab key stops at, another takes its place.
    return () => {
      if (!all("[tabindex]", picture).some((item) => !item.classList.contains("out"))) {
        const next = points.find((item) => !item.classList.contains("out"));
        for (const item of all("[tabindex]", picture)) item.removeAttribute("tabindex");
        if (next) ready(next);
      }
    };
  }

  function summary(n) {
    const lines = [`${networks.hash[n]}: ${words.count(networks.parameters[n])} parameters`];
    const seeds = networks.validation_seeds[n];
    if (seeds) {
      const figures = words.spread(networks.validation_accuracy_pct[n], networks.validation_deviation[n], 2);
      lines.push(`validation ${figures} %, ${seeds} ${seeds === 1 ? "seed" : "seeds"}`);
    }
    if (networks.test_accuracy_pct[n] != null) {
      lines.push(`test ${words.spread(networks.test_accuracy_pct[n], networks.test_deviation[n], 3)} %, ${networks.test_seeds[n]} seeds`);
    }
    return [...lines, `${networks.state[n]}${networks.on_front[n] ? ", on the front" : ""}`];
  }

  function pointAt(part) {
    const n = Number(part.dataset.n);
    for (const title of all("title", part)) title.remove();
    for (const item of all(".hot")) item.classList.remove("hot");
    for (const item of parts[n]) item.classList.add("hot");
    tip.replaceChildren(...summary(n).map((line) => make("div", {}, line)), make("code", {}, notation[n] ?? ""));
    tip.hidden = false;
    const box = part.getBoundingClientRect();
    const left = Math.min(Math.max(box.left, 8), innerWidth - tip.offsetWidth - 8);
    const below = box.bottom + 8 + tip.offsetHeight < innerHeight;
    tip.style.left = `${left}px`;
    tip.style.top = `${below ? box.bottom + 8 : Math.max(box.top - 8 - tip.offsetHeight, 8)}px`;
  }

  function atPoint() {
    return document.activeElement.matches("svg [data-n]");
  }

  function pointAway() {
    tip.hidden = true;
    for (const item of all(".hot")) item.classList.remove("hot");
  }

  // One network, opened.

  function open(n) {
    pointAway();
    const code = (text) => make("code", {}, text);
    const facts = [
      ["size", `${words.count(networks.parameters[n])} parameters, ${words.count(networks.macs[n])} multiply-adds`],
      ["how far it got", summary(n).slice(1).join("; ")],
      ["proposed by", `${networks.origin[n] || words.missing}, trial ${networks.trial[n] ?? words.missing}`],
    ];
    const curve = data.curves[n];
    if (curve?.length) facts.push(["first run", curve.map(([epoch, value]) => `epoch ${epoch}: ${words.pct(value, 2)}`).join(", ")]);
    const taken = choices.list
      .filter((choice) => choice.picked[n] != null)
      .map((choice) => `${choice.name} = ${choice.options.find((option) => option[0] === choice.picked[n])[1]}`);
    if (taken.length) facts.push(["choices of the space", taken.join("; ")]);
    const section = find(`about-${networks.hash[n]}`);
    const again = `harness verify ${networks.hash[n]}`;
    const go = (target) => () => {
      dialog.close();
      if (target.tagName === "DETAILS") target.open = true;
      target.scrollIntoView({ block: "start" });
      const focusable = target.querySelector("summary, button");
      focusable?.focus();
    };
    dialog.replaceChildren(
      make("h2", { id: "network-title" }, "Network ", code(networks.hash[n])),
      make("pre", {}, code(notation[n] ?? "")),
      make("dl", { class: "terms" }, ...facts.flatMap(([term, text]) => [make("dt", {}, term), make("dd", {}, text)])),
      make("p", {}, code(again), " ", copier(again)),
      make(
        "p",
        { class: "row" },
        ...(section ? [make("button", { type: "button", onclick: go(section) }, "Its section")] : []),
        make("button", { type: "button", onclick: () => (reveal(n), go(rows[n])()) }, "Its row in the table"),
        make("button", { type: "button", onclick: () => dialog.close() }, "Close"),
      ),
    );
    dialog.showModal();
  }

  function reveal(n) {
    if (!rows[n].hidden) return;
    everything = true;
    if (!shown[n]) for (const input of Object.values(inputs)) input.type === "checkbox" ? (input.checked = false) : (input.value = "");
    changed();
  }

  function copier(text) {
    const button = make("button", { type: "button", onclick: copy }, "Copy");
    async function copy() {
      try {
        await navigator.clipboard.writeText(text);
        button.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(button.parentElement.querySelector("code"));
        button.textContent = "Selected";
      }
    }
    return button;
  }

  // What is shown, to take along.

  function chosen() {
    const order = table ? [...table.tBodies[0].rows].map((row) => row.number) : [];
    return order.filter((n) => shown[n]).map((n) => {
      const row = Object.fromEntries(Object.entries(networks).map(([name, column]) => [name, column[n]]));
      return { ...row, on_front: Boolean(row.on_front), architecture: notation[n] };
    });
  }

  function save(kind, text) {
    const address = URL.createObjectURL(new Blob([text], { type: kind === "csv" ? "text/csv" : "application/json" }));
    make("a", { href: address, download: `${data.study}.${kind}` }).click();
    setTimeout(() => URL.revokeObjectURL(address), 10_000);
  }

  // As harness/leaderboard_csv.py guards its texts against spreadsheets.
  function csv() {
    const cell = (value) => {
      const text = value == null ? "" : String(value);
      const guarded = typeof value === "string" && /^[=+\-@\t\r\n']/.test(text) ? `'${text}` : text;
      return /[",\r\n]/.test(guarded) ? `"${guarded.replaceAll('"', '""')}"` : guarded;
    };
    const names = [...Object.keys(networks), "architecture"];
    return [names, ...chosen().map((row) => names.map((name) => row[name]))].map((line) => `${line.map(cell).join(",")}\n`).join("");
  }

  // Everything together.

  const dialog = make("dialog", { class: "network-dialog", "aria-labelledby": "network-title" });
  document.body.append(tip, dialog);
  for (const [n, row] of rows.entries()) {
    row.number = n;
    const cell = row.querySelector("th");
    const button = make("button", { type: "button", class: "open", onclick: () => open(n) });
    button.append(...cell.childNodes);
    cell.append(button);
  }
  const settle = all("svg.points").map(makePoints);
  function changed() {
    filter();
    for (const each of settle) each();
  }
  table?.addEventListener("sorted", cutRows);
  bar.addEventListener("input", changed);
  find("reset").addEventListener("click", () => {
    for (const input of Object.values(inputs)) input.type === "checkbox" ? (input.checked = false) : (input.value = "");
    changed();
    inputs.q.focus();
  });
  find("all-rows").addEventListener("click", () => {
    everything = true;
    cutRows();
  });
  find("save-csv").addEventListener("click", () => save("csv", csv()));
  find("save-json").addEventListener("click", () => save("json", JSON.stringify(chosen(), null, 1)));
  document.addEventListener("click", (event) => {
    const part = event.target.closest?.("svg [data-n]");
    if (part) open(Number(part.dataset.n));
  });
  document.addEventListener("pointerover", (event) => {
    const part = event.target.closest?.("svg [data-n]");
    if (part) pointAt(part);
    else if (!tip.hidden && !atPoint()) pointAway();
  });
  document.addEventListener("focusin", (event) => (event.target.matches?.("svg [data-n]") ? pointAt(event.target) : pointAway()));
  document.addEventListener("keydown", (event) => event.key === "Escape" && pointAway());
  addEventListener("scroll", () => tip.hidden || (atPoint() ? pointAt(document.activeElement) : pointAway()), { passive: true });
  addEventListener("hashchange", () => {
    if (location.hash.startsWith("#?")) {
      readAddress();
      changed();
    }
  });
  bar.hidden = false;
  readAddress();
  table?.classList.add("ready");
  if (location.hash.startsWith("#?")) changed();
  else cutRows();
  return { data, csv, chosen, filter: changed, open };
}

let study;
document.addEventListener("DOMContentLoaded", () => {
  const data = document.getElementById("study-data");
  if (data && document.getElementById("filter")) study = makeStudy(JSON.parse(data.textContent));
  for (const table of document.querySelectorAll("table[data-sortable]")) makeSortable(table);
  document.querySelector("nav ul").append(make("li", {}, makeTheme()));
  addEventListener("hashchange", unfold);
  unfold();
});
