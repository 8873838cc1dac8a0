//! TLS 1.2 and 1.3 (RFC 5246, RFC 8446) between a socket and what is said over it.
//!
//! - [`Identity`] is what a server shows of itself, read from files.
//! - [`Channel`] seals and opens what one connection carries.
//!
//! The library that does the work is met in this folder alone. A build without it has `left_out` in
//! its place.

#[cfg(feature = "tls")]
mod channel;
#[cfg(feature = "tls")]
mod identity;
#[cfg(not(feature = "tls"))]
mod left_out;
#[cfg(feature = "tls")]
mod pem;
#[cfg(feature = "tls")]
mod x509;

#[cfg(feature = "tls")]
pub(super) use channel::Channel;
#[cfg(feature = "tls")]
pub use identity::Identity;
#[cfg(not(feature = "tls"))]
pub(super) use left_out::Channel;
#[cfg(not(feature = "tls"))]
pub use left_out::Identity;

use std::fmt;

/// The files that an identity is read from, all of them PEM. An empty name: none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdentityFiles {
    /// The certificate, and those that lead from it to one that clients know.
    pub certificate: String,
    /// The certificate's key: PKCS#8, PKCS#1 or SEC1.
    pub key: String,
    /// Clients must show a certificate that one of these has signed.
    pub client_ca: String,
}

impl IdentityFiles {
    /// How long the names are.
    pub fn lens(&self) -> [usize; 3] {
        [&self.certificate, &self.key, &self.client_ca].map(String::len)
    }
}

impl IdentityFiles {
    /// Whether none is named.
    pub fn is_empty(&self) -> bool {
        self.certificate.is_empty() && self.key.is_empty() && self.client_ca.is_empty()
    }
}

/// Why files make no identity.
#[derive(Debug, PartialEq, Eq)]
pub struct IdentityError(String);

impl fmt::Display for IdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for IdentityError {}

/// What to do about a certificate of an older version of X.509.
#[cfg(feature = "tls")]
const MAKE_VERSION_3: &str = "`openssl x509 -req` makes version 3 with `-extfile FILE`, \
    and for a server's certificate FILE contains `subjectAltName=DNS:its.name`";

/// The plaintext of so many bytes at most is sealed at once: four full records.
pub(super) const BURST: usize = 4 * RECORD;

/// What a sealed burst takes at most: its records' heads and tags, and key updates between them.
pub(super) const SEALED_BURST: usize = BURST + 4096;

/// The plaintext of one record (RFC 8446 section 5.1).
const RECORD: usize = 1 << 14;

/// A whole record on the wire (RFC 5246 section 6.2.3, which allows more than RFC 8446).
const SEALED_RECORD: usize = 5 + RECORD + 2048;

/// What is received is read behind so much free room: before it goes the record that an earlier
/// read has cut, and from the front on comes the plaintext.
pub(super) const ROOM: usize = SEALED_RECORD + RECORD;
