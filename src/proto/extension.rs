//! Parsing of `Sec-WebSocket-Extensions` in a request (RFC 6455 section 9.1).

use super::memory::{self, Refused};
use super::token::{is_token_byte, token};

/// One offer: an extension and its parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extension {
    /// As the client spelled it.
    pub name: String,
    /// Names, and values where there are any.
    pub parameters: Vec<(String, Option<String>)>,
}

/// Why a list in a request header cannot be parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ListError {
    Malformed,
    Memory,
}

impl From<Refused> for ListError {
    fn from(_: Refused) -> Self {
        Self::Memory
    }
}

/// Parses the value of one header and appends its offers to `offers`, in the client's order. A malformed
/// value of a parameter is not an error here: it makes only its offer unacceptable (RFC 7692 section 7.1).
pub(super) fn parse(value: &[u8], offers: &mut Vec<Extension>) -> Result<(), ListError> {
    let mut reader = Reader { rest: value };
    loop {
        if reader.is_at_end() {
            return Ok(());
        }
        if reader.take(b',') {
            continue;
        }
        memory::push(offers, reader.extension()?)?;
        if !reader.is_at_end() && !reader.take(b',') {
            return Err(ListError::Malformed);
        }
    }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn extension(&mut self) -> Result<Extension, ListError> {
        let name = self.token()?;
        let mut parameters = Vec::new();
        while self.take(b';') {
            let name = self.token()?;
            let value = if self.take(b'=') {
                Some(self.value()?)
            } else {
                None
            };
            memory::push(&mut parameters, (name, value))?;
        }
        Ok(Extension { name, parameters })
    }

    /// Parses a token, or a quoted one. Returns an empty text when it is neither.
    fn value(&mut self) -> Result<String, ListError> {
        if !self.take(b'"') {
            return match self.token() {
                Err(ListError::Malformed) => Ok(String::new()),
                token => token,
            };
        }
        let mut value = Vec::new();
        loop {
            match self.byte()? {
                b'"' => return Ok(memory::copy(token(&value).unwrap_or_default())?),
                b'\\' => memory::push(&mut value, self.byte()?)?,
                byte => memory::push(&mut value, byte)?,
            }
        }
    }

    fn byte(&mut self) -> Result<u8, ListError> {
        let (&byte, rest) = self.rest.split_first().ok_or(ListError::Malformed)?;
        self.rest = rest;
        Ok(byte)
    }

    fn token(&mut self) -> Result<String, ListError> {
        self.skip_space();
        let len = self
            .rest
            .iter()
            .take_while(|&&byte| is_token_byte(byte))
            .count();
        let (bytes, rest) = self.rest.split_at(len);
        self.rest = rest;
        let token = token(bytes).ok_or(ListError::Malformed)?;
        Ok(memory::copy(token)?)
    }

    /// Consumes `sign` if it is next, after white space.
    fn take(&mut self, sign: u8) -> bool {
        self.skip_space();
        match self.rest.split_first() {
            Some((&first, rest)) if first == sign => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    fn is_at_end(&mut self) -> bool {
        self.skip_space();
        self.rest.is_empty()
    }

    fn skip_space(&mut self) {
        while let [b' ' | b'\t', rest @ ..] = self.rest {
            self.rest = rest;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offers(value: &str) -> Option<Vec<String>> {
        let mut offers = Vec::new();
        parse(value.as_bytes(), &mut offers).ok()?;
        let text = |offer: &Extension| {
            let mut text = offer.name.clone();
            for (name, value) in &offer.parameters {
                text += &format!(";{name}={}", value.as_deref().unwrap_or("(none)"));
            }
            text
        };
        Some(offers.iter().map(text).collect())
    }

    #[test]
    fn offers_are_read_in_their_order_9_1() {
        let cases = [
            ("foo", vec!["foo"]),
            (" foo , bar\t;x ; y = 1", vec!["foo", "bar;x=(none);y=1"]),
            (
                "permessage-deflate; client_max_window_bits",
                vec!["permessage-deflate;client_max_window_bits=(none)"],
            ),
            ("a; b=\"c\", d; e=\"f\\g\"", vec!["a;b=c", "d;e=fg"]),
            (
                "a;b=, a;b=\"\"; c, a;b=\"c,d\"",
                vec!["a;b=", "a;b=;c=(none)", "a;b="],
            ),
            (",, a,", vec!["a"]),
            ("", vec![]),
        ];
        for (value, expected) in cases {
            assert_eq!(
                offers(value),
                Some(expected.into_iter().map(str::to_owned).collect()),
                "{value:?}"
            );
        }
    }

    #[test]
    fn malformed_offers_are_none_9_1() {
        for value in [
            "a b",
            "a;",
            "a;=1",
            "a;b=\"",
            "a;b=\"c",
            "a;b=@",
            "a;b=\"c\\",
            "a=1",
            "@",
            "a;b=c d",
            "é",
        ] {
            assert_eq!(offers(value), None, "{value:?}");
        }
    }
}
