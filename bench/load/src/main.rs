//! Clients that measure a WebSocket server, or check it. Prints figures as JSON.

mod broadcast;
mod client;
mod connection;
mod echo;
mod exchange;
mod figures;
mod frame;
mod handshake;
mod idle;
mod process;
mod soak;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use serde_json::Value;

use connection::{Protocol, Server};
use echo::Limit;
use exchange::Exchange;

#[derive(Parser)]
#[command(about)]
struct Command {
    #[command(subcommand)]
    mode: Mode,
}

#[derive(Subcommand)]
enum Mode {
    /// Sends messages and awaits their echoes.
    Echo {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        load: Load,
        /// The server sends each byte back as it is: speak no WebSocket.
        #[arg(long, conflicts_with = "deflate")]
        raw: bool,
        /// Compress, without context takeover: messages are JSON, and echoes must be compressed, too.
        #[arg(long)]
        deflate: bool,
    },
    /// One client says `--depth` messages at once, and all hear them, again and again.
    Broadcast {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        load: Load,
    },
    /// Clients connect, open a websocket and close it, again and again.
    Handshake {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        load: Load,
    },
    /// Clients that say nothing, and then one message each: what memory they take. Needs `--pid`.
    Idle {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        load: Load,
    },
    /// Exchanges messages of all sizes in all manners, and compares every byte.
    Soak {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        plan: soak::Plan,
    },
}

#[derive(Args)]
struct Target {
    /// Where the server listens, on 127.0.0.1.
    #[arg(long)]
    port: u16,
    /// The server's process, of which the processor time is told.
    #[arg(long)]
    pid: Option<i32>,
    /// Speak TLS and trust this PEM file.
    #[arg(long)]
    tls: Option<PathBuf>,
}

#[derive(Args)]
struct Load {
    #[arg(long, default_value_t = 64)]
    clients: usize,
    /// Bytes of a message.
    #[arg(long, default_value_t = 20)]
    size: usize,
    /// How many messages each client has under way.
    #[arg(long, default_value_t = 1)]
    depth: usize,
    /// Seconds before anything is measured.
    #[arg(long, default_value_t = 0.5)]
    warm_up: f64,
    /// Seconds that are measured.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Exchange so many messages instead, and measure from the first.
    #[arg(long)]
    messages: Option<u64>,
    /// Compare every byte of an echo, not only its header.
    #[arg(long)]
    verify: bool,
}

impl Target {
    fn server(&self, protocol: Protocol) -> io::Result<Server> {
        let tls = self.tls.as_deref().map(connection::tls).transpose()?;
        Ok(Server {
            port: self.port,
            protocol,
            tls,
        })
    }
}

impl Load {
    fn limit(&self) -> Limit {
        match self.messages {
            Some(count) => Limit::Messages(count),
            None => {
                let [warm_up, measured] = self.times();
                Limit::Time { warm_up, measured }
            }
        }
    }

    /// Warm-up and measurement.
    fn times(&self) -> [Duration; 2] {
        [self.warm_up, self.seconds].map(Duration::from_secs_f64)
    }

    fn exchange(&self) -> Exchange {
        Exchange::plain(self.size, self.depth, self.verify)
    }
}

fn main() -> ExitCode {
    match process::raise_open_files().and_then(|()| run(Command::parse().mode)) {
        Ok(figures) => {
            println!("{figures}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("bench-load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(mode: Mode) -> io::Result<Value> {
    match mode {
        Mode::Echo {
            target,
            load,
            raw,
            deflate,
        } => {
            let protocol = match (raw, deflate) {
                (true, _) => Protocol::Raw,
                (_, true) => Protocol::Deflate,
                _ => Protocol::WebSocket,
            };
            let server = target.server(protocol)?;
            let Load {
                size,
                depth,
                verify,
                ..
            } = load;
            let exchange = match protocol {
                Protocol::Raw => Exchange::raw(size, depth, verify),
                Protocol::Deflate => Exchange::compressed(&server, size, depth, verify)?,
                Protocol::WebSocket => load.exchange(),
            };
            echo::run(
                &server,
                exchange,
                load.clients,
                depth,
                load.limit(),
                target.pid,
            )
        }
        Mode::Broadcast { target, load } => {
            let server = target.server(Protocol::WebSocket)?;
            let exchange = load.exchange();
            broadcast::run(
                &server,
                exchange,
                load.clients,
                load.depth,
                load.times(),
                target.pid,
            )
        }
        Mode::Handshake { target, load } => {
            let server = target.server(Protocol::WebSocket)?;
            handshake::run(&server, load.clients, load.times(), target.pid)
        }
        Mode::Idle { target, load } => {
            let server = target.server(Protocol::WebSocket)?;
            let process = target
                .pid
                .ok_or_else(|| io::Error::other("--pid is missing"))?;
            idle::run(&server, load.clients, load.size, process)
        }
        Mode::Soak { target, plan } => soak::run(&target.server(Protocol::WebSocket)?, &plan),
    }
}
