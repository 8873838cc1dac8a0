// A server on Node and its `ws` package.
"use strict";

const fs = require("node:fs");
const http = require("node:http");
const https = require("node:https");
const { WebSocketServer } = require("ws");

const [port, mode] = process.argv.slice(2);
const { BENCH_CERTIFICATE, BENCH_KEY } = process.env;

const server = mode === "tls"
  ? https.createServer({ cert: fs.readFileSync(BENCH_CERTIFICATE), key: fs.readFileSync(BENCH_KEY) })
  : http.createServer();

const websockets = new WebSocketServer({
  server,
  perMessageDeflate: mode === "deflate" && {
    serverNoContextTakeover: true,
    clientNoContextTakeover: true,
    threshold: 0,
  },
});

const handlers = {
  echo: (websocket, message, binary) => websocket.send(message, { binary }),
  broadcast(websocket, message, binary) {
    for (const client of websockets.clients) client.send(message, { binary });
  },
};
handlers.deflate = handlers.tls = handlers.echo;

websockets.on("connection", (websocket) => {
  websocket.on("error", console.error);
  websocket.on("message", (message, binary) => handlers[mode](websocket, message, binary));
});
server.listen(Number(port), "127.0.0.1", () => {
  console.log(`listening on ws://localhost:${server.address().port}/`);
});
