// Tables that can be sorted by a column and filtered by words.

// Return the number that a cell begins with; null where it has none.
function numberOf(text) {
  const found = text.replaceAll(",", "").match(/^\s*[+-]?\d+(\.\d+)?(e[+-]?\d+)?/i);
  return found ? Number(found[0]) : null;
}

function sortBy(table, column, descending) {
  const body = table.tBodies[0];
  const rows = [...body.rows].map((row) => {
    const text = row.cells[column].textContent.trim();
    return { row, text, number: numberOf(text) };
  });
  const numeric = rows.some((each) => each.number !== null) && rows.every((each) => each.number !== null || each.text === "–");
  const order = descending ? -1 : 1;
  rows.sort((one, other) => {
    if (!numeric) return order * one.text.localeCompare(other.text, "en", { numeric: true });
    if (one.number === null || other.number === null) return (one.number === null) - (other.number === null);
    return order * (one.number - other.number);
  });
  body.append(...rows.map((each) => each.row));
}

function makeSortable(table) {
  const headers = [...(table.tHead?.rows[0]?.cells ?? [])];
  headers.forEach((header, column) => {
    const name = header.textContent.trim();
    if (!name || table.tBodies[0].rows.length < 2) return;
    const button = make("button", { type: "button", class: "sort" }, name);
    header.replaceChildren(button);
    button.addEventListener("click", () => {
      const descending = header.getAttribute("aria-sort") === "ascending";
      for (const other of headers) other.removeAttribute("aria-sort");
      header.setAttribute("aria-sort", descending ? "descending" : "ascending");
      sortBy(table, column, descending);
    });
  });
}

// Show the rows that hold all words of the query; return how many there are.
function filterRows(tables, query) {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  let n = 0;
  for (const table of tables) {
    for (const row of table.tBodies[0].rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      n += !row.hidden;
    }
  }
  return n;
}
