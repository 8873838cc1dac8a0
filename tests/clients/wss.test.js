// WebSockets over TLS: Node's `ws`, and a page over https in Debian's Chromium.
"use strict";

const assert = require("node:assert/strict");
const { execFileSync } = require("node:child_process");
const { createHash, X509Certificate } = require("node:crypto");
const { mkdtempSync, readFileSync, rmSync } = require("node:fs");
const { once } = require("node:events");
const { tmpdir } = require("node:os");
const { join } = require("node:path");
const { after, before, test } = require("node:test");
const WebSocket = require("ws");

const { withPage } = require("./browser.js");
const { DEADLINE, soon, startServer } = require("./program.js");

let folder, server, certificate;

before(async () => {
  folder = mkdtempSync(join(tmpdir(), "portal-wss-"));
  const [file, key] = [join(folder, "certificate.pem"), join(folder, "key.pem")];
  execFileSync("openssl", [
    "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
    "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", file,
  ], { stdio: "ignore" });
  certificate = readFileSync(file);
  server = await startServer(process.env.SECURE_SERVER, [`TLS_CERTIFICATE=${file}`, `TLS_KEY=${key}`]);
});

after(async () => {
  await server?.stop();
  rmSync(folder, { recursive: true, force: true });
});

for (const perMessageDeflate of [true, false]) {
  test(`ws speaks to it, ${perMessageDeflate ? "with" : "without"} compression`, async () => {
    const url = `wss://localhost:${server.port}/`;
    const client = new WebSocket(url, { ca: certificate, perMessageDeflate, maxPayload: 0 });
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
  // Chromium trusts the certificate with this public key, whoever signed it.
  const key = new X509Certificate(certificate).publicKey.export({ type: "spki", format: "der" });
  const trusted = createHash("sha256").update(key).digest("base64");
  await withPage([`--ignore-certificate-errors-spki-list=${trusted}`], async (page) => {
    const answer = await page.goto(`https://localhost:${server.port}/`);
    assert.equal(answer.status(), 200);
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
  });
});
