// WebSockets over TLS: Node's `ws`, and a page over https in Debian's Chromium.
"use strict";

const assert = require("node:assert/strict");
const { execFileSync } = require("node:child_process");
const { mkdtempSync, readFileSync, rmSync, writeFileSync } = require("node:fs");
const { once } = require("node:events");
const { tmpdir } = require("node:os");
const { join } = require("node:path");
const { after, before, test } = require("node:test");
const WebSocket = require("ws");

const { withPage } = require("./browser.js");
const { DEADLINE, soon, startServer } = require("./program.js");

const CURVE = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];

let folder, server, authority;

// An authority, and a server with a certificate that it has signed.
before(async () => {
  folder = mkdtempSync(join(tmpdir(), "portal-wss-"));
  const file = (name) => join(folder, name);
  const openssl = (...rest) => execFileSync("openssl", rest, { stdio: "ignore" });
  authority = file("authority.pem");
  openssl("req", "-x509", ...CURVE, "-subj", "/CN=authority", "-days", "2", "-keyout", file("authority.key"), "-out",
    authority);
  openssl("req", ...CURVE, "-subj", "/CN=localhost", "-keyout", file("key.pem"), "-out", file("request.pem"));
  writeFileSync(file("names"), "subjectAltName=DNS:localhost");
  openssl("x509", "-req", "-in", file("request.pem"), "-CA", authority, "-CAkey", file("authority.key"),
    "-CAcreateserial", "-days", "2", "-extfile", file("names"), "-out", file("certificate.pem"));
  const settings = [`TLS_CERTIFICATE=${file("certificate.pem")}`, `TLS_KEY=${file("key.pem")}`];
  server = await startServer(process.env.SECURE_SERVER, settings);
});

after(async () => {
  await server?.stop();
  rmSync(folder, { recursive: true, force: true });
});

for (const perMessageDeflate of [true, false]) {
  test(`ws speaks to it, ${perMessageDeflate ? "with" : "without"} compression`, async () => {
    const url = `wss://localhost:${server.port}/`;
    const client = new WebSocket(url, { ca: readFileSync(authority), perMessageDeflate, maxPayload: 0 });
    await soon(once(client, "open"), "the handshake");
    assert.equal(client.extensions.includes("permessage-deflate"), perMessageDeflate);
    for (const size of [0, 1, 1000, 70_000, 5_000_000]) {
      const message = Buffer.alloc(size, "portal ");
      client.send(message);
      const [answer, isBinary] = await soon(once(client, "message"), "the echo");
      assert.ok(isBinary && message.equals(answer));
    }
    client.close(1000);
    const [code] = await soon(once(client, "close"), "the close");
    assert.equal(code, 1000);
  });
}

test("a page over https in Chromium talks over wss", async () => {
  await withPage(async (page) => {
    const session = await page.context().newCDPSession(page);
    await session.send("Network.enable");
    const received = new Promise((resolve) => session.once("Network.responseReceived", resolve));
    const answer = await page.goto(`https://localhost:${server.port}/`);
    assert.equal(answer.status(), 200);
    const { response } = await soon(received, "the response");
    assert.equal(response.securityDetails.keyExchangeGroup, "X25519MLKEM768");
    assert.equal(await page.title(), "secure");
    const heard = await page.evaluate((deadline) => new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error("nothing came")), deadline);
      const socket = new WebSocket(`wss://${location.host}/`);
      const words = "Grüße, 世界 👋 ".repeat(5000);
      socket.onopen = () => socket.send(words);
      let same = false;
      socket.onmessage = ({ data }) => {
        same = data === words;
        socket.close(1000);
      };
      socket.onclose = ({ code }) => {
        clearTimeout(late);
        resolve({ code, same, extensions: socket.extensions });
      };
    }), DEADLINE);
    assert.deepEqual([heard.code, heard.same], [1000, true]);
    assert.match(heard.extensions, /permessage-deflate/);
  }, authority);
});

test("a browser that does not know the authority does not talk", async () => {
  await withPage(async (page) => {
    await assert.rejects(page.goto(`https://localhost:${server.port}/`), /ERR_CERT_AUTHORITY_INVALID/);
  });
});
