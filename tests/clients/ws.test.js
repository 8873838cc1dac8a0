// The echo program, as clients written with Node's `ws` see it.
"use strict";

const assert = require("node:assert/strict");
const { once } = require("node:events");
const { after, before, describe, test } = require("node:test");
const WebSocket = require("ws");

const { soon, startEcho } = require("./program.js");

const GREETING = "Welcome to echo server.";
const MIB = 1024 * 1024;
const SIZES = [0, 1, 125, 126, 65_535, 65_536, MIB, 15 * MIB];

// A client that keeps what it hears until it is asked for.
class Client {
  constructor(program, path = "/echo") {
    this.socket = new WebSocket(`ws://localhost:${program.port}${path}`);
    this.inbox = [];
    this.closed = new Promise((resolve) => {
      this.socket.on("close", (code, reason) => resolve({ code, reason: reason.toString() }));
    });
    this.socket.on("error", () => {}); // a close always follows
    this.socket.on("message", (data, isBinary) => {
      this.inbox.push(isBinary ? data : data.toString());
      this.socket.emit("heard");
    });
  }

  async next() {
    while (this.inbox.length === 0) {
      await soon(once(this.socket, "heard"), "a message");
    }
    return this.inbox.shift();
  }

  end() {
    return soon(this.closed, "the close");
  }

  async close(code, reason) {
    this.socket.close(code, reason);
    return this.end();
  }
}

async function withClient(program, use) {
  const client = new Client(program);
  try {
    assert.equal(await client.next(), GREETING);
    await use(client);
  } finally {
    client.socket.terminate();
  }
}

// ASCII and characters of two, three and four bytes, `size` bytes in all.
function textOf(size) {
  const words = "Grüße, 世界 👋 ";
  const length = Buffer.byteLength(words);
  return words.repeat(Math.floor(size / length)) + ".".repeat(size % length);
}

// Many byte values in turn, `size` bytes in all.
function bytesOf(size) {
  return Buffer.alloc(size, Buffer.from(Array.from({ length: 251 }, (_, value) => value)));
}

describe("clients of one server", () => {
  let program;
  before(async () => {
    program = await startEcho();
  });
  after(() => program.stop());

  const withOne = (name, use) => test(name, () => withClient(program, use));

  withOne("a client is greeted", async () => {});

  for (const size of SIZES) {
    withOne(`text of ${size} bytes comes back`, async (client) => {
      const text = textOf(size);
      client.socket.send(text);
      assert.ok((await client.next()) === text);
    });
    withOne(`binary of ${size} bytes comes back`, async (client) => {
      const data = bytesOf(size);
      client.socket.send(data);
      assert.ok(data.equals(await client.next()));
    });
  }

  withOne("messages come back in order", async (client) => {
    const texts = Array.from({ length: 1000 }, (_, number) => `message ${number}`);
    texts.forEach((text) => client.socket.send(text));
    for (const text of texts) {
      assert.equal(await client.next(), text);
    }
  });

  withOne("a message in fragments comes back whole", async (client) => {
    const data = bytesOf(100_000);
    for (let at = 0; at < data.length; at += 999) {
      client.socket.send(data.subarray(at, at + 999), { fin: at + 999 >= data.length });
    }
    assert.ok(data.equals(await client.next()));
  });

  withOne("a ping between two fragments is answered at once", async (client) => {
    client.socket.send("before ", { fin: false });
    const answered = once(client.socket, "pong");
    client.socket.ping("are you there?");
    const [payload] = await soon(answered, "the pong");
    assert.equal(payload.toString(), "are you there?");
    client.socket.send("and after", { fin: true });
    assert.equal(await client.next(), "before and after");
  });

  for (const code of [1000, 1001, 1011, 3000, 4999]) {
    withOne(`a close with ${code} is answered with ${code}`, async (client) => {
      assert.equal((await client.close(code, "bye")).code, code);
    });
  }

  withOne("text that is not UTF-8 closes with 1007", async (client) => {
    client.socket.send(Buffer.from([0x63, 0xe9]), { binary: false });
    assert.equal((await client.end()).code, 1007);
  });

  withOne("a message that is too long closes with 1009", async (client) => {
    client.socket.send(Buffer.alloc(16 * MIB + 1));
    assert.equal((await client.end()).code, 1009);
  });

  test("an unknown path is refused with 404", async () => {
    const { socket } = new Client(program, "/nowhere");
    const [, response] = await soon(once(socket, "unexpected-response"), "the refusal");
    assert.equal(response.statusCode, 404);
    response.destroy();
  });

  test("each of many clients hears its own messages", async () => {
    const talk = (_, name) =>
      withClient(program, async (client) => {
        for (let number = 0; number < 50; number++) {
          const text = `client ${name}, message ${number}`;
          client.socket.send(text);
          assert.equal(await client.next(), text);
        }
      });
    await Promise.all(Array.from({ length: 200 }, talk));
  });
});

test("Ctrl-C closes every client with 1001", async () => {
  const program = await startEcho();
  try {
    const clients = Array.from({ length: 100 }, () => new Client(program));
    for (const client of clients) {
      assert.equal(await client.next(), GREETING);
    }
    program.interrupt();
    for (const client of clients) {
      assert.equal((await client.end()).code, 1001);
    }
    assert.equal(await program.exitStatus(), 0);
  } finally {
    await program.stop();
  }
});
