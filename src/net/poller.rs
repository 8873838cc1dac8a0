//! The sockets of one loop, with TLS where it is used.
//!
//! The poller owns the connections' sockets and delivers bytes, not readiness. For a connection with a
//! [`Channel`] they are plaintext; everything else of TLS is handled here.

use std::collections::{HashMap, VecDeque};
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::address::Peer;
use super::event::{IoEvent, Token};
#[cfg(test)]
use super::os::Network;
use super::os::{AnySockets, Backend, Descriptor, Listener, Socket, Waker, memory};
use super::proxy_header::{self, NoHeader, ProxyHeader};
use super::sockets::Sockets;
use super::tls::{self, Channel, TlsFacts, TlsSide};

pub(crate) struct Poller {
    sockets: AnySockets,
    /// By the tokens' indices; empty while no connection speaks TLS.
    channels: Vec<Option<Box<Encrypted>>>,
    /// Buffer for ciphertext to be sent.
    ciphertext: Box<[u8]>,
    /// Buffer for plaintext that is encrypted together.
    gathered: Vec<u8>,
    /// TLS connections that can be written to again.
    writable: Vec<Token>,
    /// Connections whose end will be reported after their last data.
    ended: VecDeque<Token>,
    /// By the tokens' indices: what has arrived of PROXY headers that are not complete.
    proxy_headers: HashMap<u32, PendingHeader>,
    /// Whom the last complete PROXY header has named.
    client: Option<Peer>,
    /// What was received behind a PROXY header, and is to be delivered next.
    behind_headers: VecDeque<(Token, Vec<u8>)>,
}

struct PendingHeader {
    generation: u32,
    bytes: Vec<u8>,
}

/// How a connection begins.
#[derive(Clone, Copy, Default)]
pub(crate) struct Beginning<'a> {
    /// The peer must use TLS, and this is our side of it. A client's handshake begins at once.
    pub tls: Option<TlsSide<'a>>,
    /// The connection begins with a PROXY header.
    pub has_proxy_header: bool,
}

/// What comes before the first byte for the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Preamble {
    ProxyHeader,
    TlsHandshake,
}

/// A TLS connection.
struct Encrypted {
    channel: Channel,
    generation: u32,
    /// Writability will be reported by [`Poller::take_writable`].
    writes_armed: bool,
    /// Reports are paused.
    paused: bool,
    /// Its end has not been reported yet.
    end_pending: bool,
    /// Writing will be shut down when all ciphertext has been sent.
    closing: bool,
    /// Bytes of ciphertext that the kernel has accepted, wrapping.
    accepted: u32,
}

impl Poller {
    pub(crate) fn new(backend: Backend) -> io::Result<(Self, Arc<Waker>)> {
        let waker = Arc::new(Waker::new()?);
        let sockets = AnySockets::new(backend, &waker)?;
        Ok((Self::over(sockets), waker))
    }

    /// Creates a poller for connections of a network in memory.
    #[cfg(test)]
    pub(crate) fn in_memory(network: &Network) -> io::Result<(Self, Arc<Waker>)> {
        let waker = Arc::new(Waker::new()?);
        let sockets = AnySockets::in_memory(network, &waker);
        Ok((Self::over(sockets), waker))
    }

    fn over(sockets: AnySockets) -> Self {
        Self {
            sockets,
            channels: Vec::new(),
            ciphertext: Box::default(),
            gathered: Vec::new(),
            writable: Vec::new(),
            ended: VecDeque::new(),
            proxy_headers: HashMap::new(),
            client: None,
            behind_headers: VecDeque::new(),
        }
    }

    /// Switches to io_uring, if the system permits it. Must be called by the thread that will serve, before
    /// there is any connection or timer.
    pub(crate) fn use_ring(&mut self) {
        self.sockets.use_ring();
    }

    /// Whether freed memory is kept that [`memory::trim`] will unmap, if nobody needs it.
    pub(crate) fn keeps_memory(&self) -> bool {
        self.sockets.keeps_memory()
    }

    /// Returns the time. In memory it is the network's, which a test moves.
    pub(crate) fn now(&self) -> Instant {
        self.sockets.now()
    }

    pub(crate) fn listen(&mut self, listener: &Listener) -> io::Result<()> {
        self.sockets.listen(listener)
    }

    pub(crate) fn stop_listening(&mut self, listener: &Listener) -> io::Result<()> {
        self.sockets.stop_listening(listener)
    }

    /// Whether connections may be waiting to be accepted. Edge-triggered: accept until `WouldBlock`, or try
    /// again later without a notification.
    pub(crate) fn take_acceptable(&mut self) -> bool {
        self.sockets.take_acceptable()
    }

    /// Adds a connection.
    pub(crate) fn add(
        &mut self,
        socket: Socket,
        token: Token,
        beginning: Beginning<'_>,
    ) -> io::Result<()> {
        if beginning.has_proxy_header {
            let pending = PendingHeader {
                generation: token.generation,
                bytes: Vec::new(),
            };
            memory::frugal(|| self.proxy_headers.try_reserve(1))
                .map_err(|_| io::ErrorKind::OutOfMemory)?;
            self.proxy_headers.insert(token.index, pending);
        }
        if let Some(side) = beginning.tls {
            self.add_channel(token, side)?;
        }
        self.sockets.add(socket, token)?;
        match beginning.tls {
            Some(TlsSide::Client(..)) => self.begin_flush(token),
            _ => Ok(()),
        }
    }

    fn add_channel(&mut self, token: Token, side: TlsSide<'_>) -> io::Result<()> {
        let index = token.index as usize;
        if self.channels.len() <= index {
            let missing = index + 1 - self.channels.len();
            memory::try_reserve(&mut self.channels, missing)
                .map_err(|_| io::ErrorKind::OutOfMemory)?;
            self.channels.resize_with(index + 1, Option::default);
        }
        if self.ciphertext.is_empty() {
            self.ciphertext = memory::zeros(tls::ENCRYPTED_BURST_BYTES)?.into_boxed_slice();
        }
        self.channels[index] = Some(Box::new(Encrypted {
            channel: Channel::new(side)?,
            generation: token.generation,
            writes_armed: false,
            paused: false,
            end_pending: false,
            closing: false,
            accepted: 0,
        }));
        Ok(())
    }

    /// Returns the address of a connection's peer.
    ///
    /// # Errors
    ///
    /// `NotConnected`: also when the peer has reset the connection.
    pub(crate) fn peer(&self, token: Token) -> io::Result<Peer> {
        self.sockets.peer(token)
    }

    /// Closes a connection's socket.
    pub(crate) fn remove(&mut self, token: Token) {
        if let Some(encrypted) = self.encrypted(token) {
            if encrypted.channel.is_closed_by_peer() {
                encrypted.channel.close();
                // A peer whose socket cannot accept it now does not get it.
                let _ = self.flush(token);
            }
            self.channels[token.index as usize] = None;
        }
        if !self.proxy_headers.is_empty() {
            self.proxy_headers.remove(&token.index);
        }
        if !self.behind_headers.is_empty() {
            self.behind_headers.retain(|(of, _)| *of != token);
        }
        self.sockets.remove(token);
    }

    /// Stops reporting what this connection receives, until it is resumed. Nothing is lost.
    pub(crate) fn pause(&mut self, token: Token) {
        if let Some(encrypted) = self.encrypted(token) {
            encrypted.paused = true;
        }
        self.sockets.pause(token);
    }

    pub(crate) fn resume(&mut self, token: Token) {
        if let Some(encrypted) = self.encrypted(token) {
            encrypted.paused = false;
            if encrypted.end_pending {
                self.ended.push_back(token);
            }
        }
        self.sockets.resume(token);
    }

    /// Requests one report, by [`Poller::take_writable`], when this connection can be written to again.
    pub(crate) fn arm_writes(&mut self, token: Token) -> io::Result<()> {
        if let Some(encrypted) = self.encrypted(token) {
            encrypted.writes_armed = true;
            if encrypted.channel.unsent().is_empty() {
                // It can be written to when the handshake is complete.
                if encrypted.channel.is_established() {
                    self.writable.push(token);
                }
                return Ok(());
            }
        }
        self.sockets.arm_writes(token)
    }

    /// Writes bytes to the connection. Returns how many were accepted.
    ///
    /// After `WouldBlock`, the next call must begin with the same bytes, because they may have been
    /// encrypted.
    #[inline]
    pub(crate) fn send(&mut self, token: Token, bytes: &[u8]) -> io::Result<usize> {
        if self.encrypted(token).is_some() {
            return self.send_encrypted(token, &[IoSlice::new(bytes)]);
        }
        self.sockets.send(token, bytes)
    }

    /// [`Poller::send`] for bytes in several pieces.
    #[inline]
    pub(crate) fn send_vectored(
        &mut self,
        token: Token,
        pieces: &[IoSlice<'_>],
    ) -> io::Result<usize> {
        if self.encrypted(token).is_some() {
            return self.send_encrypted(token, pieces);
        }
        self.sockets.send_vectored(token, pieces)
    }

    /// Whether so many sends are cheaper with one call of [`Poller::send_all`] than one by one.
    #[inline]
    pub(crate) fn sends_together(&self, sends: usize) -> bool {
        self.sockets.sends_together(sends)
    }

    /// Whether what is sent to this connection is encrypted.
    pub(crate) fn is_encrypted(&self, token: Token) -> bool {
        let channel = self.channels.get(token.index as usize);
        channel.is_some_and(Option::is_some)
    }

    /// Returns what is not complete that comes before the first byte for the application.
    pub(crate) fn pending_preamble(&mut self, token: Token) -> Option<Preamble> {
        let header = self.proxy_headers.get(&token.index);
        if header.is_some_and(|pending| pending.generation == token.generation) {
            return Some(Preamble::ProxyHeader);
        }
        self.is_shaking_hands(token)
            .then_some(Preamble::TlsHandshake)
    }

    /// Returns what the application may ask of an encrypted connection, once in its life.
    pub(crate) fn take_tls_facts(&mut self, token: Token) -> Option<TlsFacts> {
        self.encrypted(token)?.channel.take_facts()
    }

    /// Sends to several connections without encryption, and reports for each what [`Poller::send`] would
    /// return, in order.
    pub(crate) fn send_all(
        &mut self,
        batch: &[(Token, &[u8])],
        report: impl FnMut(Token, io::Result<usize>),
    ) {
        self.sockets.send_all(batch, report);
    }

    /// Returns how many of the next bytes to send are encrypted already, and can no longer change.
    pub(crate) fn committed(&mut self, token: Token) -> usize {
        let encrypted = self.encrypted(token);
        encrypted.map_or(0, |encrypted| encrypted.channel.committed())
    }

    /// Returns how many bytes of memory are held for pieces of records, and of a PROXY header, of this connection.
    pub(crate) fn held_bytes(&mut self, token: Token) -> usize {
        let encrypted = self.encrypted(token);
        let held = encrypted.map_or(0, |encrypted| encrypted.channel.held_bytes());
        if self.proxy_headers.is_empty() {
            return held;
        }
        let header = self.proxy_headers.get(&token.index);
        held + header.map_or(0, |pending| pending.bytes.capacity())
    }

    /// Returns how many bytes of ciphertext the kernel has accepted, wrapping; None without TLS.
    pub(crate) fn accepted_ciphertext(&mut self, token: Token) -> Option<u32> {
        self.encrypted(token).map(|encrypted| encrypted.accepted)
    }

    /// Returns how many of the bytes sent, ciphertext if there is TLS, the peer's system has not
    /// acknowledged.
    pub(crate) fn unacknowledged(&self, token: Token) -> io::Result<usize> {
        self.sockets.unacknowledged(token)
    }

    /// Shuts down writing, after the pending ciphertext; reading continues.
    pub(crate) fn shutdown_write(&mut self, token: Token) -> io::Result<()> {
        if let Some(encrypted) = self.encrypted(token) {
            encrypted.channel.close();
            encrypted.closing = true;
            return self.begin_flush(token);
        }
        self.sockets.shutdown_write(token)
    }

    /// Whether there is work to do without waiting.
    pub(crate) fn has_work(&self) -> bool {
        !self.writable.is_empty()
            || !self.ended.is_empty()
            || !self.behind_headers.is_empty()
            || self.sockets.has_work()
    }

    /// Collects events. With `may_wait`, and while there is no work, it first waits for an event, the waker,
    /// the timer or a signal handler.
    pub(crate) fn wait(&mut self, may_wait: bool) -> io::Result<()> {
        self.sockets.wait(may_wait)
    }

    /// Returns the number of readable connections; so many calls of [`Poller::next`] visit each of them once.
    pub(crate) fn readable(&self) -> usize {
        self.ended.len() + self.behind_headers.len() + self.sockets.readable()
    }

    /// Returns the connections that can be written to again, each once.
    pub(crate) fn take_writable(&mut self) -> Vec<Token> {
        let mut writable = self.sockets.take_writable();
        if !self.channels.is_empty() {
            writable.append(&mut self.writable);
            writable.retain(|token| self.is_writable(*token));
        }
        writable
    }

    /// Visits the next connection that may hold data, and reads into `buffer`, which has at least
    /// [`Poller::MIN_BUFFER_BYTES`] bytes.
    #[inline]
    pub(crate) fn next(&mut self, buffer: &mut [u8]) -> Option<IoEvent> {
        let is_plain = self.proxy_headers.is_empty() && self.behind_headers.is_empty();
        if is_plain && self.channels.is_empty() {
            return self.sockets.next(buffer);
        }
        self.next_decrypted(buffer)
    }

    /// Returns the client that the PROXY header of the last event has named; None if it names none. It is no part
    /// of the event, which would grow by it for every read.
    pub(crate) fn take_client(&mut self) -> Option<Peer> {
        self.client.take()
    }

    /// Minimum size of the buffer for [`Poller::next`].
    pub(crate) const MIN_BUFFER_BYTES: usize = 2 * tls::HEADROOM_BYTES;

    /// Returns a descriptor that is readable when [`Poller::wait`] would not wait.
    pub(crate) fn descriptor(&self) -> Descriptor {
        self.sockets.descriptor()
    }

    /// Sets the timer, which expires once, `after` from now, and ends a wait. It replaces an earlier setting.
    ///
    /// A timeout for each wait would cost as much as a system call, and hardly any wait reaches it. A timer
    /// that is not changed costs nothing.
    pub(crate) fn set_timer(&self, after: Duration) -> io::Result<()> {
        self.sockets.set_timer(after)
    }

    // ---- TLS connections ----

    #[inline]
    fn encrypted(&mut self, token: Token) -> Option<&mut Encrypted> {
        let encrypted = self
            .channels
            .get_mut(token.index as usize)?
            .as_deref_mut()?;
        (encrypted.generation == token.generation).then_some(encrypted)
    }

    fn is_shaking_hands(&mut self, token: Token) -> bool {
        self.encrypted(token)
            .is_some_and(|encrypted| !encrypted.channel.is_established())
    }

    #[inline(never)]
    fn next_decrypted(&mut self, buffer: &mut [u8]) -> Option<IoEvent> {
        while let Some(token) = self.ended.pop_front() {
            let waiting = |encrypted: &&mut Encrypted| encrypted.end_pending && !encrypted.paused;
            if let Some(encrypted) = self.encrypted(token).filter(waiting) {
                encrypted.end_pending = false;
                return Some(IoEvent::Ended(token, None));
            }
        }
        let event = self.next_behind_header(&mut buffer[tls::HEADROOM_BYTES..])?;
        let (token, count) = match event {
            // A part of a PROXY header, which comes before TLS.
            IoEvent::Received(token, 0) => return Some(IoEvent::Received(token, 0)),
            IoEvent::Received(token, count) => (token, count),
            // An end during the handshake: nothing can be sent to the peer.
            IoEvent::Ended(token, None) if self.is_shaking_hands(token) => {
                let error = self.encrypted(token)?.channel.early_end();
                return Some(IoEvent::Ended(token, Some(error)));
            }
            event => return Some(event),
        };
        let received = tls::HEADROOM_BYTES..tls::HEADROOM_BYTES + count;
        let Some(encrypted) = self.encrypted(token) else {
            buffer.copy_within(received, 0);
            return Some(IoEvent::Received(token, count));
        };
        if encrypted.channel.is_plain_http(&buffer[received]) {
            if encrypted.writes_armed {
                self.writable.push(token);
            }
            self.channels[token.index as usize] = None;
            return Some(IoEvent::PlainOnTls(token));
        }
        let plain = encrypted.channel.decrypt(buffer, count);
        let is_writable = encrypted.channel.is_established() && encrypted.writes_armed;
        let ended = encrypted.channel.is_closed_by_peer();
        if is_writable {
            self.writable.push(token);
        }
        let flushed = self.begin_flush(token);
        match plain.and_then(|plain| flushed.map(|()| plain)) {
            Err(error) => Some(IoEvent::Ended(token, Some(error))),
            Ok(0) if ended => Some(IoEvent::Ended(token, None)),
            Ok(plain) => {
                if ended {
                    self.encrypted(token)?.end_pending = true;
                    self.ended.push_back(token);
                }
                Some(IoEvent::Received(token, plain))
            }
        }
    }

    /// Visits the next connection. What is received of a PROXY header is not delivered.
    #[inline(never)]
    fn next_behind_header(&mut self, buffer: &mut [u8]) -> Option<IoEvent> {
        if let Some((token, mut bytes)) = self.behind_headers.pop_front() {
            let count = bytes.len().min(buffer.len());
            buffer[..count].copy_from_slice(&bytes[..count]);
            if count < bytes.len() {
                bytes.drain(..count);
                self.behind_headers.push_front((token, bytes));
            }
            return Some(IoEvent::Received(token, count));
        }
        let event = self.sockets.next(buffer)?;
        if self.proxy_headers.is_empty() {
            return Some(event);
        }
        match event {
            IoEvent::Received(token, count) => self.receive_header(token, &buffer[..count]),
            IoEvent::Ended(token, None) if self.has_begun_header(token) => {
                Some(IoEvent::NotProxied(token, NoHeader::Ended))
            }
            event => Some(event),
        }
    }

    fn has_begun_header(&self, token: Token) -> bool {
        let pending = self.proxy_headers.get(&token.index);
        pending.is_some_and(|pending| {
            pending.generation == token.generation && !pending.bytes.is_empty()
        })
    }

    /// Receives what may be of a PROXY header.
    fn receive_header(&mut self, token: Token, received: &[u8]) -> Option<IoEvent> {
        let is_ours = |pending: &&mut PendingHeader| pending.generation == token.generation;
        let Some(pending) = self.proxy_headers.get_mut(&token.index).filter(is_ours) else {
            return Some(IoEvent::Received(token, received.len()));
        };
        let room = memory::try_reserve(&mut pending.bytes, received.len());
        let parsed = room.map_err(|_| NoHeader::OutOfMemory).and_then(|()| {
            pending.bytes.extend_from_slice(received);
            proxy_header::parse(&pending.bytes)
        });
        let (len, client) = match parsed {
            Ok(ProxyHeader::Incomplete) => return Some(IoEvent::Received(token, 0)),
            Ok(ProxyHeader::Complete { len, client }) => (len, client),
            Err(why) => {
                self.proxy_headers.remove(&token.index);
                return Some(IoEvent::NotProxied(token, why));
            }
        };
        let mut behind = std::mem::take(&mut pending.bytes);
        behind.drain(..len);
        self.proxy_headers.remove(&token.index);
        if !behind.is_empty() {
            if memory::frugal(|| self.behind_headers.try_reserve(1)).is_err() {
                return Some(IoEvent::NotProxied(token, NoHeader::OutOfMemory));
            }
            self.behind_headers.push_back((token, behind));
        }
        self.client = client;
        Some(IoEvent::Proxied(token))
    }

    /// Encrypts and sends until all is accepted or the socket accepts no more.
    fn send_encrypted(&mut self, token: Token, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut gathered = std::mem::take(&mut self.gathered);
        let mut total = 0;
        let result = loop {
            gather(pieces, total, &mut gathered);
            if gathered.is_empty() {
                break Ok(total);
            }
            match self.send_burst(token, &gathered) {
                Ok(count) => total += count,
                Err(_) if total > 0 => break Ok(total),
                Err(error) => break Err(error),
            }
        };
        self.gathered = gathered;
        result
    }

    /// Encrypts and sends at most [`tls::BURST_BYTES`] bytes.
    fn send_burst(&mut self, token: Token, plain: &[u8]) -> io::Result<usize> {
        self.flush(token)?;
        let Some(encrypted) = self.channels[token.index as usize].as_deref_mut() else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let channel = &mut encrypted.channel;
        let committed = channel.take_committed(plain.len());
        if committed > 0 {
            return Ok(committed);
        }
        if !channel.is_established() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let length = channel.encrypt(plain, &mut self.ciphertext)?;
        let sent = match self.sockets.send(token, &self.ciphertext[..length]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            result => result?,
        };
        encrypted.accepted = encrypted.accepted.wrapping_add(sent as u32);
        if sent == length {
            return Ok(plain.len());
        }
        channel.keep(&self.ciphertext[sent..length], plain.len());
        Err(io::ErrorKind::WouldBlock.into())
    }

    /// Sends pending ciphertext. What the socket cannot accept now follows when it can.
    fn begin_flush(&mut self, token: Token) -> io::Result<()> {
        match self.flush(token) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            result => result,
        }
    }

    /// Sends pending ciphertext; fails with `WouldBlock` while some remains.
    fn flush(&mut self, token: Token) -> io::Result<()> {
        let Some(encrypted) = self
            .channels
            .get_mut(token.index as usize)
            .and_then(Option::as_deref_mut)
        else {
            return Ok(());
        };
        while !encrypted.channel.unsent().is_empty() {
            match self.sockets.send(token, encrypted.channel.unsent()) {
                Ok(count) => {
                    encrypted.channel.sent(count);
                    encrypted.accepted = encrypted.accepted.wrapping_add(count as u32);
                }
                Err(error) => {
                    if error.kind() == io::ErrorKind::WouldBlock {
                        self.sockets.arm_writes(token)?;
                    }
                    return Err(error);
                }
            }
        }
        if encrypted.closing {
            encrypted.closing = false;
            return self.sockets.shutdown_write(token);
        }
        Ok(())
    }

    /// Sends pending ciphertext of a connection whose socket can be written to again. Returns whether to
    /// report the connection as writable.
    fn is_writable(&mut self, token: Token) -> bool {
        if self.encrypted(token).is_none() {
            return true;
        }
        let flushed = self.flush(token);
        // An error occurs again at the next write or read.
        let is_done = !flushed.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
        self.encrypted(token).is_some_and(|encrypted| {
            let open = encrypted.channel.is_established();
            is_done && open && std::mem::take(&mut encrypted.writes_armed)
        })
    }
}

/// Concatenates `pieces` behind the first `skipped` bytes, one burst at most.
fn gather(pieces: &[IoSlice<'_>], mut skipped: usize, into: &mut Vec<u8>) {
    into.clear();
    for piece in pieces {
        let rest = &piece[piece.len().min(skipped)..];
        skipped = skipped.saturating_sub(piece.len());
        let room = tls::BURST_BYTES - into.len();
        into.extend_from_slice(&rest[..rest.len().min(room)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{Network, RemoteEnd, Write};

    const TOKEN: Token = Token {
        index: 0,
        generation: 1,
    };

    /// A poller with one connection without TLS.
    fn connected() -> (Poller, Network, RemoteEnd) {
        let network = Network::new();
        let (mut poller, _waker) = Poller::in_memory(&network).unwrap();
        let listener = Listener::InMemory(network.listener());
        poller.listen(&listener).unwrap();
        let remote = network.connect();
        poller.wait(true).unwrap();
        assert!(poller.take_acceptable());
        let (socket, _) = listener.accept().unwrap();
        poller.add(socket, TOKEN, Beginning::default()).unwrap();
        poller.stop_listening(&listener).unwrap();
        (poller, network, remote)
    }

    #[test]
    fn a_connection_without_tls_is_read_and_written_as_it_is() {
        let (mut poller, network, remote) = connected();
        remote.send(b"GET /");
        poller.wait(true).unwrap();
        let mut buffer = [0; Poller::MIN_BUFFER_BYTES];
        assert_eq!(poller.readable(), 1);
        assert!(matches!(
            poller.next(&mut buffer),
            Some(IoEvent::Received(TOKEN, 5))
        ));
        assert!(poller.next(&mut buffer).is_none());
        assert!(!poller.is_encrypted(TOKEN) && poller.committed(TOKEN) == 0);
        assert_eq!(poller.send(TOKEN, b"200").unwrap(), 3);
        assert_eq!(remote.receive(), b"200");

        let late = network.connect();
        poller.wait(true).unwrap();
        assert!(!poller.take_acceptable() && !poller.has_work());
        drop(late);
    }

    #[test]
    fn a_blocked_connection_is_reported_once_when_there_is_room_again() {
        let (mut poller, _network, remote) = connected();
        remote.set_send_buffer(4);
        assert_eq!(poller.send(TOKEN, b"abcdef").unwrap(), 4);
        let blocked = poller.send(TOKEN, b"ef").unwrap_err();
        assert_eq!(blocked.kind(), io::ErrorKind::WouldBlock);
        poller.arm_writes(TOKEN).unwrap();
        poller.wait(true).unwrap();
        assert!(poller.take_writable().is_empty());
        assert_eq!(remote.receive(), b"abcd");
        poller.wait(true).unwrap();
        assert_eq!(poller.take_writable(), [TOKEN]);
        poller.wait(true).unwrap();
        assert!(poller.take_writable().is_empty());
    }

    #[test]
    fn each_of_a_batch_has_its_own_result() {
        let (mut poller, _network, remote) = connected();
        let kind = io::ErrorKind::BrokenPipe;
        remote.script_writes([Write::Accept(1), Write::Fail(kind)]);
        let mut results = Vec::new();
        poller.send_all(&[(TOKEN, b"one"), (TOKEN, b"two")], |token, result| {
            assert_eq!(token, TOKEN);
            results.push(result.map_err(|error| error.kind()));
        });
        assert_eq!(results, [Ok(1), Err(kind)]);
    }
}

#[cfg(all(test, feature = "tls"))]
mod encrypted_tests {
    use std::io::Read;
    use std::net::TcpStream;
    use std::process::{Command, Stdio};

    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use rustls::pki_types::{self, CertificateDer, UnixTime};
    use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme};

    use super::*;
    use crate::net::Address;
    use crate::net::tls::{Identity, IdentityFiles, Pair, ServerName, Trust, TrustFiles, provider};

    const DEADLINE: Duration = Duration::from_secs(60);

    const TOKEN: Token = Token {
        index: 0,
        generation: 1,
    };

    fn identity() -> Identity {
        let folder = std::env::temp_dir().join(format!("portal-poller-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = |name| folder.join(name).to_str().unwrap().to_owned();
        let (certificate, key) = (file("certificate"), file("key"));
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-nodes", "-subj", "/CN=a"])
            .args(["-pkeyopt", "ec_paramgen_curve:prime256v1"])
            .args(["-keyout", &key, "-out", &certificate])
            .stderr(Stdio::null())
            .status();
        assert!(made.unwrap().success());
        let files = IdentityFiles {
            pair: Pair { certificate, key },
            ..IdentityFiles::default()
        };
        let identity = Identity::read(&files, None).unwrap();
        std::fs::remove_dir_all(folder).unwrap();
        identity
    }

    /// Accepts every certificate.
    #[derive(Debug)]
    struct Trusting;

    impl ServerCertVerifier for Trusting {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &pki_types::ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, rustls::Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            vec![SignatureScheme::ECDSA_NISTP256_SHA256]
        }
    }

    /// A client's socket after its handshake.
    fn shake_hands(port: u16) -> TcpStream {
        let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Trusting))
            .with_no_client_auth();
        let name = pki_types::ServerName::try_from("a").unwrap();
        let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
        client.complete_io(&mut socket).unwrap();
        socket
    }

    #[test]
    fn a_clients_hello_leaves_at_once_and_when_there_is_room() {
        let network = Network::new();
        let (mut poller, _waker) = Poller::in_memory(&network).unwrap();
        let listener = Listener::InMemory(network.listener());
        poller.listen(&listener).unwrap();
        let remote = network.connect();
        remote.set_send_buffer(100);
        poller.wait(true).unwrap();
        let (socket, _) = listener.accept().unwrap();
        let files = TrustFiles {
            skips_verification: true,
            ..TrustFiles::default()
        };
        let trust = Trust::read(&files).unwrap();
        let name = ServerName::parse("a.example").unwrap();
        let beginning = Beginning {
            tls: Some(TlsSide::Client(&trust, &name)),
            ..Beginning::default()
        };
        poller.add(socket, TOKEN, beginning).unwrap();
        poller.arm_writes(TOKEN).unwrap();
        let preamble = poller.pending_preamble(TOKEN);
        assert_eq!(preamble, Some(Preamble::TlsHandshake));
        let blocked = poller.send(TOKEN, b"early").unwrap_err();
        assert_eq!(blocked.kind(), io::ErrorKind::WouldBlock);

        let mut server = Channel::new(TlsSide::Server(&identity())).unwrap();
        let mut buffer = vec![0; Poller::MIN_BUFFER_BYTES];
        let mut received = Vec::new();
        let mut writable = Vec::new();
        for _turn in 0..1000 {
            let sent = remote.receive();
            let place = tls::HEADROOM_BYTES..tls::HEADROOM_BYTES + sent.len();
            buffer[place].copy_from_slice(&sent);
            let plain = server.decrypt(&mut buffer, sent.len()).unwrap();
            received.extend_from_slice(&buffer[..plain]);
            if received == b"request" {
                break;
            }
            remote.send(server.unsent());
            server.sent(server.unsent().len());
            poller.wait(true).unwrap();
            for _ in 0..poller.readable() {
                let event = poller.next(&mut buffer);
                assert!(!matches!(event, Some(IoEvent::Ended(..))), "{event:?}");
            }
            writable.extend(poller.take_writable());
            if !writable.is_empty() {
                let _ = poller.send(TOKEN, b"request");
            }
        }
        assert_eq!(received, b"request");
        assert_eq!(writable, [TOKEN]);
        assert_eq!(poller.pending_preamble(TOKEN), None);

        remote.shutdown_write();
        poller.wait(true).unwrap();
        let event = poller.next(&mut buffer);
        assert!(matches!(event, Some(IoEvent::Ended(TOKEN, None))));
    }

    #[test]
    fn what_the_peer_takes_of_a_sealed_burst_shows_before_all_of_it_is_taken() {
        let address = Address::resolve("127.0.0.1", 0).unwrap();
        let listener = Arc::new(Listener::bind(&address, 16, 0).unwrap());
        let port = listener.port();
        let (mut poller, _waker) = Poller::new(Backend::Epoll).unwrap();
        poller.listen(&listener).unwrap();
        let client = std::thread::spawn(move || shake_hands(port));
        let began = Instant::now();
        let mut buffer = vec![0; Poller::MIN_BUFFER_BYTES];
        let mut turn = |poller: &mut Poller| {
            assert!(began.elapsed() < DEADLINE, "deadline exceeded");
            poller.set_timer(Duration::from_millis(1)).unwrap();
            poller.wait(true).unwrap();
            poller.next(&mut buffer);
        };
        while !poller.take_acceptable() {
            turn(&mut poller);
        }
        let (socket, _) = listener.accept().unwrap();
        let identity = identity();
        let beginning = Beginning {
            tls: Some(TlsSide::Server(&identity)),
            ..Beginning::default()
        };
        poller.add(socket, TOKEN, beginning).unwrap();
        while poller.is_shaking_hands(TOKEN) {
            turn(&mut poller);
        }
        let mut client = client.join().unwrap();

        let acknowledged = |poller: &mut Poller| {
            let unacknowledged = poller.unacknowledged(TOKEN).unwrap() as u32;
            poller.accepted_ciphertext(TOKEN).unwrap() - unacknowledged
        };
        let block = vec![7; 1 << 20];
        let mut before = acknowledged(&mut poller);
        let mut partly = 0;
        let mut taken = vec![0; 1 << 20];
        while partly < 10 {
            while poller.send(TOKEN, &block).is_ok() {}
            partly += usize::from(poller.committed(TOKEN) > 0);
            client.read_exact(&mut taken).unwrap();
            while acknowledged(&mut poller) == before {
                turn(&mut poller);
            }
            let now = acknowledged(&mut poller);
            assert!(before < now, "{before} {now}");
            before = now;
        }
    }
}
