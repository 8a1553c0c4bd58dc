"use strict";
for (const table of document.querySelectorAll("table.live")) {
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const heads = [...table.tHead.rows[0].cells];
  const key = (row, k) => row.cells[k].dataset.v ?? row.cells[k].textContent;
  heads.forEach((head, k) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((h) => h.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const order = (a, b) => {
        const x = key(a, k), y = key(b, k);
        const n = x !== "" && !isNaN(x), m = y !== "" && !isNaN(y);
        const d = n && m ? x - y : n ? -1 : m ? 1 : x.localeCompare(y);
        return down ? -d : d;
      };
      rows.sort(order).forEach((row) => body.append(row));
    });
  });
  const bar = document.createElement("div");
  bar.className = "filters";
  const count = document.createElement("output");
  const chosen = new Map();
  const show = () => {
    let n = 0;
    for (const row of rows) {
      row.hidden = [...chosen].some(([k, value]) => value !== "" && row.cells[k].textContent !== value);
      n += row.hidden ? 0 : 1;
    }
    count.textContent = `${n} of ${rows.length} rows`;
  };
  heads.forEach((head, k) => {
    if (!head.hasAttribute("data-filter")) return;
    const values = [...new Set(rows.map((row) => row.cells[k].textContent))];
    if (values.length < 2) return;
    const label = document.createElement("label");
    const select = document.createElement("select");
    label.append(head.textContent, select);
    select.add(new Option("all", ""));
    values.forEach((value) => select.add(new Option(value === "" ? "(none)" : value, value)));
    select.addEventListener("change", () => { chosen.set(k, select.value); show(); });
    bar.append(label);
  });
  bar.append(count);
  table.closest(".scroll").before(bar);
  show();
}
