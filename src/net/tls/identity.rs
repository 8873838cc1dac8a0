//! The identity of a server: its certificates and keys, and the authorities of client certificates.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;

use super::certificates::Certificates;
use super::clients::read_verifier;
use super::pem::{PemFile, unsupported_key, wrong};
use super::provider::{new_ticketer, provider};
use super::validity::{self, Kind, Validity};
use super::x509::{Certificate, Time};
use super::{HTTP_1_1, IdentityError, IdentityFiles, MAKE_VERSION_3, Pair};

/// The configuration of TLS handshakes.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(super) config: Arc<ServerConfig>,
    validity: Arc<[Validity]>,
}

impl Identity {
    /// Reads an identity from its files. `earlier` was read from the same files before.
    ///
    /// Earlier sessions can be resumed, unless clients present certificates: only a full handshake verifies
    /// them again.
    ///
    /// # Errors
    ///
    /// A file is not named, cannot be read or has other content; key and certificate do not match.
    pub(crate) fn read(
        files: &IdentityFiles,
        earlier: Option<&Self>,
    ) -> Result<Self, IdentityError> {
        let provider = Arc::new(provider());
        let mut validity = Vec::new();
        let certificates = read_certificates(files, &provider, &mut validity)?;
        let versions = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(failed)?;
        let checks_clients = !files.client_ca.is_empty();
        if !checks_clients && !files.client_crl.is_empty() {
            let what = "is of no use without certificate authorities for clients";
            return Err(wrong(&files.client_crl, what));
        }
        let checked = match checks_clients {
            true => {
                versions.with_client_cert_verifier(read_verifier(files, provider, &mut validity)?)
            }
            false => versions.with_no_client_auth(),
        };
        let mut config = checked.with_cert_resolver(Arc::new(certificates));
        config.alpn_protocols = vec![HTTP_1_1.to_vec()];
        match earlier.filter(|_| !checks_clients) {
            Some(earlier) => {
                config.ticketer = Arc::clone(&earlier.config.ticketer);
                config.session_storage = Arc::clone(&earlier.config.session_storage);
            }
            None => config.ticketer = new_ticketer().map_err(failed)?,
        }
        let identity = Self {
            config: Arc::new(config),
            validity: validity.into(),
        };
        identity.warn_of_ends();
        Ok(identity)
    }

    /// Returns when the first of the server's certificates ends, in seconds since 1970.
    pub(crate) fn expires(&self) -> Option<u64> {
        let ends = self.validity.iter().filter_map(Validity::end_of_presented);
        ends.min().map(Time::unix_seconds)
    }

    /// Logs what is not valid, or soon will not be.
    pub(crate) fn warn_of_ends(&self) {
        validity::warn_of_ends(&self.validity);
    }
}

fn read_certificates(
    files: &IdentityFiles,
    provider: &CryptoProvider,
    validity: &mut Vec<Validity>,
) -> Result<Certificates, IdentityError> {
    let default = read_pair(&files.pair, provider, validity)?;
    let default_names = dns_names(&default);
    let mut certificates = Certificates::new(default);
    for files in &files.more {
        let pair = read_pair(files, provider, validity)?;
        let names = dns_names(&pair);
        if names.is_empty() {
            return Err(wrong(
                &files.certificate,
                "has no name that clients could ask for: its subjectAltName needs a DNS name",
            ));
        }
        certificates.add(names, pair);
    }
    certificates.name_default(default_names);
    Ok(certificates)
}

fn dns_names(pair: &CertifiedKey) -> Vec<String> {
    let certificate = pair.cert.first().and_then(|der| Certificate::parse(der));
    certificate.map_or_else(Vec::new, |certificate| certificate.dns_names())
}

/// Reads a certificate with its chain, and its key.
pub(super) fn read_pair(
    files: &Pair,
    provider: &CryptoProvider,
    validity: &mut Vec<Validity>,
) -> Result<CertifiedKey, IdentityError> {
    let Pair { certificate, key } = files;
    if certificate.is_empty() {
        return Err(IdentityError("the certificate is missing".to_owned()));
    }
    if key.is_empty() {
        return Err(IdentityError(format!(
            "the private key of {certificate} is missing"
        )));
    }
    let chain = read_chain(certificate, validity)?;
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

/// Reads a certificate chain. Peers verify it; what they are likely to reject causes a warning.
fn read_chain(
    file: &str,
    validity: &mut Vec<Validity>,
) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let chain = PemFile::read(file)?.certificates()?;
    for (index, der) in chain.iter().enumerate() {
        let Some(certificate) = Certificate::parse(der) else {
            return Err(wrong(file, "contains an invalid certificate: not X.509"));
        };
        let which = format!("certificate {} in {file}", index + 1);
        if certificate.version < 3 {
            log::warn!(
                "{which} is of X.509 version {}, which many peers refuse: {MAKE_VERSION_3}",
                certificate.version
            );
        } else if let Err(error) = ParsedCertificate::try_from(der) {
            log::warn!("{which} may be refused by peers: {error}");
        }
        validity.push(Validity::of_certificate(
            Kind::Presented,
            which,
            &certificate,
        ));
    }
    Ok(chain)
}

pub(super) fn failed(error: rustls::Error) -> IdentityError {
    IdentityError(error.to_string())
}
