//! Where the slots are, and how an id leads to one.
//!
//! Slots stand in chunks that are never freed, so a look-up is three loads and can meet a dead id, but
//! never dead memory. Chunks belong to a mailbox for ever; a mailbox and its chunks are lent to one loop
//! after the other.

use std::sync::{Mutex, MutexGuard};

use once_cell::sync::OnceCell;

use super::mailbox::Mailbox;
use crate::locks;
use crate::net::Token;
use crate::server::ServerError;
use crate::server::id::{IdKind, parts};
use crate::server::slot::{Slot, Word};

/// Slots of one loop.
pub(crate) struct Chunk {
    pub number: u32,
    /// Its place among the chunks of its mailbox.
    position: u32,
    pub mailbox: &'static Mailbox,
    pub slots: [Slot; Self::SLOTS],
}

impl Chunk {
    pub(crate) const SLOTS: usize = 256;
}

const ROW_CHUNKS: usize = 256;
type Row = Box<[OnceCell<Box<Chunk>>; ROW_CHUNKS]>;
static TABLE: [OnceCell<Row>; ROW_CHUNKS] = [const { OnceCell::new() }; ROW_CHUNKS];

/// Where a websocket is found that an id names, if it still lives.
#[derive(Clone, Copy)]
pub(crate) struct Address {
    pub slot: &'static Slot,
    pub mailbox: &'static Mailbox,
    /// Which connection of the mailbox's loop.
    pub token: Token,
}

/// Finds out where an id leads.
#[inline]
pub(crate) fn find(websocket: u64) -> Result<Address, ServerError> {
    let gone = ServerError::Gone;
    let (generation, number) = parts(IdKind::Websocket, websocket).ok_or(gone)?;
    let number = number as usize;
    let row = TABLE[number >> 16].get().ok_or(gone)?;
    let chunk = row[number >> 8 & 0xff].get().ok_or(gone)?;
    let place = number & 0xff;
    Ok(Address {
        slot: &chunk.slots[place],
        mailbox: chunk.mailbox,
        token: Token {
            index: chunk.position << 8 | place as u32,
            generation,
        },
    })
}

impl Address {
    /// What the slot's word says of this websocket.
    #[inline]
    pub(crate) fn live(&self) -> Result<Word, ServerError> {
        self.slot.live(self.token.generation)
    }
}

/// Bytes queued for all websockets of a mailbox's loop.
pub(crate) fn queued_of(mailbox: &Mailbox) -> u64 {
    let rows = TABLE.iter().map_while(OnceCell::get);
    let chunks = rows.flat_map(|row| row.iter().map_while(OnceCell::get));
    let ours = chunks.filter(|chunk| std::ptr::eq(chunk.mailbox, mailbox));
    ours.flat_map(|chunk| &chunk.slots)
        .map(|slot| slot.word().queued())
        .sum()
}

/// A mailbox and the chunks that belong to it for ever; lent to one loop after the other.
pub(crate) struct SlotArena {
    pub mailbox: &'static Mailbox,
    pub chunks: Vec<&'static Chunk>,
}

#[derive(Default)]
struct Arenas {
    chunks: u32,
    free: Vec<SlotArena>,
}

static ARENAS: Mutex<Arenas> = Mutex::new(Arenas {
    chunks: 0,
    free: Vec::new(),
});

fn arenas() -> MutexGuard<'static, Arenas> {
    locks::lock(&ARENAS)
}

impl SlotArena {
    /// Takes one that is free, or makes one.
    pub(crate) fn take() -> Self {
        arenas().free.pop().unwrap_or_else(|| Self {
            mailbox: Box::leak(Box::default()),
            chunks: Vec::new(),
        })
    }

    /// Adds a chunk; None when all 65,536 are in use.
    pub(crate) fn grow(&mut self) -> Option<&'static Chunk> {
        let number = {
            let mut arenas = arenas();
            let number = arenas.chunks;
            if number as usize == ROW_CHUNKS * ROW_CHUNKS {
                return None;
            }
            arenas.chunks += 1;
            number
        };
        let position = self.chunks.len() as u32;
        let row = TABLE[number as usize / ROW_CHUNKS]
            .get_or_init(|| Box::new([const { OnceCell::new() }; ROW_CHUNKS]));
        let chunk = row[number as usize % ROW_CHUNKS].get_or_init(|| {
            let slots = std::array::from_fn(|_| Slot::new());
            Box::new(Chunk {
                number,
                position,
                mailbox: self.mailbox,
                slots,
            })
        });
        self.chunks.push(chunk);
        Some(chunk)
    }

    /// Returns it for the next loop.
    pub(crate) fn give_back(self) {
        arenas().free.push(self);
    }
}
