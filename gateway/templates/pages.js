"use strict";
// Everything here is an addition: without it each page can be read, sent and saved all the same.
for (const button of document.querySelectorAll("[data-print]")) {
  button.hidden = false;
  button.addEventListener("click", () => window.print());
}
for (const button of document.querySelectorAll("[data-copy]")) {
  const list = document.getElementById(button.dataset.copy);
  if (!list || !navigator.clipboard) continue;
  button.hidden = false;
  button.addEventListener("click", async () => {
    const codes = [...list.querySelectorAll("code")].map((code) => code.textContent);
    try {
      await navigator.clipboard.writeText([list.dataset.head, "", ...codes, ""].join("\n"));
      button.textContent = button.dataset.done;
    } catch {
      button.hidden = true;
    }
  });
}
// The gateway alone decides what a good password is; this counts what can be counted here.
function judge(text, data) {
  const length = [...text.normalize("NFKC")].length;
  const missing = Number(data.min) - length;
  const plain = text.toLowerCase();
  if (missing > 0) return [1, data.short.replace("{count}", missing)];
  if (data.user && plain.includes(data.user) && length - data.user.length < 6) return [1, data.name];
  const different = new Set(plain).size;
  if (different < 6) return [2, data.plain];
  return length >= 20 && different >= 10 ? [4, data.good] : [3, data.fair];
}
for (const line of document.querySelectorAll(".strength")) {
  const field = document.getElementById(line.dataset.for);
  const [meter, words] = [line.querySelector("meter"), line.querySelector("span")];
  field.addEventListener("input", () => {
    line.hidden = field.value === "";
    const [level, text] = judge(field.value, line.dataset);
    meter.value = level;
    words.textContent = text;
  });
}
// New decisions come one by one; each is written as text, never as markup.
for (const table of document.querySelectorAll("[data-live]")) {
  const heads = [...table.querySelectorAll("thead th")].map((head) => head.textContent);
  const body = table.tBodies[0];
  const add = (row, index, ...parts) => {
    const cell = row.insertCell();
    if (index < heads.length - 1) cell.dataset.label = heads[index];
    cell.append(...parts);
    return cell;
  };
  const events = new EventSource(table.dataset.live);
  events.addEventListener("message", (event) => {
    const entry = JSON.parse(event.data);
    const row = body.insertRow(0);
    add(row, 0, entry.when);
    add(row, 1, entry.user || table.dataset.nobody);
    add(row, 2, entry.source);
    add(row, 3, entry.target);
    const [outcome, rule] = [document.createElement("b"), document.createElement("small")];
    outcome.className = "out " + entry.outcome;
    outcome.textContent = entry.outcome;
    rule.className = "sub";
    rule.textContent = entry.rule;
    add(row, 4, outcome, " ", rule);
    const link = document.createElement("a");
    link.href = entry.href;
    link.textContent = entry.code || table.dataset.why;
    add(row, 5, link).className = "do";
    while (body.rows.length > 500) body.deleteRow(-1);
  });
}
