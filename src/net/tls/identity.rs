//! What a server shows of itself: certificate, key, and whom it lets in.

use std::fmt;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{RootCertStore, ServerConfig};

use super::{IdentityError, IdentityFiles};

/// How HTTP/1.1 is called in ALPN (RFC 7301 section 6).
const HTTP_1_1: &[u8] = b"http/1.1";

/// Everything that a connection needs to begin.
#[derive(Clone, Debug)]
pub struct Identity(pub(super) Arc<ServerConfig>);

impl Identity {
    /// Reads it from its files.
    ///
    /// Sessions can be resumed with the same identity alone: after a new reading each client shows
    /// its certificate again.
    ///
    /// # Errors
    ///
    /// A file is not named, cannot be read or holds something else; key and certificate are not a
    /// pair.
    pub fn read(files: &IdentityFiles) -> Result<Self, IdentityError> {
        let provider = Arc::new(ring::default_provider());
        let pair = read_pair(files, &provider)?;
        let versions = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(failed)?;
        let checked = if files.client_ca.is_empty() {
            versions.with_no_client_auth()
        } else {
            versions.with_client_cert_verifier(read_verifier(&files.client_ca, provider)?)
        };
        let mut config = checked.with_cert_resolver(Arc::new(SingleCertAndKey::from(pair)));
        config.alpn_protocols = vec![HTTP_1_1.to_vec()];
        config.ticketer = ring::Ticketer::new().map_err(failed)?;
        Ok(Self(Arc::new(config)))
    }
}

fn read_pair(
    files: &IdentityFiles,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, IdentityError> {
    let IdentityFiles {
        certificate, key, ..
    } = files;
    if certificate.is_empty() {
        return Err(IdentityError("a certificate is missing".to_owned()));
    }
    if key.is_empty() {
        return Err(IdentityError(format!("a key to {certificate} is missing")));
    }
    let chain = read_certificates(certificate)?;
    let secret = match PrivateKeyDer::from_pem_file(key) {
        Err(pem::Error::NoItemsFound) => {
            return Err(wrong(key, "holds no key that is not encrypted"));
        }
        answer => answer.map_err(|error| unreadable(key, error))?,
    };
    CertifiedKey::from_der(chain, secret, provider)
        .map_err(|error| wrong(key, format_args!("is no key to {certificate}: {error}")))
}

fn read_certificates(file: &str) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let certificates: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(file).and_then(Iterator::collect);
    match certificates {
        Ok(none) if none.is_empty() => Err(wrong(file, "holds no certificate")),
        Ok(all) => match all.iter().try_for_each(|one| check(one)) {
            Ok(()) => Ok(all),
            Err(error) => Err(wrong(
                file,
                format_args!("holds a broken certificate: {error}"),
            )),
        },
        Err(error) => Err(unreadable(file, error)),
    }
}

fn check(certificate: &CertificateDer<'_>) -> Result<(), rustls::Error> {
    ParsedCertificate::try_from(certificate).map(|_| ())
}

fn read_verifier(
    file: &str,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, IdentityError> {
    let mut roots = RootCertStore::empty();
    for certificate in read_certificates(file)? {
        roots
            .add(certificate)
            .map_err(|error| wrong(file, format_args!("is no authority: {error}")))?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|error| wrong(file, error))
}

fn unreadable(file: &str, error: pem::Error) -> IdentityError {
    match error {
        pem::Error::Io(error) => wrong(file, format_args!("cannot be read: {error}")),
        error => wrong(file, format_args!("is not PEM: {error}")),
    }
}

fn wrong(file: &str, what: impl fmt::Display) -> IdentityError {
    IdentityError(format!("{file} {what}"))
}

fn failed(error: rustls::Error) -> IdentityError {
    IdentityError(error.to_string())
}
