// What of Grafana a proxy gets wrong: the person comes in a field (auth.proxy), Live is a WebSocket whose Origin must be
// the host that was asked for, and everything else is JSON behind one page.
import express from "express";
import { WebSocketServer } from "ws";

const app = express();
const person = (request) => request.headers["x-webauth-user"];

app.get("/api/health", (_, answer) => answer.json({ database: "ok", version: "0" }));
app.use((request, answer, next) => (person(request) ? next() : answer.redirect(302, "/login")));
app.get("/api/user", (request, answer) =>
  answer.json({ login: person(request), groups: request.headers["x-webauth-groups"] }),
);
app.post("/api/ds/query", express.json(), (request, answer) =>
  answer.json({ results: { A: { frames: [request.body.queries.length] } } }),
);
app.get("/public/build/app.js", (_, answer) =>
  answer.type("text/javascript").send(`
    const show = (id, text) => (document.getElementById(id).textContent = text);
    fetch("/api/user").then((a) => a.json()).then((me) => show("who", me.login + " of " + me.groups));
    fetch("/api/ds/query", { method: "POST", headers: { "content-type": "application/json" },
      body: JSON.stringify({ queries: [{ refId: "A" }, { refId: "B" }] }) })
      .then((a) => a.json()).then((found) => show("found", "frames " + found.results.A.frames[0]));
    const live = new WebSocket("wss://" + location.host + "/api/live/ws");
    live.onmessage = (message) => show("live", "tick " + JSON.parse(message.data).tick);
    live.onclose = () => show("live", "closed");
  `),
);
app.get("/{*rest}", (_, answer) =>
  answer.send(`<!doctype html><html lang="en"><title>Graphs</title>
    <p id="who"></p><p id="found"></p><p id="live"></p><script src="/public/build/app.js"></script></html>`),
);

const server = app.listen(Number(process.env.PORT), "127.0.0.1");
const live = new WebSocketServer({ noServer: true });
server.on("upgrade", (request, socket, head) => {
  const origin = request.headers.origin;
  const own = origin && new URL(origin).host === request.headers.host;
  if (!person(request) || !own || request.url !== "/api/live/ws") {
    socket.end("HTTP/1.1 403 Forbidden\r\nContent-Length: 18\r\nConnection: close\r\n\r\norigin not allowed");
    return;
  }
  live.handleUpgrade(request, socket, head, (peer) => {
    let tick = 0;
    const timer = setInterval(() => peer.send(JSON.stringify({ tick: (tick += 1) })), 100);
    peer.on("close", () => clearInterval(timer));
  });
});
