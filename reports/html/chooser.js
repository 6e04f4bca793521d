// Lets a reader sort the tables that allow it, filter their rows, set two to four of them side by side, and copy codes.
// What a row unfolds to is a row of its own below it, and goes where it goes. Without this script the tables stand as
// they are, and are complete.
(() => {
  const MOST = 4;

  const make = (tag, words = "", attributes = {}) => {
    const made = document.createElement(tag);
    made.textContent = words;
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    return made;
  };
  const number = (cell) => {
    const shown = cell.querySelector("data");
    return shown ? Number(shown.value) : null;
  };
  const words = (cell) => {
    const parts = [...cell.childNodes].filter((part) => part.localName !== "svg").map((part) => part.textContent);
    return parts.join("").trim().replace(/\s+/gu, " ");
  };
  const isFold = (row) => row.classList.contains("fold");
  const foldOf = (row) => (row.nextElementSibling && isFold(row.nextElementSibling) ? row.nextElementSibling : null);
  const withFold = (row) => [row, foldOf(row)].filter(Boolean);
  const rowsOf = (body) => [...body.rows].filter((row) => !isFold(row));
  const key = (row) => row.querySelector("[data-key]").dataset.key;
  const quoted = (name) => (/^[\w.-]+$/u.test(name) ? name : `'${name.replaceAll("'", "'\\''")}'`);
  // Three digits that matter, as everywhere in these pages.
  const ratioText = (ratio) => {
    if (ratio >= 1000) return `\u00d7${Math.round(ratio).toLocaleString("en")}`;
    const digits = ratio === 0 ? 2 : Math.max(0, 2 - Math.floor(Math.log10(ratio) + 1e-9));
    return `\u00d7${ratio.toFixed(digits)}`;
  };

  const addFilter = (place, body, kind) => {
    const input = make("input", "", { type: "search" });
    const label = make("label", "Filter: ");
    const said = make("span", "", { role: "status" });
    const bar = make("div", "", { class: "finder" });
    label.append(input);
    bar.append(label, said);
    place.prepend(bar);
    input.addEventListener("input", () => {
      const wanted = input.value.toLowerCase().split(/\s+/u).filter(Boolean);
      let shown = 0;
      const rows = rowsOf(body);
      for (const row of rows) {
        const parts = withFold(row);
        const text = parts.map((part) => part.textContent).join(" ").toLowerCase();
        const found = wanted.every((word) => text.includes(word));
        for (const part of parts) part.hidden = !found;
        shown += found;
      }
      said.textContent = wanted.length ? `${shown} of ${rows.length} ${kind}` : "";
    });
  };

  const line = (name, cells) => {
    const made = make("tr");
    made.append(make("th", name, { scope: "row" }));
    const first = number(cells[0]);
    cells.forEach((cell, place) => {
      const shown = make("td");
      shown.append(make("bdi", words(cell)));
      const value = number(cell);
      if (place && cell.querySelector("data.amount") && first > 0 && value >= 0 && value !== null) {
        shown.append(" ", make("span", ratioText(value / first), { class: "ratio" }));
      }
      made.append(shown);
    });
    return made;
  };

  const dialog = make("dialog", "", { "aria-labelledby": "chosen-heading" });
  document.querySelector("main").append(dialog);

  const compare = (names, rows) => {
    const table = make("table");
    const head = make("tr");
    head.append(make("th", "column", { scope: "col" }));
    for (const row of rows) {
      const heading = make("th", "", { scope: "col", class: "side" });
      heading.append(make("bdi", words(row.querySelector("th"))));
      head.append(heading);
    }
    const first = words(rows[0].querySelector("th"));
    table.append(make("caption", `The small figures are multiples of those of ${first}.`, { id: "chosen-caption" }));
    table.createTHead().append(head);
    const body = table.createTBody();
    names.forEach((name, place) => {
      const cells = rows.map((row) => row.cells[place + 1]);
      if (cells[0].tagName === "TD" && cells.some((cell) => words(cell))) body.append(line(name, cells));
    });
    const notations = rows.map((row) => foldOf(row)?.querySelector(".notation"));
    if (notations.every(Boolean)) body.append(line("notation", notations));
    const frame = make("div", "", { class: "scroll", role: "region", "aria-labelledby": "chosen-caption", tabindex: 0 });
    frame.append(table);
    const close = make("button", "Close", { type: "button" });
    close.addEventListener("click", () => dialog.close());
    dialog.replaceChildren(make("h2", "Side by side", { id: "chosen-heading" }), frame);
    const keys = [...new Set(rows.map(key))];
    if (keys.length > 1) {
      const command = make("p", "Their whole comparison: ");
      command.append(make("code", `${rows[0].closest("[data-choose]").dataset.command} ${keys.map(quoted).join(" ")}`));
      dialog.append(command);
    }
    dialog.append(close);
    dialog.showModal();
  };

  const addChoice = (place, table, names, kind) => {
    const body = table.tBodies[0];
    const boxes = [];
    const said = make("span", "", { role: "status" });
    const button = make("button", "Compare", { type: "button", disabled: "" });
    const clear = make("button", "Clear", { type: "button", disabled: "" });
    const bar = make("div", "", { class: "chooser", role: "group", "aria-label": `Comparison of ${kind}` });
    let chosen = [];

    const show = (more = "") => {
      const count = chosen.length;
      said.textContent = more || (count ? `${count} of 2\u2013${MOST} ${kind} selected` : `Select 2\u2013${MOST} ${kind} to compare`);
      button.disabled = count < 2;
      clear.disabled = count === 0;
    };
    table.tHead.rows[0].prepend(make("th", "pick", { scope: "col", class: "choice" }));
    for (const row of rowsOf(body)) {
      const box = make("input", "", { type: "checkbox", "aria-label": `Compare ${words(row.querySelector("th"))}` });
      box.addEventListener("change", () => {
        if (box.checked && chosen.length === MOST) {
          box.checked = false;
          show(`No more than ${MOST} can be compared.`);
          return;
        }
        chosen = box.checked ? [...chosen, row] : chosen.filter((other) => other !== row);
        show();
      });
      boxes.push(box);
      const cell = row.insertCell(0);
      cell.className = "choice";
      cell.append(box);
      if (foldOf(row)) foldOf(row).cells[0].colSpan += 1;
    }
    button.addEventListener("click", () => compare(names, chosen));
    clear.addEventListener("click", () => {
      for (const box of boxes) box.checked = false;
      chosen = [];
      show();
      boxes[0].focus();
    });
    bar.append(said, button, clear);
    place.append(bar);
    show();
  };

  const addCopying = (place) => {
    const button = make("button", "Copy", { type: "button" });
    button.addEventListener("click", async () => {
      const code = place.querySelector("code");
      try {
        await navigator.clipboard.writeText(code.textContent);
        button.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(code);
        button.textContent = "Selected";
      }
    });
    place.append(button);
  };

  for (const place of document.querySelectorAll("[data-choose]")) {
    const table = place.querySelector("table");
    const headings = [...table.tHead.rows[0].cells];
    const names = headings.map((heading) => heading.textContent);
    makeSortable(table);
    addFilter(place, table.tBodies[0], place.dataset.choose);
    if (rowsOf(table.tBodies[0]).length > 1) addChoice(place, table, names, place.dataset.choose);
  }
  for (const table of document.querySelectorAll("table[data-sortable]")) {
    makeSortable(table);
  }
  for (const place of document.querySelectorAll("[data-copy]")) addCopying(place);
})();
