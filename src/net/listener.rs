//! Listening and accepting: IPv4, IPv6 and Unix-domain sockets.

use std::fmt;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::net::{SocketFlags, acceptfrom_with};
use socket2::{Domain, SockAddr, Type};

use super::Socket;

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    Inet(SocketAddr),
    Unix(PathBuf),
}

impl Address {
    /// Reads a numeric address (brackets allowed), a name, which is looked up now, or `unix:/path`.
    pub fn resolve(host: &str, port: u16) -> io::Result<Self> {
        if let Some(path) = host.strip_prefix("unix:") {
            return Ok(Self::Unix(path.into()));
        }
        let bare = host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .unwrap_or(host);
        let mut found = (bare, port).to_socket_addrs()?;
        found
            .next()
            .map(Self::Inet)
            .ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
    }
}

/// Who has connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    Inet(SocketAddr),
    Unix,
}

impl Peer {
    /// The peer's IP address; None for a Unix socket.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Inet(address) => Some(address.ip()),
            Self::Unix => None,
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet(address) => address.fmt(f),
            Self::Unix => f.write_str("unix"),
        }
    }
}

/// A listening, non-blocking socket. A Unix socket's file goes when this is dropped.
#[derive(Debug)]
pub struct Listener {
    socket: socket2::Socket,
    port: u16,
    file: Option<SocketFile>,
}

impl Listener {
    pub fn bind(address: &Address, backlog: i32) -> io::Result<Self> {
        match address {
            Address::Inet(address) => Self::bind_inet(*address, backlog),
            Address::Unix(path) => Self::bind_unix(path, backlog),
        }
    }

    /// The port in use; 0 for a Unix socket.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Accepts one connection that is waiting, or answers `WouldBlock`.
    pub fn accept(&self) -> io::Result<(Socket, Peer)> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        loop {
            match acceptfrom_with(&self.socket, flags) {
                Ok((descriptor, address)) => {
                    let peer = address.and_then(|address| SocketAddr::try_from(address).ok());
                    let peer = peer.map_or(Peer::Unix, |address| {
                        // An IPv4 client of a dual-stack listener is an IPv4 client.
                        Peer::Inet(SocketAddr::new(address.ip().to_canonical(), address.port()))
                    });
                    return Ok((Socket::new(descriptor), peer));
                }
                // A client that left while it waited is no reason to stop.
                Err(Errno::INTR | Errno::CONNABORTED | Errno::PROTO | Errno::PERM) => (),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn bind_inet(address: SocketAddr, backlog: i32) -> io::Result<Self> {
        let any = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), address.port());
        match Self::bind_exactly(address, backlog) {
            Err(error) if address == any && is_without_ipv6(&error) => {
                let any = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), address.port());
                Self::bind_exactly(any, backlog)
            }
            answer => answer,
        }
    }

    fn bind_exactly(address: SocketAddr, backlog: i32) -> io::Result<Self> {
        let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        if address.is_ipv6() {
            socket.set_only_v6(false)?;
        }
        // A port whose last connections are still in TIME_WAIT is free; one with a listener is not.
        socket.set_reuse_address(true)?;
        // Accepted sockets inherit it.
        socket.set_tcp_nodelay(true)?;
        socket.bind(&address.into())?;
        let port = socket
            .local_addr()?
            .as_socket()
            .map_or(0, |address| address.port());
        Self::listen(socket, port, backlog, None)
    }

    fn bind_unix(path: &Path, backlog: i32) -> io::Result<Self> {
        remove_stale(path)?;
        let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.bind(&SockAddr::unix(path)?)?;
        let file = SocketFile::at(path)?;
        Self::listen(socket, 0, backlog, Some(file))
    }

    fn listen(
        socket: socket2::Socket,
        port: u16,
        backlog: i32,
        file: Option<SocketFile>,
    ) -> io::Result<Self> {
        socket.listen(backlog)?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, port, file })
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for Listener {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(file) = &self.file {
            file.remove();
        }
    }
}

/// The file that a Unix socket made; another that stands there later is not ours.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl SocketFile {
    fn at(path: &Path) -> io::Result<Self> {
        let path = std::path::absolute(path)?;
        let data = fs::symlink_metadata(&path)?;
        Ok(Self {
            device: data.dev(),
            inode: data.ino(),
            path,
        })
    }

    fn remove(&self) {
        let ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|data| (data.dev(), data.ino()) == (self.device, self.inode));
        if ours {
            // Somebody who removes it at the same moment wants the same.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Removes a socket file on which nobody listens any more.
fn remove_stale(path: &Path) -> io::Result<()> {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|data| data.file_type().is_socket());
    if !is_socket {
        return Ok(());
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        _ => Err(io::ErrorKind::AddrInUse.into()),
    }
}

fn is_without_ipv6(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_numeric_bracketed_a_name_or_a_file() {
        let inet = |text: &str| Address::Inet(text.parse().unwrap());
        assert_eq!(
            Address::resolve("127.0.0.1", 1).unwrap(),
            inet("127.0.0.1:1")
        );
        assert_eq!(Address::resolve("::1", 2).unwrap(), inet("[::1]:2"));
        assert_eq!(Address::resolve("[::1]", 3).unwrap(), inet("[::1]:3"));
        assert_eq!(
            Address::resolve("unix:/a b", 0).unwrap(),
            Address::Unix("/a b".into())
        );
        assert!(Address::resolve("[::1", 3).is_err());
    }

    #[test]
    fn a_second_listener_on_the_same_port_is_refused() {
        let first = Listener::bind(&Address::resolve("127.0.0.1", 0).unwrap(), 1).unwrap();
        let same = Address::resolve("127.0.0.1", first.port()).unwrap();
        let refused = Listener::bind(&same, 1).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn a_stale_socket_file_is_replaced_and_a_live_one_is_not() {
        let folder = std::env::temp_dir().join(format!("portal-listener-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("socket");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let address = Address::Unix(path.clone());

        let listener = Listener::bind(&address, 1).unwrap();
        let refused = Listener::bind(&address, 1).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
        drop(listener);
        assert!(!path.exists());
        fs::remove_dir_all(&folder).unwrap();
    }
}
