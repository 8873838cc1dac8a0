//! Where the slots are, and how an id leads to one.
//!
//! Slots stand in chunks that are never freed, so a look-up is three loads and can meet a dead id, but
//! never dead memory. Chunks belong to a mailbox for ever; a mailbox and its chunks are lent to one loop
//! after the other. The slots of clients are given out by the loop; those of our own connections to servers, which
//! have chunks of their own, by whoever connects.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};

use once_cell::sync::OnceCell;

use super::mailbox::Mailbox;
use crate::locks;
use crate::net::Token;
use crate::proto::Role;
use crate::server::ServerError;
use crate::server::id::{IdKind, id, parts};
use crate::server::slot::{Slot, Word};

/// Slots of one loop.
pub(crate) struct Chunk {
    pub number: u32,
    /// Its place among the chunks of its mailbox.
    position: u32,
    /// What we are to the peers of its connections.
    pub role: Role,
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
    Ok(chunk.address(place, generation))
}

impl Chunk {
    fn address(&'static self, place: usize, generation: u32) -> Address {
        Address {
            slot: &self.slots[place],
            mailbox: self.mailbox,
            token: Token {
                index: self.position << 8 | place as u32,
                generation,
            },
        }
    }
}

impl Address {
    /// What the slot's word says of this websocket.
    #[inline]
    pub(crate) fn live(&self) -> Result<Word, ServerError> {
        self.slot.live(self.token.generation)
    }

    /// Returns what we are to its peer.
    #[inline]
    pub(crate) fn role(&self) -> Role {
        match self.slot.max_queued() {
            0 => Role::Server,
            _ => Role::Client,
        }
    }

    /// MAX_QUEUED of this websocket.
    #[inline]
    pub(crate) fn max_queued(&self) -> u64 {
        match self.slot.max_queued() {
            0 => self.mailbox.max_queued(),
            own => own,
        }
    }

    /// At most so many bytes are queued when the peer is read from again, and `drain` is due.
    #[inline]
    pub(crate) fn low(&self) -> u64 {
        self.max_queued() / 2
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

/// The chunks of a mailbox, by their positions.
pub(crate) struct Chunks {
    mailbox: &'static Mailbox,
    list: Mutex<ChunkList>,
}

#[derive(Default)]
struct ChunkList {
    chunks: Vec<&'static Chunk>,
    /// Indices of slots that connections of ours may have.
    free: VecDeque<u32>,
}

impl Chunks {
    fn list(&self) -> MutexGuard<'_, ChunkList> {
        locks::lock(&self.list)
    }

    /// Gives a slot to a new connection of ours. Returns also its id; None when all ids of the process are in use.
    pub(crate) fn take_outgoing(&self) -> Option<(Address, u64)> {
        let mut list = self.list();
        if list.free.is_empty() {
            let first = self.add(&mut list, Role::Client)?.position << 8;
            list.free.extend(first..first + Chunk::SLOTS as u32);
        }
        let index = list.free.pop_front()? as usize;
        let (chunk, place) = (list.chunks[index / Chunk::SLOTS], index % Chunk::SLOTS);
        let generation = chunk.slots[place].allocate();
        let number = chunk.number << 8 | place as u32;
        let websocket = id(IdKind::Websocket, generation, number);
        Some((chunk.address(place, generation), websocket))
    }

    /// Takes back the slot of a connection of ours, whose generation has risen.
    pub(crate) fn give_back_outgoing(&self, index: u32) {
        self.list().free.push_back(index);
    }

    /// Adds a chunk; None when all 65,536 are in use.
    fn add(&self, list: &mut ChunkList, role: Role) -> Option<&'static Chunk> {
        let number = {
            let mut arenas = arenas();
            let number = arenas.chunks;
            if number as usize == ROW_CHUNKS * ROW_CHUNKS {
                return None;
            }
            arenas.chunks += 1;
            number
        };
        let position = list.chunks.len() as u32;
        let row = TABLE[number as usize / ROW_CHUNKS]
            .get_or_init(|| Box::new([const { OnceCell::new() }; ROW_CHUNKS]));
        let chunk = row[number as usize % ROW_CHUNKS].get_or_init(|| {
            let slots = std::array::from_fn(|_| Slot::new());
            Box::new(Chunk {
                number,
                position,
                role,
                mailbox: self.mailbox,
                slots,
            })
        });
        list.chunks.push(chunk);
        Some(chunk)
    }
}

/// A mailbox and the chunks that belong to it for ever; lent to one loop after the other.
pub(crate) struct SlotArena {
    pub mailbox: &'static Mailbox,
    pub shared: &'static Chunks,
    /// Those that a loop has seen.
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
        arenas().free.pop().unwrap_or_else(|| {
            let mailbox = Box::leak(Box::default());
            let list = Mutex::default();
            Self {
                mailbox,
                shared: Box::leak(Box::new(Chunks { mailbox, list })),
                chunks: Vec::new(),
            }
        })
    }

    /// Returns the chunk at a position, if there is one.
    pub(crate) fn chunk(&mut self, position: usize) -> Option<&'static Chunk> {
        if position >= self.chunks.len() {
            let list = self.shared.list();
            let seen = self.chunks.len();
            self.chunks.extend_from_slice(&list.chunks[seen..]);
        }
        self.chunks.get(position).copied()
    }

    /// Adds a chunk for clients; None when all 65,536 are in use.
    pub(crate) fn grow(&self) -> Option<()> {
        self.shared
            .add(&mut self.shared.list(), Role::Server)
            .map(|_| ())
    }

    /// Returns it for the next loop.
    pub(crate) fn give_back(self) {
        arenas().free.push(self);
    }
}
