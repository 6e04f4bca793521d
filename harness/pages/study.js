// Filter of the networks of a study in charts and table, dialog with the details of a network, and export of the rows.
(() => {
  const networks = page.datasets.networks;
  const table = document.getElementById("networks-table");
  if (!table || !networks) return;
  const FEW = 20;
  const find = (identifier) => document.getElementById(identifier);
  const rows = [...table.tBodies[0].rows];
  const notation = rows.map((row) => row.cells[row.cells.length - 1].textContent);
  const haystack = rows.map((row, n) => `${row.textContent} ${networks[n].origin} ${networks[n].hash}`.toLowerCase());
  const bar = find("filter");
  const inputs = Object.fromEntries([...bar.querySelectorAll("[name]")].map((input) => [input.name, input]));
  let shown = networks.map(() => true);
  let everything = false;

  function passes() {
    const number = (name) => ((inputs[name]?.value.trim() ?? "") === "" ? null : Number(inputs[name].value));
    const within = (value, low, high) =>
      (low === null && high === null) || (value != null && (low === null || value >= low) && (high === null || value <= high));
    const wanted = inputs.q.value.toLowerCase().split(/\s+/).filter(Boolean);
    const bounds = page.data.filters.map(([field, low, high]) => [field, number(low), number(high)]);
    return (item) =>
      wanted.every((word) => haystack[item.n]?.includes(word)) &&
      (inputs.state.value === "" || item.state === inputs.state.value) &&
      bounds.every(([field, low, high]) => within(item[field], low, high)) &&
      (!inputs.front.checked || item.shown === "on the Pareto front") &&
      (!inputs.tested.checked || item.test_pct != null);
  }

  function filter() {
    shown = networks.map(passes());
    cutRows();
    page.filter("networks", (item) => shown[item.n]);
    if (page.datasets.curves) page.filter("curves", (item) => shown[item.n]);
    const given = new URLSearchParams();
    for (const [name, input] of Object.entries(inputs)) {
      const value = input.type === "checkbox" ? (input.checked ? "1" : "") : input.value.trim();
      if (value) given.set(name, value);
    }
    const text = given.toString();
    if (text) history.replaceState(null, "", `#?${text}`);
    else if (location.hash.startsWith("#?")) history.replaceState(null, "", location.pathname + location.search);
  }

  function cutRows() {
    let room = everything ? Infinity : FEW;
    for (const row of table.tBodies[0].rows) {
      row.hidden = !shown[row.number] || room <= 0;
      if (!row.hidden) room -= 1;
    }
    const found = shown.filter(Boolean).length;
    const cut = room === 0 && found > FEW;
    find("shown").textContent = `${found.toLocaleString("en")} of ${networks.length.toLocaleString("en")} networks.${cut ? ` The table shows ${FEW}.` : ""}`;
    find("all-rows").hidden = !cut;
  }

  function clear() {
    for (const input of Object.values(inputs)) input.type === "checkbox" ? (input.checked = false) : (input.value = "");
  }

  function readAddress() {
    const given = new URLSearchParams(location.hash.slice(2));
    for (const [name, input] of Object.entries(inputs)) {
      if (input.type === "checkbox") input.checked = given.get(name) === "1";
      else input.value = given.get(name) ?? "";
    }
    // A select element is empty after the assignment of an unknown value.
    if (inputs.state.selectedIndex < 0) inputs.state.value = "";
  }

  function open(n) {
    const item = networks[n];
    const accuracy = item.validation_pct == null ? "\u2013" : `${item.validation_pct.toFixed(2)}\u00a0%, seeds: ${item.seeds}`;
    const facts = {
      size: `${item.parameters.toLocaleString("en")} parameters${item.macs == null ? "" : `, ${item.macs.toLocaleString("en")} multiply-adds`}`,
      state: [item.state, item.tier, page.data.remarks[n]].filter(Boolean).join("; "),
      validation: accuracy,
      ...(item.test_pct == null ? {} : { test: `${item.test_pct.toFixed(3)}\u00a0%` }),
      "proposed by": `${item.origin || "\u2013"}, trial ${item.trial ?? "\u2013"}`,
    };
    const curve = (page.datasets.curves ?? []).filter((point) => point.n === n);
    if (curve.length) facts["first run"] = curve.map((point) => `epoch ${point.epoch}: ${point.validation_pct.toFixed(2)}\u00a0%`).join(", ");
    const command = make("p", { "data-copy": "" }, make("code", {}, `${page.data.verify[item.epochs ?? ""]} ${item.hash}`));
    makeCopying(command);
    dialog.replaceChildren(
      make("h2", { id: "network-title" }, "Network ", item.network),
      make("pre", {}, make("code", {}, notation[n] ?? "")),
      make("dl", { class: "terms" }, ...Object.entries(facts).flatMap(([term, text]) => [make("dt", {}, term), make("dd", {}, text)])),
      command,
      make("p", { class: "row" }, button("Show in table", () => reveal(n)), button("Close", () => dialog.close())),
    );
    dialog.showModal();
  }

  function reveal(n) {
    dialog.close();
    if (rows[n].hidden) {
      everything = true;
      if (!shown[n]) clear();
      filter();
    }
    rows[n].scrollIntoView({ block: "center" });
    rows[n].querySelector("button").focus();
  }

  // Visible networks in the order of the table.
  const chosen = () =>
    [...table.tBodies[0].rows]
      .filter((row) => shown[row.number])
      .map((row) => {
        const { errors, low, high, shown: kind, network, cost, second, ended, ...rest } = networks[row.number];
        const minimised = Object.fromEntries(page.data.minimised.map((name, at) => [name, [cost, second][at]]));
        return { ...rest, ...minimised, on_front: kind === "on the Pareto front", architecture: notation[row.number] };
      });

  function save(kind, text) {
    const address = URL.createObjectURL(new Blob([text], { type: kind === "csv" ? "text/csv" : "application/json" }));
    download(`${page.data.study}.${kind}`, address);
    setTimeout(() => URL.revokeObjectURL(address), 10_000);
  }

  // Texts that a spreadsheet would read as a formula get a leading apostrophe, as in the CSV files of the program.
  function csv() {
    const cell = (value) => {
      const text = value == null ? "" : String(value);
      const guarded = typeof value === "string" && /^[=+\-@\t\r\n']/.test(text) ? `'${text}` : text;
      return /[",\r\n]/.test(guarded) ? `"${guarded.replaceAll('"', '""')}"` : guarded;
    };
    const lines = chosen();
    const names = Object.keys(lines[0] ?? {});
    return [names, ...lines.map((line) => names.map((name) => line[name]))].map((line) => `${line.map(cell).join(",")}\n`).join("");
  }

  const dialog = make("dialog", { "aria-labelledby": "network-title" });
  document.body.append(dialog);
  for (const [n, row] of rows.entries()) {
    row.number = n;
    const cell = row.querySelector("th");
    const opener = button("", () => open(n), { class: "open" });
    opener.append(...cell.childNodes);
    cell.append(opener);
  }
  table.addEventListener("sorted", cutRows);
  bar.addEventListener("input", filter);
  find("reset").addEventListener("click", () => {
    clear();
    filter();
    inputs.q.focus();
  });
  find("all-rows").addEventListener("click", () => {
    everything = true;
    cutRows();
  });
  find("save-csv").addEventListener("click", () => save("csv", csv()));
  find("save-json").addEventListener("click", () => save("json", JSON.stringify(chosen(), null, 1)));
  document.addEventListener("pick", (event) => {
    if (networks[event.detail.n] === undefined) return;
    event.preventDefault();
    open(event.detail.n);
  });
  // A chart that is drawn later shows the filtered rows, too.
  document.addEventListener("drawn", () => location.hash.startsWith("#?") && filter());
  addEventListener("hashchange", () => {
    if (!location.hash.startsWith("#?")) return;
    readAddress();
    filter();
  });
  bar.hidden = false;
  if (location.hash.startsWith("#?")) {
    readAddress();
    filter();
  } else cutRows();
  const target = location.hash.startsWith("#network-") ? find(location.hash.slice(1)) : null;
  if (target) reveal(target.number);
  page.study = { csv, chosen, filter, open };
})();
