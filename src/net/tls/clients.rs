//! Whose certificates a server accepts.

use std::fmt;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateRevocationListDer;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};

use super::authorities::read_authorities;
use super::pem::{PemFile, wrong};
use super::validity::Validity;
use super::x509::RevocationList;
use super::{IdentityError, IdentityFiles};

/// What to do about a revocation list of the older version.
const MAKE_VERSION_2: &str = "`openssl ca -gencrl` makes version 2 where the section of the authority has a line \
    `crl_extensions = NAME`, and the section NAME a line `authorityKeyIdentifier = keyid`";

/// Reads the authorities, and the lists of what they have revoked.
///
/// With lists, each certificate between an authority and the client must be on none of them, and on the list
/// of its issuer there must be a current one: so it is in other servers, such as nginx.
pub(super) fn read_verifier(
    files: &IdentityFiles,
    provider: Arc<CryptoProvider>,
    validity: &mut Vec<Validity>,
) -> Result<Arc<dyn ClientCertVerifier>, IdentityError> {
    let file = &files.client_ca;
    let roots = read_authorities(file, validity)?;
    let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    if !files.client_crl.is_empty() {
        let lists = read_lists(&files.client_crl, validity)?;
        builder = builder.with_crls(lists).enforce_revocation_expiration();
    }
    builder.build().map_err(|error| match error {
        VerifierBuilderError::InvalidCrl(error) => {
            unusable_list(&files.client_crl, format!("{error:?}"))
        }
        error => wrong(file, error),
    })
}

fn read_lists(
    file: &str,
    validity: &mut Vec<Validity>,
) -> Result<Vec<CertificateRevocationListDer<'static>>, IdentityError> {
    let lists = PemFile::read(file)?.revocation_lists()?;
    for (index, der) in lists.iter().enumerate() {
        let Some(list) = RevocationList::parse(der) else {
            return Err(unusable_list(file, "not X.509"));
        };
        if list.version < 2 {
            let what = format!("it is of version 1, and not 2: {MAKE_VERSION_2}");
            return Err(unusable_list(file, what));
        }
        let name = format!("revocation list {} in {file}", index + 1);
        validity.push(Validity::of_revocation_list(name, &list));
    }
    Ok(lists)
}

fn unusable_list(file: &str, why: impl fmt::Display) -> IdentityError {
    wrong(
        file,
        format_args!("contains an unusable revocation list: {why}"),
    )
}
