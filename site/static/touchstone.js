// Sorting of tables and copying of commands. Pages are complete without it.
"use strict";

// The value a cell sorts by: its data-value as a number, else its text. Empty cells come last either way.
function valueOf(row, column) {
  const cell = row.cells[column];
  if (!cell) return "";
  if ("value" in cell.dataset) return cell.dataset.value === "" ? "" : Number(cell.dataset.value);
  return cell.textContent.trim();
}

function compare(a, b, direction) {
  if (a === "" || b === "") return (a === "") - (b === "");
  const order = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
  return direction * order;
}

// Sort the rows of each body by a column; bounds and failed rows have bodies of their own and stay below.
function sortTable(table, column, direction) {
  for (const body of table.tBodies) {
    const rows = Array.from(body.rows);
    rows.sort((a, b) => compare(valueOf(a, column), valueOf(b, column), direction));
    body.append(...rows);
  }
}

function makeSortable(table) {
  const heads = Array.from(table.tHead.rows[0].cells);
  heads.forEach((head, column) => {
    if (head.classList.contains("plain")) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const first = head.classList.contains("high") ? -1 : 1;
      const shown = head.getAttribute("aria-sort");
      const down = shown ? shown === "ascending" : first === -1;
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      sortTable(table, column, down ? -1 : 1);
    });
  });
}

async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "copied";
  } catch {
    const range = document.createRange();
    range.selectNodeContents(button.parentElement.querySelector("code"));
    const selection = window.getSelection();
    selection.removeAllRanges();
    selection.addRange(range);
    button.textContent = "selected";
  }
  setTimeout(() => { button.textContent = "copy"; }, 1500);
}

function makeCopyable(block) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.textContent = "copy";
  const text = block.textContent.trim();
  button.setAttribute("aria-label", "Copy the command");
  button.addEventListener("click", () => copy(text, button));
  block.append(button);
}

document.querySelectorAll("table.sortable").forEach(makeSortable);
document.querySelectorAll("pre.command").forEach(makeCopyable);
