//! How long what a server was given is valid.

use super::x509::{Certificate, RevocationList, Time};

/// So many days before its end a certificate is warned of.
const DAYS_AHEAD: u64 = 14;

const DAY_SECONDS: u64 = 24 * 60 * 60;

/// What has an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A certificate that is presented to peers.
    Presented,
    /// The certificate of an authority that signs those of peers.
    Authority,
    RevocationList,
}

/// The time in which one of the files' parts is valid.
#[derive(Debug)]
pub(super) struct Validity {
    kind: Kind,
    /// For the log.
    name: String,
    /// None: it does not say, or in a form that RFC 5280 forbids.
    start: Option<Time>,
    end: Option<Time>,
}

impl Validity {
    pub(super) fn of_certificate(kind: Kind, name: String, certificate: &Certificate<'_>) -> Self {
        Self {
            kind,
            name,
            start: certificate.not_before,
            end: certificate.not_after,
        }
    }

    pub(super) fn of_revocation_list(name: String, list: &RevocationList) -> Self {
        Self {
            kind: Kind::RevocationList,
            name,
            start: None,
            end: list.next_update,
        }
    }

    /// Returns when this ends, if it is a certificate that is presented to peers.
    pub(super) fn end_of_presented(&self) -> Option<Time> {
        self.end.filter(|_| self.kind == Kind::Presented)
    }

    /// Returns what is to be said of it at this time.
    pub(super) fn warning(&self, now: Time) -> Option<String> {
        let Self { kind, name, .. } = self;
        if let Some(start) = self.start.filter(|&start| now < start) {
            return Some(format!("{name} is not valid before {start}"));
        }
        let end = self.end?;
        let left = end.unix_seconds().saturating_sub(now.unix_seconds());
        match kind {
            Kind::RevocationList if end < now => Some(format!(
                "{name} expired on {end}: clients with a certificate of its issuer are refused"
            )),
            // A new one comes when it is due, and not before.
            Kind::RevocationList => None,
            _ if end < now => Some(format!("{name} expired on {end}")),
            _ if left <= DAYS_AHEAD * DAY_SECONDS => Some(format!("{name} expires on {end}")),
            _ => None,
        }
    }
}

/// Logs what is not valid, or soon will not be.
pub(super) fn warn_of_ends(all: &[Validity]) {
    let now = Time::now();
    for warning in all.iter().filter_map(|one| one.warning(now)) {
        log::warn!("{warning}");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(days: u64) -> Time {
        Time::from_unix(Duration::from_secs(days * DAY_SECONDS))
    }

    fn warning(kind: Kind, now: Time) -> Option<String> {
        let validity = Validity {
            kind,
            name: "it".into(),
            start: Some(at(100)),
            end: Some(at(200)),
        };
        validity.warning(now)
    }

    #[test]
    fn a_certificate_is_warned_of_from_two_weeks_before_its_end() {
        for kind in [Kind::Presented, Kind::Authority] {
            let warning = |now| warning(kind, now);
            let said = |text: &str| Some(text.to_owned());
            assert_eq!(warning(at(99)), said("it is not valid before 1970-04-11"));
            assert_eq!(warning(at(100)), None);
            assert_eq!(warning(at(185)), None);
            assert_eq!(warning(at(186)), said("it expires on 1970-07-20"));
            assert_eq!(warning(at(200)), said("it expires on 1970-07-20"));
            assert_eq!(warning(at(201)), said("it expired on 1970-07-20"));
        }
    }

    #[test]
    fn a_revocation_list_is_warned_of_after_its_end() {
        assert_eq!(warning(Kind::RevocationList, at(200)), None);
        let said = warning(Kind::RevocationList, at(201)).unwrap();
        assert!(said.starts_with("it expired on 1970-07-20: "), "{said}");
    }

    #[test]
    fn what_has_no_end_is_not_warned_of() {
        let list = RevocationList {
            version: 2,
            next_update: None,
        };
        let endless = Validity::of_revocation_list("it".into(), &list);
        assert_eq!(endless.warning(at(1 << 20)), None);
        assert_eq!(endless.end_of_presented(), None);
    }
}
