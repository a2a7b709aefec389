//! Conditional requests (RFC 9110, section 13), decided as nginx's not_modified filter does.

use crate::config::IfModifiedSince;
use crate::http::date::parse as parse_date;
use crate::http::{HeaderId, RequestHead};

/// What the conditions say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Precondition {
    /// The whole reply goes out.
    Holds,
    /// The client has it already: 304.
    NotModified,
    /// 412
    Failed,
}

/// What a reply says about its representation.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Validators<'a> {
    /// In seconds since the Unix epoch.
    pub(crate) last_modified_s: Option<i64>,
    /// With its quotes; empty if there is none.
    pub(crate) etag: &'a [u8],
}

impl Validators<'_> {
    /// Weighs the request's conditions on a reply that would be a 200.
    pub(crate) fn weigh(&self, head: &RequestHead, mode: IfModifiedSince) -> Precondition {
        let value = |id| head.value(id);
        if let Some(since) = value(HeaderId::IfUnmodifiedSince)
            && !self.is_unmodified_since(since)
        {
            return Precondition::Failed;
        }
        if let Some(list) = value(HeaderId::IfMatch)
            && !self.matches(list, false)
        {
            return Precondition::Failed;
        }
        let since = value(HeaderId::IfModifiedSince);
        let none_match = value(HeaderId::IfNoneMatch);
        if since.is_none() && none_match.is_none() {
            return Precondition::Holds;
        }
        let modified = since.is_some_and(|since| self.is_modified_since(since, mode))
            || none_match.is_some_and(|list| !self.matches(list, true));
        if modified { Precondition::Holds } else { Precondition::NotModified }
    }

    /// Whether `If-Range` lets the request's ranges apply. A weak tag never does: ours are all strong.
    pub(crate) fn allows_range(&self, if_range: &[u8]) -> bool {
        if if_range.len() >= 2 && if_range.ends_with(b"\"") {
            return !self.etag.is_empty() && if_range == self.etag;
        }
        self.last_modified_s.is_some() && parse_date(if_range) == self.last_modified_s
    }

    fn is_unmodified_since(&self, since: &[u8]) -> bool {
        self.last_modified_s.is_some_and(|modified| parse_date(since).is_some_and(|since| since >= modified))
    }

    fn is_modified_since(&self, since: &[u8], mode: IfModifiedSince) -> bool {
        let (Some(modified), Some(since)) = (self.last_modified_s, parse_date(since)) else { return true };
        match mode {
            IfModifiedSince::Off => true,
            IfModifiedSince::Exact => since != modified,
            IfModifiedSince::Before => since < modified,
        }
    }

    /// Whether the reply's tag is in `list`; `weak` ignores the `W/` of either (RFC 9110, section 8.8.3.2).
    fn matches(&self, list: &[u8], weak: bool) -> bool {
        if list == b"*" {
            return true;
        }
        if self.etag.is_empty() {
            return false;
        }
        let strip = |tag: &[u8]| weak && tag.starts_with(b"W/");
        let own = if strip(self.etag) { self.etag.get(2..).unwrap_or_default() } else { self.etag };
        let mut rest = list;
        // Every turn takes at least one byte off `rest`: a tag, or what is left up to the comma.
        while !rest.is_empty() {
            if strip(rest) {
                rest = rest.get(2..).unwrap_or_default();
            }
            if let Some(after) = rest.strip_prefix(own) {
                let after = after.trim_ascii_start();
                if after.is_empty() || after.first() == Some(&b',') {
                    return true;
                }
            }
            let comma = memchr::memchr(b',', rest).map_or(rest.len(), |comma| comma + 1);
            rest = rest.get(comma..).unwrap_or_default().trim_ascii_start();
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAG: Validators<'_> = Validators { last_modified_s: Some(784_111_777), etag: b"\"a-1\"" };

    #[test]
    fn a_tag_is_found_in_a_list() {
        for (list, strong, weak) in [
            (&b"*"[..], true, true),
            (b"\"a-1\"", true, true),
            (b"\"b\" , \"a-1\" ", true, true),
            (b"W/\"a-1\"", false, true),
            (b"\"b\",W/\"a-1\",\"c\"", false, true),
            (b"\"a-1\"x", false, false),
            (b"\"a-12\"", false, false),
            (b"", false, false),
            (b"W/", false, false),
            (b",,,", false, false),
        ] {
            let shown = list.escape_ascii();
            assert_eq!((TAG.matches(list, false), TAG.matches(list, true)), (strong, weak), "{shown}");
        }
        assert!(!Validators::default().matches(b"\"\"", true));
    }

    #[test]
    fn times_are_compared_as_the_mode_says() {
        let (before, same, after) = (
            &b"Sun, 06 Nov 1994 08:49:36 GMT"[..],
            &b"Sun, 06 Nov 1994 08:49:37 GMT"[..],
            &b"Sun, 06 Nov 1994 08:49:38 GMT"[..],
        );
        let modified = |since: &[u8], mode| TAG.is_modified_since(since, mode);
        assert!(!modified(same, IfModifiedSince::Exact) && modified(after, IfModifiedSince::Exact));
        assert!(!modified(after, IfModifiedSince::Before) && modified(before, IfModifiedSince::Before));
        assert!(modified(same, IfModifiedSince::Off) && modified(b"never", IfModifiedSince::Before));
        assert!(TAG.is_unmodified_since(after) && !TAG.is_unmodified_since(before));
        assert!(TAG.allows_range(same) && !TAG.allows_range(after) && TAG.allows_range(b"\"a-1\""));
        assert!(!TAG.allows_range(b"W/\"a-1\"") && !TAG.allows_range(b"\"b\""));
    }
}
