//! The identity of a server: its certificate and key, and the authorities of client certificates.

use std::fmt;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::CertificateDer;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{RootCertStore, ServerConfig};

use super::pem::{PemFile, unsupported_key, wrong};
use super::x509::{Certificate, Time};
use super::{IdentityError, IdentityFiles, MAKE_VERSION_3};

/// The name of HTTP/1.1 in ALPN (RFC 7301 section 6).
const HTTP_1_1: &[u8] = b"http/1.1";

/// The configuration of TLS handshakes.
#[derive(Clone, Debug)]
pub(crate) struct Identity(pub(super) Arc<ServerConfig>);

impl Identity {
    /// Reads an identity from its files.
    ///
    /// Sessions can be resumed only with the same identity: after the files were read again, each client
    /// presents its certificate again.
    ///
    /// # Errors
    ///
    /// A file is not named, cannot be read or has other content; key and certificate do not match.
    pub(crate) fn read(files: &IdentityFiles) -> Result<Self, IdentityError> {
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
        return Err(IdentityError("the certificate is missing".to_owned()));
    }
    if key.is_empty() {
        return Err(IdentityError(format!(
            "the private key of {certificate} is missing"
        )));
    }
    let chain = read_chain(certificate)?;
    let secret = PemFile::read(key)?.key()?;
    let loaded = provider.key_provider.load_private_key(secret);
    let pair = CertifiedKey::new(chain, loaded.map_err(|_| unsupported_key(key))?);
    match is_pair(&pair) {
        true => Ok(pair),
        false => Err(wrong(
            key,
            format_args!("is not the private key of {certificate}"),
        )),
    }
}

/// Whether the key belongs to the first certificate. A key that does not reveal its public half is accepted.
fn is_pair(pair: &CertifiedKey) -> bool {
    let certificate = pair
        .cert
        .first()
        .and_then(|first| Certificate::parse(first));
    match (certificate, pair.key.public_key()) {
        (Some(certificate), Some(of_key)) => certificate.public_key == &of_key[..],
        (certificate, _) => certificate.is_some(),
    }
}

/// Reads the certificate chain. Clients verify it; what they are likely to reject causes a warning.
fn read_chain(file: &str) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let chain = PemFile::read(file)?.certificates()?;
    for (index, der) in chain.iter().enumerate() {
        let Some(certificate) = Certificate::parse(der) else {
            return Err(wrong(file, "contains an invalid certificate: not X.509"));
        };
        let which = format!("certificate {} in {file}", index + 1);
        warn_of_time(&which, &certificate);
        if certificate.version < 3 {
            log::warn!(
                "{which} is of X.509 version {}, which many clients refuse: {MAKE_VERSION_3}",
                certificate.version
            );
        } else if let Err(error) = ParsedCertificate::try_from(der) {
            log::warn!("{which} may be refused by clients: {error}");
        }
    }
    Ok(chain)
}

fn warn_of_time(which: impl fmt::Display, certificate: &Certificate<'_>) {
    let now = Time::now();
    if let Some(end) = certificate.not_after.filter(|&end| end < now) {
        log::warn!("{which} expired on {end}");
    }
    if let Some(start) = certificate.not_before.filter(|&start| now < start) {
        log::warn!("{which} is not valid before {start}");
    }
}

fn read_verifier(
    file: &str,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, IdentityError> {
    let mut roots = RootCertStore::empty();
    for (index, der) in PemFile::read(file)?.certificates()?.into_iter().enumerate() {
        if let Some(certificate) = Certificate::parse(&der) {
            warn_of_time(
                format_args!("certificate {} in {file}", index + 1),
                &certificate,
            );
        }
        roots.add(der).map_err(|error| {
            wrong(
                file,
                format_args!("contains an invalid certificate: {error}"),
            )
        })?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|error| wrong(file, error))
}

fn failed(error: rustls::Error) -> IdentityError {
    IdentityError(error.to_string())
}
