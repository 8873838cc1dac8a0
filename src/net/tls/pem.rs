//! PEM files (RFC 7468), and remedies for files that are not.

use std::fmt;
use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};

use super::IdentityError;
use crate::net::memory;

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";
const CERTIFICATE: &str = "CERTIFICATE";
const REVOCATION_LIST: &str = "X509 CRL";
/// PKCS#8, PKCS#1 and SEC1.
const KEYS: [&str; 3] = ["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"];

/// The content of a file, and its name for error messages.
pub(crate) struct PemFile<'a> {
    name: &'a str,
    content: Vec<u8>,
}

/// The text from a BEGIN line to its END line, both included.
struct Section<'a> {
    label: String,
    text: &'a [u8],
}

impl<'a> PemFile<'a> {
    /// # Errors
    ///
    /// It cannot be read, or cannot be PEM.
    pub(crate) fn read(name: &'a str) -> Result<Self, IdentityError> {
        let content = fs::read(name);
        let content = content.map_err(|error| wrong(name, format!("cannot be read: {error}")))?;
        match content[..] {
            [0xef, 0xbb, 0xbf, ..] => Err(wrong(
                name,
                "begins with a byte order mark, which PEM does not allow: save it as UTF-8 without one",
            )),
            [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Err(wrong(
                name,
                "is UTF-16, which PEM does not allow: save it as UTF-8 without a byte order mark",
            )),
            // A long SEQUENCE, as which DER has certificates, keys and PKCS#12.
            [0x30, 0x80..=0xff, ..] => Err(wrong(
                name,
                format_args!(
                    "is binary, not PEM: `openssl x509 -inform der -in {name} -out NEW` converts a certificate, \
                     `openssl pkey -inform der -in {name} -out NEW` a key, \
                     and `openssl pkcs12 -in {name} -nodes -out NEW` a PKCS#12 file with both"
                ),
            )),
            _ => Ok(Self { name, content }),
        }
    }

    /// Returns its certificates, at least one.
    pub(crate) fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
        let sections = self.sections()?;
        let certificates = sections
            .iter()
            .filter(|section| section.label == CERTIFICATE)
            .map(|section| self.decode(section))
            .collect::<Result<Vec<_>, _>>()?;
        match certificates.is_empty() {
            true => Err(self.lacks_certificate(sections.first())),
            false => Ok(certificates),
        }
    }

    /// Returns its revocation lists, at least one.
    pub(crate) fn revocation_lists(
        &self,
    ) -> Result<Vec<CertificateRevocationListDer<'static>>, IdentityError> {
        let sections = self.sections()?;
        let lists = sections
            .iter()
            .filter(|section| section.label == REVOCATION_LIST)
            .map(|section| self.decode(section))
            .collect::<Result<Vec<_>, _>>()?;
        match lists.is_empty() {
            true => Err(wrong(
                self.name,
                format_args!(
                    "contains no revocation list: no line {BEGIN}{REVOCATION_LIST}{DASHES}"
                ),
            )),
            false => Ok(lists),
        }
    }

    /// Returns the first of its keys.
    pub(crate) fn key(&self) -> Result<PrivateKeyDer<'static>, IdentityError> {
        let sections = self.sections()?;
        let key = sections
            .iter()
            .find(|section| KEYS.contains(&&*section.label));
        match key {
            Some(key) if !key.is_encrypted() => self.decode(key),
            Some(key) => Err(self.lacks_key(Some(key))),
            // The parameters of its curve may precede a key.
            None => Err(self.lacks_key(sections.last())),
        }
    }

    fn sections(&self) -> Result<Vec<Section<'_>>, IdentityError> {
        let mut sections = Vec::new();
        let mut rest = &self.content[..];
        while let Some(start) = find_line(rest, BEGIN.as_bytes()) {
            let from_begin = &rest[start..];
            let line = String::from_utf8_lossy(line(from_begin));
            let label = line
                .trim_ascii_end()
                .strip_prefix(BEGIN)
                .and_then(|line| line.strip_suffix(DASHES));
            let Some(label) = label else {
                let what = format!("is not PEM: {line} does not end with {DASHES}");
                return Err(wrong(self.name, what));
            };
            let end = format!("{END}{label}{DASHES}");
            let Some(end_at) = find_line(from_begin, end.as_bytes()) else {
                let what = format!("is not PEM, or is truncated: the line {end} is missing");
                return Err(wrong(self.name, what));
            };
            let (text, behind) = from_begin.split_at(end_at + end.len());
            sections.push(Section {
                label: label.to_owned(),
                text,
            });
            rest = behind;
        }
        Ok(sections)
    }

    fn decode<T: PemObject>(&self, section: &Section<'_>) -> Result<T, IdentityError> {
        let label = &section.label;
        T::from_pem_slice(section.text).map_err(|_| {
            wrong(
                self.name,
                format_args!("is not PEM: the content after {BEGIN}{label}{DASHES} is not base64"),
            )
        })
    }

    /// Returns the error with a remedy, given that the file has `found` instead.
    fn lacks_certificate(&self, found: Option<&Section<'_>>) -> IdentityError {
        let name = self.name;
        let what = match found.map_or("", |section| &section.label) {
            "" => format!("and no line {BEGIN}{CERTIFICATE}{DASHES}"),
            label if label.ends_with("PRIVATE KEY") => {
                "but a private key: certificate and key may be swapped".to_owned()
            }
            label if label.ends_with("CERTIFICATE REQUEST") => {
                "but a certificate request: submit it to a certificate authority to obtain the certificate".to_owned()
            }
            label @ ("X509 CERTIFICATE" | "TRUSTED CERTIFICATE") => {
                format!("but a {label}: `openssl x509 -in {name} -out NEW` converts it")
            }
            "PKCS7" => format!(
                "but PKCS#7: `openssl pkcs7 -print_certs -in {name} -out NEW` converts it to PEM"
            ),
            label => format!("but a {label}"),
        };
        wrong(name, format_args!("contains no certificate, {what}"))
    }

    fn lacks_key(&self, found: Option<&Section<'_>>) -> IdentityError {
        let name = self.name;
        let what = match found.map_or("", |section| &section.label) {
            "" => format!("contains no private key, and no line {BEGIN}PRIVATE KEY{DASHES}"),
            _ if found.is_some_and(Section::is_encrypted) => format!(
                "is encrypted, and Portal cannot ask for the password: \
                 `openssl pkey -in {name} -out NEW` decrypts it"
            ),
            "OPENSSH PRIVATE KEY" => format!(
                "contains no private key for TLS, but one for SSH: `ssh-keygen -p -m PEM -f {name}` converts it in place"
            ),
            "PUBLIC KEY" => "contains no private key, but a public key".to_owned(),
            CERTIFICATE => {
                "contains no private key, but a certificate: certificate and key may be swapped"
                    .to_owned()
            }
            label if label.ends_with("PRIVATE KEY") => return unsupported_key(name),
            label => format!("contains no private key, but {label}"),
        };
        wrong(name, what)
    }
}

impl Section<'_> {
    /// Whether it is encrypted: by the label in PKCS#8, by a header in older forms (RFC 1421 section
    /// 4.6.1.1).
    fn is_encrypted(&self) -> bool {
        let header = || {
            let start = find_line(self.text, b"Proc-Type:")?;
            Some(line(&self.text[start..]).ends_with(b"ENCRYPTED"))
        };
        self.label == "ENCRYPTED PRIVATE KEY" || header().unwrap_or(false)
    }
}

/// The error for a key that is broken or of an unsupported kind.
pub(crate) fn unsupported_key(name: &str) -> IdentityError {
    wrong(
        name,
        "contains a private key that is invalid or of an unsupported type. Supported are RSA with 2048 to 8192 bits, \
         EC with the curve P-256, P-384 or P-521, and Ed25519: \
         `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out NEW` makes a key",
    )
}

/// Writes a certificate as PEM; None when memory is refused.
pub(crate) fn encode_certificate(der: &[u8]) -> Option<Vec<u8>> {
    /// What becomes a line of 64 characters.
    const LINE: usize = 48;

    let lines = der.chunks(LINE);
    let markers = BEGIN.len() + END.len() + 2 * (CERTIFICATE.len() + DASHES.len() + 1);
    let mut text = Vec::new();
    // With room for a NUL.
    memory::try_reserve_exact(&mut text, markers + 65 * lines.len() + 1).ok()?;
    text.extend(
        [BEGIN, CERTIFICATE, DASHES, "\n"]
            .map(str::as_bytes)
            .concat(),
    );
    for line in lines {
        let mut encoded = [0; 64];
        let length = STANDARD.encode_slice(line, &mut encoded).ok()?;
        text.extend_from_slice(&encoded[..length]);
        text.push(b'\n');
    }
    text.extend([END, CERTIFICATE, DASHES, "\n"].map(str::as_bytes).concat());
    Some(text)
}

pub(crate) fn wrong(name: &str, what: impl fmt::Display) -> IdentityError {
    IdentityError(format!("{name} {what}"))
}

/// Returns the offset of the first line with this beginning.
fn find_line(text: &[u8], beginning: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let rest = text.get(at..)?;
        if rest.starts_with(beginning) {
            return Some(at);
        }
        at += line(rest).len() + 1;
    }
}

/// Returns the first line, without its end.
fn line(text: &[u8]) -> &[u8] {
    let end = text.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
    &text[..end.unwrap_or(text.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n";
    const KEY: &str = "-----BEGIN EC PRIVATE KEY-----\nBAUG\n-----END EC PRIVATE KEY-----\n";
    const ENCRYPTED: &str = "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\
        DEK-Info: AES-128-CBC,00\n\nBAUG\n-----END EC PRIVATE KEY-----\n";

    fn file(text: impl Into<Vec<u8>>) -> PemFile<'static> {
        PemFile {
            name: "file",
            content: text.into(),
        }
    }

    #[test]
    fn lines_end_in_every_manner_and_text_may_stand_between_them() {
        for end in ["\n", "\r\n", "\r", " \n", "\n\n"] {
            let text = format!("issuer: Gr\u{fc}n\n{ONE}subject: -----BEGIN X\n{KEY}{ONE}the end");
            let text = text.replace('\n', end);
            let latin_1: Vec<u8> = text.chars().map(|letter| letter as u8).collect();
            for content in [text.into_bytes(), latin_1] {
                let file = file(content);
                let certificates = file.certificates().expect("two");
                assert_eq!(certificates.len(), 2, "{end:?}");
                assert!(certificates.iter().all(|one| one[..] == [1, 2, 3]));
                assert_eq!(file.key().expect("one").secret_der(), [4, 5, 6]);
            }
        }
        let without_end = ONE.trim_end();
        assert!(file(without_end).certificates().is_ok());
    }

    #[test]
    fn sections_of_other_kinds_are_skipped() {
        let parameters = "-----BEGIN EC PARAMETERS-----\n!\n-----END EC PARAMETERS-----\n";
        assert!(file(format!("{parameters}{KEY}")).key().is_ok());
        assert!(file(format!("{ENCRYPTED}{ONE}")).certificates().is_ok());
        let result = file(format!("{ONE}{ENCRYPTED}")).key();
        assert!(result.expect_err("encrypted").0.contains("is encrypted"));
    }

    #[test]
    fn an_encoded_certificate_is_read_as_the_same() {
        for length in [0, 1, 2, 3, 47, 48, 49, 96, 1000] {
            let der: Vec<u8> = (0..length).map(|byte| byte as u8).collect();
            let text = encode_certificate(&der).unwrap();
            assert!(text.capacity() > text.len());
            assert!(
                text.split(|&byte| byte == b'\n')
                    .all(|line| line.len() <= 64)
            );
            let read = file(text).certificates().unwrap();
            assert_eq!(read[0][..], der);
        }
    }

    #[test]
    fn a_file_without_a_revocation_list_is_told_so() {
        let list = ONE.replace("CERTIFICATE", "X509 CRL");
        assert_eq!(
            file(format!("{ONE}{list}{list}"))
                .revocation_lists()
                .unwrap()
                .len(),
            2
        );
        let error = file(ONE).revocation_lists().expect_err("none");
        assert!(error.0.contains("contains no revocation list"), "{error}");
    }

    #[test]
    fn a_file_cut_anywhere_holds_less_or_says_that_it_is_cut() {
        let whole = format!("{ONE}{ONE}");
        let marker = whole.trim_end().len();
        for length in 0..marker {
            match file(&whole[..length]).certificates() {
                Ok(found) => assert_eq!(found.len(), 1, "cut at {length}"),
                Err(error) => assert!(error.0.starts_with("file "), "{error}"),
            }
        }
    }
}
