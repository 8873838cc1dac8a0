// A server on Bun.

const [port, mode] = process.argv.slice(2);
const { BENCH_CERTIFICATE, BENCH_KEY } = process.env;
const MAX = 64 * 1024 * 1024;
const TOPIC = "all";
const compress = mode === "deflate";

const handlers = {
  echo: (websocket, message) => websocket.send(message, compress),
  broadcast: (websocket, message) => server.publish(TOPIC, message),
};
handlers.deflate = handlers.tls = handlers.echo;

const server = Bun.serve({
  hostname: "127.0.0.1",
  port: Number(port),
  tls: mode === "tls" ? { cert: Bun.file(BENCH_CERTIFICATE), key: Bun.file(BENCH_KEY) } : undefined,
  fetch(request, server) {
    if (!server.upgrade(request)) return new Response("a websocket is wanted", { status: 426 });
  },
  websocket: {
    // "shared" is what takes no context over.
    perMessageDeflate: compress && { compress: "shared", decompress: "shared" },
    maxPayloadLength: MAX,
    backpressureLimit: MAX,
    open(websocket) {
      if (mode === "broadcast") websocket.subscribe(TOPIC);
    },
    message: handlers[mode],
  },
});
console.log(`listening on ws://localhost:${server.port}/`);
