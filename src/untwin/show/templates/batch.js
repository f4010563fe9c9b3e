for (const button of document.querySelectorAll("#results th button")) button.addEventListener("click", () => {
  const head = button.parentElement, column = head.cellIndex, body = document.querySelector("#results tbody");
  const down = head.getAttribute("aria-sort") === "ascending";
  for (const other of head.parentElement.children) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  const value = row => row.cells[column].dataset.v, numeric = v => v !== "" && !isNaN(v);
  const sorted = [...body.rows].sort((a, b) => {
    const [x, y] = [value(a), value(b)];
    if ((x === "") !== (y === "")) return x === "" ? 1 : -1;
    const order = numeric(x) && numeric(y) ? x - y : x.localeCompare(y);
    return down ? -order : order;
  });
  body.append(...sorted);
});
