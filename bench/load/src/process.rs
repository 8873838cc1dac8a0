//! The resources that a process uses, mostly the server's.

use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::time::Duration;

/// The resources that a process has used since its start.
pub struct Usage {
    /// Processor time of all its threads.
    pub processor: Duration,
    /// User and system time, in the system's coarse ticks.
    pub user_ticks: u64,
    pub system_ticks: u64,
    /// Voluntary and involuntary context switches.
    pub waits: u64,
    pub preemptions: u64,
}

impl Usage {
    pub fn of(process: i32) -> io::Result<Usage> {
        let [user_ticks, system_ticks] = ticks(process)?;
        let [waits, preemptions] = context_switches(process)?;
        Ok(Usage {
            processor: processor_time(process)?,
            user_ticks,
            system_ticks,
            waits,
            preemptions,
        })
    }
}

/// Returns the processor time of all threads of a process.
pub fn processor_time(process: i32) -> io::Result<Duration> {
    let mut clock = 0;
    // SAFETY: `clock` is a local that the call writes.
    let failure = unsafe { libc::clock_getcpuclockid(process, &mut clock) };
    if failure != 0 {
        return Err(io::Error::from_raw_os_error(failure));
    }
    let mut time = MaybeUninit::<libc::timespec>::uninit();
    // SAFETY: `time` is a local that the call writes.
    if unsafe { libc::clock_gettime(clock, time.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: The call succeeded, so it wrote `time`.
    let time = unsafe { time.assume_init() };
    Ok(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}

/// Returns the anonymous and the resident memory of a process, in bytes. Anonymous memory is touched
/// heap and stacks, without code and files.
pub fn memory(process: i32) -> io::Result<[u64; 2]> {
    let rollup = fs::read_to_string(format!("/proc/{process}/smaps_rollup"))?;
    let kibibytes = numbers_after(&rollup, ["Anonymous:", "Rss:"])?;
    Ok(kibibytes.map(|count| count * 1024))
}

fn ticks(process: i32) -> io::Result<[u64; 2]> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name in parentheses may contain any character.
    let fields = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_ascii_whitespace();
    let times: Vec<u64> = fields
        .skip(11)
        .map_while(|field| field.parse().ok())
        .take(2)
        .collect();
    times
        .try_into()
        .map_err(|_| io::Error::other("cannot read the processor time"))
}

fn context_switches(process: i32) -> io::Result<[u64; 2]> {
    let mut all = [0; 2];
    for thread in fs::read_dir(format!("/proc/{process}/task"))? {
        // A thread may have ended since it was listed.
        let Ok(status) = fs::read_to_string(thread?.path().join("status")) else {
            continue;
        };
        let names = ["voluntary_ctxt_switches:", "nonvoluntary_ctxt_switches:"];
        for (sum, count) in all.iter_mut().zip(numbers_after(&status, names)?) {
            *sum += count;
        }
    }
    Ok(all)
}

fn numbers_after<const COUNT: usize>(text: &str, names: [&str; COUNT]) -> io::Result<[u64; COUNT]> {
    let number = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_ascii_whitespace().next()?.parse().ok()
    };
    let found: Vec<u64> = names.iter().map_while(|name| number(name)).collect();
    found
        .try_into()
        .map_err(|_| io::Error::other(format!("cannot read {names:?}")))
}

/// Raises this process's limit of open files to the maximum.
pub fn raise_open_files() -> io::Result<()> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is a local that the call writes.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: `limit` is a local that the call reads.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_computes_uses_processor_time_and_memory() {
        let this = std::process::id() as i32;
        let before = processor_time(this).unwrap();
        while processor_time(this).unwrap() == before {}
        let [anonymous, resident] = memory(this).unwrap();
        assert!(0 < anonymous && anonymous <= resident);
        Usage::of(this).unwrap();
    }
}
