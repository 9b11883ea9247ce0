// The app under test, on Node's own http server as its documentation ends it: server.close() at SIGTERM, and
// closeAllConnections() when the time is over. `node server.js linger` ends as examples/node/server.js does.
"use strict";
const { execFile } = require("node:child_process");
const fs = require("node:fs");
const http = require("node:http");
const net = require("node:net");

const until = Date.now() + Number(process.env.CONFORM_BOOT || 0) * 1000;
while (Date.now() < until); // loading takes its time
if (process.env.CONFORM_BROKEN) throw new Error("the app cannot load, as it was told to");

const later = (seconds, then) => setTimeout(then, seconds * 1000);
const [LINGER, STREAMS] = [process.env.GAPLESS_LINGER || 35, process.env.GAPLESS_STREAMS || 300];
const BACKLOG = 3000; // the socket's: Node calls listen(2) again
let lingering = false;

const limits = { connectionsCheckingInterval: 500 };
if (process.env.GAPLESS_HEAD_TIMEOUT) limits.headersTimeout = Number(process.env.GAPLESS_HEAD_TIMEOUT) * 1000;

const server = http.createServer(limits, (request, response) => {
  const [path, query] = request.url.split("?");
  const seconds = Number(query || 0);
  response.setHeader("gapless-release", process.env.GAPLESS_RELEASE || "");
  if (lingering) response.setHeader("Connection", "close");
  if (path === "/slow") later(seconds, () => response.end("ok"));
  else if (path === "/echo") {
    const parts = [];
    request.on("data", (part) => parts.push(part));
    request.on("end", () => response.end(Buffer.concat(parts)));
  } else if (path === "/large") response.end(Buffer.alloc(8 << 20, "x"));
  else if (path === "/begin") {
    response.write("begun ");
    later(seconds, () => response.end("ok"));
  } else if (path === "/events") {
    response.write("data: tick\n\n");
    const ticks = setInterval(() => response.write("data: tick\n\n"), 100);
    response.on("close", () => clearInterval(ticks));
  } else if (path === "/after") {
    response.end("ok");
    later(seconds, () => fs.writeSync(1, "after: done\n"));
  } else {
    response.statusCode = path === "/" ? 200 : 404;
    response.end("ok");
  }
});

server.listen({ fd: 3 }, BACKLOG, () => {
  if (process.env.NOTIFY_SOCKET) execFile("systemd-notify", ["--ready"], () => {});
});
process.on("SIGTERM", () => {
  if (process.argv[2] === "linger") {
    lingering = true;
    net.Server.prototype.close.call(server);
    later(LINGER, () => server.closeIdleConnections()).unref();
  } else server.close();
  later(STREAMS, () => server.closeAllConnections()).unref();
});
