//! PER_CLIENT: the queue from the loop to a client's own thread.
//!
//! It is bounded for what the client can make it grow by: messages and pongs. The messages of one read are
//! handed over as one batch.

use std::collections::TryReserveError;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use crate::net::{memory, process};
use crate::proto::{Kind, Payload};
use crate::server::Request;
use crate::server::event::Event;
use crate::server::log::ConnectionName;
use crate::server::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use crate::server::sync::channel::{Receiver, Sender, TryRecvError, unbounded};
use crate::server::sync::thread::{self, JoinHandle, Thread};
use crate::server::websocket::mailbox::Mail;
use crate::server::websocket::wake_flag::{WakeFlag, WorkAdded};

/// No more is handed over while so much waits, or less if MAX_QUEUED is small.
pub(super) const MAX_WAITING: Weight = Weight {
    messages: 64,
    bytes: 1 << 20,
};

/// What a reply counts in the send queue beside its payload, at most: mail and a frame header.
const REPLY_COST_BYTES: u64 = Mail::COST_BYTES + 10;

/// A longer message is handed over by itself: its copy costs more than that.
const MAX_BATCHED_BYTES: usize = 16 << 10;

/// What the loop hands over.
pub(crate) enum ClientEvent {
    /// `upgrade` is to be asked.
    Upgrade(Box<Request>),
    Event(Event<'static>),
    Batch(Batch),
    /// Nothing follows: the thread shall end.
    End,
}

/// Messages that arrived together.
#[derive(Default)]
pub(crate) struct Batch {
    /// From 1; 0 while it is not handed over, and for a message alone.
    pub(super) number: u64,
    /// The payloads, each with its NUL.
    pub(super) bytes: Vec<u8>,
    pub(super) messages: Vec<(Kind, Range<usize>)>,
}

impl Batch {
    fn add(&mut self, kind: Kind, terminated: &[u8]) -> Result<(), TryReserveError> {
        memory::try_reserve(&mut self.bytes, terminated.len())?;
        memory::try_reserve(&mut self.messages, 1)?;
        let start = self.bytes.len();
        self.bytes.extend_from_slice(terminated);
        self.messages.push((kind, start..self.bytes.len()));
        Ok(())
    }

    fn weight(&self) -> Weight {
        Weight {
            messages: self.messages.len(),
            bytes: self.bytes.len(),
        }
    }
}

impl ClientEvent {
    /// Returns how many messages, and bytes of them, it counts in the queue, if it is of the kind that is bounded.
    pub(super) fn weight(&self) -> Option<Weight> {
        match self {
            Self::Upgrade(_) | Self::End => None,
            Self::Event(event) => Some(Weight {
                messages: 1,
                bytes: event.payload()?.terminated().len(),
            }),
            Self::Batch(batch) => Some(batch.weight()),
        }
    }
}

/// What events count in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Weight {
    messages: usize,
    bytes: usize,
}

impl Weight {
    /// Returns how much may wait. Reading pauses while the send queue is over half of MAX_QUEUED, and replies to all
    /// that waits take less than the other half. So a handler that sends one for each message never gets FULL.
    pub(super) fn max_waiting(max_queued: u64) -> Self {
        let quarter = usize::try_from(max_queued / 4).unwrap_or(usize::MAX);
        let replies = quarter / REPLY_COST_BYTES as usize;
        Self {
            messages: MAX_WAITING.messages.min(replies).max(1),
            bytes: MAX_WAITING.bytes.min(quarter).max(1),
        }
    }

    /// Returns under how much the loop hears that there is room again.
    fn half(self) -> Self {
        Self {
            messages: (self.messages / 2).max(1),
            bytes: (self.bytes / 2).max(1),
        }
    }

    fn without(self, other: Self) -> Self {
        Self {
            messages: self.messages.saturating_sub(other.messages),
            bytes: self.bytes.saturating_sub(other.bytes),
        }
    }
}

/// The loop's end of the queue.
pub(crate) struct ClientQueue {
    sender: Sender<ClientEvent>,
    /// What is not handed over yet.
    batch: Batch,
    /// Batches of several messages that have been handed over.
    handed_over: u64,
    /// Of these, those that [`ClientQueue::hand_over`] has reported.
    reported: u64,
    /// Dropped after the sender, so that the thread, which that wakes, sees that there is none.
    wake: WakeOnDrop,
    load: Arc<Load>,
    thread: JoinHandle<()>,
    name: ConnectionName,
}

struct WakeOnDrop(Thread);

impl Drop for WakeOnDrop {
    fn drop(&mut self) {
        self.0.unpark();
    }
}

/// The thread's end of the queue.
pub(super) struct Events {
    receiver: Receiver<ClientEvent>,
    pub(super) load: Arc<Load>,
}

pub(super) struct Load {
    max: Weight,
    messages: AtomicUsize,
    bytes: AtomicUsize,
    /// The loop waits for [`Mail::ClientQueueLow`].
    wanted: AtomicBool,
    /// The number of the last batch of several messages whose handlers have all returned.
    ended: AtomicU64,
    /// What handlers send is announced at once in batches with numbers up to this, because they take long.
    announced: AtomicU64,
    /// Of the thread, for an event.
    asleep: WakeFlag,
}

impl Load {
    pub(super) fn new(max: Weight) -> Self {
        Self {
            max,
            messages: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            wanted: AtomicBool::new(false),
            ended: AtomicU64::new(0),
            announced: AtomicU64::new(0),
            asleep: WakeFlag::default(),
        }
    }

    fn add(&self, weight: Weight) {
        self.messages.fetch_add(weight.messages, Ordering::SeqCst);
        self.bytes.fetch_add(weight.bytes, Ordering::SeqCst);
    }

    /// Whoever posts for one of these batches from now on announces it. What was posted before, the loop finds before
    /// it sleeps, for falling asleep is a fence.
    pub(super) fn announce_up_to(&self, number: u64) {
        self.announced.store(number, Ordering::Relaxed);
    }

    /// Whether what the handlers of this batch send is announced at once.
    pub(super) fn announces(&self, number: u64) -> bool {
        number <= self.announced.load(Ordering::Relaxed)
    }

    /// The handlers of this batch have all returned.
    pub(super) fn end_batch(&self, number: u64) {
        self.ended.store(number, Ordering::Relaxed);
    }

    fn is_under(&self, most: Weight) -> bool {
        self.messages.load(Ordering::SeqCst) < most.messages
            && self.bytes.load(Ordering::SeqCst) < most.bytes
    }
}

impl ClientQueue {
    /// Starts the thread, which runs `serve`, with room for `max`.
    pub(super) fn spawn(
        name: ConnectionName,
        max: Weight,
        serve: impl FnOnce(Events) + Send + 'static,
    ) -> io::Result<Self> {
        let (sender, receiver) = unbounded();
        let load = Arc::new(Load::new(max));
        let events = Events {
            receiver,
            load: Arc::clone(&load),
        };
        let builder = thread::Builder::new().name("portal-client".to_owned());
        memory::probe()?;
        let thread = process::with_signals_blocked(|| builder.spawn(move || serve(events)))?;
        Ok(Self {
            sender,
            batch: Batch::default(),
            handed_over: 0,
            reported: 0,
            wake: WakeOnDrop(thread.thread().clone()),
            load,
            thread,
            name,
        })
    }

    /// Returns how many bytes of messages wait for the thread.
    pub(crate) fn held_bytes(&self) -> usize {
        self.load.bytes.load(Ordering::Relaxed) + self.batch.bytes.len()
    }

    /// Adds an event. A short message waits for [`ClientQueue::hand_over`].
    ///
    /// # Errors
    ///
    /// Memory for a copy is refused.
    pub(crate) fn add(&mut self, event: Event<'_>) -> Result<(), TryReserveError> {
        if let Event::Message(kind, Payload::Lent(terminated)) = event
            && terminated.len() <= MAX_BATCHED_BYTES
        {
            return self.batch.add(kind, terminated);
        }
        let event = event.into_owned()?;
        self.push_batch();
        self.push(ClientEvent::Event(event));
        Ok(())
    }

    /// Hands over the messages that were added. Returns whether batches of several messages have been handed over
    /// since the last call, whose handlers may keep what they send to themselves for a while: see
    /// [`ClientQueue::announce_at_once`].
    pub(crate) fn hand_over(&mut self) -> bool {
        self.push_batch();
        let reported = std::mem::replace(&mut self.reported, self.handed_over);
        reported < self.handed_over
    }

    fn push_batch(&mut self) {
        if self.batch.messages.is_empty() {
            return;
        }
        let mut batch = std::mem::take(&mut self.batch);
        if batch.messages.len() > 1 {
            self.handed_over += 1;
            batch.number = self.handed_over;
        }
        self.push(ClientEvent::Batch(batch));
    }

    /// Whether handlers of batches of several messages run, or are about to.
    pub(crate) fn runs_batch(&self) -> bool {
        self.load.ended.load(Ordering::Relaxed) < self.handed_over
    }

    /// From now on, what the handlers of the batches that have been handed over send is announced at once; what they
    /// have sent must be taken from the mailbox.
    pub(crate) fn announce_at_once(&self) {
        self.load.announce_up_to(self.handed_over);
    }

    pub(crate) fn push(&self, event: ClientEvent) {
        if let Some(weight) = event.weight() {
            self.load.add(weight);
        }
        // A thread that has ended has run `disconnect`, and wants nothing more.
        let _ = self.sender.send(event);
        if self.load.asleep.must_wake(&WorkAdded::fence()) {
            self.wake.0.unpark();
        }
    }

    /// Whether another message may be handed over; if not, [`Mail::ClientQueueLow`] will come.
    pub(crate) fn has_room(&self) -> bool {
        let max = self.load.max;
        if self.is_under(max) {
            return true;
        }
        // A swap, as the thread's is: whichever comes second sees what was counted before the first.
        self.load.wanted.swap(true, Ordering::SeqCst);
        self.is_under(max.half()) && self.load.wanted.swap(false, Ordering::SeqCst)
    }

    /// Whether less waits than `most`, with what is not handed over yet.
    fn is_under(&self, most: Weight) -> bool {
        self.load.is_under(most.without(self.batch.weight()))
    }

    /// Waits for the end of the thread, which has said that it ends.
    pub(crate) fn join(self) {
        if self.thread.join().is_err() {
            log::error!("{}: its thread panicked", self.name);
        }
    }

    /// Ends a thread whose client was not let in.
    pub(crate) fn stop(self) {
        let Self {
            sender,
            wake,
            thread,
            name,
            ..
        } = self;
        drop((sender, wake));
        if thread.join().is_err() {
            log::error!("{name}: its thread panicked");
        }
    }
}

impl Events {
    /// Returns the next event; `Empty` if it is to be waited for.
    pub(super) fn try_next(&self) -> Result<ClientEvent, TryRecvError> {
        self.receiver.try_recv()
    }

    /// Sleeps until there is an event; None when there will be none. A channel's own waiting would try for
    /// a while first, which is expensive where many threads share few processors.
    pub(super) fn wait(&self) -> Option<ClientEvent> {
        loop {
            self.load.asleep.fall_asleep();
            match self.receiver.try_recv() {
                Ok(event) => {
                    self.load.asleep.stay_awake();
                    return Some(event);
                }
                Err(TryRecvError::Disconnected) => return None,
                Err(TryRecvError::Empty) => thread::park(),
            }
        }
    }

    /// Uncounts an event whose callbacks have run. True when the loop waits to hear that the queue is half
    /// empty, and now it is.
    pub(super) fn uncount(&self, weight: Weight) -> bool {
        let load = &self.load;
        load.messages.fetch_sub(weight.messages, Ordering::SeqCst);
        load.bytes.fetch_sub(weight.bytes, Ordering::SeqCst);
        load.is_under(load.max.half()) && load.wanted.swap(false, Ordering::SeqCst)
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    const NAME: ConnectionName = ConnectionName {
        websocket: 1,
        peer: None,
    };

    #[test]
    fn what_waits_is_bounded_before_it_is_handed_over_too() {
        let max = Weight {
            messages: 5,
            bytes: 100,
        };
        for (payload, count) in [(&b"a\0"[..], 5), (&[0; 30], 4)] {
            let mut queue = ClientQueue::spawn(NAME, max, |_events| ()).expect("a thread");
            let message = || Event::Message(Kind::Text, Payload::Lent(payload));
            let mut added = 0;
            while queue.has_room() {
                queue.add(message()).expect("memory");
                added += 1;
            }
            assert_eq!(added, count);
            assert!(queue.hand_over() && !queue.hand_over() && !queue.has_room());
            queue.stop();
        }
    }

    #[test]
    fn a_batch_that_is_followed_by_something_else_is_reported() {
        let mut queue = ClientQueue::spawn(NAME, MAX_WAITING, |_events| ()).expect("a thread");
        let short = || Event::Message(Kind::Text, Payload::Lent(b"a\0"));
        let long = vec![0; MAX_BATCHED_BYTES + 1];
        for last in [
            Event::Pong(Payload::Lent(b"p\0")),
            Event::Message(Kind::Text, Payload::Lent(&long)),
        ] {
            queue.add(short()).expect("memory");
            queue.add(short()).expect("memory");
            queue.add(last).expect("memory");
            assert!(queue.hand_over() && !queue.hand_over());
        }
        // A message alone is no batch: what its handler sends is announced at once.
        queue.add(short()).expect("memory");
        assert!(!queue.hand_over());
        queue.stop();
    }

    #[test]
    fn replies_to_all_that_waits_fit_into_half_of_the_send_queue() {
        for max_queued in [0, 1, 100, 4096, 16_384, 32_768, 1 << 20, 16 << 20, u64::MAX] {
            let Weight { messages, bytes } = Weight::max_waiting(max_queued);
            assert!(messages >= 1 && bytes >= 1);
            // The last one may be longer, and needs that the others have left something.
            let others = (messages as u64 - 1) * REPLY_COST_BYTES + bytes as u64 - 1;
            assert!(others <= max_queued / 2, "{max_queued}");
        }
        assert_eq!(Weight::max_waiting(16 << 20), MAX_WAITING);
    }
}

#[cfg(test)]
#[cfg(loom)]
mod loom_tests {
    use loom::sync::Notify;

    use super::*;
    use crate::server::sync::explore;

    const NAME: ConnectionName = ConnectionName {
        websocket: 1,
        peer: None,
    };

    /// An event of so many bytes.
    fn pong(bytes: usize) -> ClientEvent {
        ClientEvent::Event(Event::Pong(Payload::Whole(vec![0; bytes])))
    }

    #[test]
    fn events_of_two_threads_are_run_before_the_third_sleeps_for_good() {
        explore(3, || {
            let both_ran = Arc::new((AtomicBool::new(false), Notify::new()));
            let queue = {
                let both_ran = Arc::clone(&both_ran);
                ClientQueue::spawn(NAME, MAX_WAITING, move |events| {
                    assert!(events.wait().is_some() && events.wait().is_some());
                    both_ran.0.store(true, Ordering::Release);
                    both_ran.1.notify();
                })
            };
            let queue = Arc::new(queue.expect("a thread"));
            let other = {
                let queue = Arc::clone(&queue);
                thread::spawn(move || queue.push(pong(1)))
            };
            queue.push(pong(1));
            while !both_ran.0.load(Ordering::Acquire) {
                both_ran.1.wait();
            }
            other.join().expect("no panic");
            let queue = Arc::into_inner(queue).expect("the other has ended");
            queue.stop();
        });
    }

    #[test]
    fn a_sleeping_thread_ends_when_its_queue_does() {
        explore(3, || {
            let queue =
                ClientQueue::spawn(NAME, MAX_WAITING, |events| while events.wait().is_some() {});
            let queue = queue.expect("a thread");
            queue.push(pong(1));
            queue.stop();
        });
    }

    #[test]
    fn a_loop_that_found_no_room_hears_of_it_once_and_one_that_found_room_does_not() {
        explore(3, || {
            let half_and_more = MAX_WAITING.bytes / 2 + 1;
            const WEIGHT: Weight = Weight {
                messages: 1,
                bytes: MAX_WAITING.bytes / 2 + 1,
            };
            let has_room = Arc::new(Notify::new());
            let heard = Arc::new(AtomicUsize::new(0));
            let queue = {
                let (has_room, heard) = (Arc::clone(&has_room), Arc::clone(&heard));
                ClientQueue::spawn(NAME, MAX_WAITING, move |events| {
                    while events.wait().is_some() {
                        if events.uncount(WEIGHT) {
                            heard.fetch_add(1, Ordering::Release);
                            has_room.notify();
                        }
                    }
                })
            };
            let queue = queue.expect("a thread");
            queue.push(pong(half_and_more));
            queue.push(pong(half_and_more));
            let had_room = queue.has_room();
            while !had_room && heard.load(Ordering::Acquire) == 0 {
                has_room.wait();
            }
            assert!(queue.has_room());
            queue.stop();
            assert_eq!(heard.load(Ordering::Relaxed), usize::from(!had_room));
        });
    }
}
