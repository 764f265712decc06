// Two runs of a task, item by item. Scores come as scripts beside the task's page, which pages from disk may load.
"use strict";

const SHOWN = 20, held = { task: null, scores: {} };
const touchstone = { task: (value) => { held.task = value; }, scores: (value) => Object.assign(held.scores, value) };
const form = document.getElementById("choice"), result = document.getElementById("result");
const asked = new URLSearchParams(location.hash.slice(1));

const load = (path) => new Promise((done, failed) => {
  document.head.append(Object.assign(document.createElement("script"), { src: path, onload: done, onerror: failed }));
});

function element(tag, attributes, ...children) {
  const made = tag === "svg" || "cx" in attributes || "d" in attributes ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

const signed = (number) => (number > 0 ? "+" : number < 0 ? "−" : "") + Math.abs(number).toFixed(3);
const p_text = (p) => (p < 0.001 ? "< 0.001" : p.toFixed(3));

function random() { // xorshift32: the same numbers each time
  let x = 2463534242;
  return () => { x ^= x << 13; x ^= x >>> 17; x ^= x << 5; return (x >>> 0) / 4294967296; };
}

// Two-sided paired randomisation test of the weighted sum of differences, and a bootstrap interval of it.
function tested(differences, groups) {
  const byGroup = {};
  differences.forEach((_, i) => (byGroup[groups[i] || 0] ||= []).push(i));
  const parts = Object.values(byGroup), weight = [];
  for (const part of parts) for (const i of part) weight[i] = 1 / (part.length * parts.length);
  const weighted = differences.map((d, i) => d * weight[i]), total = weighted.reduce((a, b) => a + b, 0);
  const draws = Math.max(200, Math.min(10000, Math.floor(4e7 / differences.length))), next = random(), means = [];
  const unequal = weighted.filter((d) => d);
  let extreme = 0;
  for (let draw = 0; draw < draws; draw++) {
    let sum = 0;
    for (const d of unequal) sum += next() < 0.5 ? d : -d;
    if (Math.abs(sum) >= Math.abs(total) - 1e-12) extreme++;
  }
  for (let draw = 0; draw < Math.min(draws, 2000); draw++) {
    let mean = 0;
    for (const part of parts) for (let n = part.length; n > 0; n--) mean += weighted[part[Math.floor(next() * part.length)]];
    means.push(mean);
  }
  means.sort((a, b) => a - b);
  return { total, p: (1 + extreme) / (1 + draws), low: means[Math.floor(0.025 * means.length)], high: means[Math.floor(0.975 * means.length)] };
}

// Exact McNemar: the two-sided binomial test of the items that only one got right.
function mcnemar(wins, losses) {
  let p = 0, term = -(wins + losses) * Math.LN2;
  for (let k = 0; k <= Math.min(wins, losses); k++) { p += Math.exp(term); term += Math.log((wins + losses - k) / (k + 1)); }
  return Math.min(1, 2 * p);
}

function scatter(a, b, names) {
  const spots = new Map(), at = (value) => 20 + 360 * value;
  a.forEach((value, i) => { const key = `${value.toFixed(2)} ${b[i].toFixed(2)}`; spots.set(key, (spots.get(key) || 0) + 1); });
  const dots = Array.from(spots, ([key, count]) => { const [x, y] = key.split(" ").map(Number); return element("circle", { cx: at(x), cy: 400 - at(y), r: Math.min(16, 2.5 + Math.sqrt(count)) }); });
  const svg = element("svg", { viewBox: "0 0 400 400", class: "pair", role: "img", "aria-label": `Score of each item: ${names[0]} across, ${names[1]} up` }, element("path", { class: "grid", d: "M20 20H380V380H20ZM20 380L380 20" }), ...dots);
  return element("figure", {}, svg, element("figcaption", {}, `Each item's score: A across, B up; larger dots are several items. Above the diagonal B is better.`));
}

function table(caption, heads, rows) {
  const cell = (text, n) => (n ? element("td", { class: "num" }, text) : element("th", { scope: "row" }, text));
  const head = element("thead", {}, element("tr", {}, ...heads.map((text, n) => element("th", n ? { scope: "col", class: "num" } : { scope: "col" }, text))));
  const made = element("table", {}, element("caption", {}, caption), head, element("tbody", {}, ...rows.map((row) => element("tr", {}, ...row.map(cell)))));
  return element("div", { class: "scroll", role: "region", "aria-label": caption, tabindex: "0" }, made);
}

async function show() {
  const { a, b, task } = form.elements, runs = held.task.runs;
  for (const id of [a.value, b.value]) if (!held.scores[id]) await load(`tasks/${task.value}/${runs[id][1]}.js`);
  const left = held.scores[a.value], right = held.scores[b.value], { items, groups, measure } = held.task;
  const differences = right.map((value, i) => value - left[i]), found = tested(differences, groups);
  const wins = differences.filter((d) => d > 0).length, losses = differences.filter((d) => d < 0).length;
  const order = items.map((_, i) => i).sort((i, j) => differences[i] - differences[j] || i - j);
  const rows = (places) => places.map((i) => [items[i], left[i].toFixed(3), right[i].toFixed(3), signed(differences[i])]);
  const heads = ["Item", "A", "B", "B − A"], names = [runs[a.value][0], runs[b.value][0]];
  const exact = held.task.right ? `; McNemar's exact test p ${p_text(mcnemar(wins, losses))}` : "";
  result.replaceChildren(
    element("p", { class: "verdict" }, `B − A in ${measure}: ${signed(found.total)} [${signed(found.low)}, ${signed(found.high)}], p ${p_text(found.p)} by the paired randomisation test${exact}. B is better on ${wins} items, worse on ${losses}, equal on ${items.length - wins - losses}.`),
    element("p", {}, "A: ", element("a", { href: `runs/${a.value}.html` }, names[0]), ", B: ", element("a", { href: `runs/${b.value}.html` }, names[1])),
    scatter(left, right, names), element("h2", {}, "Items that flipped"), element("div", { class: "figures" },
      table("Where B gains most", heads, rows(order.slice(-SHOWN).reverse().filter((i) => differences[i] > 0))),
      table("Where B loses most", heads, rows(order.slice(0, SHOWN).filter((i) => differences[i] < 0)))));
  history.replaceState(null, "", `#${new URLSearchParams({ task: task.value, a: a.value, b: b.value })}`);
}

async function choose(wanted) {
  const { a, b, task } = form.elements;
  held.task = null;
  result.replaceChildren();
  if (task.value) await load(`tasks/${task.value}/runs.js`);
  const runs = Object.entries(held.task ? held.task.runs : {}).sort((x, y) => x[1][0].localeCompare(y[1][0]));
  [a, b].forEach((select, n) => {
    select.replaceChildren(...runs.map(([id, [name]]) => element("option", { value: id }, name)));
    select.value = wanted[n] in (held.task ? held.task.runs : {}) ? wanted[n] : runs.length ? runs[Math.min(n, runs.length - 1)][0] : "";
  });
  if (runs.length > 1) await show();
}

if (form) {
  const { a, b, task, swap } = form.elements;
  task.addEventListener("change", () => choose([]));
  for (const select of [a, b]) select.addEventListener("change", show);
  swap.addEventListener("click", () => { [a.value, b.value] = [b.value, a.value]; if (held.task) show(); });
  form.hidden = false;
  task.value = asked.get("task") || "";
  if (task.selectedIndex === -1) task.value = "";
  choose([asked.get("a"), asked.get("b")]);
}
