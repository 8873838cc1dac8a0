//! A client's and a server's channel, which talk to each other in memory.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;
use rustls::version::TLS12;

use super::channel::{Channel, TlsSide};
use super::identity::Identity;
use super::provider::provider;
use super::trust::{ServerName, Trust};
use super::unverified::AnyCertificate;
use super::{
    BURST_BYTES, ENCRYPTED_BURST_BYTES, HEADROOM_BYTES, IdentityFiles, Pair, TlsFact, TrustFiles,
};

const EC: [&str; 4] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"];

const FOR_A: &str = "subjectAltName=DNS:a.example,DNS:*.a.example,IP:127.0.0.1";

/// A certificate authority with a folder of its own, which goes with it.
struct Authority {
    folder: PathBuf,
}

impl Authority {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);

        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("portal-tls-{}-{count}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).unwrap();
        let authority = Self { folder };
        let Pair { certificate, key } = authority.pair("authority");
        let out = ["-keyout", &key, "-out", &certificate];
        let subject = format!("/CN=authority {count}");
        openssl(
            &[
                &["req", "-x509", "-nodes", "-subj", &subject],
                &EC[..],
                &out,
            ]
            .concat(),
        );
        authority
    }

    fn file(&self, name: &str) -> String {
        self.folder.join(name).to_str().unwrap().to_owned()
    }

    fn pair(&self, name: &str) -> Pair {
        Pair {
            certificate: self.file(&format!("{name}.pem")),
            key: self.file(&format!("{name}.key")),
        }
    }

    fn certificate(&self) -> String {
        self.pair("authority").certificate
    }

    /// Signs a certificate with these extensions; without any it is of X.509 version 1.
    fn sign(&self, name: &str, extensions: &str) -> Pair {
        let Pair { certificate, key } = self.pair(name);
        let (request, extension) = (self.file("request"), self.file("extension"));
        let subject = format!("/CN={name}");
        let out = ["-keyout", &key, "-out", &request];
        openssl(&[&["req", "-nodes", "-subj", &subject], &EC[..], &out].concat());
        fs::write(&extension, extensions).unwrap();
        let authority = self.pair("authority");
        let by = ["-CA", &authority.certificate, "-CAkey", &authority.key];
        let files = ["-CAcreateserial", "-in", &request, "-out", &certificate];
        let extended = ["-extfile", &extension];
        let extended = if extensions.is_empty() {
            &[]
        } else {
            &extended[..]
        };
        openssl(&[&["x509", "-req", "-days", "30"], &by[..], &files, extended].concat());
        Pair { certificate, key }
    }

    /// An identity that this authority has signed.
    fn identity(&self) -> Identity {
        identity(self.sign("server", FOR_A))
    }

    /// What trusts this authority.
    fn trust(&self) -> Trust {
        read(&TrustFiles {
            authorities: self.certificate(),
            ..TrustFiles::default()
        })
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn openssl(arguments: &[&str]) {
    let mut command = Command::new("openssl");
    let status = command.args(arguments).stderr(Stdio::null()).status();
    assert!(status.unwrap().success(), "{arguments:?}");
}

fn identity(pair: Pair) -> Identity {
    let files = IdentityFiles {
        pair,
        ..IdentityFiles::default()
    };
    Identity::read(&files, None).unwrap()
}

fn read(files: &TrustFiles) -> Trust {
    Trust::read(files).unwrap()
}

fn unverified() -> Trust {
    read(&TrustFiles {
        skips_verification: true,
        ..TrustFiles::default()
    })
}

fn client(trust: &Trust, name: &str) -> Channel {
    let name = ServerName::parse(name).unwrap();
    Channel::new(TlsSide::Client(trust, &name)).unwrap()
}

/// Two channels, and what each has received.
struct Talk {
    client: Channel,
    server: Channel,
    to_client: Vec<u8>,
    to_server: Vec<u8>,
    /// So many bytes are delivered at once.
    step: usize,
}

impl Talk {
    fn new(identity: &Identity, trust: &Trust, name: &str) -> Self {
        Self {
            client: client(trust, name),
            server: Channel::new(TlsSide::Server(identity)).unwrap(),
            to_client: Vec::new(),
            to_server: Vec::new(),
            step: HEADROOM_BYTES,
        }
    }

    /// Delivers all that is unsent, until an error of either. Returns how each has ended.
    fn exchange(&mut self) -> [Result<(), String>; 2] {
        let mut results = [Ok(()), Ok(())];
        while !self.client.unsent().is_empty() || !self.server.unsent().is_empty() {
            let Self { client, server, .. } = self;
            deliver(
                server,
                client,
                &mut self.to_client,
                self.step,
                &mut results[0],
            );
            deliver(
                client,
                server,
                &mut self.to_server,
                self.step,
                &mut results[1],
            );
        }
        results
    }

    /// Shakes hands, which the client must refuse. Returns why.
    fn refusal(&mut self) -> String {
        let [client, server] = self.exchange();
        assert!(server.unwrap_err().contains("received fatal alert"));
        assert!(!self.server.is_established());
        client.unwrap_err()
    }
}

fn deliver(
    from: &mut Channel,
    to: &mut Channel,
    received: &mut Vec<u8>,
    step: usize,
    result: &mut Result<(), String>,
) {
    let mut buffer = vec![0; 2 * HEADROOM_BYTES];
    let count = from.unsent().len().min(step);
    if count == 0 {
        return;
    }
    buffer[HEADROOM_BYTES..HEADROOM_BYTES + count].copy_from_slice(&from.unsent()[..count]);
    from.sent(count);
    if result.is_ok() {
        match to.decrypt(&mut buffer, count) {
            Ok(plain) => received.extend_from_slice(&buffer[..plain]),
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::InvalidData);
                *result = Err(error.to_string());
            }
        }
    }
}

fn say(channel: &mut Channel, plain: &[u8]) {
    let mut ciphertext = vec![0; ENCRYPTED_BURST_BYTES];
    for burst in plain.chunks(BURST_BYTES) {
        let length = channel.encrypt(burst, &mut ciphertext).unwrap();
        channel.keep(&ciphertext[..length], 0);
    }
}

/// Lets a client receive these bytes, so many at once. Returns its error.
fn answer(client: &mut Channel, bytes: &[u8], step: usize) -> Option<io::Error> {
    bytes.chunks(step).find_map(|piece| {
        let mut buffer = vec![0; 2 * HEADROOM_BYTES];
        buffer[HEADROOM_BYTES..HEADROOM_BYTES + piece.len()].copy_from_slice(piece);
        client.decrypt(&mut buffer, piece.len()).err()
    })
}

fn fact(channel: &mut Channel, facts: &[TlsFact]) -> Vec<String> {
    let known = channel.take_facts().unwrap();
    let text = |fact: &TlsFact| known.get(*fact).to_str().unwrap().to_owned();
    facts.iter().map(text).collect()
}

#[derive(Debug)]
struct Days(u64);

impl TimeProvider for Days {
    fn current_time(&self) -> Option<UnixTime> {
        let since = Duration::from_secs(self.0 * 24 * 60 * 60);
        Some(UnixTime::since_unix_epoch(since))
    }
}

#[test]
fn a_client_and_a_server_talk_however_their_bytes_are_cut() {
    let authority = Authority::new();
    let (identity, trust) = (authority.identity(), authority.trust());
    let long: Vec<u8> = (0..1 << 20).map(|number: u32| number as u8).collect();
    for (step, len) in [(1, 20_000), (1000, 1 << 20), (HEADROOM_BYTES, 1 << 20)] {
        let mut talk = Talk::new(&identity, &trust, "a.example");
        talk.step = step;
        assert!(!talk.client.unsent().is_empty() && !talk.client.is_established());
        assert_eq!(talk.exchange(), [Ok(()), Ok(())], "{step}");
        assert!(talk.client.is_established() && talk.server.is_established());
        say(&mut talk.client, &long[..len]);
        say(&mut talk.server, &long[1..len]);
        assert_eq!(talk.exchange(), [Ok(()), Ok(())], "{step}");
        assert!(talk.to_server == long[..len] && talk.to_client == long[1..len]);
    }
}

#[test]
fn both_sides_know_the_facts_of_a_connection() {
    let authority = Authority::new();
    let facts = [
        TlsFact::Version,
        TlsFact::ServerName,
        TlsFact::ClientCertificate,
        TlsFact::ClientSubject,
    ];
    for (name, asked) in [("x.A.example", "x.A.example"), ("127.0.0.1", "")] {
        let mut talk = Talk::new(&authority.identity(), &authority.trust(), name);
        assert_eq!(talk.exchange(), [Ok(()), Ok(())]);
        assert_eq!(fact(&mut talk.client, &facts), ["TLSv1.3", asked, "", ""]);
        let asked = asked.to_lowercase();
        assert_eq!(fact(&mut talk.server, &facts), ["TLSv1.3", &*asked, "", ""]);
    }
}

#[test]
fn a_client_talks_tls_1_2_as_well() {
    let authority = Authority::new();
    let provider = Arc::new(provider());
    let any = AnyCertificate(provider.signature_verification_algorithms);
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS12])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(any))
        .with_no_client_auth();
    let trust = Trust {
        config: Arc::new(config),
    };
    for step in [1, HEADROOM_BYTES] {
        let mut talk = Talk::new(&authority.identity(), &trust, "b.example");
        talk.step = step;
        assert_eq!(talk.exchange(), [Ok(()), Ok(())]);
        say(&mut talk.client, b"to the server");
        say(&mut talk.server, b"to the client");
        assert_eq!(talk.exchange(), [Ok(()), Ok(())]);
        assert_eq!(talk.to_server, b"to the server");
        assert_eq!(talk.to_client, b"to the client");
        let facts = fact(&mut talk.client, &[TlsFact::Version, TlsFact::Cipher]);
        assert_eq!(facts[0], "TLSv1.2");
        assert!(facts[1].starts_with("TLS_ECDHE_ECDSA_"), "{}", facts[1]);
    }
}

#[test]
fn a_certificate_for_other_names_is_refused_and_they_are_named() {
    let authority = Authority::new();
    let (identity, trust) = (authority.identity(), authority.trust());
    for name in ["b.example", "y.x.a.example", "127.0.0.2", "::1"] {
        let why = Talk::new(&identity, &trust, name).refusal();
        let said = "the server's certificate is for a.example, *.a.example, 127.0.0.1, not for ";
        assert_eq!(why, format!("{said}{name}"));
    }
    let nameless = self::identity(authority.sign("nameless", "basicConstraints=CA:FALSE"));
    let why = Talk::new(&nameless, &trust, "a.example").refusal();
    assert!(why.contains("is for no name"), "{why}");
}

#[test]
fn a_certificate_of_an_unknown_issuer_is_refused() {
    let (authority, other) = (Authority::new(), Authority::new());
    let why = Talk::new(&authority.identity(), &other.trust(), "a.example").refusal();
    assert_eq!(
        why,
        "the certificate's issuer is not one of the trusted authorities; TLS_CA names others"
    );
}

#[test]
fn a_certificate_is_refused_before_and_after_its_time() {
    let authority = Authority::new();
    let identity = authority.identity();
    let now = UnixTime::now().as_secs() / (24 * 60 * 60);
    for (day, said) in [
        (now + 400, "expired on "),
        (now - 400, "is not valid until "),
    ] {
        let mut config = (*authority.trust().config).clone();
        config.time_provider = Arc::new(Days(day));
        let trust = Trust {
            config: Arc::new(config),
        };
        let why = Talk::new(&identity, &trust, "a.example").refusal();
        assert!(why.contains(said) && why.contains("(UTC)"), "{why}");
    }
}

#[test]
fn a_certificate_of_version_1_or_of_an_authority_is_refused_with_a_remedy() {
    let authority = Authority::new();
    let old = identity(authority.sign("old", ""));
    let why = Talk::new(&old, &authority.trust(), "a.example").refusal();
    assert!(
        why.contains("X.509 version 1") && why.contains("-extfile"),
        "{why}"
    );
    let own = identity(authority.pair("authority"));
    let why = Talk::new(&own, &authority.trust(), "a.example").refusal();
    assert!(why.contains("CA:TRUE") && why.contains("CA:FALSE"), "{why}");
}

#[test]
fn any_certificate_is_accepted_without_verification() {
    let authority = Authority::new();
    for pair in [
        authority.sign("server", FOR_A),
        authority.pair("authority"),
        authority.sign("old", ""),
    ] {
        let mut talk = Talk::new(&identity(pair), &unverified(), "b.example");
        assert_eq!(talk.exchange(), [Ok(()), Ok(())]);
        assert!(talk.client.is_established() && talk.server.is_established());
    }
}

#[test]
fn a_client_shows_its_certificate_to_a_server_that_asks() {
    let authority = Authority::new();
    let files = IdentityFiles {
        pair: authority.sign("server", FOR_A),
        client_ca: authority.certificate(),
        ..IdentityFiles::default()
    };
    let identity = Identity::read(&files, None).unwrap();
    let trust = read(&TrustFiles {
        authorities: authority.certificate(),
        pair: authority.sign("client", "extendedKeyUsage=clientAuth"),
        skips_verification: false,
    });
    let mut talk = Talk::new(&identity, &trust, "a.example");
    assert_eq!(talk.exchange(), [Ok(()), Ok(())]);
    let facts = [TlsFact::ClientSubject, TlsFact::ClientCertificate];
    assert_eq!(fact(&mut talk.server, &facts)[0], "CN=client");
    assert_eq!(fact(&mut talk.client, &facts), ["", ""]);

    let mut talk = Talk::new(&identity, &authority.trust(), "a.example");
    let [client, server] = talk.exchange();
    assert!(server.is_err());
    let why = client.unwrap_err();
    assert!(why.contains("it requires a client certificate"), "{why}");
}

#[test]
fn a_refused_client_is_told_so_although_more_of_its_handshake_has_arrived() {
    let (authority, other) = (Authority::new(), Authority::new());
    let files = IdentityFiles {
        pair: authority.sign("server", FOR_A),
        client_ca: authority.certificate(),
        ..IdentityFiles::default()
    };
    let identity = Identity::read(&files, None).unwrap();
    let trust = read(&TrustFiles {
        authorities: authority.certificate(),
        pair: other.sign("client", "extendedKeyUsage=clientAuth"),
        skips_verification: false,
    });
    for step in [1, HEADROOM_BYTES] {
        let mut talk = Talk::new(&identity, &trust, "a.example");
        talk.step = step;
        let [client, server] = talk.exchange();
        assert!(server.unwrap_err().contains("UnknownIssuer"));
        let why = client.unwrap_err();
        assert!(
            why.contains("does not trust the client certificate"),
            "{why}"
        );
        talk.server.close();
        assert!(talk.server.unsent().is_empty());
        assert!(talk.server.encrypt(b"x", &mut [0; 100]).is_err());
        assert!(answer(&mut talk.server, &[0; 100], 100).is_some());
    }
}

#[test]
fn a_part_of_a_message_of_tls_does_not_prevent_sending() {
    let authority = Authority::new();
    let mut identity = authority.identity();
    let mut config = (*identity.config).clone();
    config.max_fragment_size = Some(64);
    identity.config = Arc::new(config);
    let mut talk = Talk::new(&identity, &authority.trust(), "a.example");
    let [mut to_client, mut to_server] = [Ok(()), Ok(())];
    let mut sent = 0;
    while !talk.client.unsent().is_empty() || !talk.server.unsent().is_empty() {
        let (client, server) = (&mut talk.client, &mut talk.server);
        deliver(server, client, &mut talk.to_client, 1, &mut to_client);
        if client.is_established() {
            say(client, &[7]);
            sent += 1;
        }
        deliver(client, server, &mut talk.to_server, 1000, &mut to_server);
    }
    assert_eq!([to_client, to_server], [Ok(()), Ok(())]);
    assert!(sent > 100 && talk.to_server.len() == sent, "{sent}");
    talk.client.close();
    assert_eq!(talk.exchange(), [Ok(()), Ok(())]);
    assert!(talk.server.is_closed_by_peer());
}

#[test]
fn the_second_connection_with_a_trust_resumes_the_session_of_the_first() {
    let authority = Authority::new();
    let (identity, trust) = (authority.identity(), authority.trust());
    for resumed in [false, true, true] {
        let mut talk = Talk::new(&identity, &trust, "a.example");
        assert_eq!(talk.exchange(), [Ok(()), Ok(())]);
        assert_eq!(talk.client.is_resumed(), resumed);
        assert_eq!(talk.server.is_resumed(), resumed);
    }
    let mut talk = Talk::new(&identity, &trust.clone(), "x.a.example");
    assert_eq!(talk.exchange(), [Ok(()), Ok(())]);
    assert!(!talk.client.is_resumed());
}

#[test]
fn a_server_that_does_not_speak_tls_is_told_apart() {
    let trust = unverified();
    for (bytes, said) in [
        (
            &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
            "answered with plain HTTP",
        ),
        (
            b"220 mail.example ESMTP\r\n",
            "the server does not speak TLS",
        ),
        (&[22, 9, 9, 255, 255, 1], "the server violated TLS"),
        (&[21, 3, 3, 0, 2, 2, 40], "alert 40 (HandshakeFailure)"),
        (&[21, 3, 3, 0, 2, 2, 70], "neither TLS 1.2 nor TLS 1.3"),
    ] {
        for step in [1, bytes.len()] {
            let mut client = client(&trust, "a.example");
            let error = answer(&mut client, bytes, step);
            let error = error.unwrap_or_else(|| panic!("no error: {bytes:?}"));
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            let is_cut_http = step == 1 && bytes.starts_with(b"HTTP");
            let said = if is_cut_http {
                "does not speak TLS"
            } else {
                said
            };
            assert!(error.to_string().contains(said), "{error}");
            assert!(answer(&mut client, bytes, step).is_some());
        }
    }
}

#[test]
fn a_server_that_ends_the_connection_in_the_handshake_is_reported() {
    let mut client = client(&unverified(), "a.example");
    let end = client.early_end();
    assert_eq!(end.kind(), io::ErrorKind::InvalidData);
    assert!(end.to_string().contains("without an answer"), "{end}");
    assert!(!client.is_plain_http(b"GET / HTTP/1.1"));
    let close_notify = [21, 3, 3, 0, 2, 1, 0];
    assert!(answer(&mut client, &close_notify, 7).is_none());
    assert!(!client.is_closed_by_peer() && !client.is_established());
    let end = client.early_end().to_string();
    assert!(end.contains("during the TLS handshake"), "{end}");
}

#[test]
fn each_side_is_told_when_the_other_closes() {
    let authority = Authority::new();
    let mut talk = Talk::new(&authority.identity(), &authority.trust(), "a.example");
    assert_eq!(talk.exchange(), [Ok(()), Ok(())]);
    talk.client.close();
    assert_eq!(talk.exchange(), [Ok(()), Ok(())]);
    assert!(talk.server.is_closed_by_peer() && !talk.client.is_closed_by_peer());
    say(&mut talk.server, b"more");
    talk.server.close();
    assert_eq!(talk.exchange(), [Ok(()), Ok(())]);
    assert_eq!(talk.to_client, b"more");
    assert!(talk.client.is_closed_by_peer());
    assert!(talk.client.encrypt(b"x", &mut [0; 100]).is_err());
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let authority = Authority::new();
    let error = |files: &TrustFiles| Trust::read(files).expect_err("an error").to_string();
    let missing = authority.file("missing");
    let why = error(&TrustFiles {
        authorities: missing.clone(),
        ..TrustFiles::default()
    });
    assert!(
        why.starts_with(&format!("{missing} cannot be read")),
        "{why}"
    );
    let one = authority.sign("one", FOR_A);
    for (certificate, key, said) in [
        (&*one.certificate, "", "the private key of"),
        ("", &*one.key, "the certificate is missing"),
        (
            &one.certificate,
            &authority.pair("authority").key,
            "is not the private key of",
        ),
    ] {
        let why = error(&TrustFiles {
            authorities: authority.certificate(),
            pair: Pair {
                certificate: certificate.to_owned(),
                key: key.to_owned(),
            },
            skips_verification: false,
        });
        assert!(why.contains(said), "{why}");
    }
}
