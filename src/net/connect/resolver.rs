//! Threads that resolve names. The system's lookup can be neither interrupted nor limited in time, so nobody waits
//! for these threads: who has asked looks for the answer when the signal is given.

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, Weak};

use super::background;
use crate::locks;
use crate::net::{Signal, memory};

/// Maximum number of lookups at the same time.
const MAX_THREADS: usize = 4;

/// Returns the addresses of a name, with a port.
pub(super) type Lookup = dyn Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Sync;

/// Asks the system.
pub(super) fn system_lookup(name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    Ok((name, port).to_socket_addrs()?.collect())
}

pub(super) struct Resolver {
    lookup: &'static Lookup,
    questions: Mutex<Questions>,
}

struct Questions {
    waiting: VecDeque<Question>,
    /// Each has a lookup under way, or is about to begin one or to end.
    threads: usize,
}

struct Question {
    name: String,
    port: u16,
    /// Gone, if nobody wants to know any more.
    answer: Weak<Answer>,
}

/// Where the answer to one question will be.
pub(super) struct Answer {
    addresses: Mutex<Option<io::Result<Vec<SocketAddr>>>>,
    /// Given when it is there.
    signal: Arc<Signal>,
}

impl Answer {
    /// Takes the answer, if it is there.
    pub(super) fn take(&self) -> Option<io::Result<Vec<SocketAddr>>> {
        locks::lock(&self.addresses).take()
    }
}

impl Resolver {
    pub(super) const fn new(lookup: &'static Lookup) -> Self {
        Self {
            lookup,
            questions: Mutex::new(Questions {
                waiting: VecDeque::new(),
                threads: 0,
            }),
        }
    }

    /// Begins to resolve a name. Without the answer's owner nobody is interested in it.
    pub(super) fn ask(
        &'static self,
        name: &str,
        port: u16,
        signal: &Arc<Signal>,
    ) -> io::Result<Arc<Answer>> {
        let answer = Arc::new(Answer {
            addresses: Mutex::new(None),
            signal: Arc::clone(signal),
        });
        let question = Question {
            name: name.to_owned(),
            port,
            answer: Arc::downgrade(&answer),
        };
        let mut questions = locks::lock(&self.questions);
        let waiting = &mut questions.waiting;
        if waiting.len() == waiting.capacity() {
            // Behind lookups that hang, others are given up.
            waiting.retain(|question| question.answer.strong_count() > 0);
            memory::frugal(|| waiting.try_reserve(1)).map_err(|_| io::ErrorKind::OutOfMemory)?;
        }
        waiting.push_back(question);
        if questions.threads < MAX_THREADS {
            match background::start("portal-resolve", || self.serve()) {
                Ok(()) => questions.threads += 1,
                Err(error) if questions.threads == 0 => {
                    questions.waiting.pop_back();
                    return Err(error);
                }
                // One of the others will get to it.
                Err(_) => (),
            }
        }
        Ok(answer)
    }

    /// Answers questions until none is left.
    fn serve(&self) {
        while let Some(question) = self.next_question() {
            if question.answer.strong_count() == 0 {
                continue;
            }
            let addresses = (self.lookup)(&question.name, question.port);
            if let Some(answer) = question.answer.upgrade() {
                *locks::lock(&answer.addresses) = Some(addresses);
                answer.signal.give();
            }
        }
    }

    /// Takes the next question; without one, the thread ends.
    fn next_question(&self) -> Option<Question> {
        let mut questions = locks::lock(&self.questions);
        let next = questions.waiting.pop_front();
        if next.is_none() {
            questions.threads -= 1;
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::net::{PollSet, Readiness};

    const DEADLINE: Duration = Duration::from_secs(20);

    fn resolver(
        lookup: impl Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Sync + 'static,
    ) -> &'static Resolver {
        Box::leak(Box::new(Resolver::new(Box::leak(Box::new(lookup)))))
    }

    /// Opens for everybody when the sender is dropped.
    fn gate() -> (mpsc::Sender<()>, Mutex<mpsc::Receiver<()>>) {
        let (open, gate) = mpsc::channel();
        (open, Mutex::new(gate))
    }

    fn signal() -> Arc<Signal> {
        Arc::new(Signal::semaphore().unwrap())
    }

    /// Waits for a signal, and takes it.
    fn wait(signal: &Signal) {
        let mut set = PollSet::default();
        set.add(signal.descriptor());
        let deadline = Instant::now() + DEADLINE;
        while !signal.take() {
            let left = deadline.saturating_duration_since(Instant::now());
            let waited = set.wait(Some(left)).unwrap();
            assert_ne!(waited, Readiness::TimedOut, "no answer");
        }
    }

    fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !is_so() {
            assert!(Instant::now() < deadline, "{what}");
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_name_of_this_machine_is_found_and_an_impossible_one_is_not() {
        let (resolver, signal) = (resolver(system_lookup), signal());
        let answer = resolver.ask("localhost", 80, &signal).unwrap();
        wait(&signal);
        let addresses = answer.take().unwrap().unwrap();
        assert!(addresses.iter().all(|address| address.ip().is_loopback()));
        assert!(addresses.iter().all(|address| address.port() == 80));
        assert!(!addresses.is_empty());

        let answer = resolver.ask("no\0name", 80, &signal).unwrap();
        wait(&signal);
        assert!(answer.take().unwrap().is_err());
        assert!(answer.take().is_none());
    }

    #[test]
    fn at_most_four_lookups_run_at_once_and_the_threads_end_when_there_are_no_more() {
        static RUNNING: AtomicUsize = AtomicUsize::new(0);
        let (open, gate) = gate();
        let resolver = resolver(move |_, _| {
            let running = RUNNING.fetch_add(1, Ordering::SeqCst) + 1;
            assert!(running <= MAX_THREADS);
            let _opened = locks::lock(&gate).recv();
            RUNNING.fetch_sub(1, Ordering::SeqCst);
            Ok(Vec::new())
        });
        let signal = signal();
        let answers: Vec<_> = (0..3 * MAX_THREADS)
            .map(|_| resolver.ask("name", 1, &signal).unwrap())
            .collect();
        wait_until("four lookups run", || {
            RUNNING.load(Ordering::SeqCst) == MAX_THREADS
        });
        drop(open);
        for _ in &answers {
            wait(&signal);
        }
        assert!(answers.iter().all(|answer| answer.take().is_some()));
        wait_until("no thread is left", || {
            locks::lock(&resolver.questions).threads == 0
        });
    }

    #[test]
    fn nobody_waits_for_a_lookup_that_hangs_and_what_was_given_up_is_not_looked_up() {
        let (open, gate) = gate();
        let (asked, names) = mpsc::channel();
        let asked = Mutex::new(asked);
        let resolver = resolver(move |name, _| {
            locks::lock(&asked).send(name.to_owned()).unwrap();
            let _opened = locks::lock(&gate).recv();
            Ok(Vec::new())
        });
        let signal = signal();
        let hanging: Vec<_> = (0..MAX_THREADS)
            .map(|_| resolver.ask("hangs", 1, &signal).unwrap())
            .collect();
        for _ in &hanging {
            assert_eq!(names.recv_timeout(DEADLINE).unwrap(), "hangs");
        }
        drop(hanging);
        drop(resolver.ask("given up", 1, &signal).unwrap());
        let wanted = resolver.ask("wanted", 1, &signal).unwrap();
        drop(open);
        assert_eq!(names.recv_timeout(DEADLINE).unwrap(), "wanted");
        wait(&signal);
        assert!(wanted.take().is_some());
        assert!(!signal.take(), "the others are not answered");
    }

    #[test]
    fn questions_that_were_given_up_do_not_accumulate() {
        let (open, gate) = gate();
        let resolver = resolver(move |_, _| {
            let _opened = locks::lock(&gate).recv();
            Ok(Vec::new())
        });
        let signal = signal();
        for _ in 0..1000 {
            drop(resolver.ask("name", 1, &signal).unwrap());
        }
        assert!(locks::lock(&resolver.questions).waiting.len() < 100);
        drop(open);
    }
}
