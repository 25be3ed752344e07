// Answers: how does a table sort? By a button in each heading; what was not measured stays last.

function sortable(table) {
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    const button = element("button", { type: "button", class: "sort" }, ...heading.childNodes);
    heading.replaceChildren(button);
    heading.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => {
      const largest = heading.classList.contains("num");
      const down = heading.getAttribute("aria-sort") === "none" ? largest : heading.getAttribute("aria-sort") === "ascending";
      headings.forEach((each) => each.setAttribute("aria-sort", "none"));
      heading.setAttribute("aria-sort", down ? "descending" : "ascending");
      const rows = [...table.tBodies[0].rows];
      rows.sort((a, b) => compared(keyOf(a.cells[column]), keyOf(b.cells[column]), down));
      table.tBodies[0].append(...rows);
    });
  });
}

function keyOf(cell) {
  const key = cell.dataset.sort === undefined ? cell.textContent.trim() : cell.dataset.sort;
  return cell.classList.contains("num") ? (key === "" ? null : Number(key)) : key;
}

function compared(a, b, down) {
  if (a === null || b === null) return (a === null) - (b === null);
  const order = typeof a === "number" ? a - b : a.localeCompare(b, "en");
  return down ? -order : order;
}
