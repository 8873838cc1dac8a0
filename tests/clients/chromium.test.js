// The echo program's page, opened and used in Debian's Chromium as a person would.
"use strict";

const assert = require("node:assert/strict");
const { test } = require("node:test");

const { withPage } = require("./browser.js");
const { startEcho } = require("./program.js");

test("a person connects on the page, types, and sees the echoes", async () => {
  const program = await startEcho();
  try {
    await withPage(async (page) => {
      const problems = [];
      page.on("pageerror", (error) => problems.push(error.message));
      page.on("console", (line) => line.type() === "error" && problems.push(line.text()));
      const heard = (words) => page.locator("#log .heard", { hasText: words }).waitFor();

      await page.goto(`http://localhost:${program.port}/`);
      await page.locator("#connect").click();
      await heard("Welcome to echo server.");

      const typed = "Grüße, 世界 👋";
      await page.locator("#text").fill(typed);
      await page.locator("#send").click();
      await heard(typed);

      await page.locator("#text").pressSequentially("and by the Enter key");
      await page.locator("#text").press("Enter");
      await heard("and by the Enter key");
      assert.deepEqual(problems, []);

      program.interrupt();
      await page.locator("#state", { hasText: "1001" }).waitFor();
    });
  } finally {
    await program.stop();
  }
});
