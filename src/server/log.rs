//! The log callback, behind the `log` facade.
//!
//! The callback is foreign code, so during a turn lines are collected, and reported when nothing is borrowed.
//! Nothing of this is installed before a callback was set.

use std::cell::{Cell, RefCell};
use std::ffi::{CStr, CString};
use std::fmt::{self, Write as _};
use std::sync::{Arc, Condvar, Mutex, RwLock};

use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::locks;
use crate::net::{Peer, memory, process};

/// Receives log lines: the level, from 1 (error) to 5 (trace), and the line without its end.
pub(crate) type LogCallback = dyn Fn(u32, &CStr) + Send + Sync;

static LISTENER: RwLock<Option<Arc<Listener>>> = RwLock::new(None);

thread_local! {
    /// The callback is running on this thread; what is logged now is dropped.
    static IN_CALLBACK: Cell<bool> = const { Cell::new(false) };
    /// Something may be borrowed on this thread; what is logged now is collected.
    static COLLECTING: Cell<bool> = const { Cell::new(false) };
    static COLLECTED: RefCell<Vec<(Level, CString)>> = const { RefCell::new(Vec::new()) };
    /// `COLLECTED` is not empty.
    static HAS_COLLECTED: Cell<bool> = const { Cell::new(false) };
}

struct Listener {
    callback: Arc<LogCallback>,
    calls: Mutex<usize>,
    ended: Condvar,
}

/// Sets the callback; None: no log. When it returns, the previous callback does not run any more, unless this
/// was called inside it.
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
    if let Some(old) = old.filter(|_| !IN_CALLBACK.get()) {
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
        // In a forked child nobody listens, and the locks may be held forever.
        metadata.target().starts_with("portal") && !process::is_forked_child()
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) || IN_CALLBACK.get() {
            return;
        }
        let Some(line) = Line::of(record) else { return };
        if COLLECTING.get() {
            COLLECTED.with_borrow_mut(|waiting| {
                if memory::try_reserve(waiting, 1).is_ok() {
                    waiting.push((record.level(), line));
                }
            });
            HAS_COLLECTED.set(true);
        } else {
            report(record.level(), &line);
        }
    }

    fn flush(&self) {}
}

/// A line that is being written; it ends where memory for it is refused.
struct Line(Vec<u8>);

impl Line {
    /// Returns the text of a record, if there is memory for any of it.
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

/// Runs `work`, during which lines are collected instead of reported.
pub(crate) fn collecting<T>(work: impl FnOnce() -> T) -> T {
    let _until_dropped = Collecting(COLLECTING.replace(true));
    work()
}

/// The previous state, which is restored when this is dropped, also by a panic.
struct Collecting(bool);

impl Drop for Collecting {
    fn drop(&mut self) {
        COLLECTING.set(self.0);
    }
}

/// Reports what was collected. Nothing may be borrowed.
#[inline(always)]
pub(crate) fn report_collected() {
    // Usually nobody listens, and checking that costs less than a thread-local.
    if log::max_level() > LevelFilter::Off {
        report_all_collected();
    }
}

#[cold]
fn report_all_collected() {
    if HAS_COLLECTED.take() {
        for (level, line) in COLLECTED.take() {
            report(level, &line);
        }
    }
}

fn report(level: Level, line: &CStr) {
    let listener = {
        let listener = locks::read(&LISTENER);
        let Some(listener) = &*listener else { return };
        *locks::lock(&listener.calls) += 1;
        Arc::clone(listener)
    };
    IN_CALLBACK.set(true);
    (listener.callback)(level as u32, line);
    IN_CALLBACK.set(false);
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
