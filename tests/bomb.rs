//! A compressed message that becomes a thousand times as large costs no more than the limit allows.

#![cfg(feature = "deflate")]
#![allow(unsafe_code)] // an allocator that counts

mod pair;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use flate2::{Compress, Compression, FlushCompress};
use portal::proto::{Extension, Limits, Opcode, ProtoError, agree};

use pair::{Seen, Server, frame, wire};

static IN_USE: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: `System` does the work; what is added touches no memory but the counters.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let in_use = IN_USE.fetch_add(layout.size(), Ordering::SeqCst) + layout.size();
        MOST.fetch_max(in_use, Ordering::SeqCst);
        // SAFETY: what the caller promises is what `System` asks.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Ordering::SeqCst);
        // SAFETY: what the caller promises is what `System` asks.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

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
            let before = IN_USE.load(Ordering::SeqCst);
            MOST.store(before, Ordering::SeqCst);
            for piece in wire.chunks(piece_len) {
                server.receive(piece);
            }
            assert_eq!(server.seen, [Seen::Failed(ProtoError::TooBig)]);
            let cost = MOST.load(Ordering::SeqCst) - before;
            println!("with takeover {takeover}, pieces of {piece_len}: {cost} bytes");
            assert!(cost < 4 * LIMIT);
        }
    }
}
