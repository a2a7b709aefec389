//! `Authorization: Basic` (RFC 7617).

use alloc::vec::Vec;

use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, Engine as _, GeneralPurpose, GeneralPurposeConfig};

use crate::http::{HeaderId, RequestHead};

/// A user and a password. As in nginx the scheme's name is compared in any case, blanks may follow it, and neither the
/// user nor the colon may be missing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Credentials {
    pair: Vec<u8>,
    colon: usize,
}

/// nginx's decoder stops at the padding, and does without it.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(true),
);

impl Credentials {
    /// Those of a request, if it has any.
    pub(crate) fn of(head: &RequestHead) -> Option<Self> {
        Self::parse(head.value(HeaderId::Authorization)?)
    }

    fn parse(field: &[u8]) -> Option<Self> {
        let (scheme, rest) = field.split_at_checked(6)?;
        if !scheme.eq_ignore_ascii_case(b"basic ") {
            return None;
        }
        let rest = rest.iter().position(|byte| *byte != b' ').and_then(|start| rest.get(start..))?;
        let end = memchr::memchr(b'=', rest).unwrap_or(rest.len());
        let pair = BASE64.decode(rest.get(..end)?).ok()?;
        let colon = memchr::memchr(b':', &pair).filter(|colon| *colon > 0)?;
        Some(Self { pair, colon })
    }

    /// `$remote_user`
    pub(crate) fn user(&self) -> &[u8] {
        self.pair.get(..self.colon).unwrap_or_default()
    }

    /// What stands behind the first colon.
    pub(crate) fn password(&self) -> &[u8] {
        self.pair.get(self.colon + 1..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials() {
        for (field, expected) in [
            ("Basic YTpi", Some(("a", "b"))),
            ("bAsIc    YTpi", Some(("a", "b"))),
            ("Basic YTpiOmM=", Some(("a", "b:c"))),
            ("Basic YTpiOmM", Some(("a", "b:c"))),
            ("Basic YTpiOmM=junk", Some(("a", "b:c"))),
            ("Basic YTo=", Some(("a", ""))),
            ("Basic OmI=", None),
            ("Basic YWI=", None),
            ("Basic YTp!", None),
            ("Basic YTpiO", None),
            ("Basic ", None),
            ("Basic", None),
            ("BasicYTpi", None),
            ("Bearer YTpi", None),
            ("", None),
        ] {
            let found = Credentials::parse(field.as_bytes());
            let expected = expected.map(|(user, password)| (user.as_bytes(), password.as_bytes()));
            assert_eq!(found.as_ref().map(|found| (found.user(), found.password())), expected, "{field}");
        }
    }
}
