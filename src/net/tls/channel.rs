//! The encryption of one connection. It owns no buffer while nothing is in transit.

use std::io;
use std::sync::Arc;

use rustls::CommonState;
#[cfg(test)]
use rustls::HandshakeKind;
use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, UnbufferedStatus};

use super::failures;
use super::side::Side;
use super::{ENCRYPTED_RECORD_BYTES, HEADROOM_BYTES, Identity, ServerName, TlsFacts, Trust};

/// Maximum size of an incomplete handshake message: five full records. A message has at most 64 KiB, but in
/// tiny records it would take six times as much.
const MAX_CUT_BYTES: usize = 5 * ENCRYPTED_RECORD_BYTES;

/// Which side of TLS a connection is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum TlsSide<'a> {
    /// The peer is shown this.
    Server(&'a Identity),
    /// The peer must be trusted to have this name.
    Client(&'a Trust, &'a ServerName),
}

/// Encrypts what is sent and decrypts what is received.
pub(crate) struct Channel {
    tls: Tls,
    transit: Transit,
}

/// The library's connection.
enum Tls {
    Server(UnbufferedServerConnection),
    Client(UnbufferedClientConnection),
}

/// What is on its way, and how far the connection is.
#[derive(Default)]
struct Transit {
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
    /// The peer's data was invalid.
    failed: bool,
}

impl Channel {
    /// Creates the channel of a new connection. A client's begins by itself: its hello is in
    /// [`Channel::unsent`].
    pub(crate) fn new(side: TlsSide<'_>) -> io::Result<Self> {
        let mut transit = Transit::default();
        let tls = match side {
            TlsSide::Server(identity) => {
                let server = UnbufferedServerConnection::new(Arc::clone(&identity.config));
                Tls::Server(server.map_err(io::Error::other)?)
            }
            TlsSide::Client(trust, name) => {
                let config = Arc::clone(&trust.config);
                let client = UnbufferedClientConnection::new(config, name.0.clone());
                let mut client = client.map_err(io::Error::other)?;
                transit.server_name = name.asked().map(Box::from);
                transit.encode_pending(&mut client);
                Tls::Client(client)
            }
        };
        Ok(Self { tls, transit })
    }

    /// Returns how many bytes of memory it holds for pieces of records.
    pub(crate) fn held_bytes(&self) -> usize {
        self.transit.cut.capacity() + self.transit.unsent.capacity()
    }

    /// Returns what the application may ask; None when memory is refused. The name that the client asked for is
    /// handed over.
    pub(crate) fn take_facts(&mut self) -> Option<TlsFacts> {
        let (tls, shown): (&CommonState, _) = match &self.tls {
            Tls::Server(server) => (server, server.peer_certificates()),
            Tls::Client(client) => (client, None),
        };
        TlsFacts::new(
            tls.protocol_version()?,
            tls.negotiated_cipher_suite()?.suite(),
            self.transit.server_name.take(),
            shown.and_then(|chain| chain.first()),
        )
    }

    /// Whether the handshake is complete.
    pub(crate) fn is_established(&self) -> bool {
        self.transit.state.established
    }

    /// Whether the peer has sent close_notify: it sends nothing more.
    pub(crate) fn is_closed_by_peer(&self) -> bool {
        self.transit.state.peer_closed
    }

    /// Whether these are the first bytes that a server receives, and begin an HTTP request instead of TLS.
    pub(crate) fn is_plain_http(&self, first: &[u8]) -> bool {
        !self.transit.state.begun
            && !self.is_client()
            && first.first().is_some_and(u8::is_ascii_alphabetic)
    }

    /// Returns the error of an end of stream before the handshake is complete.
    pub(crate) fn early_end(&self) -> io::Error {
        match self.is_client() {
            true => failures::early_end(self.transit.state.begun),
            false => io::ErrorKind::UnexpectedEof.into(),
        }
    }

    /// Whether the handshake has resumed a session.
    #[cfg(test)]
    pub(super) fn is_resumed(&self) -> bool {
        let tls: &CommonState = match &self.tls {
            Tls::Server(server) => server,
            Tls::Client(client) => client,
        };
        tls.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    fn is_client(&self) -> bool {
        matches!(self.tls, Tls::Client(_))
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
        let Self { tls, transit } = self;
        match tls {
            Tls::Server(server) => transit.decrypt(server, buffer, count),
            Tls::Client(client) => {
                if !transit.state.begun {
                    let first = &buffer[HEADROOM_BYTES..HEADROOM_BYTES + count];
                    failures::of_first_bytes(first).map_or(Ok(()), Err)?;
                }
                transit.decrypt(client, buffer, count)
            }
        }
    }

    /// Encrypts plaintext into `out`. Returns the length of the ciphertext.
    ///
    /// # Errors
    ///
    /// The handshake is not complete, or the channel is closed.
    pub(crate) fn encrypt(&mut self, plain: &[u8], out: &mut [u8]) -> io::Result<usize> {
        match &mut self.tls {
            Tls::Server(server) => self.transit.encrypt(server, plain, out),
            Tls::Client(client) => self.transit.encrypt(client, plain, out),
        }
    }

    /// Closes our side: the first call puts close_notify into [`Channel::unsent`].
    pub(crate) fn close(&mut self) {
        let Self { tls, transit } = self;
        match tls {
            Tls::Server(server) => transit.close(server),
            Tls::Client(client) => transit.close(client),
        }
    }

    // ---- ciphertext ----

    /// Returns the ciphertext that must be sent next.
    pub(crate) fn unsent(&self) -> &[u8] {
        &self.transit.unsent[self.transit.sent..]
    }

    /// Removes ciphertext that the socket has accepted.
    pub(crate) fn sent(&mut self, count: usize) {
        self.transit.sent += count;
        if self.transit.sent == self.transit.unsent.len() {
            self.transit.unsent = Vec::new();
            self.transit.sent = 0;
        }
    }

    /// Stores ciphertext of `plain` bytes that the socket has not accepted.
    pub(crate) fn keep(&mut self, rest: &[u8], plain: usize) {
        self.transit.unsent.extend_from_slice(rest);
        self.transit.committed = plain;
    }

    /// Returns how many bytes of plaintext are encrypted already and will be offered again.
    pub(crate) fn committed(&self) -> usize {
        self.transit.committed
    }

    /// Returns how many of `offered` bytes were encrypted earlier and have been sent since.
    pub(crate) fn take_committed(&mut self, offered: usize) -> usize {
        let count = self.transit.committed.min(offered);
        self.transit.committed -= count;
        count
    }
}

impl Transit {
    fn decrypt<S: Side>(
        &mut self,
        tls: &mut S,
        buffer: &mut [u8],
        count: usize,
    ) -> io::Result<usize> {
        if self.state.peer_closed {
            // Data after close_notify is ignored (RFC 8446 section 6.1).
            return Ok(0);
        }
        if self.state.failed {
            return Err(invalid("data after invalid data"));
        }
        self.state.begun = true;
        let cut = std::mem::take(&mut self.cut);
        if cut.len() <= ENCRYPTED_RECORD_BYTES {
            let start = HEADROOM_BYTES - cut.len();
            buffer[start..HEADROOM_BYTES].copy_from_slice(&cut);
            return self.decrypt_behind(tls, &mut buffer[..HEADROOM_BYTES + count], start);
        }
        let mut longer = vec![0; HEADROOM_BYTES];
        longer.extend_from_slice(&cut);
        longer.extend_from_slice(&buffer[HEADROOM_BYTES..HEADROOM_BYTES + count]);
        let plain = self.decrypt_behind(tls, &mut longer, HEADROOM_BYTES)?;
        let front = buffer.get_mut(..plain).ok_or_else(too_much)?;
        front.copy_from_slice(&longer[..plain]);
        Ok(plain)
    }

    /// Decrypts the data from `start` on.
    fn decrypt_behind<S: Side>(
        &mut self,
        tls: &mut S,
        buffer: &mut [u8],
        start: usize,
    ) -> io::Result<usize> {
        let mut plain = 0;
        let mut at = start;
        loop {
            let (front, ciphertext) = buffer.split_at_mut(at);
            let UnbufferedStatus { discard, state } = tls.process(ciphertext);
            if !self.state.established {
                self.server_name = S::take_asked_name().or(self.server_name.take());
            }
            match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let payload = record.map_err(S::failure)?.payload;
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
                    self.state.failed = true;
                    self.encode_pending(tls);
                    return Err(S::failure(error));
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

    /// Encodes what the library has to send, such as an alert, and lets it process nothing else: after an error
    /// it would look for the rest of what it was given.
    fn encode_pending<S: Side>(&mut self, tls: &mut S) {
        while tls.has_unsent() {
            let Ok(ConnectionState::EncodeTlsData(mut data)) = tls.process(&mut []).state else {
                return;
            };
            if encode(&mut data, &mut self.unsent).is_err() {
                return;
            }
        }
    }

    fn encrypt<S: Side>(&mut self, tls: &mut S, plain: &[u8], out: &mut [u8]) -> io::Result<usize> {
        if self.state.failed {
            return Err(io::ErrorKind::NotConnected.into());
        }
        // It remembers the beginning of a handshake message, and looks for it again.
        match tls.process(&mut self.cut).state {
            Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                traffic.encrypt(plain, out).map_err(io::Error::other)
            }
            Ok(_) => Err(io::ErrorKind::NotConnected.into()),
            Err(error) => Err(S::failure(error)),
        }
    }

    fn close<S: Side>(&mut self, tls: &mut S) {
        let State {
            established,
            closed,
            failed,
            ..
        } = self.state;
        if !established || closed || failed {
            return;
        }
        self.state.closed = true;
        if let Ok(ConnectionState::WriteTraffic(mut traffic)) = tls.process(&mut self.cut).state {
            let mut alert = [0; 128];
            if let Ok(length) = traffic.queue_close_notify(&mut alert) {
                self.unsent.extend_from_slice(&alert[..length]);
            }
        }
    }
}

fn encode<D>(data: &mut EncodeTlsData<'_, D>, out: &mut Vec<u8>) -> io::Result<()> {
    let Err(EncodeError::InsufficientSize(needed)) = data.encode(&mut []) else {
        return Ok(());
    };
    let before = out.len();
    out.resize(before + needed.required_size, 0);
    data.encode(&mut out[before..])
        .map_err(io::Error::other)
        .map(|_| ())
}

fn too_much() -> io::Error {
    invalid("more plaintext than was encrypted")
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
