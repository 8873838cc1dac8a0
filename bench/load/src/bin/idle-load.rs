//! Opens websockets that say nothing and prints how much anonymous memory the server grew for each.

use std::io;
use std::net::Ipv4Addr;

use bench_load::{anonymous_memory, numbers, open};

/// So few from each source address that the system has ports enough.
const CLIENTS_PER_SOURCE: usize = 5_000;

fn main() -> io::Result<()> {
    let [port, process, fewer, more] = numbers("idle-load PORT PROCESS FEWER MORE");
    let port = u16::try_from(port).map_err(io::Error::other)?;
    let before = anonymous_memory(process as i32)?;

    let mut clients = Vec::new();
    for count in [fewer as usize, more as usize] {
        while clients.len() < count {
            clients.push(open(source(clients.len()), port)?);
        }
        let grown = anonymous_memory(process as i32)?.saturating_sub(before);
        println!(
            "{count} idle clients: {:.1} bytes each",
            grown as f64 / count as f64
        );
    }
    Ok(())
}

fn source(client: usize) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, 2 + (client / CLIENTS_PER_SOURCE) as u8)
}
