//! A compressed message that becomes a thousand times as large costs no more than the limit allows.

#![cfg(feature = "deflate")]
#![allow(unsafe_code, reason = "a limit of the system's")]

mod pair;

use flate2::{Compress, Compression, FlushCompress};
use portal::proto::{Extension, Limits, Opcode, ProtoError, agree};

use pair::{Seen, Server, frame, wire};

/// From now on the system gives this process so many bytes more than it has.
fn allow_no_more_than(more: usize) {
    let status = std::fs::read_to_string("/proc/self/status").expect("proc is there");
    let data = status.lines().find_map(|line| line.strip_prefix("VmData:"));
    let data = data.and_then(|data| data.trim().strip_suffix(" kB"));
    let data: u64 = data
        .and_then(|data| data.parse().ok())
        .expect("the size of this process's data");
    let limit = libc::rlimit {
        rlim_cur: data * 1024 + more as u64,
        rlim_max: libc::RLIM_INFINITY,
    };
    // SAFETY: the limit is read until the call returns.
    let set = unsafe { libc::setrlimit(libc::RLIMIT_DATA, &raw const limit) };
    assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
}

#[test]
fn a_bomb_is_cut_off_at_the_limit_and_costs_less_than_four_times_that() {
    const LIMIT: usize = 1 << 20;
    let limits = Limits {
        max_message_size: LIMIT,
        max_fragments: 8,
    };
    let mut bomb = Vec::with_capacity(1 << 20);
    Compress::new(Compression::best(), false)
        .compress_vec(&vec![0; 64 * LIMIT], &mut bomb, FlushCompress::Sync)
        .expect("good input");
    assert!(bomb.len() < 64 * LIMIT / 1000, "a thousand to one");
    let mut frame = frame(true, Opcode::Binary, &bomb);
    frame.first |= 0x40;
    let wire = wire(&[frame]);

    for takeover in [false, true] {
        for piece_len in [wire.len(), 1] {
            let offer = Extension {
                name: "permessage-deflate".to_owned(),
                parameters: Vec::new(),
            };
            let mut server = Server::with_agreement(&limits, agree(&[offer], takeover));
            allow_no_more_than(4 * LIMIT);
            for piece in wire.chunks(piece_len) {
                server.receive(piece);
            }
            // Lest a failure cannot be told.
            allow_no_more_than(1 << 40);
            assert_eq!(server.seen, [Seen::Failed(ProtoError::TooBig)]);
        }
    }
}
