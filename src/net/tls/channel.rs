//! One connection's encryption. While nothing is under way it owns no buffer.

use std::io;

use rustls::CertificateError;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, UnbufferedStatus};

use super::{Identity, MAKE_VERSION_3, ROOM, SEALED_RECORD};

/// A message of the handshake is at most 64 KiB long; but who cuts one into tiny records could make
/// it take six times as much. More than five full records is refused.
const MAX_CUT: usize = 5 * SEALED_RECORD;

/// Seals what is sent and opens what is received.
pub struct Channel {
    tls: UnbufferedServerConnection,
    /// The beginning of a record, or of a longer message of the handshake, whose end has not come.
    cut: Vec<u8>,
    /// What is sealed and the socket has not taken, from `taken` on.
    sealed: Vec<u8>,
    taken: usize,
    /// So many bytes of plaintext are sealed already and will be offered again.
    ahead: usize,
    state: State,
}

/// How far the talk has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct State {
    /// Something was received.
    begun: bool,
    /// The handshake is done.
    open: bool,
    /// The client has said that it sends nothing more.
    client_closed: bool,
    /// We have said it.
    closed: bool,
}

impl Channel {
    pub fn new(identity: &Identity) -> io::Result<Self> {
        let tls = UnbufferedServerConnection::new(identity.0.clone()).map_err(io::Error::other)?;
        Ok(Self {
            tls,
            cut: Vec::new(),
            sealed: Vec::new(),
            taken: 0,
            ahead: 0,
            state: State::default(),
        })
    }

    /// Whether the handshake is done.
    pub fn is_open(&self) -> bool {
        self.state.open
    }

    /// Whether the client has said that it sends nothing more.
    pub fn is_closed_by_client(&self) -> bool {
        self.state.client_closed
    }

    /// Whether these first bytes begin an HTTP request, which would never begin TLS.
    pub fn is_mistaken(&self, first: &[u8]) -> bool {
        !self.state.begun && first.first().is_some_and(u8::is_ascii_alphabetic)
    }

    /// Opens the `count` bytes that were received behind [`ROOM`] in `buffer`. Answers how much
    /// plaintext stands at the front of it then; [`Channel::unsent`] may have to be sent.
    ///
    /// # Errors
    ///
    /// The client broke a rule of TLS, or shows no certificate that is good enough. The alert is in
    /// [`Channel::unsent`].
    pub fn open(&mut self, buffer: &mut [u8], count: usize) -> io::Result<usize> {
        if self.state.client_closed {
            // Whatever follows its goodbye is ignored (RFC 8446 section 6.1).
            return Ok(0);
        }
        self.state.begun = true;
        let cut = std::mem::take(&mut self.cut);
        if cut.len() <= SEALED_RECORD {
            let start = ROOM - cut.len();
            buffer[start..ROOM].copy_from_slice(&cut);
            return self.open_behind(&mut buffer[..ROOM + count], start);
        }
        let mut longer = vec![0; ROOM];
        longer.extend_from_slice(&cut);
        longer.extend_from_slice(&buffer[ROOM..ROOM + count]);
        let plain = self.open_behind(&mut longer, ROOM)?;
        let front = buffer.get_mut(..plain).ok_or_else(too_much)?;
        front.copy_from_slice(&longer[..plain]);
        Ok(plain)
    }

    /// The same for what stands behind `start`.
    fn open_behind(&mut self, buffer: &mut [u8], start: usize) -> io::Result<usize> {
        let mut plain = 0;
        let mut at = start;
        loop {
            let (front, sealed) = buffer.split_at_mut(at);
            let UnbufferedStatus { discard, state } = self.tls.process_tls_records(sealed);
            match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let payload = record.map_err(broken)?.payload;
                        let place = front.get_mut(plain..plain + payload.len());
                        place.ok_or_else(too_much)?.copy_from_slice(payload);
                        plain += payload.len();
                    }
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    encode(&mut data, &mut self.sealed)?;
                }
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::PeerClosed) => self.state.client_closed = true,
                Ok(ConnectionState::WriteTraffic(_)) => {
                    self.state.open = true;
                    at += discard;
                    break;
                }
                Ok(_) => {
                    at += discard;
                    break;
                }
                Err(error) => {
                    self.encode_rest();
                    return Err(broken(error));
                }
            }
            at += discard;
        }
        if self.state.client_closed {
            return Ok(plain);
        }
        if buffer.len() - at > MAX_CUT {
            return Err(invalid("handshake message in too many records"));
        }
        self.cut = buffer[at..].to_vec();
        Ok(plain)
    }

    /// Encodes what is left to be said, such as an alert.
    fn encode_rest(&mut self) {
        loop {
            match self.tls.process_tls_records(&mut []).state {
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    if encode(&mut data, &mut self.sealed).is_err() {
                        return;
                    }
                }
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                _ => return,
            }
        }
    }

    /// Seals plaintext into `out`. Answers how much of that is used.
    ///
    /// # Errors
    ///
    /// The handshake is not done, or the channel is closed.
    pub fn seal(&mut self, plain: &[u8], out: &mut [u8]) -> io::Result<usize> {
        match self.tls.process_tls_records(&mut []).state {
            Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                traffic.encrypt(plain, out).map_err(io::Error::other)
            }
            Ok(_) => Err(io::ErrorKind::NotConnected.into()),
            Err(error) => Err(broken(error)),
        }
    }

    /// Says that we send nothing more, once: close_notify is in [`Channel::unsent`] then.
    pub fn close(&mut self) {
        if !self.state.open || self.state.closed {
            return;
        }
        self.state.closed = true;
        if let Ok(ConnectionState::WriteTraffic(mut traffic)) =
            self.tls.process_tls_records(&mut []).state
        {
            let mut alert = [0; 128];
            if let Ok(length) = traffic.queue_close_notify(&mut alert) {
                self.sealed.extend_from_slice(&alert[..length]);
            }
        }
    }

    // ---- what is sealed ----

    /// What the socket has to take before anything else.
    pub fn unsent(&self) -> &[u8] {
        &self.sealed[self.taken..]
    }

    /// The socket has taken so much of it.
    pub fn sent(&mut self, count: usize) {
        self.taken += count;
        if self.taken == self.sealed.len() {
            self.sealed = Vec::new();
            self.taken = 0;
        }
    }

    /// Keeps what the socket has not taken; it is the sealed form of `plain` bytes.
    pub fn keep(&mut self, rest: &[u8], plain: usize) {
        self.sealed.extend_from_slice(rest);
        self.ahead = plain;
    }

    /// How many bytes of plaintext are sealed already and will be offered again.
    pub fn ahead(&self) -> usize {
        self.ahead
    }

    /// How many of `offered` bytes had been sealed before, and have been taken since.
    pub fn take_ahead(&mut self, offered: usize) -> usize {
        let count = self.ahead.min(offered);
        self.ahead -= count;
        count
    }
}

fn encode(data: &mut EncodeTlsData<'_, ServerConnectionData>, out: &mut Vec<u8>) -> io::Result<()> {
    let Err(EncodeError::InsufficientSize(needed)) = data.encode(&mut []) else {
        return Ok(());
    };
    let before = out.len();
    out.resize(before + needed.required_size, 0);
    data.encode(&mut out[before..])
        .map_err(io::Error::other)
        .map(|_| ())
}

fn broken(error: rustls::Error) -> io::Error {
    if is_old_certificate(&error) {
        let what = format!(
            "client certificates of X.509 version 1 or 2 are not accepted: {MAKE_VERSION_3}"
        );
        return io::Error::new(io::ErrorKind::InvalidData, what);
    }
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// The library has no name for this error but the text, which a test watches.
fn is_old_certificate(error: &rustls::Error) -> bool {
    match error {
        rustls::Error::InvalidCertificate(CertificateError::Other(error)) => {
            error.to_string() == "UnsupportedCertVersion"
        }
        _ => false,
    }
}

fn too_much() -> io::Error {
    invalid("more plaintext than was encrypted")
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
