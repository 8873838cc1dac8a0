//! What every thread may ask of a websocket without a lock.
//!
//! A slot is one atomic word and the application's pointer. When a slot is given to the next client its
//! generation rises; one whose generations are used up is retired, so an id never comes back.

mod queue_limit;

use std::ffi::c_void;
use std::ptr;

use crate::server::ServerError;
use crate::server::id::LAST_GENERATION;
use crate::server::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

/// Where a websocket stands in its life, as the slot's word holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum State {
    Connecting = 0,
    Open = 1,
    Closing = 2,
    /// Closing, and the application has asked for it: no callback begins any more but `error` and
    /// `disconnect`.
    ClosingLocally = 3,
    /// `disconnect` runs, or is about to.
    Closed = 4,
    /// No websocket has this slot; its generation is the next one's.
    Free = 5,
}

// The word: generation (26 bits) | state (3) | drain is owed (1) | queued bytes (34).
const QUEUED_MASK: u64 = (1 << 34) - 1;
const DRAIN_BIT: u64 = 1 << 34;
const STATE_SHIFT: u32 = 35;
const STATE_MASK: u64 = 7 << STATE_SHIFT;
const GENERATION_SHIFT: u32 = 38;

/// What a slot's word said at one moment.
#[derive(Clone, Copy)]
pub(crate) struct Word(u64);

impl Word {
    #[inline]
    pub(crate) fn generation(self) -> u32 {
        (self.0 >> GENERATION_SHIFT) as u32
    }

    #[inline]
    pub(crate) fn state(self) -> State {
        match (self.0 & STATE_MASK) >> STATE_SHIFT {
            0 => State::Connecting,
            1 => State::Open,
            2 => State::Closing,
            3 => State::ClosingLocally,
            4 => State::Closed,
            _ => State::Free,
        }
    }

    #[inline]
    pub(crate) fn queued(self) -> u64 {
        self.0 & QUEUED_MASK
    }

    /// The same word with another state.
    fn with(self, state: State) -> u64 {
        self.0 & !STATE_MASK | (state as u64) << STATE_SHIFT
    }
}

/// The public face of one websocket.
#[derive(Default)]
pub(crate) struct Slot {
    word: AtomicU64,
    data: AtomicPtr<c_void>,
    /// Pings of the application that are queued. Changed only by who has reserved bytes, so that the
    /// slot cannot pass to the next client meanwhile, and by the loop.
    pings: AtomicU32,
    /// MAX_QUEUED of a connection of ours, which has its own; one of more than 32 bits is the greatest. 0: it is a
    /// client's.
    max_queued: AtomicU32,
}

/// A release that the loop has to be told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Released {
    /// `drain` has become pending by it.
    pub drain: bool,
}

/// At most so many pings of the application wait in a queue.
const MAX_PINGS: u32 = 64;

impl Slot {
    #[inline]
    pub(crate) fn word(&self) -> Word {
        Word(self.word.load(Ordering::Acquire))
    }

    /// The word, if it is that of a websocket of this generation.
    #[inline]
    pub(crate) fn live(&self, generation: u32) -> Result<Word, ServerError> {
        let word = self.word();
        if word.generation() == generation && word.state() != State::Free {
            Ok(word)
        } else {
            Err(ServerError::Gone)
        }
    }

    /// Changes the word while the websocket lives and `change` agrees.
    #[inline]
    fn update(
        &self,
        generation: u32,
        mut change: impl FnMut(Word) -> Result<u64, ServerError>,
    ) -> Result<Word, ServerError> {
        let mut word = self.live(generation)?;
        loop {
            let new = change(word)?;
            match self
                .word
                .compare_exchange_weak(word.0, new, Ordering::SeqCst, Ordering::Acquire)
            {
                Ok(_) => return Ok(word),
                Err(_) => word = self.live(generation)?,
            }
        }
    }

    /// Counts one more ping of the application, whose bytes are reserved, unless too many wait.
    pub(crate) fn count_ping(&self) -> Result<(), ServerError> {
        let add = |pings| (pings < MAX_PINGS).then_some(pings + 1);
        let counted = self
            .pings
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, add);
        counted.map(|_| ()).map_err(|_| ServerError::Full)
    }

    pub(crate) fn uncount_pings(&self, count: u32) {
        self.pings.fetch_sub(count, Ordering::AcqRel);
    }

    /// Whether the application has asked for the end of the websocket of this generation.
    pub(crate) fn is_closing_locally(&self, generation: u32) -> bool {
        let ended = |word: Word| matches!(word.state(), State::ClosingLocally | State::Closed);
        self.live(generation).map_or(true, ended)
    }

    /// The application closes an open websocket.
    pub(crate) fn close(&self, generation: u32) -> Result<(), ServerError> {
        let closed = self.update(generation, |word| match word.state() {
            State::Connecting => Err(ServerError::Busy),
            State::Open => Ok(word.with(State::ClosingLocally)),
            _ => Err(ServerError::Gone),
        });
        closed.map(|_| ())
    }

    /// The application closes a connection of ours for good, in whatever state it is: one that was lost, or that the
    /// peer closes, does not come back.
    pub(crate) fn close_outgoing(&self, generation: u32) -> Result<(), ServerError> {
        let closed = self.update(generation, |word| match word.state() {
            State::Connecting | State::Open | State::Closing => {
                Ok(word.with(State::ClosingLocally))
            }
            _ => Err(ServerError::Gone),
        });
        closed.map(|_| ())
    }

    /// Another attempt of a connection of ours follows, unless the application has closed it.
    pub(crate) fn restart(&self, generation: u32) -> Result<(), ServerError> {
        let restarted = self.update(generation, |word| match word.state() {
            State::Connecting | State::Open | State::Closing => {
                Ok(word.with(State::Connecting) & !DRAIN_BIT)
            }
            _ => Err(ServerError::Gone),
        });
        restarted.map(|_| ())
    }

    /// The application ends a websocket whose `disconnect` has not begun.
    pub(crate) fn abort(&self, generation: u32) -> Result<(), ServerError> {
        let aborted = self.update(generation, |word| match word.state() {
            State::Closed | State::Free => Err(ServerError::Gone),
            _ => Ok(word.with(State::ClosingLocally)),
        });
        aborted.map(|_| ())
    }

    /// Goes on to a later state. Returns the word before, or Gone if it was there already.
    pub(crate) fn advance(&self, generation: u32, to: State) -> Result<Word, ServerError> {
        self.update(generation, |word| {
            if word.state() as u64 >= to as u64 {
                return Err(ServerError::Gone);
            }
            Ok(word.with(to))
        })
    }

    /// Keeps the slot from being given to the next client until one byte is released.
    fn pin(&self, generation: u32) -> Result<(), ServerError> {
        self.update(generation, |word| match word.queued() {
            QUEUED_MASK => Err(ServerError::Memory),
            _ => Ok(word.0 + 1),
        })
        .map(|_| ())
    }

    /// Sets the application's pointer. What the loop has to be told then, if anything.
    pub(crate) fn set_data(
        &self,
        generation: u32,
        data: *mut c_void,
        low: u64,
    ) -> Result<Option<Released>, ServerError> {
        self.pin(generation)?;
        self.data.store(data, Ordering::Release);
        Ok(self.release_elsewhere(1, low))
    }

    /// The application's pointer; NULL when the websocket is gone.
    pub(crate) fn data(&self, generation: u32) -> *mut c_void {
        if self.live(generation).is_err() {
            return ptr::null_mut();
        }
        let data = self.data.load(Ordering::Acquire);
        self.live(generation).map_or(ptr::null_mut(), |_| data)
    }

    pub(crate) fn is_free(&self) -> bool {
        let word = self.word();
        word.state() == State::Free && word.generation() < LAST_GENERATION
    }

    /// Gives a free slot to a new client and returns its generation.
    pub(crate) fn allocate(&self) -> u32 {
        self.data.store(ptr::null_mut(), Ordering::Release);
        self.pings.store(0, Ordering::Release);
        let generation = self.word().generation();
        let word =
            u64::from(generation) << GENERATION_SHIFT | (State::Connecting as u64) << STATE_SHIFT;
        self.word.store(word, Ordering::SeqCst);
        generation
    }

    /// Ends the websocket's id, if nothing is on its way to it any more.
    pub(crate) fn free(&self) -> Freed {
        let word = self.word();
        if word.queued() != 0 {
            return Freed::NotYet;
        }
        let retired = word.generation() + 1 == LAST_GENERATION;
        let generation = u64::from(word.generation()) + 1;
        let free = generation << GENERATION_SHIFT | (State::Free as u64) << STATE_SHIFT;
        match self
            .word
            .compare_exchange(word.0, free, Ordering::SeqCst, Ordering::Relaxed)
        {
            Ok(_) if retired => Freed::Retired,
            Ok(_) => Freed::Free,
            Err(_) => Freed::NotYet,
        }
    }
}

/// What became of a slot whose websocket has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Freed {
    /// The next client may have it.
    Free,
    /// Its generations are used up.
    Retired,
    /// Another thread's message for it is still on its way.
    NotYet,
}

impl Slot {
    pub(crate) fn new() -> Self {
        let free = (State::Free as u64) << STATE_SHIFT;
        Self {
            word: AtomicU64::new(free),
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: u64 = 100;

    fn open() -> (Slot, u32) {
        let slot = Slot::new();
        let generation = slot.allocate();
        slot.advance(generation, State::Open).unwrap();
        (slot, generation)
    }

    #[test]
    fn only_an_open_websocket_of_the_generation_is_open() {
        let (slot, generation) = open();
        slot.reserve(generation, 120, LIMIT).unwrap();
        assert!(slot.is_open_with(generation, 120) && !slot.is_open_with(generation, 119));
        assert_eq!(slot.reserve(generation, 1, LIMIT), Err(ServerError::Full));
        assert!(slot.is_open_with(generation, 120));
        for other in [generation + 1, LAST_GENERATION] {
            assert!(!slot.is_open_with(other, QUEUED_MASK));
        }
        slot.advance(generation, State::Closing).unwrap();
        assert!(!slot.is_open_with(generation, QUEUED_MASK));
        assert!(!Slot::new().is_open_with(0, QUEUED_MASK));
    }

    #[test]
    fn a_full_queue_owes_one_drain_that_falls_due_at_half() {
        let (slot, generation) = open();
        slot.reserve(generation, 120, LIMIT).unwrap();
        assert_eq!(slot.reserve(generation, 1, LIMIT), Err(ServerError::Full));
        assert_eq!(slot.reserve(generation, 1, LIMIT), Err(ServerError::Full));
        assert_eq!(slot.word().queued(), 120);
        assert!(!slot.release(60, LIMIT / 2));
        assert!(slot.release(10, LIMIT / 2));
        assert!(!slot.release(50, LIMIT / 2));
    }

    #[test]
    fn a_slot_is_not_given_on_while_something_is_on_its_way() {
        let (slot, generation) = open();
        slot.reserve(generation, 5, LIMIT).unwrap();
        slot.advance(generation, State::Closed).unwrap();
        assert_eq!(slot.free(), Freed::NotYet);
        slot.release(5, 0);
        assert_eq!(slot.free(), Freed::Free);
        assert_eq!(slot.reserve(generation, 5, LIMIT), Err(ServerError::Gone));
        assert_eq!(slot.allocate(), generation + 1);
    }

    #[test]
    fn an_id_that_is_not_given_out_yet_is_gone() {
        let (slot, generation) = open();
        assert_eq!(slot.free(), Freed::Free);
        let data = ptr::without_provenance_mut(8);
        assert_eq!(
            slot.set_data(generation + 1, data, 0),
            Err(ServerError::Gone)
        );
        assert!(slot.data(generation + 1).is_null());
        assert_eq!(
            slot.advance(generation + 1, State::Closed).err(),
            Some(ServerError::Gone)
        );
    }

    #[test]
    fn whoever_comes_late_changes_nothing_for_the_next_client() {
        let (slot, generation) = open();
        slot.advance(generation, State::Closed).unwrap();
        assert_eq!(slot.free(), Freed::Free);
        assert_eq!(slot.allocate(), generation + 1);
        slot.advance(generation + 1, State::Open).unwrap();
        let word = slot.word().0;

        assert_eq!(slot.close(generation), Err(ServerError::Gone));
        assert_eq!(slot.abort(generation), Err(ServerError::Gone));
        assert_eq!(slot.reserve(generation, 2, LIMIT), Err(ServerError::Gone));
        assert_eq!(slot.word().0, word);
        assert!(!slot.is_closing_locally(generation + 1));
    }

    #[test]
    fn the_application_silences_by_the_word_alone() {
        let (slot, generation) = open();
        slot.advance(generation, State::Closing).unwrap();
        assert!(!slot.is_closing_locally(generation));
        assert_eq!(slot.close(generation), Err(ServerError::Gone));
        slot.abort(generation).unwrap();
        assert!(slot.is_closing_locally(generation));
        slot.abort(generation).unwrap();
        slot.advance(generation, State::Closed).unwrap();
        assert_eq!(slot.abort(generation), Err(ServerError::Gone));
    }

    #[test]
    fn the_loop_is_told_of_a_release_elsewhere_that_something_hangs_on() {
        let (slot, generation) = open();
        let data = ptr::without_provenance_mut(8);
        let set = || slot.set_data(generation, data, LIMIT / 2).unwrap();
        assert_eq!(set(), None);
        slot.reserve(generation, 50, LIMIT).unwrap();
        // For a moment one byte too many to be read from.
        assert_eq!(set(), Some(Released { drain: false }));
        slot.reserve(generation, 60, LIMIT).unwrap();
        assert_eq!(slot.reserve(generation, 1, LIMIT), Err(ServerError::Full));
        assert_eq!(set(), None);
        assert_eq!(
            slot.release_elsewhere(60, LIMIT / 2),
            Some(Released { drain: true })
        );
        slot.close(generation).unwrap();
        // The close frame waits for the count to be what the outbox holds.
        assert_eq!(set(), Some(Released { drain: false }));
    }

    #[test]
    fn a_state_never_goes_back() {
        let (slot, generation) = open();
        slot.advance(generation, State::Closing).unwrap();
        assert_eq!(
            slot.advance(generation, State::Open).err(),
            Some(ServerError::Gone)
        );
        assert_eq!(slot.reserve(generation, 1, LIMIT), Err(ServerError::Gone));
    }
}

#[cfg(test)]
#[cfg(loom)]
mod loom_tests {
    use std::sync::Arc;

    use super::*;
    use crate::server::sync::{explore, thread};

    const LIMIT: u64 = 100;
    const LOW: u64 = LIMIT / 2;

    /// An open websocket, and its generation.
    fn open() -> (Arc<Slot>, u32) {
        let slot = Arc::new(Slot::new());
        let generation = slot.allocate();
        slot.advance(generation, State::Open).expect("connecting");
        (slot, generation)
    }

    fn start<T: 'static>(
        slot: &Arc<Slot>,
        work: impl FnOnce(&Slot) -> T + 'static,
    ) -> thread::JoinHandle<T> {
        let slot = Arc::clone(slot);
        thread::spawn(move || work(&slot))
    }

    /// Ends the websocket and gives its slot to the next, which opens. Returns whether it could.
    fn pass_on(slot: &Slot, generation: u32) -> bool {
        let _ = slot.advance(generation, State::Closed);
        if slot.free() == Freed::NotYet {
            return false;
        }
        assert_eq!(slot.word().queued(), 0);
        assert_eq!(slot.allocate(), generation + 1);
        slot.advance(generation + 1, State::Open)
            .expect("connecting");
        true
    }

    #[test]
    fn what_is_counted_by_several_threads_is_the_sum() {
        explore(3, || {
            let (slot, generation) = open();
            let others = [30, 40].map(|cost| {
                start(&slot, move |slot| {
                    let reserved = slot.reserve(generation, cost, LIMIT);
                    assert_eq!(reserved, Ok(()));
                    cost
                })
            });
            slot.reserve(generation, 7, LIMIT).expect("room");
            assert!(slot.word().queued() >= 7);
            assert!(!slot.release(7, LOW));
            let costs: u64 = others
                .map(|other| other.join().expect("no panic"))
                .iter()
                .sum();
            assert_eq!(slot.word().queued(), costs);
        });
    }

    #[test]
    fn a_full_queue_owes_one_drain_and_another_none() {
        explore(3, || {
            let (slot, generation) = open();
            slot.reserve(generation, 60, LIMIT).expect("room");
            slot.reserve(generation, 60, LIMIT).expect("room");
            let senders = [(); 2].map(|()| {
                start(&slot, move |slot| {
                    let reserved = slot.reserve(generation, 1, LIMIT);
                    assert!(matches!(reserved, Ok(()) | Err(ServerError::Full)));
                    reserved.is_err()
                })
            });
            let mut drains = [60, 60].map(|cost| slot.release(cost, LOW)).to_vec();
            let full = senders.map(|sender| sender.join().expect("no panic"));
            for _ in full.iter().filter(|&&full| !full) {
                drains.push(slot.release(1, LOW));
            }
            let drains = drains.iter().filter(|&&drain| drain).count();
            assert_eq!(drains, usize::from(full.contains(&true)), "{full:?}");
            assert_eq!(slot.word().queued(), 0);
        });
    }

    #[test]
    fn whoever_has_bytes_reserved_keeps_the_slot_from_the_next_client() {
        explore(3, || {
            let (slot, generation) = open();
            let senders = [(); 2].map(|()| {
                start(&slot, move |slot| {
                    if slot.reserve(generation, 5, LIMIT).is_err() {
                        return;
                    }
                    let word = slot.word();
                    assert_eq!(word.generation(), generation);
                    assert!(word.queued() >= 5 && word.state() != State::Free);
                    if slot.count_ping().is_ok() {
                        slot.uncount_pings(1);
                    }
                    slot.release_elsewhere(5, LOW);
                })
            });
            let passed_on = pass_on(&slot, generation);
            for sender in senders {
                sender.join().expect("no panic");
            }
            assert!(passed_on || pass_on(&slot, generation), "bytes are left");
            let word = slot.word();
            assert_eq!((word.generation(), word.queued()), (generation + 1, 0));
            assert_eq!(word.state(), State::Open);
            assert_eq!(slot.pings.load(Ordering::Relaxed), 0);
        });
    }

    #[test]
    fn a_stale_id_closes_and_aborts_nobody_else() {
        explore(3, || {
            let (slot, generation) = open();
            let closer = start(&slot, move |slot| slot.close(generation));
            let aborter = start(&slot, move |slot| slot.abort(generation));
            assert!(pass_on(&slot, generation));
            let _ = closer.join().expect("no panic");
            let _ = aborter.join().expect("no panic");
            let word = slot.word();
            assert_eq!(word.generation(), generation + 1);
            assert_eq!(word.state(), State::Open);
        });
    }

    #[test]
    fn a_state_never_goes_back_whoever_changes_it() {
        explore(3, || {
            let (slot, generation) = open();
            let closer = start(&slot, move |slot| slot.close(generation));
            let aborter = start(&slot, move |slot| {
                let before = slot.word();
                let aborted = slot.abort(generation);
                assert!(slot.word().state() as u64 >= before.state() as u64);
                aborted
            });
            let was_open = slot.advance(generation, State::Closing).is_ok();
            let closing = slot.word().state();
            assert!(matches!(closing, State::Closing | State::ClosingLocally));
            let closing_locally = slot.is_closing_locally(generation);
            slot.advance(generation, State::Closed).expect("closing");
            assert_eq!(slot.word().state(), State::Closed);
            let closed = closer.join().expect("no panic").is_ok();
            let aborted = aborter.join().expect("no panic").is_ok();
            assert!(!closing_locally || closed || aborted);
            assert!(was_open || closed || aborted);
            assert_eq!(slot.word().state(), State::Closed);
        });
    }

    #[test]
    fn a_pointer_is_found_by_its_own_generation_alone() {
        explore(2, || {
            let pointer = ptr::without_provenance_mut::<c_void>;
            let (slot, generation) = open();
            let setter = start(&slot, move |slot| {
                let _ = slot.set_data(generation, pointer(8), LOW);
            });
            let reader = start(&slot, move |slot| slot.data(generation).addr());
            if pass_on(&slot, generation) {
                slot.set_data(generation + 1, pointer(16), LOW)
                    .expect("it is open");
                assert_eq!(slot.data(generation + 1), pointer(16));
            }
            setter.join().expect("no panic");
            let read = reader.join().expect("no panic");
            assert!(read == 0 || read == 8, "{read}");
        });
    }
}
