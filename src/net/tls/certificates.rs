//! The certificates of a server, of which one is chosen by the name that the client asks for (SNI, RFC 6066
//! section 3).

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

thread_local! {
    /// The name that the client has asked for whose hello was read last.
    static ASKED: Cell<Option<Box<str>>> = const { Cell::new(None) };
}

/// Takes the name that was asked for in the hello that the current thread has read last.
///
/// The library calls [`Certificates`] while it reads a hello, and tells the name nowhere else.
pub(super) fn take_asked_name() -> Option<Box<str>> {
    ASKED.take()
}

/// Certificates with their keys, by name.
#[derive(Debug)]
pub(super) struct Certificates {
    /// For all other names.
    default: Arc<CertifiedKey>,
    exact: ByName,
    /// By what follows `*.`, which stands for one label.
    wildcard: ByName,
}

/// Several of one name are in order of preference.
type ByName = HashMap<String, Vec<Arc<CertifiedKey>>>;

impl Certificates {
    pub(super) fn new(default: CertifiedKey) -> Self {
        Self {
            default: Arc::new(default),
            exact: HashMap::new(),
            wildcard: HashMap::new(),
        }
    }

    /// Adds a certificate, behind those that have its names, too.
    pub(super) fn add(&mut self, names: Vec<String>, pair: CertifiedKey) {
        let pair = Arc::new(pair);
        for name in names {
            let group = match name.strip_prefix("*.") {
                Some(domain) => self.wildcard.entry(domain.to_owned()),
                None => self.exact.entry(name),
            };
            group.or_default().push(Arc::clone(&pair));
        }
    }

    /// Adds names for the certificate that is presented for all other names. So it is preferred for them to
    /// a wildcard.
    pub(super) fn name_default(&mut self, names: Vec<String>) {
        for name in names.into_iter().filter(|name| !name.starts_with("*.")) {
            let group = self.exact.entry(name).or_default();
            group.push(Arc::clone(&self.default));
        }
    }

    /// Returns the first usable certificate for this name, which is in lower case.
    fn choose(
        &self,
        name: Option<&str>,
        is_usable: impl Fn(&CertifiedKey) -> bool,
    ) -> &Arc<CertifiedKey> {
        let exact = name.and_then(|name| self.exact.get(name));
        let domain = name.and_then(|name| name.split_once('.'));
        let wildcard = domain.and_then(|(_, domain)| self.wildcard.get(domain));
        exact
            .into_iter()
            .chain(wildcard)
            .flatten()
            .find(|pair| is_usable(pair))
            .unwrap_or(&self.default)
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name();
        ASKED.set(name.map(Box::from));
        let schemes = hello.signature_schemes();
        let pair = self.choose(name, |pair| pair.key.choose_scheme(schemes).is_some());
        Some(Arc::clone(pair))
    }
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::CertificateDer;
    use rustls::sign::{Signer, SigningKey};
    use rustls::{SignatureAlgorithm, SignatureScheme};

    use super::*;

    #[derive(Debug)]
    struct NoKey;

    impl SigningKey for NoKey {
        fn choose_scheme(&self, _: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
            None
        }

        fn algorithm(&self) -> SignatureAlgorithm {
            SignatureAlgorithm::ED25519
        }
    }

    /// A pair that this number names.
    fn pair(number: u8) -> CertifiedKey {
        CertifiedKey::new(vec![CertificateDer::from(vec![number])], Arc::new(NoKey))
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn chosen(certificates: &Certificates, name: Option<&str>, usable: &[u8]) -> u8 {
        let number = |pair: &CertifiedKey| pair.cert[0][0];
        number(certificates.choose(name, |pair| usable.contains(&number(pair))))
    }

    #[test]
    fn a_name_chooses_its_certificate_and_a_wildcard_stands_for_one_label() {
        let mut certificates = Certificates::new(pair(0));
        certificates.add(names(&["a.example", "*.a.example"]), pair(1));
        certificates.add(names(&["b.example", "x.a.example"]), pair(2));
        certificates.name_default(names(&["d.a.example", "*.b.example"]));
        for (name, number) in [
            ("a.example", 1),
            ("y.a.example", 1),
            ("x.a.example", 2),
            ("b.example", 2),
            ("d.a.example", 0),
            ("z.y.a.example", 0),
            ("y.b.example", 0),
            (".a.example", 1),
            ("example", 0),
            ("", 0),
        ] {
            let all = [0, 1, 2];
            assert_eq!(chosen(&certificates, Some(name), &all), number, "{name}");
        }
        assert_eq!(chosen(&certificates, None, &[0, 1, 2]), 0);
    }

    #[test]
    fn of_several_with_one_name_the_first_that_the_client_understands_is_chosen() {
        let mut certificates = Certificates::new(pair(0));
        certificates.add(names(&["a.example"]), pair(1));
        certificates.add(names(&["a.example"]), pair(2));
        certificates.add(names(&["*.example"]), pair(3));
        for (usable, number) in [
            (&[0, 1, 2, 3][..], 1),
            (&[2, 3], 2),
            (&[3], 3),
            (&[0], 0),
            (&[], 0),
        ] {
            assert_eq!(chosen(&certificates, Some("a.example"), usable), number);
        }
    }
}
