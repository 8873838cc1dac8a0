//! A client's connection, with or without TLS: its opening, reads and writes.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream as BlockingStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use socket2::{Domain, Socket, Type};

use crate::frame::read_header;

/// Maximum time of every wait.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// Clients per source address: few enough for the system's ports.
const CLIENTS_PER_SOURCE: usize = 5_000;
const SOURCES: usize = 250;

/// The key of RFC 6455 section 1.3, and its accept value.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// The server, and how clients connect to it.
#[derive(Clone)]
pub struct Server {
    pub port: u16,
    pub protocol: Protocol,
    /// The configuration of TLS, if it is used.
    pub tls: Option<Arc<ClientConfig>>,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Protocol {
    /// No WebSocket: the server sends each byte back.
    Raw,
    WebSocket,
    /// With permessage-deflate, without context takeover in either direction.
    Deflate,
}

/// Returns a configuration that trusts the only certificate of a PEM file and resumes no session.
pub fn tls(certificate: &Path) -> io::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_file(certificate).map_err(io::Error::other)?;
    roots.add(certificate).map_err(io::Error::other)?;
    let mut config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

impl Server {
    /// Opens the `index`-th connection, opening handshake included.
    pub fn open(&self, index: usize) -> io::Result<Connection> {
        self.open_on(self.connect(index, None)?)
    }

    /// Performs the opening handshake on a connected stream.
    pub fn open_on(&self, mut stream: BlockingStream) -> io::Result<Connection> {
        let Some(tls) = self.tls_session()? else {
            self.shake_hands(&mut stream)?;
            return Ok(Connection::Plain(unblocked(stream)?));
        };
        let mut stream = StreamOwned::new(tls, stream);
        self.shake_hands(&mut stream)?;
        let (tls, stream) = stream.into_parts();
        let stream = StreamOwned::new(tls, unblocked(stream)?);
        Ok(Connection::Tls(Box::new(stream)))
    }

    /// Takes over a connected stream, without an opening handshake.
    pub fn begin_on(&self, stream: BlockingStream) -> io::Result<Connection> {
        let stream = unblocked(stream)?;
        Ok(match self.tls_session()? {
            None => Connection::Plain(stream),
            Some(tls) => Connection::Tls(Box::new(StreamOwned::new(tls, stream))),
        })
    }

    /// Connects, with a receive buffer of `buffer` bytes if it is given.
    pub fn connect(&self, index: usize, buffer: Option<usize>) -> io::Result<BlockingStream> {
        let source = (index / CLIENTS_PER_SOURCE % SOURCES) as u8;
        let source = Ipv4Addr::new(127, 0, 0, 2 + source);
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        if let Some(size) = buffer {
            socket.set_recv_buffer_size(size)?;
        }
        socket.set_tcp_nodelay(true)?;
        socket.set_read_timeout(Some(DEADLINE))?;
        socket.set_write_timeout(Some(DEADLINE))?;
        socket.bind(&SocketAddrV4::new(source, 0).into())?;
        socket.connect(&SocketAddrV4::new(Ipv4Addr::LOCALHOST, self.port).into())?;
        Ok(socket.into())
    }

    fn tls_session(&self) -> io::Result<Option<ClientConnection>> {
        let session = |config: &Arc<ClientConfig>| {
            let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
            ClientConnection::new(config.clone(), name).map_err(io::Error::other)
        };
        self.tls.as_ref().map(session).transpose()
    }

    fn shake_hands(&self, stream: &mut (impl Read + Write)) -> io::Result<()> {
        if self.protocol == Protocol::Raw {
            return Ok(());
        }
        stream.write_all(self.request().as_bytes())?;
        // An echo server sends nothing else, so the response ends with the last received byte.
        let mut answer = Vec::new();
        let mut piece = [0; 1024];
        while !answer.ends_with(b"\r\n\r\n") {
            match stream.read(&mut piece)? {
                0 => return Err(hung_up()),
                taken => answer.extend_from_slice(&piece[..taken]),
            }
        }
        self.check_answer(&answer)
    }

    pub fn request(&self) -> String {
        let extension = match self.protocol {
            Protocol::Deflate => {
                "Sec-WebSocket-Extensions: permessage-deflate; \
                 client_no_context_takeover; server_no_context_takeover\r\n"
            }
            _ => "",
        };
        format!(
            "GET / HTTP/1.1\r\nHost: localhost:{}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n{extension}\r\n",
            self.port
        )
    }

    pub fn check_answer(&self, answer: &[u8]) -> io::Result<()> {
        let text = String::from_utf8_lossy(answer);
        let header = |name: &str| {
            text.lines().find_map(|line| {
                let (found, value) = line.split_once(':')?;
                found.eq_ignore_ascii_case(name).then_some(value.trim())
            })
        };
        let extensions = header("Sec-WebSocket-Extensions").unwrap_or_default();
        let agreed = match self.protocol {
            Protocol::Deflate => {
                let holds = |part| extensions.split(';').any(|found| found.trim() == part);
                holds("permessage-deflate")
                    && holds("client_no_context_takeover")
                    && holds("server_no_context_takeover")
            }
            _ => extensions.is_empty(),
        };
        let accepted = header("Sec-WebSocket-Accept") == Some(ACCEPT);
        if text.starts_with("HTTP/1.1 101 ") && accepted && agreed {
            return Ok(());
        }
        Err(wrong(format!("unexpected response: {text}")))
    }
}

/// A non-blocking connection after its opening handshake.
pub enum Connection {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Connection {
    pub fn socket(&mut self) -> &mut TcpStream {
        match self {
            Connection::Plain(stream) => stream,
            Connection::Tls(stream) => &mut stream.sock,
        }
    }

    /// Reads what has arrived; `None` when nothing has.
    pub fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let taken = match self {
            Connection::Plain(stream) => stream.read(buffer),
            Connection::Tls(stream) => stream.read(buffer),
        };
        match taken {
            Ok(0) => Err(hung_up()),
            Ok(taken) => Ok(Some(taken)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether a short read means that the socket is drained.
    pub fn short_read_drains(&self) -> bool {
        matches!(self, Connection::Plain(_))
    }

    /// Writes as much as the socket accepts; returns the number of bytes.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = match self {
            Connection::Plain(stream) => stream.write(bytes),
            Connection::Tls(stream) => stream.write(bytes),
        };
        match taken {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
            taken => taken,
        }
    }

    /// Writes one small frame and waits for the reply.
    pub fn ask(mut self, frame: &[u8]) -> io::Result<Vec<u8>> {
        let (mut poll, mut events) = (Poll::new()?, Events::with_capacity(1));
        poll.registry()
            .register(self.socket(), Token(0), Interest::READABLE)?;
        if self.send(frame)? < frame.len() {
            return Err(io::Error::other("the system does not take a small frame"));
        }
        let (mut answer, mut buffer) = (Vec::new(), [0; 4096]);
        loop {
            poll.poll(&mut events, Some(DEADLINE))?;
            if events.is_empty() {
                return Err(io::Error::new(ErrorKind::TimedOut, "no reply was received"));
            }
            while let Some(taken) = self.receive(&mut buffer)? {
                answer.extend_from_slice(&buffer[..taken]);
            }
            if let Some((_, length, header)) = read_header(&answer)
                && answer.len() as u64 >= header as u64 + length
            {
                return Ok(answer);
            }
        }
    }

    /// Writes ciphertext that TLS has buffered.
    pub fn flush(&mut self) -> io::Result<()> {
        match self {
            Connection::Tls(stream) if stream.conn.wants_write() => match stream.flush() {
                Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
                flushed => flushed,
            },
            _ => Ok(()),
        }
    }
}

fn unblocked(stream: BlockingStream) -> io::Result<TcpStream> {
    stream.set_nonblocking(true)?;
    Ok(TcpStream::from_std(stream))
}

pub fn hung_up() -> io::Error {
    io::Error::new(ErrorKind::UnexpectedEof, "the server closed the connection")
}

/// Returns an error for invalid behaviour of the server.
pub fn wrong(what: impl Into<String>) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what.into())
}
