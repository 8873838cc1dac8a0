//! What the load programs share: a client's opening handshake, and what the system knows of the server.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

/// A client waits no longer than this for anything.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Connects from `source` to a server on the same machine, and opens a websocket there.
pub fn open(source: Ipv4Addr, port: u16) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddrV4::new(source, 0).into())?;
    socket.connect(&SocketAddrV4::new(Ipv4Addr::LOCALHOST, port).into())?;
    let mut stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    shake_hands(&mut stream, port)?;
    Ok(stream)
}

fn shake_hands(stream: &mut TcpStream, port: u16) -> io::Result<()> {
    write!(
        stream,
        "GET / HTTP/1.1\r\nHost: localhost:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: c29tZSBzaXh0ZWVuIGJ5dA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )?;
    // A pure echo says nothing of its own, so the answer's end is the last byte that comes.
    let mut answer = Vec::new();
    let mut piece = [0; 1024];
    while !answer.ends_with(b"\r\n\r\n") {
        match stream.read(&mut piece)? {
            0 => {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "the server hung up",
                ));
            }
            taken => answer.extend_from_slice(&piece[..taken]),
        }
    }
    if !answer.starts_with(b"HTTP/1.1 101 ") {
        let answer = String::from_utf8_lossy(&answer).into_owned();
        return Err(io::Error::other(format!("the server refused: {answer}")));
    }
    Ok(())
}

/// The processor time that a process has used, all its threads together.
pub fn processor_time(process: i32) -> io::Result<Duration> {
    let mut clock = 0;
    // SAFETY: `clock` is a local that the call writes.
    let failure = unsafe { libc::clock_getcpuclockid(process, &mut clock) };
    if failure != 0 {
        return Err(io::Error::from_raw_os_error(failure));
    }
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a local that the call writes.
    if unsafe { libc::clock_gettime(clock, &mut time) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}

/// The anonymous memory of a process, in bytes: heap and stacks that it has touched, no code and no files.
pub fn anonymous_memory(process: i32) -> io::Result<u64> {
    let rollup = fs::read_to_string(format!("/proc/{process}/smaps_rollup"))?;
    rollup
        .lines()
        .find_map(|line| {
            line.strip_prefix("Anonymous:")?
                .strip_suffix("kB")?
                .trim()
                .parse::<u64>()
                .ok()
        })
        .map(|kibibytes| kibibytes * 1024)
        .ok_or_else(|| io::Error::other("the system does not tell the anonymous memory"))
}

/// The arguments as numbers, in the order in which `usage` names them.
pub fn numbers<const COUNT: usize>(usage: &str) -> [u32; COUNT] {
    let given: Vec<u32> = std::env::args()
        .skip(1)
        .map_while(|word| word.parse().ok())
        .collect();
    <[u32; COUNT]>::try_from(given).unwrap_or_else(|_| {
        eprintln!("usage: {usage}");
        std::process::exit(2);
    })
}
