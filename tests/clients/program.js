// Starts a server program, reads the address that it prints, and stops it as Ctrl-C would.
"use strict";

const assert = require("node:assert/strict");
const { spawn } = require("node:child_process");
const { once } = require("node:events");
const { createInterface } = require("node:readline");

const DEADLINE = 120_000; // milliseconds, for everything that should take a moment

class Program {
  constructor(command, args) {
    this.process = spawn(command, args, { stdio: ["ignore", "pipe", "inherit"] });
    this.exited = once(this.process, "exit");
    this.exited.catch(() => {}); // whoever waits for it hears of it
  }

  // Waits for the line `listening on ws://localhost:PORT/PATH`.
  async readPort() {
    const lines = createInterface({ input: this.process.stdout });
    const [line] = await soon(once(lines, "line"), "the program's address");
    const found = /^listening on ws:\/\/localhost:(\d+)\/\S*$/.exec(line);
    assert.ok(found, `the program printed ${JSON.stringify(line)} instead of its address`);
    this.port = Number(found[1]);
  }

  // What Ctrl-C does; returns at once.
  interrupt() {
    this.process.kill("SIGINT");
  }

  async exitStatus() {
    const [status] = await soon(this.exited, "the program's end");
    return status;
  }

  // Ends the program in order, or by force when that fails.
  async stop() {
    try {
      this.interrupt();
      assert.equal(await this.exitStatus(), 0);
    } finally {
      this.process.kill("SIGKILL");
    }
  }
}

// The program that ECHO_PROGRAM names, ready for clients. Who starts it stops it.
function startEcho() {
  return startServer(process.env.ECHO_PROGRAM, ["0"]);
}

// Any such program.
async function startServer(command, args) {
  const program = new Program(command, args);
  try {
    await program.readPort();
  } catch (error) {
    program.process.kill("SIGKILL");
    throw error;
  }
  return program;
}

// The promise's outcome, or a failure that says what did not come.
async function soon(promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${DEADLINE} ms for ${what}`)), DEADLINE);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

module.exports = { DEADLINE, soon, startEcho, startServer };
