//! A client's connection: how it is opened, and how bytes pass, in the clear or by TLS.

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

/// A client waits no longer than this for anything.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// So few from each source address that the system has ports enough.
const CLIENTS_PER_SOURCE: usize = 5_000;
const SOURCES: usize = 250;

/// The key of RFC 6455 section 1.3, and what it is answered with.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Where clients connect to, and how.
#[derive(Clone)]
pub struct Server {
    pub port: u16,
    pub protocol: Protocol,
    /// TLS below it all.
    pub tls: Option<Arc<ClientConfig>>,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Protocol {
    /// No opening handshake: a server that sends each byte back.
    Raw,
    WebSocket,
    /// With permessage-deflate, each message for itself in both directions.
    Deflate,
}

/// Trusts the one certificate in a PEM file, and resumes no session.
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
    /// Opens the `index`-th connection; the protocol has begun on it.
    pub fn open(&self, index: usize) -> io::Result<Connection> {
        self.open_on(self.connect(index, None)?)
    }

    /// The same on a stream that has just been connected.
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

    /// Takes a stream that has just been connected; nothing has been said on it.
    pub fn begin_on(&self, stream: BlockingStream) -> io::Result<Connection> {
        let stream = unblocked(stream)?;
        Ok(match self.tls_session()? {
            None => Connection::Plain(stream),
            Some(tls) => Connection::Tls(Box::new(StreamOwned::new(tls, stream))),
        })
    }

    /// Connects without a word, with a receive buffer of that size if one is given.
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
        // A pure echo says nothing of its own, so the answer's end is the last byte that comes.
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
        Err(wrong(format!("the server answered: {text}")))
    }
}

/// A connection on which the protocol has begun; it never blocks.
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

    /// Reads what has come; `None` when nothing has.
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

    /// Whether a read that got less than there was room for has emptied the socket.
    pub fn short_read_drains(&self) -> bool {
        matches!(self, Connection::Plain(_))
    }

    /// Writes as much as the system takes; returns how much that was.
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

    /// Writes one small frame and waits for the frame that answers it.
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
                return Err(io::Error::new(ErrorKind::TimedOut, "no answer came"));
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

    /// Hands on what TLS has kept.
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
    io::Error::new(ErrorKind::UnexpectedEof, "the server hung up")
}

/// The server did what it must not do.
pub fn wrong(what: impl Into<String>) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what.into())
}
