// The table of students: headings sort it, names open a student's part of the spec.
const table = document.querySelector("table.students");
const headings = [...table.querySelectorAll("thead tr:last-child th")];

function valueOf(body, column) {
  const text = body.rows[0].cells[column].dataset.value;
  return column === 0 ? text : text === "" ? null : Number(text);
}

function compare(a, b) {
  return typeof a === "string" ? a.localeCompare(b, "en", { numeric: true }) : a - b;
}

function sortBy(column) {
  const sign = headings[column].ariaSort === "ascending" ? -1 : 1;
  headings.forEach((heading) => { heading.ariaSort = "none"; });
  headings[column].ariaSort = sign > 0 ? "ascending" : "descending";
  const bodies = [...table.tBodies].map((body) => [valueOf(body, column), body]);
  // What has no value stays at the end, whichever way the others are sorted.
  const order = (a, b) => (a === null || b === null ? (a === null) - (b === null) : sign * compare(a, b));
  bodies.sort(([a], [b]) => order(a, b));
  table.append(...bodies.map(([, body]) => body));
}

headings.forEach((heading, column) => {
  heading.querySelector("button").addEventListener("click", () => sortBy(column));
});

table.querySelectorAll(".toggle").forEach((button) => {
  button.addEventListener("click", () => {
    const more = document.getElementById(button.getAttribute("aria-controls"));
    more.hidden = !more.hidden;
    button.setAttribute("aria-expanded", String(!more.hidden));
  });
});
