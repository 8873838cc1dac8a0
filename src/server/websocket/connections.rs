//! The table of a loop's connections.

use crate::net::{Token, memory};
use crate::proto::{Agreement, Deflater, Role, Session};
use crate::server::event::Target;
use crate::server::handshake::incoming_request::IncomingRequest;
use crate::server::handshake::paths;
use crate::server::id::{IdKind, id};
use crate::server::slot::{Freed, Slot, State};
use crate::server::websocket::client_queue::ClientQueue;
use crate::server::websocket::mailbox::Mail;
use crate::server::websocket::outbox::Outbox;
use crate::server::websocket::slot_arena::{Address, Chunk, SlotArena};

/// What phase of its life a connection is in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    /// No connection.
    #[default]
    Free,
    /// The request is being read.
    Opening,
    /// Of ours: the next attempt has not begun.
    Waiting,
    /// Of ours: there is no socket yet.
    Connecting,
    /// Of ours: the server has not answered.
    Answering,
    /// `upgrade` decides, on the client's own thread.
    Deciding,
    /// Messages are exchanged.
    Open,
    /// One side has closed; one of the two close frames is missing.
    Closing,
    /// The outbox holds the last bytes that we send.
    Finishing,
    /// Writing is shut down; what arrives is discarded until the peer ends its stream.
    Lingering,
    /// The socket is closed; `disconnect` is pending or running.
    Ended,
}

/// One connection. An idle websocket owns nothing but this and its slot.
#[derive(Default)]
pub(crate) struct Conn {
    pub session: Session,
    pub outbox: Option<Box<Outbox>>,
    pub extra: Option<Box<Extra>>,
    pub generation: u32,
    /// The path's number. In a free entry: the index of the next free one.
    pub path: u32,
    /// The tick in which bytes were last received.
    pub last_received_tick: u32,
    /// The tick in which the phase began; while Open, in which Portal last pinged. Starts again when the peer
    /// accepts bytes.
    pub phase_started_tick: u32,
    /// Bytes that the kernel has accepted, wrapping.
    pub sent_bytes: u32,
    pub phase: Phase,
    pub reading: Reading,
    pub writing: Writing,
    pub counted: Counted,
    /// Portal's own ping has not been answered.
    pub awaits_pong: bool,
    /// `connect` has run, or is about to: `disconnect` must follow.
    pub connected: bool,
}

/// How far reading from a connection is possible.
#[derive(Clone, Copy, Default)]
pub(crate) struct Reading {
    /// Nothing more is read: there is a backlog, or the send queue is above its low-water mark.
    pub paused: bool,
    /// Is in the loop's list of connections whose backlog is to be delivered.
    pub backlog_scheduled: bool,
    /// The peer has ended its stream.
    pub closed: bool,
}

/// How far writing to a connection is possible.
#[derive(Clone, Copy, Default)]
pub(crate) struct Writing {
    /// Is in the loop's list of connections to write to.
    pub scheduled: bool,
    /// The kernel accepts no more; the poller will report when it does.
    pub blocked: bool,
}

/// Where a connection is counted, and must be uncounted.
#[derive(Clone, Copy, Default)]
pub(crate) struct Counted {
    /// As a client of its path.
    pub for_path: bool,
    /// Against MAX_CONNECTIONS.
    pub for_limits: bool,
}

/// What a connection needs only temporarily.
#[derive(Default)]
pub(crate) struct Extra {
    pub incoming_request: Option<IncomingRequest>,
    /// The value of Sec-WebSocket-Accept, until `upgrade` has decided.
    pub accept: Option<[u8; 28]>,
    /// Input that waits until it may be delivered, from `backlog_from` on.
    pub backlog: Vec<u8>,
    pub backlog_from: usize,
    /// The payload of the newest ping, which is answered when the kernel accepts bytes again.
    pub pong: Option<Vec<u8>>,
    pub close_status: CloseStatus,
    /// Our close frame, until all that was sent before it is in the outbox.
    pub pending_close: Option<(Option<u16>, Vec<u8>)>,
    pub close_queued: bool,
    /// The tick in which the closing began; [`Conn::phase_started_tick`] may start again.
    pub closing_started_tick: u32,
    /// How many bytes the peer's system had acknowledged when it was last queried, wrapping.
    pub acknowledged: Option<u32>,
    /// The negotiated compression, until `upgrade` has decided.
    pub agreement: Option<Agreement>,
    /// The connection's own compressor, with context takeover; created for the first message that is worth
    /// compressing.
    pub deflater: Option<Box<Deflater>>,
    /// The queue to the client's own thread.
    pub client_queue: Option<ClientQueue>,
}

impl Extra {
    fn held_bytes(&self) -> usize {
        let head = self
            .incoming_request
            .as_ref()
            .map_or(0, |request| request.head.capacity());
        let deflater = self
            .deflater
            .as_ref()
            .map_or(0, |deflater| deflater.held_bytes());
        self.backlog.capacity() + head + deflater
    }
}

/// What `disconnect` receives.
#[derive(Default)]
pub(crate) struct CloseStatus {
    /// The code in the client's close frame; 1005 when it had none.
    pub received: Option<u16>,
    /// The code that Portal sent when it failed the connection.
    pub failed: Option<u16>,
    pub reason: Vec<u8>,
}

impl CloseStatus {
    pub(crate) fn code(&self) -> u16 {
        self.received.or(self.failed).unwrap_or(1006)
    }
}

impl Conn {
    pub(crate) fn extra(&mut self) -> &mut Extra {
        self.extra.get_or_insert_default()
    }

    /// Returns the bytes that are sent next, if the kernel may accept any.
    pub(crate) fn first_segment(&self) -> Option<&[u8]> {
        let outbox = self.outbox.as_ref().filter(|_| !self.writing.blocked)?;
        outbox.first_segment()
    }

    pub(crate) fn client_queue(&self) -> Option<&ClientQueue> {
        self.extra.as_ref()?.client_queue.as_ref()
    }

    /// Whether it is a connection of ours that the server has not accepted, and may still.
    pub(crate) fn is_unanswered(&self) -> bool {
        match self.phase {
            Phase::Waiting | Phase::Connecting | Phase::Answering => true,
            Phase::Deciding => self.session.role() == Role::Client,
            _ => false,
        }
    }

    /// Whether a frame whose bytes are counted may still be queued.
    #[inline]
    pub(crate) fn accepts_frames(&self) -> bool {
        self.phase == Phase::Open || self.phase == Phase::Closing && !self.has_queued_close()
    }

    /// Whether it was answered with a page, and nothing of the next request has arrived.
    pub(crate) fn is_idle_page(&self) -> bool {
        let extra = self.extra.as_ref();
        let request = extra.and_then(|extra| extra.incoming_request.as_ref());
        self.phase == Phase::Opening
            && self.outbox.is_none()
            && request.is_some_and(|request| request.has_served_page && request.head.is_empty())
    }

    /// Returns how many bytes of memory the connection holds for what is queued, received in part, and buffered.
    pub(crate) fn held_bytes(&self) -> usize {
        let outbox = self.outbox.as_ref().map_or(0, |outbox| outbox.held_bytes());
        let extra = self.extra.as_ref().map_or(0, |extra| extra.held_bytes());
        // What waits for the client's own thread is its own affair once the connection has ended.
        let is_served = matches!(self.phase, Phase::Deciding | Phase::Open | Phase::Closing);
        let queue = self.client_queue().filter(|_| is_served);
        self.session.held_bytes() + outbox + extra + queue.map_or(0, ClientQueue::held_bytes)
    }

    /// Whether our close frame has been queued.
    pub(crate) fn has_queued_close(&self) -> bool {
        self.extra.as_ref().is_some_and(|extra| extra.close_queued)
    }

    /// Enters the first of the phases that end the connection.
    pub(crate) fn begin_ending(&mut self, phase: Phase, now: u32) {
        self.phase = phase;
        self.phase_started_tick = now;
        let extra = self.extra();
        extra.closing_started_tick = now;
        extra.acknowledged = None;
    }

    /// Counts bytes that the kernel has accepted. For a page, and at the end of a connection, the timeout
    /// starts again with them.
    #[inline]
    pub(crate) fn note_sent(&mut self, count: usize, now: u32) {
        self.sent_bytes = self.sent_bytes.wrapping_add(count as u32);
        if self.phase != Phase::Open && count > 0 {
            self.phase_started_tick = now;
        }
    }

    /// Frees what an open, quiet websocket does not need.
    pub(crate) fn drop_idle_extra(&mut self) {
        let needed = self.extra.as_ref().is_some_and(|extra| {
            extra.incoming_request.is_some()
                || extra.backlog_from < extra.backlog.len()
                || extra.pong.is_some()
                || extra.deflater.is_some()
                || extra.client_queue.is_some()
                || extra.pending_close.is_some()
                || extra.close_queued
                || extra.acknowledged.is_some()
                || extra.close_status.received.is_some()
        });
        if !needed {
            self.extra = None;
        }
    }
}

/// The connections of a loop, and the slots by which other threads see them.
pub(crate) struct Conns {
    slot_arena: SlotArena,
    chunks: Vec<Box<[Conn; Chunk::SLOTS]>>,
    /// A linked list of free entries: the first one is used next.
    first_free: u32,
    last_free: u32,
    live: usize,
}

/// The end of the list of free entries.
const NO_INDEX: u32 = u32::MAX;

impl Conns {
    pub(crate) fn new() -> Self {
        Self {
            slot_arena: SlotArena::take(),
            chunks: Vec::new(),
            first_free: NO_INDEX,
            last_free: NO_INDEX,
            live: 0,
        }
    }

    /// Returns the token of the connection with this index, if there is one.
    pub(crate) fn token(&self, index: u32) -> Option<Token> {
        let at = index as usize;
        let conn = &self.chunks.get(at / Chunk::SLOTS)?[at % Chunk::SLOTS];
        (conn.phase != Phase::Free).then_some(Token {
            index,
            generation: conn.generation,
        })
    }

    pub(crate) fn slot_arena(&self) -> &SlotArena {
        &self.slot_arena
    }

    /// Returns the number of connections.
    pub(crate) fn live(&self) -> usize {
        self.live
    }

    /// Returns the number of groups of 256 entries; see [`Conns::group`].
    pub(crate) fn groups(&self) -> usize {
        self.chunks.len()
    }

    /// Returns the tokens of one group's connections.
    pub(crate) fn group(&self, group: usize) -> impl Iterator<Item = Token> + use<'_> {
        let first = (group * Chunk::SLOTS) as u32;
        let entries = self
            .chunks
            .get(group)
            .into_iter()
            .flat_map(|chunk| chunk.iter());
        entries
            .zip(first..)
            .filter(|(conn, _)| conn.phase != Phase::Free)
            .map(|(conn, index)| Token {
                index,
                generation: conn.generation,
            })
    }

    /// Adds a connection. Returns None when all ids of the process are in use, or memory is refused.
    pub(crate) fn insert(&mut self, conn: Conn) -> Option<Token> {
        let index = match self.pop_free() {
            Some(index) => index,
            None => {
                self.grow()?;
                self.pop_free()?
            }
        };
        let generation = self.slot(index).allocate();
        self.chunks[index as usize / Chunk::SLOTS][index as usize % Chunk::SLOTS] =
            Conn { generation, ..conn };
        self.live += 1;
        Some(Token { index, generation })
    }

    /// Adds a connection of ours, whose slot its opener has taken. Returns None when memory is refused.
    pub(crate) fn insert_outgoing(&mut self, token: Token, conn: Conn) -> Option<()> {
        let group = token.index as usize / Chunk::SLOTS;
        while self.chunks.len() <= group {
            let chunk = self.slot_arena.chunk(self.chunks.len())?;
            self.add_group(chunk)?;
        }
        *self.at(token.index) = Conn {
            generation: token.generation,
            ..conn
        };
        self.live += 1;
        Some(())
    }

    fn grow(&mut self) -> Option<()> {
        loop {
            let Some(chunk) = self.slot_arena.chunk(self.chunks.len()) else {
                self.slot_arena.grow()?;
                continue;
            };
            self.add_group(chunk)?;
            if chunk.role == Role::Server {
                return Some(());
            }
        }
    }

    /// Adds the entries for a chunk of slots.
    fn add_group(&mut self, chunk: &'static Chunk) -> Option<()> {
        let group = self.chunks.len();
        let mut entries = Vec::new();
        memory::try_reserve_exact(&mut entries, Chunk::SLOTS).ok()?;
        entries.resize_with(Chunk::SLOTS, Conn::default);
        memory::try_reserve(&mut self.chunks, 1).ok()?;
        self.chunks
            .push(entries.into_boxed_slice().try_into().ok()?);
        if chunk.role == Role::Client {
            return Some(());
        }
        let first = (group * Chunk::SLOTS) as u32;
        for (slot, index) in chunk.slots.iter().zip(first..) {
            if slot.word().state() == State::Closed {
                // A panic ended its loop while a message to it was under way.
                slot.free();
            }
            if slot.is_free() {
                self.push_free(index);
            }
        }
        Some(())
    }

    /// Returns the entry that has been free for the longest time.
    fn pop_free(&mut self) -> Option<u32> {
        let index = self.first_free;
        if index == NO_INDEX {
            return None;
        }
        self.first_free = self.at(index).path;
        if self.first_free == NO_INDEX {
            self.last_free = NO_INDEX;
        }
        Some(index)
    }

    fn push_free(&mut self, index: u32) {
        self.at(index).path = NO_INDEX;
        match self.last_free {
            NO_INDEX => self.first_free = index,
            last => self.at(last).path = index,
        }
        self.last_free = index;
    }

    fn at(&mut self, index: u32) -> &mut Conn {
        let index = index as usize;
        &mut self.chunks[index / Chunk::SLOTS][index % Chunk::SLOTS]
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, token: Token) -> Option<&mut Conn> {
        let index = token.index as usize;
        let conn = &mut self.chunks.get_mut(index / Chunk::SLOTS)?[index % Chunk::SLOTS];
        (conn.generation == token.generation && conn.phase != Phase::Free).then_some(conn)
    }

    pub(crate) fn get(&self, token: Token) -> Option<&Conn> {
        let index = token.index as usize;
        let conn = &self.chunks.get(index / Chunk::SLOTS)?[index % Chunk::SLOTS];
        (conn.generation == token.generation && conn.phase != Phase::Free).then_some(conn)
    }

    /// Returns the target of a connection's events.
    pub(crate) fn target(&self, token: Token) -> Option<Target> {
        Some(Target {
            websocket: self.id(token),
            token,
            role: self.address(token).role(),
            slot: self.slot(token.index),
            path: self.get(token)?.path,
        })
    }

    /// Returns a connection that is known to exist.
    #[inline]
    pub(crate) fn entry_mut(&mut self, token: Token) -> &mut Conn {
        self.at(token.index)
    }

    #[inline]
    pub(crate) fn slot(&self, index: u32) -> &'static Slot {
        let index = index as usize;
        &self.slot_arena.chunks[index / Chunk::SLOTS].slots[index % Chunk::SLOTS]
    }

    /// Returns where a websocket is found, which is or was here.
    #[inline]
    pub(crate) fn address(&self, token: Token) -> Address {
        let index = token.index as usize;
        let chunk = self.slot_arena.chunks[index / Chunk::SLOTS];
        Address {
            slot: &chunk.slots[index % Chunk::SLOTS],
            mailbox: self.slot_arena.mailbox,
            token,
        }
    }

    /// Returns the websocket's id.
    #[inline]
    pub(crate) fn id(&self, token: Token) -> u64 {
        let chunk = self.slot_arena.chunks[token.index as usize / Chunk::SLOTS].number;
        let slot = (chunk << 8) | (token.index % Chunk::SLOTS as u32);
        id(IdKind::Websocket, token.generation, slot)
    }

    /// Frees the entry of an ended connection. Returns false while another thread's mail to it is under way.
    pub(crate) fn remove(&mut self, token: Token) -> bool {
        if self.get(token).is_none() {
            return true;
        }
        let freed = self.slot(token.index).free();
        if freed == Freed::NotYet {
            return false;
        }
        let index = token.index as usize;
        self.chunks[index / Chunk::SLOTS][index % Chunk::SLOTS] = Conn::default();
        self.live -= 1;
        if freed == Freed::Free {
            match self.address(token).role() {
                Role::Server => self.push_free(token.index),
                Role::Client => self.slot_arena.shared.give_back_outgoing(token.index),
            }
        }
        true
    }
}

impl Drop for Conns {
    fn drop(&mut self) {
        // A loop that ends in order has no websocket, and no mail that counts for one. After a panic it may
        // have both, and the ids end here.
        let mails = self.slot_arena.mailbox.detach();
        for (token, cost) in mails.iter().filter_map(Mail::cost) {
            self.slot(token.index).release(cost, 0);
        }
        for mail in mails {
            if let Mail::Connect(new) = mail {
                let conn = Conn {
                    phase: Phase::Waiting,
                    ..Conn::default()
                };
                // Without memory its slot stays as it is.
                let _ = self.insert_outgoing(new.token, conn);
                paths::leave(new.path);
            }
        }
        for group in 0..self.groups() {
            for token in self.group(group).collect::<Vec<_>>() {
                let slot = self.slot(token.index);
                let _ = slot.advance(token.generation, State::Closed);
                let freed = slot.free();
                if freed == Freed::Free && self.address(token).role() == Role::Client {
                    self.slot_arena.shared.give_back_outgoing(token.index);
                }
            }
        }
        let empty = SlotArena {
            chunks: Vec::new(),
            ..self.slot_arena
        };
        std::mem::replace(&mut self.slot_arena, empty).give_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_connection_is_small() {
        assert!(size_of::<Conn>() <= 64, "{}", size_of::<Conn>());
    }
}
