// Debian's Chromium, for one test at a time.
"use strict";

const { execFileSync } = require("node:child_process");
const { mkdtemp, mkdir, rm } = require("node:fs/promises");
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

// Runs `use` with a page in a browser that has an empty profile and a home of its own. It trusts the
// authority whose certificate is in that file, if there is one.
async function withPage(use, authority) {
  const profile = await mkdtemp(join(tmpdir(), "portal-chromium-"));
  try {
    if (authority) {
      const database = join(profile, ".pki/nssdb");
      const certutil = (...rest) => execFileSync("certutil", ["-d", `sql:${database}`, ...rest]);
      await mkdir(database, { recursive: true });
      certutil("-N", "--empty-password");
      certutil("-A", "-n", "authority", "-t", "C,,", "-i", authority);
    }
    const browser = await chromium.launchPersistentContext(profile, {
      executablePath: CHROMIUM,
      headless: true,
      args: FLAGS,
      env: { ...process.env, HOME: profile },
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
