//! What a check thinks of a reply: the conditions of its `match` block, or a status 2xx or 3xx where it has none.

use core::fmt;

use crate::config::{CheckKind, HeaderCondition, HeaderTest, HealthCheck, Match};
use crate::exchange::Facts;
use crate::exchange::vars::Env;
use crate::http::ResponseHead;

/// What was looked at last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Test {
    /// Whether it takes connections.
    Connect,
    Status,
    /// What the gRPC health service says.
    Grpc,
    Header,
    Body,
    Require,
}

impl fmt::Display for Test {
    /// nginx's words.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "connecting to upstream",
            Self::Status => "checking status code",
            Self::Grpc => "checking gRPC status",
            Self::Header => "checking header",
            Self::Body => "checking body",
            Self::Require => "checking require",
        })
    }
}

/// The conditions of a check, if it has any.
pub(super) fn conditions(check: &HealthCheck) -> Option<&Match> {
    match &check.kind {
        CheckKind::Http { conditions, .. } => conditions.as_deref(),
        CheckKind::Tcp | CheckKind::Grpc { .. } => None,
    }
}

/// Judges a head. The last test that it passed, or the one that it failed.
pub(super) fn head(check: &HealthCheck, head: &ResponseHead) -> Result<Test, Test> {
    let status = head.status.unwrap_or_default();
    let Some(conditions) = conditions(check) else {
        return if (200..400).contains(&status.0) { Ok(Test::Status) } else { Err(Test::Status) };
    };
    if conditions.status.as_ref().is_some_and(|set| !set.accepts(status)) {
        return Err(Test::Status);
    }
    if !conditions.headers.iter().all(|condition| holds(condition, head)) {
        return Err(Test::Header);
    }
    Ok(if conditions.headers.is_empty() { Test::Status } else { Test::Header })
}

fn holds(condition: &HeaderCondition, head: &ResponseHead) -> bool {
    let pairs = head.fields.iter().map(|field| head.pair(field));
    let mut values = pairs
        .filter(|(name, _)| name.eq_ignore_ascii_case(&condition.name))
        .map(|(_, value)| value)
        .peekable();
    let present = values.peek().is_some();
    match &condition.test {
        HeaderTest::Present => present,
        HeaderTest::Absent => !present,
        HeaderTest::Is(expected) => values.any(|value| value == &**expected),
        HeaderTest::IsNot(other) => present && values.all(|value| value != &**other),
        HeaderTest::Matches(regex) => values.any(|value| regex.is_match(value)),
        HeaderTest::MatchesNot(regex) => present && !values.any(|value| regex.is_match(value)),
    }
}

/// Judges what there is of a body, and what the configuration requires. `so_far` is the last test that was passed.
pub(super) fn rest(
    check: &HealthCheck,
    so_far: Test,
    body: &[u8],
    facts: &Facts,
    env: &Env<'_>,
) -> Result<Test, Test> {
    let Some(conditions) = conditions(check) else { return Ok(so_far) };
    if !conditions.bodies.iter().all(|condition| condition.regex.is_match(body) != condition.negated) {
        return Err(Test::Body);
    }
    let required = conditions.required.iter().all(|variable| {
        let mut value = alloc::vec::Vec::new();
        facts.value(variable, env, &mut value);
        !value.is_empty() && value != b"0"
    });
    if !required {
        return Err(Test::Require);
    }
    Ok(match (conditions.required.is_empty(), conditions.bodies.is_empty()) {
        (false, _) => Test::Require,
        (true, false) => Test::Body,
        (true, true) => so_far,
    })
}

/// Whether the body has to be read.
pub(super) fn wants_body(check: &HealthCheck) -> bool {
    check.keepalive_time.is_some()
        || conditions(check).is_some_and(|conditions| !conditions.bodies.is_empty())
}

#[cfg(test)]
mod tests {
    use alloc::boxed::Box;
    use alloc::vec::Vec;

    use super::*;
    use crate::buf::Chunk;
    use crate::config::StatusSet;
    use crate::h1::{Parsed, ResponseLimits, parse_response};
    use crate::http::Status;
    use crate::route::Regex;

    fn reply(text: &str) -> ResponseHead {
        let limits = ResponseLimits { total_bytes_max: 4096, fields_max: 100 };
        let text = alloc::format!("HTTP/1.1 200 OK\r\n{text}\r\n");
        let bytes = Chunk::from_vec(text.into_bytes());
        match parse_response(&bytes, &mut Vec::new(), &limits) {
            Ok(Parsed::Complete { head, .. }) => head,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_status_is_in_the_set_or_not() {
        let set = |negated, ranges: &[(u16, u16)]| StatusSet { negated, ranges: ranges.into() };
        let accepted = |set: &StatusSet| {
            [200, 204, 301, 307, 404, 500]
                .into_iter()
                .filter(|code| set.accepts(Status(*code)))
                .collect::<Vec<_>>()
        };
        assert_eq!(accepted(&set(false, &[(200, 200), (301, 303), (307, 307)])), [200, 301, 307]);
        assert_eq!(accepted(&set(true, &[(400, 599)])), [200, 204, 301, 307]);
    }

    #[test]
    fn fields_are_compared_as_the_documents_say() {
        let regex = || Regex::new("clo", true).unwrap_or_else(|error| panic!("{error}"));
        let bytes = |text: &str| -> Box<[u8]> { text.as_bytes().into() };
        let table: [(&str, HeaderTest, [bool; 3]); 6] = [
            ("a", HeaderTest::Present, [false, true, true]),
            ("a", HeaderTest::Absent, [true, false, false]),
            ("a", HeaderTest::Is(bytes("close")), [false, true, true]),
            ("a", HeaderTest::IsNot(bytes("close")), [false, false, false]),
            ("a", HeaderTest::Matches(regex()), [false, true, true]),
            ("a", HeaderTest::MatchesNot(regex()), [false, false, false]),
        ];
        for (name, test, expected) in table {
            let condition = HeaderCondition { name: bytes(name), test };
            let heads = ["B: close\r\n", "A: close\r\n", "A: x\r\na: close\r\n"].map(reply);
            assert_eq!(heads.map(|head| holds(&condition, &head)), expected, "{condition:?}");
        }
        let other = HeaderCondition { name: bytes("a"), test: HeaderTest::IsNot(bytes("x")) };
        assert!(holds(&other, &reply("a: y\r\n")));
    }
}
