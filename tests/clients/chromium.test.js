// The echo program's page, opened and used in Debian's Chromium as a person would.
"use strict";

const assert = require("node:assert/strict");
const { mkdtemp, rm } = require("node:fs/promises");
const { tmpdir } = require("node:os");
const { join } = require("node:path");
const { test } = require("node:test");
const { chromium } = require("playwright-core");

const { DEADLINE, startEcho } = require("./program.js");

const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
const FLAGS = [
  "--no-sandbox", // Chromium does not start as root with it
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

// Runs `use` with a page in a browser that has an empty profile of its own.
async function withPage(use) {
  const profile = await mkdtemp(join(tmpdir(), "portal-chromium-"));
  try {
    const browser = await chromium.launchPersistentContext(profile, {
      executablePath: CHROMIUM,
      headless: true,
      args: FLAGS,
      timeout: 3 * DEADLINE,
    });
    try {
      browser.setDefaultTimeout(DEADLINE);
      await use(await browser.newPage());
    } finally {
      await browser.close();
    }
  } finally {
    await rm(profile, { recursive: true, force: true });
  }
}

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
