//! The server's memory per idle client, before and after its first message.

use std::io;

use serde_json::{Value, json};

use crate::connection::Server;
use crate::echo::Load;
use crate::exchange::Exchange;
use crate::process::memory;

pub fn run(server: &Server, clients: usize, size: usize, process: i32) -> io::Result<Value> {
    let exchange = || Exchange::plain(size, 1, true);
    // The fixed cost of serving is not counted as the clients'.
    Load::open(server, exchange(), 1)?.exchange(1, 1)?;

    let before = memory(process)?;
    let mut load = Load::open(server, exchange(), clients)?;
    let silent = memory(process)?;
    load.exchange(clients as u64, 1)?;
    let spoken = memory(process)?;

    let each = |after: u64, before: u64| after.saturating_sub(before) as f64 / clients as f64;
    Ok(json!({
        "thing": "client",
        "count": clients,
        "server": {
            "anonymous_bytes_before": each(silent[0], before[0]),
            "anonymous_bytes_after": each(spoken[0], before[0]),
            "resident_bytes": spoken[1],
        },
    }))
}
