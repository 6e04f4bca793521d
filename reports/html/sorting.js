"use strict";
// Sorts a table by a click on a heading, by a second click the other way; what is missing comes last. What a row unfolds
// to is a row of its own below it, and goes where it goes.
function makeSortable(table) {
  const body = table.tBodies[0];
  const isFold = (row) => row?.classList.contains("fold");
  const original = [...body.rows].filter((row) => !isFold(row));
  const headings = [...table.tHead.rows[0].cells];
  // A picture has no words to sort by.
  const words = (cell) => [...cell.childNodes].map((part) => (part.localName === "svg" ? "" : part.textContent)).join("").trim();

  for (const heading of headings) {
    const cells = original.map((row) => row.cells[heading.cellIndex]);
    const exact = cells.some((cell) => cell.querySelector("data"));
    if (!exact && cells.every((cell) => words(cell) === "")) continue;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "sort";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => sort(heading, exact));
  }

  function sort(heading, exact) {
    const ways = ["ascending", "descending"];
    const [first, second] = heading.dataset.first === "largest" ? ways.reverse() : ways;
    const way = heading.getAttribute("aria-sort") === first ? second : first;
    for (const other of headings) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", way);
    const folds = new Map(original.map((row) => [row, isFold(row.nextElementSibling) ? [row.nextElementSibling] : []]));
    const numeric = exact || heading.classList.contains("number");
    const keyed = original.map((row) => [key(row.cells[heading.cellIndex], numeric, exact), row]);
    const sign = way === "ascending" ? 1 : -1;
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
