// The table of runs: sorted by a column (empty cells last in both directions), filtered by words.
function startTable() {
  const table = byId("runs"), body = table.tBodies[0], rows = [...body.rows];
  const heads = [...table.tHead.querySelectorAll("th")];
  heads.forEach((head, column) => {
    head.querySelector("button")?.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      body.append(...rows.sort(order(column, head.dataset.sort === "number", down ? -1 : 1)));
    });
  });

  function order(column, number, sign) {
    const key = (row) => {
      const cell = row.cells[column], text = cell.dataset.value ?? cell.textContent.trim();
      return number ? (text === "" ? NaN : Number(text)) : text;
    };
    return (one, other) => {
      const x = key(one), y = key(other);
      if (number && (isNaN(x) || isNaN(y))) return isNaN(x) - isNaN(y);
      return sign * (number ? x - y : x.localeCompare(y, "en", { numeric: true }));
    };
  }

  const texts = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
  byId("filter").oninput = (event) => {
    const words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    rows.forEach((row) => {
      row.hidden = !words.every((word) => texts.get(row).includes(word));
      shown += !row.hidden;
    });
    byId("filtered").textContent = words.length ? `${shown} of ${rows.length} runs` : "";
  };
}
