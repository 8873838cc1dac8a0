//! Clients that measure a WebSocket server, or check it. Prints figures as JSON.

mod connection;
mod echo;
mod exchange;
mod figures;
mod frame;
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
        #[arg(long)]
        raw: bool,
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
            None => Limit::Time {
                warm_up: Duration::from_secs_f64(self.warm_up),
                measured: Duration::from_secs_f64(self.seconds),
            },
        }
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
        Mode::Echo { target, load, raw } => {
            let (protocol, exchange) = if raw {
                (
                    Protocol::Raw,
                    Exchange::raw(load.size, load.depth, load.verify),
                )
            } else {
                (
                    Protocol::WebSocket,
                    Exchange::plain(load.size, load.depth, load.verify),
                )
            };
            let server = target.server(protocol)?;
            echo::run(
                &server,
                exchange,
                load.clients,
                load.depth,
                load.limit(),
                target.pid,
            )
        }
        Mode::Soak { target, plan } => soak::run(&target.server(Protocol::WebSocket)?, &plan),
    }
}
