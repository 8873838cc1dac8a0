//! Keeps an echo server busy and prints what a message costs it in processor time, in nanoseconds.
//!
//! Each client has `depth` messages under way: as many as come back are sent again, in one write. The
//! frames are made and masked beforehand, and every byte that comes back is compared.

use std::io::{self, ErrorKind, Read, Write};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use bench_load::{DEADLINE, numbers, open, processor_time};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

const WARM_UP: Duration = Duration::from_millis(300);

fn main() -> io::Result<()> {
    let [port, process, clients, depth, bytes, milliseconds] =
        numbers("echo-load PORT PROCESS CLIENTS DEPTH BYTES MILLISECONDS");
    let port = u16::try_from(port).map_err(io::Error::other)?;
    let mut load = Load::start(port, clients as usize, depth as usize, bytes as usize)?;

    load.run_for(WARM_UP)?;
    let before = processor_time(process as i32)?;
    let messages = load.run_for(Duration::from_millis(milliseconds.into()))?;
    let spent = processor_time(process as i32)? - before;
    println!("{:.0}", spent.as_nanos() as f64 / messages as f64);
    Ok(())
}

struct Load {
    poll: Poll,
    clients: Vec<Client>,
    /// `depth` masked frames, one after another.
    outgoing: Vec<u8>,
    /// The frame that the server answers each of them with.
    echo: Vec<u8>,
    depth: usize,
}

struct Client {
    stream: TcpStream,
    /// How much of the next echo has come.
    heard: usize,
}

impl Load {
    fn start(port: u16, clients: usize, depth: usize, bytes: usize) -> io::Result<Load> {
        let payload: Vec<u8> = (b'a'..=b'z').cycle().take(bytes).collect();
        let poll = Poll::new()?;
        let clients = (0..clients)
            .map(|index| {
                let stream = open(Ipv4Addr::LOCALHOST, port)?;
                stream.set_nonblocking(true)?;
                let mut stream = TcpStream::from_std(stream);
                poll.registry()
                    .register(&mut stream, Token(index), Interest::READABLE)?;
                Ok(Client { stream, heard: 0 })
            })
            .collect::<io::Result<_>>()?;
        let outgoing = (0..depth)
            .flat_map(|index| masked_frame(&payload, index as u32))
            .collect();
        let mut load = Load {
            poll,
            clients,
            outgoing,
            echo: frame(&payload, None),
            depth,
        };
        for index in 0..load.clients.len() {
            load.send(index, depth)?;
        }
        Ok(load)
    }

    /// Answers echoes with messages for that long; returns how many echoes came.
    fn run_for(&mut self, time: Duration) -> io::Result<u64> {
        let end = Instant::now() + time;
        let mut events = Events::with_capacity(1024);
        let mut buffer = vec![0; 256 * 1024];
        let mut messages = 0;
        while Instant::now() < end {
            self.poll.poll(&mut events, Some(DEADLINE))?;
            if events.is_empty() {
                return Err(io::Error::new(ErrorKind::TimedOut, "no echo came"));
            }
            for event in &events {
                let index = event.token().0;
                let echoes = self.read_all(index, &mut buffer)?;
                self.send(index, echoes)?;
                messages += echoes as u64;
            }
        }
        Ok(messages)
    }

    /// Reads what has come for a client; returns the number of whole echoes.
    fn read_all(&mut self, index: usize, buffer: &mut [u8]) -> io::Result<usize> {
        let client = &mut self.clients[index];
        let mut echoes = 0;
        loop {
            match client.stream.read(buffer) {
                Ok(0) => {
                    return Err(io::Error::new(
                        ErrorKind::UnexpectedEof,
                        "the server hung up",
                    ));
                }
                Ok(taken) => {
                    echoes += client.check(&buffer[..taken], &self.echo)?;
                    if taken < buffer.len() && echoes >= self.depth {
                        return Ok(echoes);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(echoes),
                Err(error) => return Err(error),
            }
        }
    }

    fn send(&mut self, index: usize, count: usize) -> io::Result<()> {
        let length = self.outgoing.len() / self.depth * count;
        self.clients[index]
            .stream
            .write_all(&self.outgoing[..length])
    }
}

impl Client {
    /// Compares what came with the echoes that are due; returns how many are whole now.
    fn check(&mut self, mut input: &[u8], echo: &[u8]) -> io::Result<usize> {
        let mut echoes = 0;
        while !input.is_empty() {
            let due = &echo[self.heard..];
            let length = due.len().min(input.len());
            if input[..length] != due[..length] {
                return Err(io::Error::new(
                    ErrorKind::InvalidData,
                    "an echo differs from its message",
                ));
            }
            input = &input[length..];
            self.heard += length;
            if self.heard == echo.len() {
                self.heard = 0;
                echoes += 1;
            }
        }
        Ok(echoes)
    }
}

fn masked_frame(payload: &[u8], index: u32) -> Vec<u8> {
    frame(
        payload,
        Some((index + 1).wrapping_mul(0x9e37_79b9).to_be_bytes()),
    )
}

/// A text frame as a client (with a key) or a server (without) sends it.
fn frame(payload: &[u8], key: Option<[u8; 4]>) -> Vec<u8> {
    let masked = if key.is_some() { 0x80 } else { 0 };
    let mut frame = vec![0x81];
    match payload.len() {
        length @ ..126 => frame.push(masked | length as u8),
        length @ 126..0x1_0000 => {
            frame.push(masked | 126);
            frame.extend((length as u16).to_be_bytes());
        }
        length => {
            frame.push(masked | 127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    let key = key.inspect(|key| frame.extend(key)).unwrap_or_default();
    frame.extend(
        payload
            .iter()
            .zip(key.iter().cycle())
            .map(|(byte, key)| byte ^ key),
    );
    frame
}
