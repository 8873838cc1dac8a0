//! The sockets of one loop, and the encryption of those that have it.
//!
//! The poller owns the connections' sockets and hands over bytes, not readiness. Of a connection
//! with a [`Channel`] they are plaintext; the rest of TLS is done in here and told to nobody.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;

use super::event::{Happening, Token};
use super::os::{Backend, Listener, Socket, Sockets, Waker, memory};
use super::tls::{self, Channel, Identity};

pub struct Poller {
    sockets: Sockets,
    /// By the tokens' indices; empty while nobody speaks TLS.
    channels: Vec<Option<Box<Encrypted>>>,
    /// Sealed bytes on their way to a socket.
    sealed: Box<[u8]>,
    /// Plaintext that leaves together.
    gathered: Vec<u8>,
    /// Encrypted connections that can be written to again.
    writable: Vec<Token>,
    /// Connections whose end is to be told after their last bytes.
    ended: VecDeque<Token>,
}

/// An encrypted connection.
struct Encrypted {
    channel: Channel,
    generation: u32,
    /// [`Poller::take_writable`] is to name it.
    wanted: bool,
    /// Nothing is to be told of it for now.
    paused: bool,
    /// Its end is still to be told.
    end_untold: bool,
    /// Writing is to be shut down when everything has left.
    closing: bool,
    /// Sealed bytes that the kernel has taken for it, wrapping.
    taken: u32,
}

impl Poller {
    pub fn new(backend: Backend) -> io::Result<(Self, Arc<Waker>)> {
        let waker = Arc::new(Waker::new()?);
        let poller = Self {
            sockets: Sockets::new(backend, &waker)?,
            channels: Vec::new(),
            sealed: Box::default(),
            gathered: Vec::new(),
            writable: Vec::new(),
            ended: VecDeque::new(),
        };
        Ok((poller, waker))
    }

    /// Lets io_uring serve, if the system lets us. Called by the thread that will serve, and before there
    /// is any connection or timer.
    pub fn use_ring(&mut self) {
        self.sockets.use_ring();
    }

    pub fn listen(&mut self, listener: &Arc<Listener>) -> io::Result<()> {
        self.sockets.listen(listener)
    }

    pub fn stop_listening(&mut self, listener: &Listener) -> io::Result<()> {
        self.sockets.stop_listening(listener)
    }

    /// Whether clients may be waiting since it was last asked. Take them all, or ask again later.
    pub fn take_acceptable(&mut self) -> bool {
        self.sockets.take_acceptable()
    }

    /// Takes over a connection's socket. With an identity its client is to speak TLS.
    pub fn add(
        &mut self,
        socket: Socket,
        token: Token,
        identity: Option<&Identity>,
    ) -> io::Result<()> {
        if let Some(identity) = identity {
            let index = token.index as usize;
            if self.channels.len() <= index {
                let missing = index + 1 - self.channels.len();
                memory::try_reserve(&mut self.channels, missing)
                    .map_err(|_| io::ErrorKind::OutOfMemory)?;
                self.channels.resize_with(index + 1, Option::default);
            }
            if self.sealed.is_empty() {
                self.sealed = memory::zeros(tls::SEALED_BURST)?.into_boxed_slice();
            }
            self.channels[index] = Some(Box::new(Encrypted {
                channel: Channel::new(identity)?,
                generation: token.generation,
                wanted: false,
                paused: false,
                end_untold: false,
                closing: false,
                taken: 0,
            }));
        }
        self.sockets.add(socket, token)
    }

    /// Closes a connection's socket.
    pub fn remove(&mut self, token: Token) {
        if let Some(encrypted) = self.encrypted(token) {
            if encrypted.channel.is_closed_by_client() {
                encrypted.channel.close();
                // Who does not take it now has gone.
                let _ = self.flush(token);
            }
            self.channels[token.index as usize] = None;
        }
        self.sockets.remove(token);
    }

    /// From now on nothing is received from this connection.
    pub fn pause(&mut self, token: Token) {
        if let Some(encrypted) = self.encrypted(token) {
            encrypted.paused = true;
        }
        self.sockets.pause(token);
    }

    pub fn resume(&mut self, token: Token) {
        if let Some(encrypted) = self.encrypted(token) {
            encrypted.paused = false;
            if encrypted.end_untold {
                self.ended.push_back(token);
            }
        }
        self.sockets.resume(token);
    }

    /// Says once, by [`Poller::take_writable`], when this connection can be written to again.
    pub fn arm_writes(&mut self, token: Token) -> io::Result<()> {
        if let Some(encrypted) = self.encrypted(token) {
            encrypted.wanted = true;
            if encrypted.channel.unsent().is_empty() {
                // It can be written to when the handshake is done.
                if encrypted.channel.is_open() {
                    self.writable.push(token);
                }
                return Ok(());
            }
        }
        self.sockets.arm_writes(token)
    }

    /// Hands bytes to the kernel, and answers how many it took.
    ///
    /// When it would block, the same bytes are to be offered first the next time: they may have been
    /// sealed.
    #[inline]
    pub fn send(&mut self, token: Token, bytes: &[u8]) -> io::Result<usize> {
        if self.encrypted(token).is_some() {
            return self.send_sealed(token, &[IoSlice::new(bytes)]);
        }
        self.sockets.send(token, bytes)
    }

    /// The same for bytes in several pieces.
    #[inline]
    pub fn send_vectored(&mut self, token: Token, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.encrypted(token).is_some() {
            return self.send_sealed(token, pieces);
        }
        self.sockets.send_vectored(token, pieces)
    }

    /// Whether so many sends are better given to [`Poller::send_all`].
    #[inline]
    pub fn sends_together(&self, sends: usize) -> bool {
        self.sockets.sends_together(sends)
    }

    /// Whether what is sent to this connection is encrypted.
    pub fn is_encrypted(&self, token: Token) -> bool {
        let channel = self.channels.get(token.index as usize);
        channel.is_some_and(Option::is_some)
    }

    /// Hands bytes of several connections without encryption to the kernel, and tells of each what
    /// `send` would answer.
    pub fn send_all(
        &mut self,
        batch: &[(Token, &[u8])],
        tell: impl FnMut(Token, io::Result<usize>),
    ) {
        self.sockets.send_all(batch, tell);
    }

    /// How many of the bytes to be offered next leave as they are: they have been sealed.
    pub fn committed(&mut self, token: Token) -> usize {
        let encrypted = self.encrypted(token);
        encrypted.map_or(0, |encrypted| encrypted.channel.ahead())
    }

    /// How many sealed bytes the kernel has taken, wrapping; None where nothing is encrypted.
    pub fn taken_sealed(&mut self, token: Token) -> Option<u32> {
        self.encrypted(token).map(|encrypted| encrypted.taken)
    }

    /// How many bytes, sealed if they are encrypted, the peer's system has not acknowledged.
    pub fn unacknowledged(&self, token: Token) -> io::Result<usize> {
        self.sockets.unacknowledged(token)
    }

    /// Says that nothing more will be written; reading goes on.
    pub fn shutdown_write(&mut self, token: Token) -> io::Result<()> {
        if let Some(encrypted) = self.encrypted(token) {
            encrypted.channel.close();
            encrypted.closing = true;
            return match self.flush(token) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
                answer => answer,
            };
        }
        self.sockets.shutdown_write(token)
    }

    /// Whether there is something to do without waiting.
    pub fn has_work(&self) -> bool {
        !self.writable.is_empty() || !self.ended.is_empty() || self.sockets.has_work()
    }

    /// Learns what has happened; waits for something, if it may. The timer ends that, and so does a
    /// signal handler.
    pub fn wait(&mut self, may_wait: bool) -> io::Result<()> {
        self.sockets.wait(may_wait)
    }

    /// How many connections wait to be read; each is visited once by as many calls of `next`.
    pub fn readable(&self) -> usize {
        self.ended.len() + self.sockets.readable()
    }

    /// Connections that can be written to again; each stands here once.
    pub fn take_writable(&mut self) -> Vec<Token> {
        let mut writable = self.sockets.take_writable();
        if !self.channels.is_empty() {
            writable.append(&mut self.writable);
            writable.retain(|token| self.is_writable(*token));
        }
        writable
    }

    /// Visits the next connection that may hold bytes, and reads into `buffer`, which holds
    /// [`Poller::LEAST_BUFFER`] bytes or more.
    #[inline]
    pub fn next(&mut self, buffer: &mut [u8]) -> Option<Happening> {
        if self.channels.is_empty() {
            return self.sockets.next(buffer);
        }
        self.next_opened(buffer)
    }

    /// The smallest buffer that can be read into.
    pub const LEAST_BUFFER: usize = 2 * tls::ROOM;

    /// A descriptor that is readable when [`Poller::wait`] would not wait.
    pub fn descriptor(&self) -> RawFd {
        self.sockets.descriptor()
    }

    /// Sets the timer, which goes off once, `after` from now: [`Poller::wait`] does not wait any longer
    /// then. It replaces what was set before.
    ///
    /// A limit given to each wait would cost the kernel as much as a system call of its own, because
    /// hardly any wait reaches it. A timer that is left alone costs nothing.
    pub fn set_timer(&self, after: Duration) -> io::Result<()> {
        self.sockets.set_timer(after)
    }

    // ---- encrypted connections ----

    #[inline]
    fn encrypted(&mut self, token: Token) -> Option<&mut Encrypted> {
        let encrypted = self
            .channels
            .get_mut(token.index as usize)?
            .as_deref_mut()?;
        (encrypted.generation == token.generation).then_some(encrypted)
    }

    fn shakes_hands(&mut self, token: Token) -> bool {
        self.encrypted(token)
            .is_some_and(|encrypted| !encrypted.channel.is_open())
    }

    fn next_opened(&mut self, buffer: &mut [u8]) -> Option<Happening> {
        while let Some(token) = self.ended.pop_front() {
            let waiting = |encrypted: &&mut Encrypted| encrypted.end_untold && !encrypted.paused;
            if let Some(encrypted) = self.encrypted(token).filter(waiting) {
                encrypted.end_untold = false;
                return Some(Happening::Ended(token, None));
            }
        }
        let (token, count) = match self.sockets.next(&mut buffer[tls::ROOM..])? {
            Happening::Received(token, count) => (token, count),
            // Before the handshake is done nothing can be said to the client any more.
            Happening::Ended(token, None) if self.shakes_hands(token) => {
                let error = io::ErrorKind::UnexpectedEof.into();
                return Some(Happening::Ended(token, Some(error)));
            }
            event => return Some(event),
        };
        let received = tls::ROOM..tls::ROOM + count;
        let Some(encrypted) = self.encrypted(token) else {
            buffer.copy_within(received, 0);
            return Some(Happening::Received(token, count));
        };
        if encrypted.channel.is_mistaken(&buffer[received]) {
            if encrypted.wanted {
                self.writable.push(token);
            }
            self.channels[token.index as usize] = None;
            return Some(Happening::Mistaken(token));
        }
        let plain = encrypted.channel.open(buffer, count);
        let opened = encrypted.channel.is_open() && encrypted.wanted;
        let ended = encrypted.channel.is_closed_by_client();
        if opened {
            self.writable.push(token);
        }
        let said = match self.flush(token) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            answer => answer,
        };
        match plain.and_then(|plain| said.map(|()| plain)) {
            Err(error) => Some(Happening::Ended(token, Some(error))),
            Ok(0) if ended => Some(Happening::Ended(token, None)),
            Ok(plain) => {
                if ended {
                    self.encrypted(token)?.end_untold = true;
                    self.ended.push_back(token);
                }
                Some(Happening::Received(token, plain))
            }
        }
    }

    /// Seals and sends until all is taken or the socket takes no more.
    fn send_sealed(&mut self, token: Token, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut gathered = std::mem::take(&mut self.gathered);
        let mut total = 0;
        let answer = loop {
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
        answer
    }

    /// Seals and sends at most [`tls::BURST`] bytes.
    fn send_burst(&mut self, token: Token, plain: &[u8]) -> io::Result<usize> {
        self.flush(token)?;
        let Some(encrypted) = self.channels[token.index as usize].as_deref_mut() else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let channel = &mut encrypted.channel;
        let ahead = channel.take_ahead(plain.len());
        if ahead > 0 {
            return Ok(ahead);
        }
        if !channel.is_open() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let length = channel.seal(plain, &mut self.sealed)?;
        let sent = match self.sockets.send(token, &self.sealed[..length]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            answer => answer?,
        };
        encrypted.taken = encrypted.taken.wrapping_add(sent as u32);
        if sent == length {
            return Ok(plain.len());
        }
        channel.keep(&self.sealed[sent..length], plain.len());
        Err(io::ErrorKind::WouldBlock.into())
    }

    /// Sends what is sealed already; would block while some of it is left.
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
                    encrypted.taken = encrypted.taken.wrapping_add(count as u32);
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

    /// Goes on sending to a connection whose socket can be written to again. Answers whether
    /// somebody waits for that.
    fn is_writable(&mut self, token: Token) -> bool {
        if self.encrypted(token).is_none() {
            return true;
        }
        let flushed = self.flush(token);
        // An error is met again by whoever writes, or reads.
        let is_done = !flushed.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
        self.encrypted(token).is_some_and(|encrypted| {
            let open = encrypted.channel.is_open();
            is_done && open && std::mem::take(&mut encrypted.wanted)
        })
    }
}

/// Puts together what stands in `pieces` behind the first `skipped` bytes, one burst at most.
fn gather(pieces: &[IoSlice<'_>], mut skipped: usize, into: &mut Vec<u8>) {
    into.clear();
    for piece in pieces {
        let rest = &piece[piece.len().min(skipped)..];
        skipped = skipped.saturating_sub(piece.len());
        let room = tls::BURST - into.len();
        into.extend_from_slice(&rest[..rest.len().min(room)]);
    }
}

#[cfg(all(test, feature = "tls"))]
mod tests {
    use std::io::Read;
    use std::net::TcpStream;
    use std::process::{Command, Stdio};
    use std::time::Instant;

    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use rustls::crypto::ring;
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
    use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme};

    use super::*;
    use crate::net::{Address, IdentityFiles};

    const PATIENCE: Duration = Duration::from_secs(60);

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
            certificate,
            key,
            client_ca: String::new(),
        };
        let identity = Identity::read(&files).unwrap();
        std::fs::remove_dir_all(folder).unwrap();
        identity
    }

    /// Takes every certificate.
    #[derive(Debug)]
    struct Trusting;

    impl ServerCertVerifier for Trusting {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
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
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Trusting))
            .with_no_client_auth();
        let name = ServerName::try_from("a").unwrap();
        let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
        client.complete_io(&mut socket).unwrap();
        socket
    }

    #[test]
    fn what_the_peer_takes_of_a_sealed_burst_shows_before_all_of_it_is_taken() {
        let address = Address::resolve("127.0.0.1", 0).unwrap();
        let listener = Arc::new(Listener::bind(&address, 16).unwrap());
        let port = listener.port();
        let (mut poller, _waker) = Poller::new(Backend::Epoll).unwrap();
        poller.listen(&listener).unwrap();
        let client = std::thread::spawn(move || shake_hands(port));
        let began = Instant::now();
        let mut buffer = vec![0; Poller::LEAST_BUFFER];
        let mut turn = |poller: &mut Poller| {
            assert!(began.elapsed() < PATIENCE, "for too long");
            poller.set_timer(Duration::from_millis(1)).unwrap();
            poller.wait(true).unwrap();
            poller.next(&mut buffer);
        };
        while !poller.take_acceptable() {
            turn(&mut poller);
        }
        let (socket, _) = listener.accept().unwrap();
        poller.add(socket, TOKEN, Some(&identity())).unwrap();
        while poller.shakes_hands(TOKEN) {
            turn(&mut poller);
        }
        let mut client = client.join().unwrap();

        let acknowledged = |poller: &mut Poller| {
            let unacknowledged = poller.unacknowledged(TOKEN).unwrap() as u32;
            poller.taken_sealed(TOKEN).unwrap() - unacknowledged
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
