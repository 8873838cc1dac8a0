//! The log callback, behind the `log` facade.
//!
//! The callback is foreign code, so during a turn lines are collected and told when nothing is
//! borrowed. Before any callback was set nothing of this is installed.

use std::cell::{Cell, RefCell};
use std::ffi::{CStr, CString};
use std::fmt::{self, Write as _};
use std::sync::{Arc, Condvar, Mutex, RwLock};

use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::locks;
use crate::net::{Peer, memory, process};

/// What takes log lines: level 1 (error) to 5 (trace), and a line without its end.
pub(crate) type LogCallback = dyn Fn(u32, &CStr) + Send + Sync;

static LISTENER: RwLock<Option<Arc<Listener>>> = RwLock::new(None);

thread_local! {
    /// The callback runs on this thread; what is logged now is dropped.
    static TELLING: Cell<bool> = const { Cell::new(false) };
    /// Something may be borrowed on this thread; what is logged now waits.
    static HOLDING: Cell<bool> = const { Cell::new(false) };
    static WAITING: RefCell<Vec<(Level, CString)>> = const { RefCell::new(Vec::new()) };
    /// Something waits there.
    static IS_WAITING: Cell<bool> = const { Cell::new(false) };
}

struct Listener {
    callback: Arc<LogCallback>,
    calls: Mutex<usize>,
    ended: Condvar,
}

/// Sets who is told; None is nobody. When it returns, the old callback does not run any more,
/// except around this very call.
pub(crate) fn set(level: u32, callback: Option<Arc<LogCallback>>) {
    let filter = match (&callback, level) {
        (None, _) | (_, 0) => LevelFilter::Off,
        (_, 1) => LevelFilter::Error,
        (_, 2) => LevelFilter::Warn,
        (_, 3) => LevelFilter::Info,
        (_, 4) => LevelFilter::Debug,
        _ => LevelFilter::Trace,
    };
    let new = callback.map(|callback| {
        Arc::new(Listener {
            callback,
            calls: Mutex::new(0),
            ended: Condvar::new(),
        })
    });
    // A host written in Rust may have its own logger, which then stays.
    let _ = log::set_logger(&Logger);
    log::set_max_level(filter);
    let old = {
        let mut listener = locks::write(&LISTENER);
        std::mem::replace(&mut *listener, new)
    };
    if let Some(old) = old.filter(|_| !TELLING.get()) {
        let calls = locks::lock(&old.calls);
        let _none = old.ended.wait_while(calls, |calls| *calls > 0);
    }
}

/// The beginning of each line about a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConnectionName {
    /// 0: it was refused before it got an id.
    pub websocket: u64,
    /// None when the system does not know it any more.
    pub peer: Option<Peer>,
}

impl fmt::Display for ConnectionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "websocket {} peer ", self.websocket)?;
        match &self.peer {
            Some(peer) => peer.fmt(f),
            None => f.write_str("unknown"),
        }
    }
}

struct Logger;

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // In a forked child there is nobody to tell, and the locks may be held for ever.
        metadata.target().starts_with("portal") && !process::is_forked_child()
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) || TELLING.get() {
            return;
        }
        let Some(line) = Line::of(record) else { return };
        if HOLDING.get() {
            WAITING.with_borrow_mut(|waiting| {
                if memory::try_reserve(waiting, 1).is_ok() {
                    waiting.push((record.level(), line));
                }
            });
            IS_WAITING.set(true);
        } else {
            tell(record.level(), &line);
        }
    }

    fn flush(&self) {}
}

/// A line that is being written; it ends where memory for it is refused.
struct Line(Vec<u8>);

impl Line {
    /// What a record says, if there is memory for any of it.
    fn of(record: &Record<'_>) -> Option<CString> {
        let mut line = Self(Vec::new());
        let _cut = line.write_fmt(*record.args());
        let Self(mut line) = line;
        memory::try_reserve_exact(&mut line, 1).ok()?;
        for byte in &mut line {
            if matches!(byte, b'\0' | b'\n' | b'\r') {
                *byte = b' ';
            }
        }
        CString::new(line).ok()
    }
}

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        memory::try_reserve(&mut self.0, text.len() + 1).map_err(|_| fmt::Error)?;
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

/// Runs `work`, during which lines are collected instead of told.
pub(crate) fn holding<T>(work: impl FnOnce() -> T) -> T {
    let _until_dropped = Holding(HOLDING.replace(true));
    work()
}

/// What held before, and holds again when this is dropped, also by a panic.
struct Holding(bool);

impl Drop for Holding {
    fn drop(&mut self) {
        HOLDING.set(self.0);
    }
}

/// Tells what was collected. Nothing may be borrowed.
#[inline(always)]
pub(crate) fn tell_waiting() {
    // Mostly nobody listens, and to know that is cheaper than to look into a thread-local.
    if log::max_level() > LevelFilter::Off {
        tell_what_waits();
    }
}

#[cold]
fn tell_what_waits() {
    if IS_WAITING.take() {
        for (level, line) in WAITING.take() {
            tell(level, &line);
        }
    }
}

fn tell(level: Level, line: &CStr) {
    let listener = {
        let listener = locks::read(&LISTENER);
        let Some(listener) = &*listener else { return };
        *locks::lock(&listener.calls) += 1;
        Arc::clone(listener)
    };
    TELLING.set(true);
    (listener.callback)(level as u32, line);
    TELLING.set(false);
    *locks::lock(&listener.calls) -= 1;
    listener.ended.notify_all();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_named_by_its_id_and_its_peer() {
        let inet = |address: &str| Peer::Inet(address.parse().expect("an address"));
        for (websocket, peer, name) in [
            (
                7,
                Some(inet("192.0.2.1:80")),
                "websocket 7 peer 192.0.2.1:80",
            ),
            (
                1 << 52,
                Some(inet("[2001:db8::1]:80")),
                "websocket 4503599627370496 peer [2001:db8::1]:80",
            ),
            (7, Some(Peer::Unix), "websocket 7 peer unix"),
            (0, None, "websocket 0 peer unknown"),
        ] {
            assert_eq!(ConnectionName { websocket, peer }.to_string(), name);
        }
    }
}
