// Compression (permessage-deflate), as clients written with Node's `ws` see it.
"use strict";

const assert = require("node:assert/strict");
const { once } = require("node:events");
const { after, before, describe, test } = require("node:test");
const WebSocket = require("ws");

const { soon, startServer } = require("./program.js");

const OFFERS = [
  {},
  { serverNoContextTakeover: true },
  { clientNoContextTakeover: true },
  { serverMaxWindowBits: 9 },
  { serverMaxWindowBits: 15, clientMaxWindowBits: 9 },
  { serverNoContextTakeover: true, clientNoContextTakeover: true, serverMaxWindowBits: 10 },
];

// A client that compresses everything, as it says in `offer`.
async function connect(program, offer) {
  const socket = new WebSocket(`ws://localhost:${program.port}/`, {
    perMessageDeflate: { threshold: 0, ...offer },
  });
  await soon(once(socket, "open"), "the connection");
  return socket;
}

async function echo(socket, message) {
  const heard = once(socket, "message");
  socket.send(message);
  const [data, isBinary] = await soon(heard, "the echo");
  return isBinary ? data : data.toString();
}

for (const mode of [1, 2]) {
  describe(`a server with DEFLATE = ${mode}`, () => {
    let program;
    before(async () => {
      program = await startServer(process.env.ECHO_SERVER, ["0", String(mode)]);
    });
    after(() => program.stop());

    for (const offer of OFFERS) {
      test(`messages come back to a client that offers ${JSON.stringify(offer)}`, async () => {
        const socket = await connect(program, offer);
        try {
          assert.match(socket.extensions, /permessage-deflate/);
          for (let number = 0; number < 30; number++) {
            const text = `{"id":${number},"name":"Zoë 👋"},`.repeat(1 + number ** 2);
            assert.ok((await echo(socket, text)) === text);
            const data = Buffer.from(Array.from({ length: number ** 3 }, (_, at) => (at * at) >> 3));
            assert.ok(data.equals(await echo(socket, data)));
          }
        } finally {
          socket.terminate();
        }
      });
    }

    test("a message in fragments comes back whole", async () => {
      const socket = await connect(program, {});
      try {
        for (let round = 0; round < 3; round++) {
          const heard = once(socket, "message");
          for (let part = 0; part < 100; part++) {
            socket.send(`part ${part} of them all, `, { fin: part === 99 });
          }
          const [data] = await soon(heard, "the echo");
          const parts = Array.from({ length: 100 }, (_, part) => `part ${part} of them all, `);
          assert.equal(data.toString(), parts.join(""));
        }
      } finally {
        socket.terminate();
      }
    });
  });
}
