// Sorting and filtering of tables, links that hold both, copying of commands. Pages are complete without it.
"use strict";

const collator = new Intl.Collator("en", { numeric: true });
const state = new URLSearchParams(location.hash.includes("=") ? location.hash.slice(1) : "");

// The value a cell sorts by: its data-value as a number, else its text. Empty cells come last either way.
function valueOf(row, column) {
  const cell = row.cells[column];
  if (!cell) return "";
  const value = cell.getAttribute("data-value");
  if (value !== null) return value === "" ? "" : Number(value);
  return cell.textContent.trim();
}

function compare(a, b, direction) {
  if (a === "" || b === "") return (a === "") - (b === "");
  return direction * (typeof a === "number" && typeof b === "number" ? a - b : collator.compare(a, b));
}

// Sort the rows of each body by a column; bounds and failed rows have bodies of their own and stay below.
function sortTable(table, column, direction) {
  for (const body of table.tBodies) {
    const rows = Array.from(body.rows, (row) => [valueOf(row, column), row]);
    rows.sort((a, b) => compare(a[0], b[0], direction));
    body.replaceChildren(...rows.map((pair) => pair[1]));
  }
  cut(table);
}

// A long table shows its first rows, in the order and by the filter that hold, until all are asked for.
function cut(table) {
  if (table.rows.length <= 300) return;
  for (const body of table.tBodies) {
    let shown = 0;
    for (const row of body.rows) row.classList.toggle("beyond", !row.hidden && shown++ >= 50 && !table.classList.contains("whole"));
  }
}

function makeLong(table) {
  if (table.rows.length <= 300) return;
  const button = document.createElement("button");
  Object.assign(button, { type: "button", className: "all", textContent: `Show all ${table.rows.length - 1} rows` });
  button.addEventListener("click", () => { table.classList.add("whole"); cut(table); button.remove(); });
  table.parentElement.after(button);
  cut(table);
}

// The state of a page is in its fragment, so that a link to it shows the same.
function remember(name, value) {
  if (value) state.set(name, value);
  else state.delete(name);
  history.replaceState(null, "", state.toString() ? `#${state}` : location.pathname + location.search);
}

function makeSortable(table, number) {
  const heads = Array.from(table.tHead.rows[0].cells);
  const sort = (head, down) => {
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    table.classList.add("resorted");
    sortTable(table, heads.indexOf(head), down ? -1 : 1);
  };
  for (const head of heads) {
    if (head.classList.contains("plain")) continue;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const shown = head.getAttribute("aria-sort");
      const down = shown ? shown === "ascending" : head.classList.contains("high");
      sort(head, down);
      remember("sort", `${number}.${heads.indexOf(head)}.${down ? "down" : "up"}`);
    });
  }
  const [which, column, way] = (state.get("sort") || "").split(".");
  if (Number(which) === number && heads[column] && !heads[column].classList.contains("plain")) sort(heads[column], way === "down");
}

function makeFilter(form) {
  const rows = Array.from(document.querySelectorAll("table.filtered tbody tr, table.heat tbody tr[data-family]"));
  const counted = rows.filter((row) => row.closest("table.filtered"));
  const words = new Map(rows.map((row) => [row, row.querySelector("th").textContent.toLowerCase()]));
  const fields = Array.from(form.querySelectorAll("input, select"));
  const fits = (row, field) => !field.value || (field.name === "q"
    ? words.get(row).includes(field.value.trim().toLowerCase())
    : row.dataset[field.name] === field.value || (field.name === "kind" && row.dataset.kind.split(" ").includes(field.value)));
  const apply = () => {
    const asked = fields.filter((field) => field.value);
    for (const row of rows) row.hidden = !asked.every((field) => fits(row, field));
    document.querySelectorAll("table.filtered").forEach(cut);
    const shown = (counted.length ? counted : rows).filter((row) => !row.hidden).length;
    form.querySelector("output").textContent = asked.length ? `${shown} of ${(counted.length ? counted : rows).length} shown` : "";
  };
  for (const field of fields) {
    field.value = state.get(field.name) || "";
    if (field.selectedIndex === -1) field.value = "";
    field.addEventListener("input", () => { apply(); remember(field.name, field.value); });
  }
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(() => {
    fields.forEach((field) => remember(field.name, ""));
    apply();
  }));
  form.hidden = false;
  apply();
}

async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "copied";
  } catch {
    getSelection().selectAllChildren(button.parentElement.querySelector("code"));
    button.textContent = "selected";
  }
  setTimeout(() => { button.textContent = "copy"; }, 1500);
}

function makeCopyable(block) {
  const button = document.createElement("button"), text = block.textContent.trim();
  Object.assign(button, { type: "button", className: "copy", textContent: "copy" });
  button.setAttribute("aria-label", "Copy the command");
  button.addEventListener("click", () => copy(text, button));
  block.append(button);
}

document.querySelectorAll("table.sortable").forEach(makeLong);
document.querySelectorAll("table.sortable").forEach(makeSortable);
document.querySelectorAll("form.filters[role=search]").forEach(makeFilter);
document.querySelectorAll("pre.command").forEach(makeCopyable);
