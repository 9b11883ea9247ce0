"use strict";
const { execFile } = require("node:child_process");
const http = require("node:http");
const net = require("node:net");

const LINGER = Number(process.env.GAPLESS_LINGER || 35) * 1000; // [drain] linger
const STREAMS = Number(process.env.GAPLESS_STREAMS || 300) * 1000; // [drain] streams
let draining = false;

const server = http.createServer((request, response) => {
  if (draining) response.setHeader("Connection", "close"); // its client opens its next connection: to the new release
  response.setHeader("gapless-release", process.env.GAPLESS_RELEASE || "");
  response.end(request.url === "/health" ? "ok\n" : "hello\n");
});
server.keepAliveTimeout = 60_000; // longer than the proxy in front keeps connections; Node's own is 5 s

// Descriptor 3 is the held socket (LISTEN_FDS). Without it, an ordinary address: for local work.
server.listen(process.env.LISTEN_FDS ? { fd: 3 } : { port: 8000, host: "127.0.0.1" }, () => {
  if (!process.env.NOTIFY_SOCKET) return;
  execFile("systemd-notify", ["--ready"], (error) => {
    if (error) throw error;
  });
});

process.on("SIGTERM", () => {
  if (draining) return;
  draining = true;
  // Not http's own close(): that closes idle connections at once, and a request may just be under way on one.
  net.Server.prototype.close.call(server);
  setTimeout(() => server.closeIdleConnections(), LINGER).unref();
  setTimeout(() => server.closeAllConnections(), STREAMS).unref();
});
