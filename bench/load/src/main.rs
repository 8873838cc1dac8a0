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
        /// Do not speak WebSocket: the server sends each byte back unchanged.
        #[arg(long, conflicts_with = "deflate")]
        raw: bool,
        /// Compress, without context takeover. Messages are JSON; echoes must be compressed, too.
        #[arg(long)]
        deflate: bool,
    },
    /// One client repeatedly sends `--depth` messages at once, which all clients receive.
    Broadcast {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        load: Load,
    },
    /// Clients repeatedly connect, open a websocket and close it.
    Handshake {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        load: Load,
    },
    /// Measures the memory of idle clients, before and after one message each. Needs `--pid`.
    Idle {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        load: Load,
    },
    /// Exchanges messages of all sizes in many ways, and compares every byte.
    Soak {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        plan: soak::Plan,
    },
}

#[derive(Args)]
struct Target {
    /// The server's port on 127.0.0.1.
    #[arg(long)]
    port: u16,
    /// The server's process, whose processor time is reported.
    #[arg(long)]
    pid: Option<i32>,
    /// Use TLS and trust the certificate in this PEM file.
    #[arg(long)]
    tls: Option<PathBuf>,
}

#[derive(Args)]
struct Load {
    #[arg(long, default_value_t = 64)]
    clients: usize,
    /// Size of a message in bytes.
    #[arg(long, default_value_t = 20)]
    size: usize,
    /// Number of messages that each client has in flight.
    #[arg(long, default_value_t = 1)]
    depth: usize,
    /// Warm-up in seconds.
    #[arg(long, default_value_t = 0.5)]
    warm_up: f64,
    /// Measurement in seconds.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Exchange so many messages instead, without a warm-up.
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
