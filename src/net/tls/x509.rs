//! The fields of a certificate (RFC 5280 section 4.1) that are checked before it is presented.
//!
//! It is DER (X.690): each element is a tag, a length and so many bytes. Nothing is verified here: the peer
//! verifies the certificate.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

const INTEGER: u8 = 0x02;
const SEQUENCE: u8 = 0x30;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const VERSION: u8 = 0xa0;

/// The fields that a server checks.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Certificate<'a> {
    /// 1 to 3.
    pub version: u32,
    /// None for a form that RFC 5280 forbids.
    pub not_before: Option<Time>,
    pub not_after: Option<Time>,
    /// SubjectPublicKeyInfo.
    pub public_key: &'a [u8],
}

impl<'a> Certificate<'a> {
    /// Returns None if these bytes are not a certificate.
    pub(crate) fn parse(der: &'a [u8]) -> Option<Self> {
        let mut rest = der;
        let mut parts = take(&mut rest, SEQUENCE)?.content;
        let mut fields = take(&mut parts, SEQUENCE)?.content;
        let version = match fields.first()? {
            &VERSION => version(take(&mut fields, VERSION)?.content)?,
            _ => 1,
        };
        take(&mut fields, INTEGER)?; // serial number
        take(&mut fields, SEQUENCE)?; // algorithm of the signature
        take(&mut fields, SEQUENCE)?; // issuer
        let mut validity = take(&mut fields, SEQUENCE)?.content;
        take(&mut fields, SEQUENCE)?; // subject
        let public_key = take(&mut fields, SEQUENCE)?.whole;
        Some(Self {
            version,
            not_before: Time::parse(take_any(&mut validity)?),
            not_after: Time::parse(take_any(&mut validity)?),
            public_key,
        })
        .filter(|_| rest.is_empty())
    }
}

/// Parses the version; the field has the version minus 1.
fn version(mut field: &[u8]) -> Option<u32> {
    match take(&mut field, INTEGER)?.content {
        &[number @ 0..=2] => Some(u32::from(number) + 1),
        _ => None,
    }
}

struct Element<'a> {
    tag: u8,
    whole: &'a [u8],
    content: &'a [u8],
}

/// Parses the next element, which must have this tag.
fn take<'a>(input: &mut &'a [u8], tag: u8) -> Option<Element<'a>> {
    take_any(input).filter(|element| element.tag == tag)
}

fn take_any<'a>(input: &mut &'a [u8]) -> Option<Element<'a>> {
    let (&tag, rest) = input.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        short @ ..=0x7f => (usize::from(short), rest),
        // The long form, with a length of up to four bytes.
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            let length = bytes
                .iter()
                .fold(0, |length, &byte| length << 8 | usize::from(byte));
            (length, rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    let (whole, _) = input.split_at_checked(input.len() - rest.len())?;
    *input = rest;
    Some(Element {
        tag,
        whole,
        content,
    })
}

/// A time in UTC, in seconds. Later times are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Time {
    year: u64,
    month: u64,
    day: u64,
    second: u64,
}

impl Time {
    /// Returns the system's current time.
    pub(crate) fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        Self::from_unix(since.map_or(0, |since| since.as_secs()))
    }

    fn from_unix(seconds: u64) -> Self {
        // In years that begin in March the leap day is last; 400 years always have 146,097 days.
        let days = seconds / 86_400 + 719_468;
        let (era, day_of_era) = (days / 146_097, days % 146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_month = (5 * day_of_year + 2) / 153;
        let month = (march_month + 2) % 12 + 1;
        Self {
            year: 400 * era + year_of_era + u64::from(month <= 2),
            month,
            day: day_of_year - (153 * march_month + 2) / 5 + 1,
            second: seconds % 86_400,
        }
    }

    /// `YYMMDDHHMMSSZ` or, with four digits of the year, GeneralizedTime (RFC 5280 section 4.1.2.5).
    fn parse(element: Element<'_>) -> Option<Self> {
        let digits = element.content.strip_suffix(b"Z")?;
        let year_digits = match element.tag {
            UTC_TIME => 2,
            GENERALIZED_TIME => 4,
            _ => return None,
        };
        let (year, rest) = digits.split_at_checked(year_digits)?;
        let year = match (element.tag, number(year)?) {
            (UTC_TIME, year @ ..50) => 2000 + year,
            (UTC_TIME, year) => 1900 + year,
            (_, year) => year,
        };
        let &[m1, m2, d1, d2, h1, h2, i1, i2, s1, s2] = rest else {
            return None;
        };
        let [month, day, hour, minute, second] =
            [[m1, m2], [d1, d2], [h1, h2], [i1, i2], [s1, s2]].map(|two| number(&two));
        Some(Self {
            year,
            month: month?,
            day: day?,
            second: hour? * 3600 + minute? * 60 + second?,
        })
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |number, digit| match digit {
        b'0'..=b'9' => Some(number * 10 + u64::from(digit - b'0')),
        _ => None,
    })
}

/// Writes the date alone.
impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    /// A certificate with this field for its version and a name of so many bytes.
    fn certificate(version: &[u8], name: usize) -> Vec<u8> {
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
                &element(SEQUENCE, &[&vec![0; name]]),
                &validity,
                &some,
                &element(SEQUENCE, &[b"key"]),
            ],
        );
        element(SEQUENCE, &[&fields, &some, &element(0x03, &[])])
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
            Time::parse(Element {
                tag,
                whole: &[],
                content,
            })
        };
        let some = |seconds| Some(Time::from_unix(seconds));
        for (tag, text, time) in [
            (UTC_TIME, &b"700101000000Z"[..], some(0)),
            (UTC_TIME, b"000229235959Z", some(951_868_799)),
            (UTC_TIME, b"261126010000Z", some(1_795_654_800)),
            (GENERALIZED_TIME, b"20380119031408Z", some(1 << 31)),
            (GENERALIZED_TIME, b"21000301000000Z", some(4_107_542_400)),
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
}
