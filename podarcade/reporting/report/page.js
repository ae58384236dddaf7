"use strict";
// Sorts tables by a click on a heading, and shows and hides what belongs to a label. The page is whole without it.

for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  table.querySelectorAll("thead th").forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const descends = head.getAttribute("aria-sort") === "ascending";
      for (const other of table.querySelectorAll("thead th")) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", descends ? "descending" : "ascending");
      const rows = [...body.rows].map((row) => ({ row, cell: row.cells[column] }));
      const number = (cell) => (cell.dataset.value === undefined ? NaN : Number(cell.dataset.value));
      const isNumeric = rows.some(({ cell }) => cell.dataset.value !== undefined);
      rows.sort((one, other) => {
        if (!isNumeric) {
          const order = one.cell.textContent.localeCompare(other.cell.textContent, "en", { numeric: true });
          return descends ? -order : order;
        }
        const [a, b] = [number(one.cell), number(other.cell)];
        if (Number.isNaN(a) || Number.isNaN(b)) return Number.isNaN(a) - Number.isNaN(b); // missing ones last
        return descends ? b - a : a - b;
      });
      body.append(...rows.map(({ row }) => row));
    });
  });
}

for (const form of document.querySelectorAll("form.filter")) {
  form.hidden = false;
  form.addEventListener("change", ({ target }) => {
    for (const item of document.querySelectorAll(`[data-label="${Number(target.dataset.shows)}"]`)) {
      item.classList.toggle("off", !target.checked);
    }
  });
}

// Paper has nothing to unfold.
addEventListener("beforeprint", () => {
  for (const item of document.querySelectorAll("details")) item.open = true;
});
