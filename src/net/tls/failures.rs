//! Why TLS with a peer failed, in words.

use std::io;
use std::time::Duration;

use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, Error, PeerIncompatible};

use super::MAKE_VERSION_3;
use super::x509::Time;

/// So many names of a certificate are listed at most.
const MAX_NAMES: usize = 8;

/// Maximum characters of a listed name: what a DNS name may have.
const MAX_NAME_CHARS: usize = 253;

/// The types of a record that begins a server's answer (RFC 8446 section 5.1).
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;

const TOO_OLD: &str = "the server supports neither TLS 1.2 nor TLS 1.3";

/// Describes why a server cannot go on with a client.
pub(super) fn of_client(error: Error) -> io::Error {
    if is_old_certificate(&error) {
        return invalid(format!(
            "its certificate is of X.509 version 1 or 2, which is not sent: {MAKE_VERSION_3}"
        ));
    }
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// Describes why a client cannot go on with a server.
pub(super) fn of_server(error: &Error) -> io::Error {
    invalid(match error {
        Error::InvalidCertificate(_) if is_old_certificate(error) => format!(
            "the server's certificate is of X.509 version 1 or 2, which is not accepted: {MAKE_VERSION_3}"
        ),
        Error::InvalidCertificate(why) => unacceptable(why),
        Error::NoCertificatesPresented => "the server presented no certificate".to_owned(),
        Error::AlertReceived(alert) => refusal(*alert),
        Error::PeerIncompatible(PeerIncompatible::ServerDoesNotSupportTls12Or13) => {
            TOO_OLD.to_owned()
        }
        Error::PeerIncompatible(why) => format!("the server's TLS is incompatible: {why:?}"),
        error => format!("the server violated TLS: {error}"),
    })
}

/// Describes an end of stream during the handshake of a client. `begun`: the server has answered.
pub(super) fn early_end(begun: bool) -> io::Error {
    let what = match begun {
        true => "the server closed the connection during the TLS handshake",
        false => {
            "the server closed the connection without an answer to the TLS handshake; it may not speak TLS"
        }
    };
    invalid(what.to_owned())
}

/// Returns what is wrong with the first bytes that a server sends, if they are not of TLS.
pub(super) fn of_first_bytes(first: &[u8]) -> Option<io::Error> {
    match first {
        [] | [ALERT | HANDSHAKE, ..] => None,
        _ if first.starts_with(b"HTTP/") => Some(invalid(
            "the server does not speak TLS: it answered with plain HTTP".to_owned(),
        )),
        _ => Some(invalid("the server does not speak TLS".to_owned())),
    }
}

fn invalid(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Why a server's certificate is not accepted.
fn unacceptable(why: &CertificateError) -> String {
    match why {
        CertificateError::ExpiredContext { time, not_after } => format!(
            "the server's certificate, or one of its issuers', expired on {} (UTC); the clock says {}",
            date(*not_after),
            date(*time)
        ),
        CertificateError::NotValidYetContext { time, not_before } => format!(
            "the server's certificate, or one of its issuers', is not valid until {} (UTC); the clock says {}",
            date(*not_before),
            date(*time)
        ),
        CertificateError::NotValidForNameContext {
            expected,
            presented,
        } => other_names(&expected.to_str(), presented),
        CertificateError::UnknownIssuer => {
            "the certificate's issuer is not one of the trusted authorities; TLS_CA names others"
                .to_owned()
        }
        CertificateError::Revoked => "the server's certificate is revoked".to_owned(),
        CertificateError::Expired => "the server's certificate ends before it begins".to_owned(),
        CertificateError::BadEncoding => "the server's certificate is malformed".to_owned(),
        CertificateError::BadSignature => {
            "the server's certificate or handshake is not signed by whom it names: an authority's name may be \
             that of a trusted one, and its key another"
                .to_owned()
        }
        CertificateError::InvalidPurposeContext { .. } => {
            "the server's certificate is not for servers (extendedKeyUsage)".to_owned()
        }
        CertificateError::Other(error) if error.to_string() == "CaUsedAsEndEntity" => {
            "the server's certificate is for an authority (CA:TRUE), and not for a server: `openssl req -x509` \
             makes one for a server with `-addext basicConstraints=critical,CA:FALSE`"
                .to_owned()
        }
        why => format!("the server's certificate is not acceptable: {why}"),
    }
}

/// Says for which names a certificate is, as none of them was expected.
fn other_names(expected: &str, presented: &[String]) -> String {
    let names: Vec<String> = presented
        .iter()
        .filter_map(|name| bare_name(name))
        .map(|name| {
            name.chars()
                .take(MAX_NAME_CHARS)
                .flat_map(char::escape_default)
                .collect()
        })
        .collect();
    if names.is_empty() {
        return format!(
            "the server's certificate is for no name (it has no subjectAltName), and so not for {expected}"
        );
    }
    let listed = names[..names.len().min(MAX_NAMES)].join(", ");
    let others = match names.len().saturating_sub(MAX_NAMES) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("the server's certificate is for {listed}{others}, not for {expected}")
}

/// Returns a name or address as the library presents it, without its kind; None for those of other kinds.
fn bare_name(presented: &str) -> Option<&str> {
    let inner = presented.strip_suffix(')')?;
    inner
        .strip_prefix("DnsName(")
        .or_else(|| inner.strip_prefix("IpAddress("))
        .map(|name| name.trim_matches('"'))
}

/// Says what a server's alert means (RFC 8446 section 6.2).
fn refusal(alert: AlertDescription) -> String {
    let meaning = match alert {
        AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity => {
            ": it supports none of the algorithms, or requires a client certificate"
        }
        AlertDescription::ProtocolVersion => ": it supports neither TLS 1.2 nor TLS 1.3",
        AlertDescription::UnrecognisedName => ": it does not know the name that was asked for",
        AlertDescription::CertificateRequired | AlertDescription::NoCertificate => {
            ": it requires a client certificate (TLS_CERTIFICATE and TLS_KEY)"
        }
        AlertDescription::UnknownCA => ": it does not trust the client certificate's issuer",
        AlertDescription::CertificateExpired => {
            ": the client certificate has expired, or is not valid yet"
        }
        AlertDescription::CertificateRevoked => ": the client certificate is revoked",
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateUnknown => {
            ": it does not accept the client certificate, or requires one"
        }
        AlertDescription::AccessDenied => ": it does not let this client in",
        AlertDescription::NoApplicationProtocol => ": it does not speak HTTP/1.1 (ALPN)",
        _ => "",
    };
    let number = u8::from(alert);
    format!("the server ended TLS with alert {number} ({alert:?}){meaning}")
}

/// The library identifies this error by its text alone, which a test checks.
fn is_old_certificate(error: &Error) -> bool {
    match error {
        Error::InvalidCertificate(CertificateError::Other(error)) => {
            error.to_string() == "UnsupportedCertVersion"
        }
        _ => false,
    }
}

fn date(time: UnixTime) -> Time {
    Time::from_unix(Duration::from_secs(time.as_secs()))
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::ServerName;

    use super::*;

    fn names(presented: &[&str]) -> String {
        let error = CertificateError::NotValidForNameContext {
            expected: ServerName::try_from("c.example").unwrap(),
            presented: presented.iter().map(|name| (*name).to_owned()).collect(),
        };
        of_server(&error.into()).to_string()
    }

    #[test]
    fn a_certificate_for_other_names_says_which() {
        assert_eq!(
            names(&[
                r#"DnsName("*.a.example")"#,
                "DirectoryName",
                "IpAddress(::1)"
            ]),
            "the server's certificate is for *.a.example, ::1, not for c.example"
        );
        assert_eq!(
            names(&["DirectoryName"]),
            "the server's certificate is for no name (it has no subjectAltName), and so not for c.example"
        );
        let hostile = format!("DnsName(\"\n{}\")", "x".repeat(1000));
        let said = names(&[&*hostile; 11]);
        assert!(said.len() < 10 * (MAX_NAME_CHARS + 2), "{said}");
        assert!(said.contains("for \\nxx") && said.contains("x and 3 more, not for c.example"));
    }

    #[test]
    fn a_certificate_that_is_not_valid_now_says_when() {
        let at = |days: u64| UnixTime::since_unix_epoch(Duration::from_secs(days * 24 * 60 * 60));
        let (time, not_after) = (at(200), at(100));
        let expired = CertificateError::ExpiredContext { time, not_after };
        let said = of_server(&expired.into()).to_string();
        assert!(said.contains("expired on 1970-04-11 (UTC); the clock says 1970-07-20"));
        let (time, not_before) = (at(100), at(200));
        let early = CertificateError::NotValidYetContext { time, not_before };
        let said = of_server(&early.into()).to_string();
        assert!(said.contains("until 1970-07-20 (UTC); the clock says 1970-04-11"));
    }

    #[test]
    fn an_alert_has_its_number_and_its_meaning() {
        for (alert, said) in [
            (
                AlertDescription::UnknownCA,
                "alert 48 (UnknownCA): it does not trust",
            ),
            (
                AlertDescription::CertificateRequired,
                "alert 116 (CertificateRequired): it requires a client",
            ),
            (AlertDescription::DecodeError, "alert 50 (DecodeError)"),
        ] {
            let error = of_server(&Error::AlertReceived(alert));
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            assert!(error.to_string().contains(said), "{error}");
        }
    }

    #[test]
    fn the_first_byte_tells_whether_a_server_speaks_tls() {
        assert!(of_first_bytes(&[]).is_none());
        assert!(of_first_bytes(&[HANDSHAKE, 3, 3]).is_none());
        assert!(of_first_bytes(&[ALERT]).is_none());
        let said = |first| of_first_bytes(first).expect("an error").to_string();
        assert_eq!(said(b"SSH-2.0-"), "the server does not speak TLS");
        assert!(said(b"HTTP/1.1 400 ").ends_with("it answered with plain HTTP"));
    }
}
