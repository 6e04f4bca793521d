"use strict";
// Tabs for the targets, a common filter of chart and tables, and a dialog with two to four rows side by side. The details of a row
// are in a separate row below (class "fold"). Without this script all tables are visible and complete.
(() => {
  const MOST = 4;
  const MAX_ROWS = 25; // table.short in board.css hides further rows
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const foldOf = (row) => (row.nextElementSibling?.classList.contains("fold") ? row.nextElementSibling : null);
  const rowsOf = (table) => all(":scope > tbody > tr:not(.fold)", table);
  const words = (cell) => [...cell.childNodes].map((part) => (part.localName === "svg" ? "" : part.textContent)).join("").trim().replace(/\s+/gu, " ");

  // A long table begins with its first rows in any order; a button, a filter, or a link to a row shows all rows.
  const unfold = (table) => {
    table.classList.remove("short");
    table.closest("[data-choose]").querySelector("button.all")?.remove();
  };
  for (const table of all("[data-choose] table")) {
    const count = rowsOf(table).length;
    if (count <= MAX_ROWS) continue;
    table.classList.add("short");
    table.parentElement.after(button(`Show all ${count} rows`, () => unfold(table), { class: "all" }));
  }

  // The fragment of the URL is the id of the visible part, or of a row inside the visible part.
  for (const place of all("[data-tabs]")) {
    const list = place.querySelector("ul");
    const links = all("a", list);
    const parts = links.map((link) => document.getElementById(decodeURIComponent(link.hash.slice(1))));
    const select = (chosen) => links.forEach((link, at) => {
      link.setAttribute("aria-selected", String(at === chosen));
      link.tabIndex = at === chosen ? 0 : -1;
      parts[at].classList.toggle("off", at !== chosen);
    });
    const named = () => {
      const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
      return parts.findIndex((part) => target && part.contains(target));
    };
    const go = (chosen) => {
      select(chosen);
      history.replaceState(null, "", links[chosen].hash);
      links[chosen].focus();
    };
    const follow = () => {
      if (named() < 0) return;
      select(named());
      const row = document.getElementById(location.hash.slice(1));
      if (row?.tagName !== "TR") return;
      unfold(row.closest("table"));
      foldOf(row).querySelector("details").open = true;
      row.scrollIntoView({ block: "center" });
    };
    list.setAttribute("role", "tablist");
    links.forEach((link, at) => {
      link.parentElement.setAttribute("role", "presentation");
      link.setAttribute("role", "tab");
      link.id = `${parts[at].id}-tab`;
      link.setAttribute("aria-controls", parts[at].id);
      parts[at].setAttribute("role", "tabpanel");
      parts[at].setAttribute("aria-labelledby", link.id);
      link.addEventListener("click", (event) => {
        event.preventDefault();
        go(at);
      });
      link.addEventListener("keydown", (event) => {
        const last = links.length - 1;
        const next = { ArrowRight: at === last ? 0 : at + 1, ArrowLeft: at === 0 ? last : at - 1, Home: 0, End: last };
        if (!(event.key in next)) return;
        event.preventDefault();
        go(next[event.key]);
      });
    });
    select(Math.max(named(), 0));
    follow();
    addEventListener("hashchange", follow);
  }

  const tables = all("[data-choose] table");
  if (tables.length) {
    const input = make("input", { type: "search" });
    const said = make("span", { role: "status" });
    const before = document.querySelector("figure.chart") ?? document.querySelector("[data-choose]");
    before.before(make("p", { class: "finder" }, make("label", {}, "Filter: ", input), " ", said));
    input.addEventListener("input", () => {
      tables.forEach(unfold);
      const wanted = input.value.toLowerCase().split(/\s+/u).filter(Boolean);
      const found = (text) => wanted.every((word) => text.toLowerCase().includes(word));
      let [shown, rows] = [0, 0];
      const passed = new Set();
      for (const row of tables.flatMap(rowsOf)) {
        const parts = [row, foldOf(row)].filter(Boolean);
        const passes = found(parts.map((part) => part.textContent).join(" "));
        for (const part of parts) part.hidden = !passes;
        if (passes) passed.add(`#${row.id}`);
        shown += passes;
        rows += 1;
      }
      said.textContent = wanted.length ? `${shown} of ${rows} rows` : "";
      if (page.datasets.rows) page.filter("rows", (row) => passed.has(row.href));
    });
  }

  const dialog = make("dialog", { "aria-labelledby": "chosen-heading" });
  document.querySelector("main").append(dialog);

  function compare(table, rows) {
    const line = (name, cells) =>
      make("tr", {}, make("th", { scope: "row" }, name), ...cells.map((cell) => make("td", {}, make("bdi", {}, words(cell)))));
    const names = rows.map((row) => make("th", { scope: "col" }, make("bdi", {}, words(row.querySelector("th")))));
    const made = make("table", {}, make("caption", { id: "chosen-caption" }, "Selected rows, one column per row."));
    made.createTHead().append(make("tr", {}, make("th", { scope: "col" }, "column"), ...names));
    const body = made.createTBody();
    [...table.tHead.rows[0].cells].forEach((heading, place) => {
      const cells = rows.map((row) => row.cells[place]);
      if (place && cells[0].tagName === "TD" && cells.some(words)) body.append(line(words(heading), cells));
    });
    const notations = rows.map((row) => foldOf(row)?.querySelector(".notation"));
    if (notations.every(Boolean)) body.append(line("notation", notations));
    dialog.replaceChildren(
      make("h2", { id: "chosen-heading" }, "Side by side"),
      make("div", { class: "scroll", role: "region", "aria-labelledby": "chosen-caption", tabindex: 0 }, made),
      button("Close", () => dialog.close()),
    );
    dialog.showModal();
  }

  for (const place of all("[data-choose]")) {
    const table = place.querySelector("table");
    if (rowsOf(table).length < 2) continue;
    const said = make("span", { role: "status" });
    let chosen = [];
    const show = (more = "") => {
      said.textContent = more || (chosen.length ? `${chosen.length} of 2\u2013${MOST} ${place.dataset.choose} selected` : `Select 2\u2013${MOST} ${place.dataset.choose} to compare`);
      open.disabled = chosen.length < 2;
    };
    const open = button("Compare", () => compare(table, chosen));
    table.tHead.rows[0].prepend(make("th", { scope: "col", class: "choice" }, "pick"));
    for (const row of rowsOf(table)) {
      const box = make("input", { type: "checkbox", "aria-label": `Compare ${words(row.querySelector("th"))}` });
      box.addEventListener("change", () => {
        const full = box.checked && chosen.length === MOST;
        if (full) box.checked = false;
        else chosen = box.checked ? [...chosen, row] : chosen.filter((other) => other !== row);
        show(full ? `At most ${MOST} rows can be compared.` : "");
      });
      row.prepend(make("td", { class: "choice" }, box));
      if (foldOf(row)) foldOf(row).cells[0].colSpan += 1;
    }
    place.append(make("div", { class: "chooser", role: "group", "aria-label": `Comparison of ${place.dataset.choose}` }, said, " ", open));
    show();
  }
})();
