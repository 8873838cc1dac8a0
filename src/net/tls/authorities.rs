//! The authorities whose certificates are trusted: those of a file, or the system's.

use std::sync::Arc;

use once_cell::sync::OnceCell;
use rustls::RootCertStore;
use rustls_native_certs::CertificateResult;

use super::IdentityError;
use super::pem::{PemFile, wrong};
use super::validity::{Kind, Validity};
use super::x509::Certificate;

/// Reads the authorities of a file.
pub(super) fn read_authorities(
    file: &str,
    validity: &mut Vec<Validity>,
) -> Result<RootCertStore, IdentityError> {
    let mut roots = RootCertStore::empty();
    for (index, der) in PemFile::read(file)?.certificates()?.into_iter().enumerate() {
        if let Some(certificate) = Certificate::parse(&der) {
            let name = format!("certificate {} in {file}", index + 1);
            validity.push(Validity::of_certificate(
                Kind::Authority,
                name,
                &certificate,
            ));
        }
        roots.add(der).map_err(|error| {
            wrong(
                file,
                format_args!("contains an invalid certificate: {error}"),
            )
        })?;
    }
    Ok(roots)
}

/// Returns the system's authorities: of the files that SSL_CERT_FILE and SSL_CERT_DIR name, or of where the
/// system has them. They are read once; reading takes milliseconds.
pub(super) fn system_authorities() -> Result<Arc<RootCertStore>, IdentityError> {
    static SYSTEM: OnceCell<Arc<RootCertStore>> = OnceCell::new();

    let read = || usable(rustls_native_certs::load_native_certs()).map(Arc::new);
    SYSTEM.get_or_try_init(read).cloned()
}

/// Returns those that can be used: among many some are older than the rules.
fn usable(found: CertificateResult) -> Result<RootCertStore, IdentityError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = match found.errors.first() {
            Some(error) => error.to_string(),
            None => "none was found, and the package ca-certificates may be missing".to_owned(),
        };
        return Err(IdentityError(format!(
            "the system's certificate authorities cannot be used: {why}; TLS_CA names others"
        )));
    }
    for error in &found.errors {
        log::warn!("some of the system's certificate authorities are left out: {error}");
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_without_authorities_is_told_so() {
        let error = usable(CertificateResult::default()).expect_err("none");
        assert!(
            error.0.contains("ca-certificates may be missing"),
            "{error}"
        );
        assert!(error.0.ends_with("TLS_CA names others"), "{error}");
    }
}
