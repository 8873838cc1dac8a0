//! Starting the threads on which connections are made.

use std::io;
use std::thread::Builder;

use crate::net::{memory, process};

/// Starts a thread that nobody waits for. Signals for the process do not reach it, and cancellation neither.
pub(super) fn start(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let builder = Builder::new().name(name.to_owned());
    let run = || {
        let _ours = process::Uncancelled::begin();
        run();
    };
    memory::probe()?;
    process::with_signals_blocked(|| builder.spawn(run)).map(drop)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn signals_for_the_process_do_not_reach_a_thread_and_it_has_a_name() {
        let (sender, receiver) = mpsc::channel();
        start("portal-test", move || {
            let status = fs::read_to_string("/proc/thread-self/status").unwrap();
            sender.send(status).unwrap();
        })
        .unwrap();
        let status = receiver.recv_timeout(Duration::from_secs(20)).unwrap();
        assert!(status.starts_with("Name:\tportal-test\n"), "{status}");
        let blocked = status
            .lines()
            .find_map(|line| line.strip_prefix("SigBlk:"))
            .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
            .unwrap();
        // SIGINT and SIGTERM have the numbers 2 and 15.
        for signal in [2, 15] {
            assert_ne!(blocked & (1 << (signal - 1)), 0, "{signal}: {blocked:x}");
        }
    }
}
