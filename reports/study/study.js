// Lets readers filter and open the networks of a study, and take along what the filter shows.

function makeStudy(data) {
  const LIMIT = 500;
  const find = (identifier) => document.getElementById(identifier);
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const { choices, spent } = data;
  const size = data.networks.state.length;
  const table = document.querySelector("#networks table");
  const rows = table ? [...table.tBodies[0].rows] : [];
  const labels = rows.map((row) => row.cells[1].textContent);
  const notation = rows.map((row) => row.cells[row.cells.length - 1].textContent);
  const networks = unpacked(data.networks);
  const haystack = rows.map((row, n) => `${[...row.cells].map((cell) => cell.textContent).join(" ")} ${networks.origin[n]} ${networks.hash[n]}`.toLowerCase());
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
      hash: rows.map((row) => row.id.replace(/^network-/, "")),
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
    // A page has no input for multiply-adds where its study minimises the parameters.
    const number = (name) => ((inputs[name]?.value.trim() ?? "") === "" ? null : Number(inputs[name].value));
    const within = (value, low, high) =>
      (low === null && high === null) || (value != null && (low === null || value >= low) && (high === null || value <= high));
    const wanted = inputs.q.value.toLowerCase().split(/\s+/).filter(Boolean);
    const state = inputs.state.value;
    const bounds = ["smallest", "largest", "least", "most", "least_macs", "most_macs"].map(number);
    return (n) =>
      wanted.every((word) => haystack[n]?.includes(word)) &&
      (state === "" || networks.state[n] === state) &&
      within(networks.parameters[n], bounds[0], bounds[1]) &&
      within(networks.validation_accuracy_pct[n], bounds[2], bounds[3]) &&
      within(networks.macs[n], bounds[4], bounds[5]) &&
      (!inputs.front.checked || networks.on_front[n]) &&
      (!inputs.tested.checked || networks.test_accuracy_pct[n] != null);
  }

  function filter() {
    const passes = readFilter();
    shown = shown.map((_, n) => passes(n));
    for (const [n, of] of parts.entries()) for (const part of of) part.classList.toggle("out", !shown[n]);
    cutRows();
    showChoices(choices, networks, shown);
    showTime(spent, data.rest_seconds, shown);
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
    const lines = [`${labels[n]}: ${words.count(networks.parameters[n])} parameters`];
    const seeds = networks.validation_seeds[n];
    if (seeds) {
      const figures = words.spread(networks.validation_accuracy_pct[n], networks.validation_deviation[n], 2);
      lines.push(`validation ${figures}\u00a0%, ${seeds} ${seeds === 1 ? "seed" : "seeds"}`);
    }
    if (networks.test_accuracy_pct[n] != null) {
      lines.push(`test ${words.spread(networks.test_accuracy_pct[n], networks.test_deviation[n], 3)}\u00a0%, ${networks.test_seeds[n]} seeds`);
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
    const again = `${data.verify} ${networks.hash[n]}`;
    const go = (target) => () => {
      dialog.close();
      if (target.tagName === "DETAILS") target.open = true;
      target.scrollIntoView({ block: "start" });
      const focusable = target.querySelector("summary, button");
      focusable?.focus();
    };
    dialog.replaceChildren(
      make("h2", { id: "network-title" }, "Network ", labels[n]),
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

  // As harness/evidence/leaderboard_csv.py guards its texts against spreadsheets.
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
