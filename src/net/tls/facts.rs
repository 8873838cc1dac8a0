//! What the application may ask of a connection's encryption.

use std::cell::OnceCell;
use std::ffi::{CStr, CString};
use std::fmt;

use rustls::pki_types::CertificateDer;
use rustls::{CipherSuite, ProtocolVersion};

use super::TlsFact;
use super::pem;
use super::x509::Certificate;
use crate::net::memory;

/// The facts of one connection, and the texts of those that were asked for.
pub(crate) struct TlsFacts {
    version: ProtocolVersion,
    cipher: CipherSuite,
    server_name: Option<Box<str>>,
    /// DER of the certificate that the client has shown; empty when there is none.
    certificate: Vec<u8>,
    texts: [OnceCell<CString>; 5],
}

impl TlsFacts {
    /// None when memory is refused.
    pub(super) fn new(
        version: ProtocolVersion,
        cipher: CipherSuite,
        server_name: Option<Box<str>>,
        certificate: Option<&CertificateDer<'_>>,
    ) -> Option<Self> {
        Some(Self {
            version,
            cipher,
            server_name,
            certificate: memory::copy(certificate.map_or(&[], |certificate| &certificate[..]))
                .ok()?,
            texts: Default::default(),
        })
    }

    /// Returns one of them; empty when there is none, or memory is refused.
    pub(crate) fn get(&self, fact: TlsFact) -> &CStr {
        let text = &self.texts[fact as usize];
        if text.get().is_none() {
            let written = self
                .write(fact)
                .and_then(|written| CString::new(written).ok());
            let Some(written) = written else { return c"" };
            // It is empty, so it takes it.
            let _ = text.set(written);
        }
        text.get().map_or(c"", CString::as_c_str)
    }

    fn write(&self, fact: TlsFact) -> Option<Vec<u8>> {
        // Reading a certificate allocates what cannot be refused.
        if memory::is_short() {
            return None;
        }
        let mut text = Text(Vec::new());
        match fact {
            TlsFact::Version => text.push(match self.version {
                ProtocolVersion::TLSv1_2 => "TLSv1.2",
                ProtocolVersion::TLSv1_3 => "TLSv1.3",
                _ => return None,
            }),
            TlsFact::Cipher => {
                // The library has names of its own for those of TLS 1.3.
                let name = self.cipher.as_str()?;
                match name.strip_prefix("TLS13_") {
                    Some(rest) => text.push("TLS_").and_then(|()| text.push(rest)),
                    None => text.push(name),
                }
            }
            TlsFact::ServerName => text.push(self.server_name.as_deref()?),
            TlsFact::ClientCertificate if self.certificate.is_empty() => return None,
            TlsFact::ClientCertificate => return pem::encode_certificate(&self.certificate),
            TlsFact::ClientSubject => {
                Certificate::parse(&self.certificate)?.write_subject(&mut text)
            }
        }
        .ok()?;
        Some(text.0)
    }
}

impl fmt::Debug for TlsFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsFacts").finish_non_exhaustive()
    }
}

/// Text that grows fallibly, with room for a NUL.
struct Text(Vec<u8>);

impl Text {
    fn push(&mut self, text: &str) -> fmt::Result {
        memory::try_reserve(&mut self.0, text.len() + 1).map_err(|_| fmt::Error)?;
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

impl fmt::Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text)
    }
}
