"use strict";
// Makes the key pair of a new device here and asks the gateway for the rest of its configuration.
// The private key is in this page only: it is put into the text that the gateway sent, and goes
// when the page goes.
const form = document.getElementById("add");
const byId = (id) => document.getElementById(id);
const base64 = (bytes) => btoa(String.fromCharCode(...bytes));
let file = null;

function start() {
  // A key that the person brings is posted as without a script.
  byId("by-hand").open = false;
  byId("public_key").required = false;
  byId("made-here").hidden = false;
  form.addEventListener("submit", (event) => {
    if (byId("public_key").value !== "") return;
    event.preventDefault();
    add();
  });
}

async function add() {
  const button = form.querySelector("button");
  button.disabled = true;
  byId("trouble").hidden = true;
  try {
    const pair = await keyPair();
    const added = await register(base64(pair.publicKey));
    if (added) show(added, base64(pair.privateKey));
  } catch {
    complain(form.dataset.lost);
  }
  button.disabled = false;
}

// Registers the public key; null if the gateway did not take it.
async function register(publicKey) {
  const fields = new URLSearchParams(new FormData(form));
  fields.set("public_key", publicKey);
  const answer = await fetch(form.action, {
    method: "POST",
    body: fields,
    headers: { accept: "application/json" },
    redirect: "error",
  });
  const told = await answer.json();
  if (answer.ok) return told;
  if (told.text && told.error !== "not-confirmed") complain(told.text);
  // Signed out meanwhile, or the five minutes are over: the page of this address asks.
  else location.assign(form.action);
  return null;
}

function complain(text) {
  byId("trouble").hidden = false;
  byId("trouble").querySelector("p").textContent = text;
}

function show(added, privateKey) {
  const text = added.config.split(added.placeholder).join(privateKey);
  byId("config").textContent = text;
  byId("added-name").textContent = added.name;
  file = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
  byId("save").href = file;
  draw(qrCode(text));
  offerCopy(text);
  byId("ask").hidden = true;
  byId("done").hidden = false;
  byId("done").focus();
  addEventListener("beforeunload", hold);
  byId("kept").addEventListener("click", () => removeEventListener("beforeunload", hold));
}

function draw(rows) {
  const picture = byId("qr");
  if (!rows) {
    byId("qr-part").hidden = true;
    return;
  }
  const quiet = 4;
  const side = rows.length + 2 * quiet;
  const runs = rows.flatMap((row, y) => {
    const text = row.map((dark) => (dark ? "1" : "0")).join("");
    const run = ({ 0: ones, index }) => `M${index + quiet} ${y + quiet}h${ones.length}v1h-${ones.length}z`;
    return [...text.matchAll(/1+/g)].map(run);
  });
  picture.setAttribute("viewBox", `0 0 ${side} ${side}`);
  picture.querySelector("path").setAttribute("d", runs.join(""));
}

function offerCopy(text) {
  const button = byId("copy");
  if (!navigator.clipboard) return;
  button.hidden = false;
  button.onclick = async () => {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = button.dataset.done;
    } catch {
      button.hidden = true;
    }
  };
}

function hold(event) {
  event.preventDefault();
}

// A page that a browser keeps for its back button must not keep the key.
addEventListener("pagehide", () => {
  if (!file) return;
  URL.revokeObjectURL(file);
  byId("config").textContent = "";
  byId("save").removeAttribute("href");
  byId("qr").querySelector("path").removeAttribute("d");
  byId("copy").hidden = true;
  byId("copy").onclick = null;
});

start();
