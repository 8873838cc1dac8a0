//! The encryption of one connection. It owns no buffer while nothing is in transit.

use std::io;
use std::sync::Arc;

use rustls::CertificateError;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, UnbufferedStatus};

use super::certificates::take_asked_name;
use super::{ENCRYPTED_RECORD_BYTES, HEADROOM_BYTES, Identity, MAKE_VERSION_3, TlsFacts};

/// Maximum size of an incomplete handshake message: five full records. A message has at most 64 KiB, but in
/// tiny records it would take six times as much.
const MAX_CUT_BYTES: usize = 5 * ENCRYPTED_RECORD_BYTES;

/// Encrypts what is sent and decrypts what is received.
pub(crate) struct Channel {
    tls: UnbufferedServerConnection,
    /// The name that the client asked for, until [`Channel::take_facts`].
    server_name: Option<Box<str>>,
    /// An incomplete record, or the records of an incomplete handshake message.
    cut: Vec<u8>,
    /// Ciphertext, of which the socket has accepted the first `sent` bytes.
    unsent: Vec<u8>,
    sent: usize,
    /// Bytes of plaintext that are encrypted already, and that the caller will offer again.
    committed: usize,
    state: State,
}

/// The state of the connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct State {
    /// Bytes were received.
    begun: bool,
    /// The handshake is complete.
    established: bool,
    /// The peer has sent close_notify.
    peer_closed: bool,
    /// We have sent close_notify.
    closed: bool,
}

impl Channel {
    pub(crate) fn new(identity: &Identity) -> io::Result<Self> {
        let tls = UnbufferedServerConnection::new(Arc::clone(&identity.config))
            .map_err(io::Error::other)?;
        Ok(Self {
            tls,
            server_name: None,
            cut: Vec::new(),
            unsent: Vec::new(),
            sent: 0,
            committed: 0,
            state: State::default(),
        })
    }

    /// Returns how many bytes of memory it holds for pieces of records.
    pub(crate) fn held_bytes(&self) -> usize {
        self.cut.capacity() + self.unsent.capacity()
    }

    /// Returns what the application may ask; None when memory is refused. The name that the client asked for is
    /// handed over.
    pub(crate) fn take_facts(&mut self) -> Option<TlsFacts> {
        let shown = self.tls.peer_certificates();
        TlsFacts::new(
            self.tls.protocol_version()?,
            self.tls.negotiated_cipher_suite()?.suite(),
            self.server_name.take(),
            shown.and_then(|chain| chain.first()),
        )
    }

    /// Whether the handshake is complete.
    pub(crate) fn is_established(&self) -> bool {
        self.state.established
    }

    /// Whether the peer has sent close_notify: it sends nothing more.
    pub(crate) fn is_closed_by_peer(&self) -> bool {
        self.state.peer_closed
    }

    /// Whether these are the first bytes, and begin an HTTP request instead of TLS.
    pub(crate) fn is_plain_http(&self, first: &[u8]) -> bool {
        !self.state.begun && first.first().is_some_and(u8::is_ascii_alphabetic)
    }

    /// Decrypts the `count` bytes that were received at offset [`HEADROOM_BYTES`] of `buffer`. Returns the
    /// length of the plaintext, which is at the front of the buffer. Afterwards, [`Channel::unsent`] must be
    /// sent.
    ///
    /// # Errors
    ///
    /// The peer violated the protocol, or presented no acceptable certificate. The alert is in
    /// [`Channel::unsent`].
    pub(crate) fn decrypt(&mut self, buffer: &mut [u8], count: usize) -> io::Result<usize> {
        if self.state.peer_closed {
            // Data after close_notify is ignored (RFC 8446 section 6.1).
            return Ok(0);
        }
        self.state.begun = true;
        let cut = std::mem::take(&mut self.cut);
        if cut.len() <= ENCRYPTED_RECORD_BYTES {
            let start = HEADROOM_BYTES - cut.len();
            buffer[start..HEADROOM_BYTES].copy_from_slice(&cut);
            return self.decrypt_behind(&mut buffer[..HEADROOM_BYTES + count], start);
        }
        let mut longer = vec![0; HEADROOM_BYTES];
        longer.extend_from_slice(&cut);
        longer.extend_from_slice(&buffer[HEADROOM_BYTES..HEADROOM_BYTES + count]);
        let plain = self.decrypt_behind(&mut longer, HEADROOM_BYTES)?;
        let front = buffer.get_mut(..plain).ok_or_else(too_much)?;
        front.copy_from_slice(&longer[..plain]);
        Ok(plain)
    }

    /// Decrypts the data from `start` on.
    fn decrypt_behind(&mut self, buffer: &mut [u8], start: usize) -> io::Result<usize> {
        let mut plain = 0;
        let mut at = start;
        loop {
            let (front, ciphertext) = buffer.split_at_mut(at);
            let UnbufferedStatus { discard, state } = self.tls.process_tls_records(ciphertext);
            if !self.state.established {
                self.server_name = take_asked_name().or(self.server_name.take());
            }
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
                    encode(&mut data, &mut self.unsent)?;
                }
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::PeerClosed) => self.state.peer_closed = true,
                Ok(ConnectionState::WriteTraffic(_)) => {
                    self.state.established = true;
                    at += discard;
                    break;
                }
                Ok(_) => {
                    at += discard;
                    break;
                }
                Err(error) => {
                    self.encode_pending();
                    return Err(broken(error));
                }
            }
            at += discard;
        }
        if self.state.peer_closed {
            return Ok(plain);
        }
        if buffer.len() - at > MAX_CUT_BYTES {
            return Err(invalid("handshake message in too many records"));
        }
        self.cut = buffer[at..].to_vec();
        Ok(plain)
    }

    /// Encodes what the library has to send, such as an alert.
    fn encode_pending(&mut self) {
        loop {
            match self.tls.process_tls_records(&mut []).state {
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    if encode(&mut data, &mut self.unsent).is_err() {
                        return;
                    }
                }
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                _ => return,
            }
        }
    }

    /// Encrypts plaintext into `out`. Returns the length of the ciphertext.
    ///
    /// # Errors
    ///
    /// The handshake is not complete, or the channel is closed.
    pub(crate) fn encrypt(&mut self, plain: &[u8], out: &mut [u8]) -> io::Result<usize> {
        match self.tls.process_tls_records(&mut []).state {
            Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                traffic.encrypt(plain, out).map_err(io::Error::other)
            }
            Ok(_) => Err(io::ErrorKind::NotConnected.into()),
            Err(error) => Err(broken(error)),
        }
    }

    /// Closes our side: the first call puts close_notify into [`Channel::unsent`].
    pub(crate) fn close(&mut self) {
        if !self.state.established || self.state.closed {
            return;
        }
        self.state.closed = true;
        if let Ok(ConnectionState::WriteTraffic(mut traffic)) =
            self.tls.process_tls_records(&mut []).state
        {
            let mut alert = [0; 128];
            if let Ok(length) = traffic.queue_close_notify(&mut alert) {
                self.unsent.extend_from_slice(&alert[..length]);
            }
        }
    }

    // ---- ciphertext ----

    /// Returns the ciphertext that must be sent next.
    pub(crate) fn unsent(&self) -> &[u8] {
        &self.unsent[self.sent..]
    }

    /// Removes ciphertext that the socket has accepted.
    pub(crate) fn sent(&mut self, count: usize) {
        self.sent += count;
        if self.sent == self.unsent.len() {
            self.unsent = Vec::new();
            self.sent = 0;
        }
    }

    /// Stores ciphertext of `plain` bytes that the socket has not accepted.
    pub(crate) fn keep(&mut self, rest: &[u8], plain: usize) {
        self.unsent.extend_from_slice(rest);
        self.committed = plain;
    }

    /// Returns how many bytes of plaintext are encrypted already and will be offered again.
    pub(crate) fn committed(&self) -> usize {
        self.committed
    }

    /// Returns how many of `offered` bytes were encrypted earlier and have been sent since.
    pub(crate) fn take_committed(&mut self, offered: usize) -> usize {
        let count = self.committed.min(offered);
        self.committed -= count;
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
            "its certificate is of X.509 version 1 or 2, which is not sent: {MAKE_VERSION_3}"
        );
        return io::Error::new(io::ErrorKind::InvalidData, what);
    }
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// The library identifies this error by its text alone, which a test checks.
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
