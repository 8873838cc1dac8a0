//! What other threads ask of a loop.

use std::sync::{Arc, Mutex, MutexGuard};

use crate::locks;
use crate::net::{ConnectError, Peer, Socket, Token, Waker};
use crate::proto::{Kind, Role};
use crate::server::Request;
use crate::server::dispatch::pull::Batch;
use crate::server::handler_calls::Verdict;
use crate::server::slot::Released;
use crate::server::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use crate::server::sync::channel::{Receiver, Sender, unbounded};
use crate::server::websocket::outgoing::NewConnection;
use crate::server::websocket::wake_flag::{WakeFlag, WorkAdded};

/// One request of another thread.
pub(crate) enum Mail {
    /// A connection that another loop accepted.
    Connection(Socket, Peer),
    /// A connection of ours that is to be opened.
    Connect(Box<NewConnection>),
    /// Its attempt of this number has led to a socket, or has failed.
    Connected(Token, u32, Box<Result<(Socket, Peer), ConnectError>>),
    /// A message to send; the length of its frame and [`Mail::COST_BYTES`] are counted in the slot.
    Message(Token, MailedMessage),
    /// A ping's payload; the length of its frame and [`Mail::COST_BYTES`] are counted in the slot, and a ping.
    Ping(Token, Role, Vec<u8>),
    /// A close frame's payload; the state is CLOSING already.
    Close(Token, u16, Vec<u8>),
    /// The connection shall end now.
    Abort(Token),
    /// What is queued shall be handed to the system now.
    Flush(Token),
    /// Another thread has uncounted bytes of the queue.
    Released(Token, Released),
    /// What `upgrade` answered on the client's own thread.
    Verdict(Token, Verdict, Box<Request>),
    /// Descriptors or memory are short: connections that only wait for another request for a page shall end.
    EndIdlePages,
    /// The queue of the client's own thread is half empty again.
    ClientQueueLow(Token),
    /// The client's own thread has ended, by a panic if not after `disconnect`.
    ThreadEnded(Token),
    /// A pulled batch is not used any more.
    BatchReturned(Box<Batch>),
}

/// A message that another thread sends.
pub(crate) struct MailedMessage {
    /// The whole frame.
    pub frame: Vec<u8>,
    /// How many of its bytes are the header.
    pub head_len: usize,
    pub kind: Kind,
    pub may_deflate: bool,
}

impl Mail {
    /// What keeping one message here costs beside its bytes.
    pub(crate) const COST_BYTES: u64 = 64;

    /// The websocket in whose slot bytes are counted for it, and how many.
    pub(crate) fn cost(&self) -> Option<(Token, u64)> {
        match self {
            Self::Message(token, message) => {
                Some((*token, message.frame.len() as u64 + Self::COST_BYTES))
            }
            Self::Ping(token, role, payload) => {
                Some((*token, ping_cost(*role, payload) as u64 + Self::COST_BYTES))
            }
            _ => None,
        }
    }
}

/// What a ping counts in the queue: its payload, a header of two bytes, and the masking key if it has one.
pub(crate) fn ping_cost(role: Role, payload: &[u8]) -> usize {
    payload.len() + 2 + role.key_len()
}

/// The way into a loop. Mailboxes live as long as the process; one loop after the other has one.
pub(crate) struct Mailbox {
    sender: Sender<Mail>,
    receiver: Receiver<Mail>,
    /// Something may have come since the mail was last taken.
    has_mail: AtomicBool,
    /// The loop waits, or lies parked, and wants to be woken for mail.
    asleep: WakeFlag,
    max_queued: AtomicU64,
    attached: Mutex<Attached>,
}

/// Who has a mailbox now.
#[derive(Default)]
struct Attached {
    waker: Option<Arc<Waker>>,
    /// The server's id; 0 until it has one.
    server: u64,
}

impl Default for Mailbox {
    fn default() -> Self {
        let (sender, receiver) = unbounded();
        Self {
            sender,
            receiver,
            has_mail: AtomicBool::new(false),
            asleep: WakeFlag::default(),
            max_queued: AtomicU64::new(0),
            attached: Mutex::default(),
        }
    }
}

impl Mailbox {
    /// Attaches a loop.
    pub(crate) fn attach(&self, waker: Arc<Waker>, max_queued: u64) {
        self.max_queued.store(max_queued, Ordering::Release);
        *self.attached() = Attached {
            waker: Some(waker),
            server: 0,
        };
    }

    /// The server of the loop that is attached has this id.
    pub(crate) fn serve(&self, server: u64) {
        self.attached().server = server;
    }

    /// Detaches the loop. Returns the mail that it has not taken; the next loop gets none of it.
    pub(crate) fn detach(&self) -> Vec<Mail> {
        let mut attached = self.attached();
        *attached = Attached::default();
        self.receiver.try_iter().collect()
    }

    /// The id of the server whose loop this is; 0 is none.
    pub(crate) fn server(&self) -> u64 {
        self.attached().server
    }

    fn attached(&self) -> MutexGuard<'_, Attached> {
        locks::lock(&self.attached)
    }

    /// MAX_QUEUED of the server that has this mailbox now.
    #[inline]
    pub(crate) fn max_queued(&self) -> u64 {
        self.max_queued.load(Ordering::Acquire)
    }

    /// At most so many bytes are queued when a client is read from again, and told `drain`.
    #[inline]
    pub(crate) fn low(&self) -> u64 {
        self.max_queued() / 2
    }

    /// Leaves a request, and wakes the loop if it sleeps: once for many requests.
    pub(crate) fn post(&self, mail: Mail) {
        // The receiver stands beside the sender, so the channel is never disconnected.
        let _ = self.sender.send(mail);
        self.announce();
    }

    /// Leaves a request. [`Mailbox::announce`] must follow if the loop is not to find it by chance.
    pub(crate) fn post_unannounced(&self, mail: Mail) {
        let _ = self.sender.send(mail);
        if !self.has_mail.load(Ordering::Relaxed) {
            self.has_mail.store(true, Ordering::Release);
        }
        fence(Ordering::SeqCst);
    }

    /// Leaves a connection that another loop of `server` has accepted. False, and the socket is
    /// closed, when this loop has ended: a connection, unlike what names a websocket, would be
    /// anybody's who has the mailbox next.
    pub(crate) fn post_connection(&self, server: u64, socket: Socket, peer: Peer) -> bool {
        self.post_to(server, Mail::Connection(socket, peer))
    }

    /// Leaves a request for the loop of this server. False when it has ended.
    pub(crate) fn post_to(&self, server: u64, mail: Mail) -> bool {
        let attached = self.attached();
        if attached.server != server {
            return false;
        }
        // Before `attached` is unlocked: the loop cannot be detached meanwhile.
        let _ = self.sender.send(mail);
        drop(attached);
        self.announce();
        true
    }

    /// Wakes the loop, if it sleeps, for mail that has been left.
    pub(crate) fn announce(&self) {
        let added = WorkAdded::fence();
        if !self.has_mail.load(Ordering::Relaxed) {
            self.has_mail.store(true, Ordering::Release);
        }
        if self.asleep.must_wake(&added) {
            self.interrupt_wait();
        }
    }

    /// Wakes the loop, if it sleeps, for something that it looks at besides its mail.
    pub(crate) fn wake(&self) {
        if self.asleep.must_wake(&WorkAdded::fence()) {
            self.interrupt_wait();
        }
    }

    fn interrupt_wait(&self) {
        if let Some(waker) = &self.attached().waker {
            waker.wake();
        }
    }

    /// From now on mail wakes the loop. False when some has come meanwhile.
    pub(crate) fn fall_asleep(&self) -> bool {
        self.asleep.fall_asleep();
        self.receiver.is_empty()
    }

    /// From now on mail does not wake the loop: it is awake.
    pub(crate) fn stay_awake(&self) {
        self.asleep.stay_awake();
    }

    /// Whether something may have come since [`Mailbox::begin_taking`].
    #[inline]
    pub(crate) fn has_mail(&self) -> bool {
        self.has_mail.load(Ordering::Acquire)
    }

    /// Returns how many requests are to be taken now.
    pub(crate) fn begin_taking(&self) -> usize {
        self.has_mail.store(false, Ordering::Relaxed);
        // The request of whoever has seen it true before this is seen after this.
        fence(Ordering::SeqCst);
        self.receiver.len()
    }

    /// Takes the oldest request.
    #[inline]
    pub(crate) fn take(&self) -> Option<Mail> {
        self.receiver.try_recv().ok()
    }
}

#[cfg(test)]
#[cfg(loom)]
pub(crate) mod loom_tests {
    use super::*;
    use crate::server::sync::atomic::AtomicUsize;
    use crate::server::sync::{explore, thread};

    pub(crate) const FLUSH: Mail = Mail::Flush(Token {
        index: 0,
        generation: 0,
    });

    /// A mailbox with a loop attached, which this thread is.
    pub(crate) fn attached() -> Arc<Mailbox> {
        let mut waker = Waker::new().expect("a descriptor");
        waker.parked = Some(thread::current());
        let mailbox = Mailbox::default();
        mailbox.attach(Arc::new(waker), 0);
        Arc::new(mailbox)
    }

    /// Takes what mail there is, as a loop does. Returns how much it was.
    pub(crate) fn take_mail(mailbox: &Mailbox) -> usize {
        match mailbox.has_mail() {
            true => (0..mailbox.begin_taking())
                .map_while(|_| mailbox.take())
                .count(),
            false => 0,
        }
    }

    /// Sleeps, as a loop does that found nothing to do.
    pub(crate) fn sleep(mailbox: &Mailbox) {
        match mailbox.fall_asleep() {
            true => thread::park(),
            false => thread::yield_now(),
        }
        mailbox.stay_awake();
    }

    #[test]
    fn mail_of_two_threads_is_taken_before_the_loop_sleeps_for_good() {
        explore(3, || {
            let mailbox = attached();
            let posters = [(); 2].map(|()| {
                let mailbox = Arc::clone(&mailbox);
                thread::spawn(move || mailbox.post(FLUSH))
            });
            let mut taken = 0;
            while taken < 2 {
                sleep(&mailbox);
                taken += take_mail(&mailbox);
            }
            for poster in posters {
                poster.join().expect("no panic");
            }
        });
    }

    #[test]
    fn what_was_posted_before_is_taken_before_a_direct_send() {
        explore(3, || {
            let mailbox = attached();
            let done = Arc::new(AtomicUsize::new(0));
            let posters = [(); 2].map(|()| {
                let (mailbox, done) = (Arc::clone(&mailbox), Arc::clone(&done));
                thread::spawn(move || {
                    mailbox.post(FLUSH);
                    done.fetch_add(1, Ordering::AcqRel);
                })
            });
            let mut taken = 0;
            for _send in 0..2 {
                let posted = done.load(Ordering::Acquire);
                taken += take_mail(&mailbox);
                assert!(taken >= posted, "{taken} of {posted} taken");
            }
            for poster in posters {
                poster.join().expect("no panic");
            }
        });
    }

    #[test]
    fn a_server_that_closes_wakes_a_loop_that_has_not_seen_it() {
        explore(3, || {
            let mailbox = attached();
            let is_closing = Arc::new(AtomicBool::new(false));
            let closer = {
                let (mailbox, is_closing) = (Arc::clone(&mailbox), Arc::clone(&is_closing));
                thread::spawn(move || {
                    is_closing.swap(true, Ordering::SeqCst);
                    mailbox.wake();
                })
            };
            mailbox.fall_asleep();
            if !is_closing.load(Ordering::SeqCst) {
                thread::park();
            }
            mailbox.stay_awake();
            closer.join().expect("no panic");
        });
    }
}
