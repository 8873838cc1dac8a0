//! A loop's connections.

use crate::net::{Peer, Token, memory};
use crate::proto::{Agreement, Deflater, HeadScanner, Refusal, Session, TLS_HANDSHAKE};
use crate::server::event::Target;
use crate::server::slot::{Freed, IdKind, Slot, State, id};
use crate::server::websocket::client_thread::ClientQueue;
use crate::server::websocket::mailbox::Mail;
use crate::server::websocket::outbox::Outbox;
use crate::server::websocket::slot_arena::{Chunk, SlotArena};

/// Where a connection stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    /// No connection.
    #[default]
    Free,
    /// The request is being read.
    Opening,
    /// `upgrade` decides, on a thread of the client's own.
    Deciding,
    /// Messages flow.
    Open,
    /// Our close frame is queued; the client's has not come.
    Closing,
    /// What is queued is the last that we say.
    Finishing,
    /// We have shut down writing, and read on until the client ends.
    Lingering,
    /// The socket is closed; `disconnect` is due or runs.
    Ended,
}

/// One connection. An idle websocket owns nothing beyond this and its slot.
#[derive(Default)]
pub(crate) struct Conn {
    pub session: Session,
    pub outbox: Option<Box<Outbox>>,
    pub extra: Option<Box<Extra>>,
    pub generation: u32,
    /// The path's number. Of a free place: the next free one.
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

/// What a connection needs only at times.
#[derive(Default)]
pub(crate) struct Extra {
    pub opening: Option<Opening>,
    /// The answer to the client's key, until `upgrade` has decided.
    pub accept: Option<[u8; 28]>,
    /// Input that waits until it may be delivered, from `kept_from` on.
    pub backlog: Vec<u8>,
    pub backlog_from: usize,
    /// The newest ping's payload, to be answered when the client takes bytes again.
    pub pong: Option<Vec<u8>>,
    pub close_status: CloseStatus,
    /// Our close frame, until all that was sent before it is in the outbox.
    pub pending_close: Option<(Option<u16>, Vec<u8>)>,
    pub close_queued: bool,
    /// The tick in which the end began; [`Conn::phase_started_tick`] may start again.
    pub ending_since: u32,
    /// The bytes that the peer's system had acknowledged when that was last asked, wrapping.
    pub acknowledged: Option<u32>,
    /// What was agreed on about compression, until `upgrade` has decided.
    pub agreement: Option<Agreement>,
    /// The client's own compressor, with context takeover, from the first message on that it made
    /// shorter.
    pub deflater: Option<Box<Deflater>>,
    /// The way to the client's own thread.
    pub client_queue: Option<ClientQueue>,
}

/// A request that is being read.
pub(crate) struct Opening {
    pub peer: Peer,
    /// What has come of it; nothing when it comes all at once.
    pub head: Vec<u8>,
    pub scanner: HeadScanner,
    /// One before it was answered with a page.
    pub answered: bool,
}

/// Why a request cannot be read.
pub(crate) enum Unread {
    Refused(Refusal),
    /// It begins as TLS does.
    Tls,
    Memory,
}

impl Opening {
    /// Takes what has come now. Returns how long the head is, once that is complete: if nothing of it
    /// was kept before, it stands in `input` alone.
    pub(crate) fn read(
        &mut self,
        input: &[u8],
        max_header_size: usize,
    ) -> Result<Option<usize>, Unread> {
        let Self { head, scanner, .. } = self;
        let is_first = head.is_empty();
        if !is_first {
            keep(head, input)?;
        }
        let all = if is_first { input } else { &*head };
        let end = scanner.scan(all, max_header_size).map_err(|refusal| {
            if all.first() == Some(&TLS_HANDSHAKE) {
                Unread::Tls
            } else {
                Unread::Refused(refusal)
            }
        })?;
        if end.is_none() && is_first {
            keep(head, input)?;
        }
        Ok(end)
    }
}

fn keep(head: &mut Vec<u8>, input: &[u8]) -> Result<(), Unread> {
    memory::try_reserve(head, input.len()).map_err(|_| Unread::Memory)?;
    head.extend_from_slice(input);
    Ok(())
}

/// What `disconnect` is told.
#[derive(Default)]
pub(crate) struct CloseStatus {
    /// The code in the client's close frame; 1005 when it had none.
    pub received: Option<u16>,
    /// What Portal sent on failing the connection.
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

    /// The bytes that leave first, if the kernel may take any.
    pub(crate) fn first_piece(&self) -> Option<&[u8]> {
        let outbox = self.outbox.as_ref().filter(|_| !self.writing.blocked)?;
        outbox.first_piece()
    }

    pub(crate) fn client_queue(&self) -> Option<&ClientQueue> {
        self.extra.as_ref()?.client_queue.as_ref()
    }

    /// Whether a frame whose bytes were counted may still be queued.
    #[inline]
    pub(crate) fn takes_frames(&self) -> bool {
        self.phase == Phase::Open || self.phase == Phase::Closing && !self.has_queued_close()
    }

    /// Whether our close frame is queued or has left.
    pub(crate) fn has_queued_close(&self) -> bool {
        self.extra.as_ref().is_some_and(|extra| extra.close_queued)
    }

    /// Goes on to the first phase of the end.
    pub(crate) fn begin_ending(&mut self, phase: Phase, now: u32) {
        self.phase = phase;
        self.phase_started_tick = now;
        let extra = self.extra();
        extra.ending_since = now;
        extra.acknowledged = None;
    }

    /// Counts bytes that the kernel has taken. Who takes a page, or what is left at the end, has its
    /// time anew.
    #[inline]
    pub(crate) fn note_sent(&mut self, count: usize, now: u32) {
        self.sent_bytes = self.sent_bytes.wrapping_add(count as u32);
        if self.phase != Phase::Open && count > 0 {
            self.phase_started_tick = now;
        }
    }

    /// Gives memory back that an open, quiet websocket does not need.
    pub(crate) fn shed(&mut self) {
        let needed = self.extra.as_ref().is_some_and(|extra| {
            extra.opening.is_some()
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

/// The connections of a loop, beside the slots that show them to the public.
pub(crate) struct Conns {
    slot_arena: SlotArena,
    chunks: Vec<Box<[Conn; Chunk::SLOTS]>>,
    /// The free place that is taken next, and the one that is taken last; each knows the next.
    first_free: u32,
    last_free: u32,
    live: usize,
}

/// No place.
const NONE: u32 = u32::MAX;

impl Conns {
    pub(crate) fn new() -> Self {
        Self {
            slot_arena: SlotArena::take(),
            chunks: Vec::new(),
            first_free: NONE,
            last_free: NONE,
            live: 0,
        }
    }

    pub(crate) fn slot_arena(&self) -> &SlotArena {
        &self.slot_arena
    }

    /// How many places are taken.
    pub(crate) fn live(&self) -> usize {
        self.live
    }

    /// How many groups of 256 places there are; see [`Conns::group`].
    pub(crate) fn groups(&self) -> usize {
        self.chunks.len()
    }

    /// The tokens of one group's connections.
    pub(crate) fn group(&self, group: usize) -> impl Iterator<Item = Token> + use<'_> {
        let first = (group * Chunk::SLOTS) as u32;
        let places = self
            .chunks
            .get(group)
            .into_iter()
            .flat_map(|chunk| chunk.iter());
        places
            .zip(first..)
            .filter(|(conn, _)| conn.phase != Phase::Free)
            .map(|(conn, index)| Token {
                index,
                generation: conn.generation,
            })
    }

    /// Takes a free place. None when there is none in the whole process, or memory is refused.
    pub(crate) fn insert(&mut self, conn: Conn) -> Option<Token> {
        let index = match self.take_free() {
            Some(index) => index,
            None => {
                self.grow()?;
                self.take_free()?
            }
        };
        let generation = self.slot(index).allocate();
        self.chunks[index as usize / Chunk::SLOTS][index as usize % Chunk::SLOTS] =
            Conn { generation, ..conn };
        self.live += 1;
        Some(Token { index, generation })
    }

    fn grow(&mut self) -> Option<()> {
        let group = self.chunks.len();
        let mut places = Vec::new();
        memory::try_reserve_exact(&mut places, Chunk::SLOTS).ok()?;
        places.resize_with(Chunk::SLOTS, Conn::default);
        memory::try_reserve(&mut self.chunks, 1).ok()?;
        let chunk = match self.slot_arena.chunks.get(group) {
            Some(chunk) => chunk,
            None => self.slot_arena.grow()?,
        };
        self.chunks.push(places.into_boxed_slice().try_into().ok()?);
        let first = (group * Chunk::SLOTS) as u32;
        for (slot, index) in chunk.slots.iter().zip(first..) {
            if slot.word().state() == State::Closed {
                // A panic has ended its loop while a message was on its way to it.
                slot.free();
            }
            if slot.is_free() {
                self.give_free(index);
            }
        }
        Some(())
    }

    /// The place that has been free for the longest time.
    fn take_free(&mut self) -> Option<u32> {
        let index = self.first_free;
        if index == NONE {
            return None;
        }
        self.first_free = self.at(index).path;
        if self.first_free == NONE {
            self.last_free = NONE;
        }
        Some(index)
    }

    fn give_free(&mut self, index: u32) {
        self.at(index).path = NONE;
        match self.last_free {
            NONE => self.first_free = index,
            last => self.at(last).path = index,
        }
        self.last_free = index;
    }

    fn at(&mut self, index: u32) -> &mut Conn {
        let index = index as usize;
        &mut self.chunks[index / Chunk::SLOTS][index % Chunk::SLOTS]
    }

    #[inline]
    pub(crate) fn get(&mut self, token: Token) -> Option<&mut Conn> {
        let index = token.index as usize;
        let conn = &mut self.chunks.get_mut(index / Chunk::SLOTS)?[index % Chunk::SLOTS];
        (conn.generation == token.generation && conn.phase != Phase::Free).then_some(conn)
    }

    /// The same for a look.
    pub(crate) fn look(&self, token: Token) -> Option<&Conn> {
        let index = token.index as usize;
        let conn = &self.chunks.get(index / Chunk::SLOTS)?[index % Chunk::SLOTS];
        (conn.generation == token.generation && conn.phase != Phase::Free).then_some(conn)
    }

    /// For whom the events of a connection are.
    pub(crate) fn target(&self, token: Token) -> Option<Target> {
        Some(Target {
            websocket: self.id(token),
            token,
            slot: self.slot(token.index),
            path: self.look(token)?.path,
        })
    }

    /// The place of a connection that is known to be there.
    #[inline]
    pub(crate) fn place(&mut self, token: Token) -> &mut Conn {
        self.at(token.index)
    }

    #[inline]
    pub(crate) fn slot(&self, index: u32) -> &'static Slot {
        let index = index as usize;
        &self.slot_arena.chunks[index / Chunk::SLOTS].slots[index % Chunk::SLOTS]
    }

    /// The public id.
    #[inline]
    pub(crate) fn id(&self, token: Token) -> u64 {
        let chunk = self.slot_arena.chunks[token.index as usize / Chunk::SLOTS].number;
        let slot = (chunk << 8) | (token.index % Chunk::SLOTS as u32);
        id(IdKind::Websocket, token.generation, slot)
    }

    /// Frees a place whose connection has ended, unless another thread's mail is on its way to it.
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
            self.give_free(token.index);
        }
        true
    }
}

impl Drop for Conns {
    fn drop(&mut self) {
        // A loop that ends in order has no websocket, and no mail that counts for one; after a panic
        // the ids of the rest are gone, too.
        let mails = self.slot_arena.mailbox.detach();
        for (token, cost) in mails.iter().filter_map(Mail::cost) {
            self.slot(token.index).release(cost, 0);
        }
        for group in 0..self.groups() {
            for token in self.group(group).collect::<Vec<_>>() {
                let slot = self.slot(token.index);
                let _ = slot.advance(token.generation, State::Closed);
                slot.free();
            }
        }
        let chunks = Vec::new();
        let empty = SlotArena {
            mailbox: self.slot_arena.mailbox,
            chunks,
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
