//! What a client trusts, and what it shows of itself.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::danger::ServerCertVerifier;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types;
use rustls::sign::SingleCertAndKey;

use super::authorities::{read_authorities, system_authorities};
use super::identity::{failed, read_pair};
use super::provider::provider;
use super::unverified::AnyCertificate;
use super::validity::{self, Validity};
use super::{HTTP_1_1, IdentityError, Pair, TrustFiles};

/// So many sessions of a server are kept to be resumed: the library keeps tickets of one server for any number
/// up to 8.
const SESSIONS: usize = 1;

/// How a client speaks TLS with a server. It keeps the sessions, so that the next connection with the same
/// trust resumes one.
#[derive(Clone, Debug)]
pub(crate) struct Trust {
    pub(super) config: Arc<ClientConfig>,
}

impl Trust {
    /// Reads the files, and the system's authorities if they are needed for the first time: not for the thread
    /// of a loop.
    ///
    /// # Errors
    ///
    /// A file cannot be read or has other content; one of key and certificate is missing, or they do not match;
    /// there is no usable authority.
    pub(crate) fn read(files: &TrustFiles) -> Result<Self, IdentityError> {
        let provider = Arc::new(provider());
        let mut validity = Vec::new();
        let verifier = read_verifier(files, &provider, &mut validity)?;
        let pair = match files.pair == Pair::default() {
            true => None,
            false => Some(read_pair(&files.pair, &provider, &mut validity)?),
        };
        let checked = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(failed)?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match pair {
            Some(pair) => checked.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(pair))),
            None => checked.with_no_client_auth(),
        };
        config.alpn_protocols = vec![HTTP_1_1.to_vec()];
        config.resumption = Resumption::in_memory_sessions(SESSIONS);
        validity::warn_of_ends(&validity);
        Ok(Self {
            config: Arc::new(config),
        })
    }
}

fn read_verifier(
    files: &TrustFiles,
    provider: &Arc<CryptoProvider>,
    validity: &mut Vec<Validity>,
) -> Result<Arc<dyn ServerCertVerifier>, IdentityError> {
    if files.skips_verification {
        log::warn!("TLS_VERIFY is 0: the server's certificate is not verified");
        let algorithms = provider.signature_verification_algorithms;
        return Ok(Arc::new(AnyCertificate(algorithms)));
    }
    let roots = match &*files.authorities {
        "" => system_authorities()?,
        file => Arc::new(read_authorities(file, validity)?),
    };
    let verifier = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(provider));
    match verifier.build() {
        Ok(verifier) => Ok(verifier),
        Err(error) => Err(IdentityError(error.to_string())),
    }
}

/// The DNS name or address for which a server's certificate must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerName(pub(super) pki_types::ServerName<'static>);

impl ServerName {
    /// Parses a DNS name in ASCII, or an IP address without brackets.
    pub(crate) fn parse(host: &str) -> Option<Self> {
        let name = pki_types::ServerName::try_from(host.to_owned());
        name.ok().map(Self)
    }

    /// Returns what is asked for in the handshake: a DNS name (RFC 6066 section 3).
    pub(super) fn asked(&self) -> Option<&str> {
        match &self.0 {
            pki_types::ServerName::DnsName(name) => Some(name.as_ref()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_name_is_a_dns_name_or_an_address() {
        let asked = |host| ServerName::parse(host).map(|name| name.asked().map(str::to_owned));
        let name = |text: &str| Some(Some(text.to_owned()));
        assert_eq!(asked("a.Example"), name("a.Example"));
        assert_eq!(asked("localhost"), name("localhost"));
        assert_eq!(asked("a_b.example."), name("a_b.example"));
        assert_eq!(asked("127.0.0.1"), Some(None));
        assert_eq!(asked("::1"), Some(None));
        for host in ["", "[::1]", "a b", "a..b", "\u{fc}.example", "fe80::1%eth0"] {
            assert_eq!(asked(host), None, "{host}");
        }
    }
}
