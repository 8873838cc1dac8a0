//! The fields of certificates (RFC 5280 section 4.1) and of revocation lists (section 5.1) that are read
//! outside a handshake.
//!
//! Nothing is verified here: that is done by those to whom a certificate is presented.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use x509_cert::der::asn1::{AnyRef, GeneralizedTime, Ia5StringRef, UtcTime};
use x509_cert::der::oid::AssociatedOid;
use x509_cert::der::{
    self, DateTime, Decode, ErrorKind, Reader, SliceReader, Tag, TagMode, TagNumber, Tagged,
};
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::name::Name;

/// The tag of the extensions of a certificate.
const EXTENSIONS: Tag = Tag::ContextSpecific {
    constructed: true,
    number: TagNumber(3),
};

/// The tag of a dNSName (RFC 5280 section 4.2.1.6).
const DNS_NAME: Tag = Tag::ContextSpecific {
    constructed: false,
    number: TagNumber(2),
};

/// What matters of a certificate to a server that presents it, or to which it was presented.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Certificate<'a> {
    /// 1 to 3.
    pub version: u8,
    /// None: it is in a form that RFC 5280 forbids.
    pub not_before: Option<Time>,
    pub not_after: Option<Time>,
    /// SubjectPublicKeyInfo.
    pub public_key: &'a [u8],
    subject: &'a [u8],
    /// The SEQUENCE of extensions; empty when there are none.
    extensions: &'a [u8],
}

impl<'a> Certificate<'a> {
    /// Returns None if these bytes are not a certificate.
    pub(crate) fn parse(der: &'a [u8]) -> Option<Self> {
        let mut reader = SliceReader::new(der).ok()?;
        let certificate = reader.sequence(|parts| {
            let certificate = parts.sequence(Self::read_fields)?;
            skip_rest(parts)?;
            Ok::<_, der::Error>(certificate)
        });
        reader.finish().ok()?;
        certificate.ok()
    }

    fn read_fields<R: Reader<'a>>(fields: &mut R) -> der::Result<Self> {
        let version = fields.context_specific::<u8>(TagNumber(0), TagMode::Explicit)?;
        if version > Some(2) {
            return Err(ErrorKind::Failed.into());
        }
        skip(fields, Tag::Integer)?; // serial number
        skip(fields, Tag::Sequence)?; // algorithm of the signature
        skip(fields, Tag::Sequence)?; // issuer
        let (not_before, not_after) = fields
            .sequence(|times| Ok::<_, der::Error>((Time::read(times)?, Time::read(times)?)))?;
        let subject = fields.tlv_bytes()?;
        let public_key = fields.tlv_bytes()?;
        let mut extensions = &[][..];
        while !fields.is_finished() {
            let field: AnyRef<'a> = fields.decode()?;
            if field.tag() == EXTENSIONS {
                extensions = field.value();
            }
        }
        Ok(Self {
            version: version.unwrap_or(0) + 1,
            not_before,
            not_after,
            public_key,
            subject,
            extensions,
        })
    }

    /// Writes the subject as RFC 4514 does.
    ///
    /// # Errors
    ///
    /// It is malformed, or `out` takes no more.
    pub(crate) fn write_subject(&self, out: &mut impl fmt::Write) -> fmt::Result {
        let name = Name::from_der(self.subject).map_err(|_| fmt::Error)?;
        write!(out, "{name}")
    }

    /// Returns the dNSNames among its subjectAltNames, in lower case.
    pub(crate) fn dns_names(&self) -> Vec<String> {
        let mut names = Vec::new();
        // Those before a malformed one are kept.
        let _ = self.read_names(&mut names);
        names
    }

    fn read_names(&self, names: &mut Vec<String>) -> der::Result<()> {
        SliceReader::new(self.extensions)?.sequence(|extensions| {
            while !extensions.is_finished() {
                let extension: Extension = extensions.decode()?;
                if extension.extn_id == SubjectAltName::OID {
                    SliceReader::new(extension.extn_value.as_bytes())?.sequence(|reader| {
                        while !reader.is_finished() {
                            let name: AnyRef<'_> = reader.decode()?;
                            if name.tag() == DNS_NAME {
                                let name = Ia5StringRef::new(name.value())?;
                                names.push(name.as_str().to_ascii_lowercase());
                            }
                        }
                        Ok::<_, der::Error>(())
                    })?;
                }
            }
            Ok(())
        })
    }
}

/// What matters of a revocation list to a server that obeys it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RevocationList {
    /// 1 or 2.
    pub version: u8,
    /// When the next list is due; None: it does not say, or in a form that RFC 5280 forbids.
    pub next_update: Option<Time>,
}

impl RevocationList {
    /// Returns None if these bytes are not a revocation list.
    pub(crate) fn parse(der: &[u8]) -> Option<Self> {
        let mut reader = SliceReader::new(der).ok()?;
        let list = reader.sequence(|parts| {
            let list = parts.sequence(Self::read_fields)?;
            skip_rest(parts)?;
            Ok::<_, der::Error>(list)
        });
        list.ok()
    }

    fn read_fields<'a, R: Reader<'a>>(fields: &mut R) -> der::Result<Self> {
        let version = match Tag::peek(fields)? {
            Tag::Integer => fields.decode::<u8>()?,
            _ => 0,
        };
        skip(fields, Tag::Sequence)?; // algorithm of the signature
        skip(fields, Tag::Sequence)?; // issuer
        Time::read(fields)?; // of this list
        let next_update = match Tag::peek(fields) {
            Ok(Tag::UtcTime | Tag::GeneralizedTime) => Time::read(fields)?,
            _ => None,
        };
        skip_rest(fields)?;
        Ok(Self {
            version: version.saturating_add(1),
            next_update,
        })
    }
}

/// Skips the next element, which must have this tag.
fn skip<'a>(reader: &mut impl Reader<'a>, tag: Tag) -> der::Result<()> {
    let element: AnyRef<'a> = reader.decode()?;
    element.tag().assert_eq(tag).map(|_| ())
}

fn skip_rest<'a>(reader: &mut impl Reader<'a>) -> der::Result<()> {
    while !reader.is_finished() {
        reader.decode::<AnyRef<'a>>()?;
    }
    Ok(())
}

/// A time in UTC, in seconds. Later times are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Time(DateTime);

impl Time {
    /// Returns the system's current time.
    pub(crate) fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        Self::from_unix(since.unwrap_or_default())
    }

    /// Returns the seconds since 1970.
    pub(crate) fn unix_seconds(self) -> u64 {
        self.0.unix_duration().as_secs()
    }

    /// Returns the time so long after 1970, or the last that there is.
    pub(crate) fn from_unix(since: Duration) -> Self {
        Self(DateTime::from_unix_duration(since).unwrap_or(DateTime::INFINITY))
    }

    /// Reads UTCTime or GeneralizedTime (RFC 5280 section 4.1.2.5); None: in a form that is forbidden.
    fn read<'a>(reader: &mut impl Reader<'a>) -> der::Result<Option<Self>> {
        let time: AnyRef<'a> = reader.decode()?;
        let time = match time.tag() {
            Tag::UtcTime => time.decode_as::<UtcTime>().map(|time| time.to_date_time()),
            _ => time
                .decode_as::<GeneralizedTime>()
                .map(|time| time.to_date_time()),
        };
        Ok(time.ok().map(Self))
    }
}

/// Writes the date alone.
impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(time) = self;
        let (year, month, day) = (time.year(), time.month(), time.day());
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTEGER: u8 = 0x02;
    const OCTET_STRING: u8 = 0x04;
    const OBJECT_IDENTIFIER: u8 = 0x06;
    const UTF8_STRING: u8 = 0x0c;
    const UTC_TIME: u8 = 0x17;
    const GENERALIZED_TIME: u8 = 0x18;
    const SEQUENCE: u8 = 0x30;
    const SET: u8 = 0x31;
    const VERSION: u8 = 0xa0;
    const EXTENSION_LIST: u8 = 0xa3;

    fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
        let content = parts.concat();
        let length = content.len();
        let head = match length {
            0..0x80 => vec![tag, length as u8],
            0x80..0x100 => vec![tag, 0x81, length as u8],
            _ => vec![tag, 0x82, (length >> 8) as u8, length as u8],
        };
        [head, content].concat()
    }

    /// A certificate with this field for its version, this subject and these extensions.
    fn certificate_of(version: &[u8], subject: &[u8], extensions: &[u8]) -> Vec<u8> {
        let some = element(SEQUENCE, &[]);
        let validity = element(
            SEQUENCE,
            &[
                &element(UTC_TIME, &[b"491231235959Z"]),
                &element(GENERALIZED_TIME, &[b"20500101000000Z"]),
            ],
        );
        let fields = element(
            SEQUENCE,
            &[
                version,
                &element(INTEGER, &[&[7]]),
                &some,
                &some,
                &validity,
                subject,
                &element(SEQUENCE, &[b"key"]),
                extensions,
            ],
        );
        element(SEQUENCE, &[&fields, &some, &element(0x03, &[])])
    }

    /// A certificate with this field for its version and a subject of so many bytes.
    fn certificate(version: &[u8], subject: usize) -> Vec<u8> {
        certificate_of(version, &element(SEQUENCE, &[&vec![0; subject]]), &[])
    }

    /// A name with these attributes, each alone in its set.
    fn name(attributes: &[(&[u8], u8, &[u8])]) -> Vec<u8> {
        let sets: Vec<Vec<u8>> = attributes
            .iter()
            .map(|&(kind, tag, value)| {
                let kind = element(OBJECT_IDENTIFIER, &[kind]);
                element(
                    SET,
                    &[&element(SEQUENCE, &[&kind, &element(tag, &[value])])],
                )
            })
            .collect();
        element(SEQUENCE, &[&sets.concat()])
    }

    /// The field of extensions, with these alternative names of the subject between two others.
    fn alternative_names(names: &[&[u8]]) -> Vec<u8> {
        let other = element(
            SEQUENCE,
            &[
                &element(OBJECT_IDENTIFIER, &[&[0x55, 0x1d, 0x0f]]),
                &element(0x01, &[&[0xff]]),
                &element(OCTET_STRING, &[b"anything"]),
            ],
        );
        let names = element(SEQUENCE, &[&names.concat()]);
        let extension = element(
            SEQUENCE,
            &[
                &element(OBJECT_IDENTIFIER, &[&[0x55, 0x1d, 0x11]]),
                &element(OCTET_STRING, &[&names]),
            ],
        );
        let list = element(SEQUENCE, &[&other, &extension, &other]);
        element(EXTENSION_LIST, &[&list])
    }

    fn subject_of(der: &[u8]) -> Option<String> {
        let mut text = String::new();
        let certificate = Certificate::parse(der)?;
        certificate.write_subject(&mut text).ok().map(|()| text)
    }

    #[test]
    fn a_certificate_of_each_version_has_its_parts() {
        let field = |number| element(VERSION, &[&element(INTEGER, &[&[number]])]);
        for (version, field) in [(1, vec![]), (1, field(0)), (2, field(1)), (3, field(2))] {
            for name in [0, 100, 200, 5000] {
                let der = certificate(&field, name);
                let read = Certificate::parse(&der).expect("a certificate");
                assert_eq!(read.version, version);
                assert_eq!(read.public_key, element(SEQUENCE, &[b"key"]));
                assert_eq!(read.not_before.unwrap().to_string(), "2049-12-31");
                assert_eq!(read.not_after.unwrap().to_string(), "2050-01-01");
                assert!(read.not_before < read.not_after);
            }
        }
        assert_eq!(Certificate::parse(&certificate(&field(3), 0)), None);
    }

    #[test]
    fn what_is_cut_anywhere_or_goes_on_is_no_certificate() {
        let mut der = certificate(&[], 300);
        for length in 0..der.len() {
            assert_eq!(Certificate::parse(&der[..length]), None, "cut at {length}");
        }
        der.push(0);
        assert_eq!(Certificate::parse(&der), None);
    }

    #[test]
    fn lengths_that_reach_too_far_are_refused() {
        for head in [
            &[SEQUENCE, 0x80][..],
            &[SEQUENCE, 0x84, 0xff, 0xff, 0xff, 0xff],
            &[SEQUENCE, 0x85, 0, 0, 0, 0, 0],
            &[SEQUENCE, 0xff],
        ] {
            assert_eq!(Certificate::parse(head), None, "{head:x?}");
        }
    }

    #[test]
    fn times_are_read_as_they_are_written() {
        let read = |tag, content: &[u8]| {
            let der = element(tag, &[content]);
            let mut reader = SliceReader::new(&der).unwrap();
            Time::read(&mut reader).unwrap().map(Time::unix_seconds)
        };
        for (tag, text, time) in [
            (UTC_TIME, &b"700101000000Z"[..], Some(0)),
            (UTC_TIME, b"000229235959Z", Some(951_868_799)),
            (UTC_TIME, b"261126010000Z", Some(1_795_654_800)),
            (GENERALIZED_TIME, b"20380119031408Z", Some(1 << 31)),
            (GENERALIZED_TIME, b"21000301000000Z", Some(4_107_542_400)),
            (UTC_TIME, b"261126010000+0100", None),
            (UTC_TIME, b"2611260100Z", None),
            (UTC_TIME, b"2611260100xxZ", None),
            (GENERALIZED_TIME, b"261126010000Z", None),
            (INTEGER, b"261126010000Z", None),
            (UTC_TIME, b"Z", None),
        ] {
            assert_eq!(read(tag, text), time, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn a_subject_is_written_last_part_first_with_its_special_characters_escaped_rfc_4514() {
        const COUNTRY: &[u8] = &[0x55, 0x04, 0x06];
        const ORGANISATION: &[u8] = &[0x55, 0x04, 0x0a];
        const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
        let subject = name(&[
            (COUNTRY, 0x13, b"DE"),
            (ORGANISATION, UTF8_STRING, b"Gr\xc3\xbcn, S\xc3\xb6hne + Co"),
            (COMMON_NAME, UTF8_STRING, b" #a\0b "),
            (&[0x2a, 0x03], UTF8_STRING, b"x"),
        ]);
        let der = certificate_of(&[], &subject, &[]);
        let written = "1.2.3=#0c0178,CN=\\ #a\\00b\\ ,O=Gr\u{fc}n\\, S\u{f6}hne \\+ Co,C=DE";
        assert_eq!(subject_of(&der).as_deref(), Some(written));
        assert_eq!(subject_of(&certificate(&[], 0)), Some(String::new()));
        assert_eq!(subject_of(&certificate(&[], 9)), None);
    }

    #[test]
    fn names_for_servers_are_those_of_dns_alone() {
        let names = alternative_names(&[
            &element(0x81, &[b"a@example.org"]),
            &element(0x82, &[b"Example.ORG"]),
            &element(0x87, &[&[127, 0, 0, 1]]),
            &element(0x82, &[b"*.example.org"]),
        ]);
        let der = certificate_of(&[], &element(SEQUENCE, &[]), &names);
        let certificate = Certificate::parse(&der).unwrap();
        assert_eq!(certificate.dns_names(), ["example.org", "*.example.org"]);
        let names = alternative_names(&[&element(0x82, &[b"a"]), &element(0x82, &[b"\xff"])]);
        let der = certificate_of(&[], &element(SEQUENCE, &[]), &names);
        assert_eq!(Certificate::parse(&der).unwrap().dns_names(), ["a"]);
        let der = self::certificate(&[], 0);
        assert!(Certificate::parse(&der).unwrap().dns_names().is_empty());
    }

    #[test]
    fn a_revocation_list_tells_when_the_next_is_due() {
        let list = |version: &[u8], times: &[u8], rest: &[u8]| {
            let some = element(SEQUENCE, &[]);
            let fields = element(SEQUENCE, &[version, &some, &some, times, rest]);
            element(SEQUENCE, &[&fields, &some, &element(0x03, &[])])
        };
        let this = element(UTC_TIME, &[b"260101000000Z"]);
        let next = element(UTC_TIME, &[b"260201000000Z"]);
        let both = [&this[..], &next].concat();
        let (version, revoked) = (element(INTEGER, &[&[1]]), element(SEQUENCE, &[]));
        for (number, version) in [(2, &version[..]), (1, &[])] {
            for rest in [&revoked[..], &[]] {
                let whole = list(version, &both, rest);
                let read = RevocationList::parse(&whole).expect("a list");
                assert_eq!(read.version, number);
                assert_eq!(read.next_update.unwrap().to_string(), "2026-02-01");
                let endless = RevocationList::parse(&list(version, &this, rest));
                assert_eq!(endless.expect("a list").next_update, None);
                for length in 0..whole.len() {
                    let cut = RevocationList::parse(&whole[..length]);
                    assert_eq!(cut, None, "cut at {length}");
                }
            }
        }
    }

    #[test]
    fn no_forged_byte_makes_reading_fail_otherwise_than_by_an_error() {
        let subject = name(&[
            (&[0x55, 0x04, 0x03], UTF8_STRING, b"client"),
            (&[0x55, 0x04, 0x0a], 0x1e, b"\0a\0b"),
            (&[0x55, 0x04, 0x0a], 0x14, b"a\xe9"),
        ]);
        let names = alternative_names(&[&element(0x82, &[b"example.org"])]);
        let der = certificate_of(
            &element(VERSION, &[&element(INTEGER, &[&[2]])]),
            &subject,
            &names,
        );
        for at in 0..der.len() {
            for byte in 0..=255 {
                let mut forged = der.clone();
                forged[at] = byte;
                let _ = subject_of(&forged);
                let _ = Certificate::parse(&forged).map(|certificate| certificate.dns_names());
                let _ = RevocationList::parse(&forged);
            }
        }
    }
}
