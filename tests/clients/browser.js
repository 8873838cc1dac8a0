// Debian's Chromium, for one test at a time.
"use strict";

const { mkdtemp, rm } = require("node:fs/promises");
const { tmpdir } = require("node:os");
const { join } = require("node:path");
const { chromium } = require("playwright-core");

const { DEADLINE } = require("./program.js");

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

// Runs `use` with a page in a browser that has these flags and an empty profile of its own.
async function withPage(flags, use) {
  const profile = await mkdtemp(join(tmpdir(), "portal-chromium-"));
  try {
    const browser = await chromium.launchPersistentContext(profile, {
      executablePath: CHROMIUM,
      headless: true,
      args: [...FLAGS, ...flags],
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

module.exports = { withPage };
