//! Listening sockets that the process was started with, or that the program has opened itself.

use std::env;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, RawFd};
use std::process;

use rustix::io::{Errno, FdFlags, fcntl_getfd, fcntl_setfd, ioctl_fionbio};
use rustix::net::{AddressFamily, SocketType, getsockname, sockopt};

/// The first descriptor that systemd passes: `SD_LISTEN_FDS_START` of sd_listen_fds(3).
const FIRST_OF_SYSTEMD: RawFd = 3;

/// Checks that connections can be accepted from a descriptor, and sets what a listener of ours has set.
/// Returns its port; 0 for a Unix socket.
///
/// # Errors
///
/// It is something else; the error says what.
pub(super) fn prepare(socket: BorrowedFd<'_>) -> io::Result<u16> {
    let kind = sockopt::socket_type(socket).map_err(|error| match error {
        Errno::NOTSOCK => unusable("it is not a socket"),
        error => error.into(),
    })?;
    if kind != SocketType::STREAM {
        return Err(unusable("it is not a stream socket"));
    }
    if !sockopt::socket_acceptconn(socket)? {
        return Err(unusable("it is not listening"));
    }
    let family = sockopt::socket_domain(socket)?;
    let port = match family {
        AddressFamily::INET | AddressFamily::INET6 => {
            // Accepted sockets inherit it.
            sockopt::set_tcp_nodelay(socket, true)?;
            let address = SocketAddr::try_from(getsockname(socket)?)?;
            address.port()
        }
        AddressFamily::UNIX => 0,
        _ => return Err(unusable("it is neither an IPv4, an IPv6 nor a Unix socket")),
    };
    fcntl_setfd(socket, fcntl_getfd(socket)? | FdFlags::CLOEXEC)?;
    ioctl_fionbio(socket, true)?;
    Ok(port)
}

fn unusable(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}

/// Returns the first descriptor that systemd has passed to this process.
///
/// # Errors
///
/// It has passed none; the error says by what that is seen.
pub(super) fn from_systemd() -> io::Result<RawFd> {
    let number = |name| env::var(name).ok();
    check_passed(process::id(), number("LISTEN_PID"), number("LISTEN_FDS"))
        .map_err(|why| io::Error::new(io::ErrorKind::NotFound, why))?;
    Ok(FIRST_OF_SYSTEMD)
}

/// Whether systemd has passed descriptors to the process `own`: it says to whom and how many.
fn check_passed(own: u32, to: Option<String>, count: Option<String>) -> Result<(), String> {
    let to = to.ok_or("systemd has passed no socket: LISTEN_PID is not set")?;
    if to.parse() != Ok(own) {
        return Err(format!(
            "systemd has passed no socket to this process: LISTEN_PID is {to:?}, not {own}"
        ));
    }
    let count = count.ok_or("systemd has passed no socket: LISTEN_FDS is not set")?;
    match count.parse::<u32>() {
        Ok(1..) => Ok(()),
        _ => Err(format!(
            "systemd has passed no socket: LISTEN_FDS is {count:?}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systemd_has_passed_something_if_it_says_so_to_this_process() {
        let check = |to: Option<&str>, count: Option<&str>| {
            check_passed(42, to.map(str::to_owned), count.map(str::to_owned))
        };
        assert_eq!(check(Some("42"), Some("1")), Ok(()));
        assert_eq!(check(Some("42"), Some("7")), Ok(()));
        for (to, count, word) in [
            (None, Some("1"), "LISTEN_PID is not set"),
            (Some("41"), Some("1"), "\"41\", not 42"),
            (Some(""), Some("1"), "\"\", not 42"),
            (Some("42 "), Some("1"), "\"42 \", not 42"),
            (Some("42"), None, "LISTEN_FDS is not set"),
            (Some("42"), Some("0"), "LISTEN_FDS is \"0\""),
            (Some("42"), Some("-1"), "LISTEN_FDS is \"-1\""),
            (Some("42"), Some("x"), "LISTEN_FDS is \"x\""),
        ] {
            let why = check(to, count).unwrap_err();
            assert!(why.contains(word), "{why}");
        }
    }
}
