//! TLS 1.2 and 1.3 (RFC 5246, RFC 8446).
//!
//! - [`Identity`] is a server's certificates and keys, read from files.
//! - [`Trust`] is what a client accepts of servers, and shows of itself.
//! - [`Channel`] encrypts and decrypts the data of one connection.
//! - [`TlsFacts`] is what the application may ask of a connection.
//!
//! Only this folder uses the TLS library, rustls. A build without it has `left_out` instead.

#[cfg(feature = "tls")]
mod authorities;
#[cfg(feature = "tls")]
mod certificates;
#[cfg(feature = "tls")]
mod channel;
#[cfg(feature = "tls")]
mod clients;
#[cfg(feature = "tls")]
mod facts;
#[cfg(feature = "tls")]
mod failures;
#[cfg(feature = "tls")]
mod identity;
#[cfg(not(feature = "tls"))]
mod left_out;
#[cfg(feature = "tls")]
mod pem;
#[cfg(feature = "tls")]
mod provider;
#[cfg(feature = "tls")]
mod side;
#[cfg(all(test, feature = "tls"))]
mod tests;
#[cfg(feature = "tls")]
mod trust;
#[cfg(feature = "tls")]
mod unverified;
#[cfg(feature = "tls")]
mod validity;
#[cfg(feature = "tls")]
mod x509;

#[cfg(feature = "tls")]
pub(super) use channel::Channel;
#[cfg(feature = "tls")]
pub(crate) use channel::TlsSide;
#[cfg(feature = "tls")]
pub(crate) use facts::TlsFacts;
#[cfg(feature = "tls")]
pub(crate) use identity::Identity;
#[cfg(not(feature = "tls"))]
pub(super) use left_out::Channel;
#[cfg(not(feature = "tls"))]
pub(crate) use left_out::{Identity, ServerName, TlsFacts, TlsSide, Trust};
#[cfg(all(test, feature = "tls"))]
pub(super) use provider::provider;
#[cfg(feature = "tls")]
pub(crate) use trust::{ServerName, Trust};

use std::fmt;

/// A certificate and its key; an empty name means none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pair {
    /// The certificate and its chain.
    pub certificate: String,
    /// The certificate's key: PKCS#8, PKCS#1 or SEC1.
    pub key: String,
}

/// The PEM files of an identity; an empty name means none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct IdentityFiles {
    /// For all names that are not in one of the others.
    pub pair: Pair,
    /// For clients that ask for one of their names.
    pub more: Vec<Pair>,
    /// Authorities; clients must present a certificate that one of them signed.
    pub client_ca: String,
    /// What these have revoked.
    pub client_crl: String,
}

impl IdentityFiles {
    /// Returns the lengths of the names, and the size of the list of pairs.
    pub(crate) fn lens(&self) -> impl Iterator<Item = usize> {
        let pairs = self.more.iter().chain([&self.pair]);
        let names = pairs.flat_map(|pair| [&pair.certificate, &pair.key]);
        names
            .chain([&self.client_ca, &self.client_crl])
            .map(String::len)
            .chain([size_of_val(&*self.more)])
    }

    /// Whether no file is named.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The PEM files and the rule by which a client trusts servers; an empty name means none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TrustFiles {
    /// Authorities, in place of the system's.
    pub authorities: String,
    /// The client's certificate, for servers that ask for one.
    pub pair: Pair,
    /// Any certificate of a server is accepted.
    pub skips_verification: bool,
}

/// What the application may ask of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TlsFact {
    Version,
    /// By the name that IANA has registered.
    Cipher,
    /// The DNS name that the client asked for.
    ServerName,
    /// PEM.
    ClientCertificate,
    /// As RFC 4514 writes it.
    ClientSubject,
}

/// Why an identity, or a trust, cannot be read from its files.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct IdentityError(String);

impl fmt::Display for IdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for IdentityError {}

/// The remedy for a certificate of an older version of X.509.
#[cfg(feature = "tls")]
const MAKE_VERSION_3: &str = "`openssl x509 -req` makes version 3 with `-extfile FILE`, \
    and for a server's certificate FILE contains `subjectAltName=DNS:its.name`";

/// The name of HTTP/1.1 in ALPN (RFC 7301 section 6).
#[cfg(feature = "tls")]
const HTTP_1_1: &[u8] = b"http/1.1";

/// Maximum plaintext that is encrypted at once: four full records.
pub(super) const BURST_BYTES: usize = 4 * RECORD_BYTES;

/// Maximum ciphertext of a burst: with its records' headers and tags, and key updates between them.
pub(super) const ENCRYPTED_BURST_BYTES: usize = BURST_BYTES + 4096;

/// Maximum plaintext of one record (RFC 8446 section 5.1).
const RECORD_BYTES: usize = 1 << 14;

/// Maximum length of a record on the wire (RFC 5246 section 6.2.3, which allows more than RFC 8446).
const ENCRYPTED_RECORD_BYTES: usize = 5 + RECORD_BYTES + 2048;

/// Free space in the buffer before received data: for an incomplete record of an earlier read, and for
/// plaintext, which is written to the front.
pub(super) const HEADROOM_BYTES: usize = ENCRYPTED_RECORD_BYTES + RECORD_BYTES;
