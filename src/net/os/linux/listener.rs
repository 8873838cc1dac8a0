//! Listening and accepting: IPv4, IPv6 and Unix-domain sockets, ours and inherited ones.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::net::{SocketFlags, acceptfrom_with};
use socket2::{Domain, SockAddr, Type};

use super::inherited;
use super::socket::{self, Socket};
use super::sys::adopted::Adopted;
use super::sys::process;
use crate::net::address::{Address, Peer};

/// Maximum number of connections in a row that may fail to be accepted because of errors of their own.
const MAX_FAILED_PEERS: usize = 16;

/// Listening, non-blocking sockets, one for each address. When this is dropped, they are shut down and
/// closed, and a Unix socket's file is removed. An inherited socket is only closed, and only if it is ours by
/// then.
#[derive(Debug)]
pub(crate) struct Listener {
    sockets: Vec<Source>,
    /// The socket that is tried first at the next call, so that none starves another.
    first: AtomicUsize,
    port: u16,
    file: Option<SocketFile>,
    stopped: AtomicBool,
}

/// A socket to accept connections from.
#[derive(Debug)]
enum Source {
    Ours(socket2::Socket),
    /// Other processes may have it, too.
    Inherited(Adopted),
}

impl AsFd for Source {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Ours(socket) => socket.as_fd(),
            Self::Inherited(socket) => socket.as_fd(),
        }
    }
}

/// Maximum number of further ports to try when the port that the system chose for a name's first address is
/// in use on another.
const MAX_FURTHER_PORTS: u32 = 15;

impl Listener {
    /// Listens at an address. Mode 0 leaves the permissions of a Unix socket's file to the umask.
    pub(crate) fn bind(address: &Address, backlog: i32, unix_mode: u32) -> io::Result<Self> {
        match address {
            Address::Inet(addresses) => Self::bind_inet(addresses, backlog),
            Address::Unix(path) => Self::bind_unix(path, backlog, unix_mode),
            Address::Descriptor(number) => Self::inherit(*number),
            Address::Systemd => Self::inherit(inherited::from_systemd()?),
        }
    }

    /// Returns the port in use; 0 for a Unix socket.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Makes an inherited descriptor ours: it is closed with this. Until then it stays the program's.
    pub(crate) fn take_over(&self) {
        self.inherited().for_each(Adopted::take_over);
    }

    /// Makes an inherited descriptor the program's again: it is not closed with this.
    pub(crate) fn give_back(&self) {
        self.inherited().for_each(Adopted::give_back);
    }

    fn inherited(&self) -> impl Iterator<Item = &Adopted> {
        self.sockets.iter().filter_map(|socket| match socket {
            Source::Ours(_) => None,
            Source::Inherited(socket) => Some(socket),
        })
    }

    /// Refuses connections from now on. An inherited socket goes on listening, for whoever else has it.
    pub(crate) fn stop(&self) {
        if self.stopped.swap(true, Ordering::SeqCst) {
            return;
        }
        // The file goes first: nobody who listens at its path next takes it for a stale one.
        if let Some(file) = self.file.as_ref().filter(|_| !process::is_forked_child()) {
            file.remove();
        }
        for socket in &self.sockets {
            if let Source::Ours(socket) = socket {
                socket::end(socket);
            }
        }
    }

    /// Returns the sockets to poll.
    pub(crate) fn sockets(&self) -> impl ExactSizeIterator<Item = BorrowedFd<'_>> {
        self.sockets.iter().map(AsFd::as_fd)
    }

    /// Accepts one connection, or fails with `WouldBlock`.
    pub(crate) fn accept(&self) -> io::Result<(Socket, Peer)> {
        if let [socket] = &self.sockets[..] {
            return Self::accept_from(socket);
        }
        let (before, after) = self
            .sockets
            .split_at(self.first.fetch_add(1, Ordering::Relaxed) % self.sockets.len());
        for socket in after.iter().chain(before) {
            match Self::accept_from(socket) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => (),
                result => return result,
            }
        }
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn accept_from(socket: &Source) -> io::Result<(Socket, Peer)> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let mut failed = 0;
        loop {
            match acceptfrom_with(socket, flags) {
                Ok((descriptor, address)) => {
                    return Ok((Socket::new(descriptor), socket::peer_at(address)));
                }
                // A peer that disconnected while it waited does not end accepting.
                Err(error) if is_about_one_peer(error) && failed < MAX_FAILED_PEERS => failed += 1,
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn bind_inet(addresses: &[SocketAddr], backlog: i32) -> io::Result<Self> {
        let any = |ip: IpAddr| {
            let port = addresses.first().map_or(0, SocketAddr::port);
            [SocketAddr::new(ip, port)]
        };
        match Self::bind_each(addresses, backlog) {
            Err(error) if is_absent(&error) && addresses == any(Ipv6Addr::UNSPECIFIED.into()) => {
                Self::bind_each(&any(Ipv4Addr::UNSPECIFIED.into()), backlog)
            }
            result => result,
        }
    }

    fn bind_each(addresses: &[SocketAddr], backlog: i32) -> io::Result<Self> {
        let has_port = addresses.iter().any(|address| address.port() != 0);
        let mut more = if has_port { 0 } else { MAX_FURTHER_PORTS };
        loop {
            match Self::bind_each_once(addresses, backlog) {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && more > 0 => more -= 1,
                result => return result,
            }
        }
    }

    /// Listens on those of the addresses that are available on this machine.
    fn bind_each_once(addresses: &[SocketAddr], backlog: i32) -> io::Result<Self> {
        let mut listener = Self::new(0, None);
        let mut absent = io::ErrorKind::AddrNotAvailable.into();
        for &(mut address) in addresses {
            if listener.port != 0 {
                address.set_port(listener.port);
            }
            match bind_exactly(address, addresses.len() > 1) {
                Ok(socket) => {
                    let local = socket.local_addr()?.as_socket();
                    listener.port = local.map_or(0, |address| address.port());
                    listener.sockets.push(Source::Ours(socket));
                }
                Err(error) if is_absent(&error) => {
                    log::info!("{address} is not an address of this machine: {error}");
                    absent = error;
                }
                Err(error) => return Err(error),
            }
        }
        match listener.sockets.is_empty() {
            true => Err(absent),
            false => listener.listen(backlog),
        }
    }

    fn bind_unix(path: &Path, backlog: i32, mode: u32) -> io::Result<Self> {
        remove_stale(path)?;
        let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
        if mode != 0 {
            // The file is made with these bits, less those of the umask, and so never has others.
            rustix::fs::fchmod(&socket, Mode::from_raw_mode(mode))?;
        }
        socket.bind(&SockAddr::unix(path)?)?;
        let mut listener = Self::new(0, Some(SocketFile::at(path)?));
        listener.sockets.push(Source::Ours(socket));
        if mode != 0 {
            add_permissions(path, mode)?;
        }
        listener.listen(backlog)
    }

    fn inherit(number: i32) -> io::Result<Self> {
        let socket = Adopted::new(number)?;
        let port = inherited::prepare(socket.as_fd())?;
        let mut listener = Self::new(port, None);
        listener.sockets.push(Source::Inherited(socket));
        Ok(listener)
    }

    fn new(port: u16, file: Option<SocketFile>) -> Self {
        Self {
            sockets: Vec::new(),
            first: AtomicUsize::new(0),
            port,
            file,
            stopped: AtomicBool::new(false),
        }
    }

    fn listen(self, backlog: i32) -> io::Result<Self> {
        for socket in &self.sockets {
            rustix::net::listen(socket, backlog)?;
            rustix::io::ioctl_fionbio(socket, true)?;
        }
        Ok(self)
    }
}

/// Whether an error of accept may concern one peer, so that the next may be accepted (accept(2)).
fn is_about_one_peer(error: Errno) -> bool {
    matches!(
        error,
        Errno::INTR
            | Errno::CONNABORTED
            | Errno::PROTO
            | Errno::PERM
            | Errno::NETDOWN
            | Errno::NOPROTOOPT
            | Errno::HOSTDOWN
            | Errno::NONET
            | Errno::HOSTUNREACH
            | Errno::OPNOTSUPP
            | Errno::NETUNREACH
    )
}

/// Whether an error of listening concerns the process or the system, and not the address.
pub(crate) fn lacks_resources(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM)
    )
}

/// Binds to one address; with `v6_only` without IPv4.
fn bind_exactly(address: SocketAddr, v6_only: bool) -> io::Result<socket2::Socket> {
    let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(v6_only)?;
    }
    // So that a port with connections in TIME_WAIT can be bound; one with a listener cannot.
    socket.set_reuse_address(true)?;
    // Inherited by accepted sockets.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The file of a Unix socket, identified so that a later file of the same name is not removed.
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
            // It may have been removed concurrently.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Gives a new socket file the permissions that the umask has taken from it.
fn add_permissions(path: &Path, mode: u32) -> io::Result<()> {
    let data = fs::symlink_metadata(path)?;
    if !data.file_type().is_socket() || data.mode() & 0o777 == mode {
        return Ok(());
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

/// Removes the file of a socket that has no listener any more.
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

/// Whether listening failed because this machine lacks the address or its family.
fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL)
    )
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;
    use std::time::{Duration, Instant};

    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(20);

    #[test]
    fn a_second_listener_on_the_same_port_is_refused() {
        let first = Listener::bind(&Address::resolve("127.0.0.1", 0).unwrap(), 1, 0).unwrap();
        let same = Address::resolve("127.0.0.1", first.port()).unwrap();
        let refused = Listener::bind(&same, 1, 0).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
    }

    fn both(port: u16) -> Address {
        let v4 = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port);
        let v6 = SocketAddr::new(Ipv6Addr::LOCALHOST.into(), port);
        Address::Inet(vec![v4, v6])
    }

    #[test]
    fn every_address_of_a_name_is_listened_on_at_the_same_port() {
        let listener = Listener::bind(&both(0), 8, 0).unwrap();
        assert_eq!(listener.sockets().len(), 2);
        let Address::Inet(addresses) = both(listener.port()) else {
            unreachable!()
        };
        let clients: Vec<TcpStream> = addresses
            .iter()
            .flat_map(|address| [address; 3])
            .map(|address| TcpStream::connect(address).unwrap())
            .collect();
        let mut expected: Vec<_> = clients
            .iter()
            .map(|client| Peer::Inet(client.local_addr().unwrap()))
            .collect();
        let deadline = Instant::now() + DEADLINE;
        while !expected.is_empty() {
            match listener.accept() {
                Ok((_, peer)) => expected.retain(|one| *one != peer),
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
            assert!(Instant::now() < deadline, "{expected:?} are not accepted");
        }
        let error = listener.accept().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn no_address_waits_while_another_is_busy() {
        let listener = Listener::bind(&both(0), 8, 0).unwrap();
        let port = listener.port();
        let dial = |ip: IpAddr| TcpStream::connect((ip, port)).unwrap();
        let _many: Vec<_> = (0..4).map(|_| dial(Ipv4Addr::LOCALHOST.into())).collect();
        let _one = dial(Ipv6Addr::LOCALHOST.into());
        for socket in listener.sockets() {
            let timeout = Timespec::try_from(DEADLINE).unwrap();
            let mut waiting = [PollFd::from_borrowed_fd(socket, PollFlags::IN)];
            assert_eq!(poll(&mut waiting, Some(&timeout)), Ok(1));
        }
        let accepted = (0..2).map(|_| listener.accept().unwrap().1.ip().unwrap());
        assert_eq!(accepted.filter(IpAddr::is_ipv6).count(), 1);
    }

    #[test]
    fn an_address_that_the_machine_does_not_have_is_passed_over_and_a_taken_one_is_not() {
        let absent = SocketAddr::new(Ipv4Addr::new(192, 0, 2, 1).into(), 0);
        let here = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0);
        let listener = Listener::bind(&Address::Inet(vec![absent, here]), 1, 0).unwrap();
        assert_eq!(listener.sockets().len(), 1);
        assert!(Listener::bind(&Address::Inet(vec![absent]), 1, 0).is_err());

        let refused = Listener::bind(&both(listener.port()), 1, 0).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn a_stale_socket_file_is_replaced_and_a_live_one_is_not() {
        let folder = std::env::temp_dir().join(format!("portal-listener-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("socket");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let address = Address::Unix(path.clone());

        let listener = Listener::bind(&address, 1, 0).unwrap();
        let refused = Listener::bind(&address, 1, 0).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
        drop(listener);
        assert!(!path.exists());
        fs::remove_dir_all(&folder).unwrap();
    }
}
