//! Resolving names, on a few threads that exist while there are names to resolve.

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::{Arc, Mutex};

use crate::locks;
use crate::net::os::process;

/// So many names are resolved at once.
const MAX_THREADS: usize = 4;

/// The answer to a lookup, when there is one.
pub(super) type Answer = Arc<Mutex<Option<io::Result<Vec<SocketAddr>>>>>;

struct Lookup {
    name: String,
    port: u16,
    answer: Answer,
    done: fn(),
}

#[derive(Default)]
struct Resolver {
    waiting: VecDeque<Lookup>,
    threads: usize,
}

static RESOLVER: Mutex<Resolver> = Mutex::new(Resolver {
    waiting: VecDeque::new(),
    threads: 0,
});

/// Looks a name up; `done` is called when the answer is there.
///
/// # Errors
///
/// There is no thread for it.
pub(super) fn resolve(name: &str, port: u16, done: fn()) -> io::Result<Answer> {
    let answer = Answer::default();
    let lookup = Lookup {
        name: name.to_owned(),
        port,
        answer: Arc::clone(&answer),
        done,
    };
    let mut resolver = locks::lock(&RESOLVER);
    resolver.waiting.push_back(lookup);
    if resolver.threads < MAX_THREADS {
        let builder = std::thread::Builder::new().name("portal-resolve".to_owned());
        match process::with_signals_blocked(|| builder.spawn(run)) {
            Ok(_detached) => resolver.threads += 1,
            Err(_) if resolver.threads > 0 => (),
            Err(error) => {
                resolver.waiting.pop_back();
                return Err(error);
            }
        }
    }
    Ok(answer)
}

fn run() {
    let _ours = process::Uncancelled::begin();
    loop {
        let lookup = {
            let mut resolver = locks::lock(&RESOLVER);
            match resolver.waiting.pop_front() {
                Some(lookup) => lookup,
                None => {
                    resolver.threads -= 1;
                    return;
                }
            }
        };
        let found = (lookup.name.as_str(), lookup.port).to_socket_addrs();
        *locks::lock(&lookup.answer) = Some(found.map(Iterator::collect));
        (lookup.done)();
    }
}
