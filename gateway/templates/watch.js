"use strict";
// Without this everything works by hand: the form for a code is always there.
const here = document.getElementById("here");
const PREFIX = "postern-reproof-1 ";
const EVERY = 5000;
const CURVE = { name: "ECDSA", namedCurve: "P-256" };
const base64 = (bytes) =>
  btoa(String.fromCharCode(...new Uint8Array(bytes)))
    .replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
// The key lies where only pages of this host find it; no page can read it out.
function keys(mode, act) {
  return new Promise((done, fail) => {
    const opening = indexedDB.open("postern", 1);
    opening.onupgradeneeded = () => opening.result.createObjectStore("keys");
    opening.onerror = () => fail(opening.error);
    opening.onsuccess = () => {
      const asked = act(opening.result.transaction("keys", mode).objectStore("keys"));
      asked.onerror = () => fail(asked.error);
      asked.onsuccess = () => {
        opening.result.close();
        done(asked.result);
      };
    };
  });
}
function send(to, fields) {
  const body = new URLSearchParams({ csrf: here.dataset.csrf, ...fields });
  return fetch(to, { method: "POST", body });
}
async function register() {
  const pair = await crypto.subtle.generateKey({ ...CURVE }, false, ["sign", "verify"]);
  await keys("readwrite", (store) => store.put(pair.privateKey, "reproof"));
  const point = await crypto.subtle.exportKey("raw", pair.publicKey);
  await send("/signin/device/key", { key: base64(point) });
}
async function prove(challenge) {
  const key = await keys("readonly", (store) => store.get("reproof"));
  if (!key || !challenge.startsWith(PREFIX)) return false;
  const text = new TextEncoder().encode(challenge);
  const signed = await crypto.subtle.sign({ name: "ECDSA", hash: "SHA-256" }, key, text);
  const answer = await send("/signin/device/proof", { signature: base64(signed) });
  return answer.ok;
}
let busy = false;
async function look() {
  if (busy) return;
  busy = true;
  try {
    const answer = await fetch("/.postern/here", { cache: "no-store" });
    const now = await answer.json();
    const open = now.state !== "held" || (now.challenge && (await prove(now.challenge)));
    if (!open) location.assign("/signin/device");
  } catch {
    // no way through at the moment: the next look tells
  }
  busy = false;
}
if (here.dataset.watch) {
  if (here.dataset.key) register().catch(() => {});
  setInterval(look, EVERY);
  window.addEventListener("online", look);
  document.addEventListener("visibilitychange", look);
}
// The page is asked for anew when it has something to say, unless somebody is typing.
if (here.dataset.wait) {
  const again = () => {
    const typing = [...document.querySelectorAll("input:not([type=hidden])")].some((field) => field.value);
    if (typing) setTimeout(again, EVERY);
    else location.replace(location.pathname + "?glance");
  };
  setTimeout(again, Math.min(Number(here.dataset.wait) * 1000, 2000000000));
}
