//! A name server with one answer to every question for an IPv4 address, and none to any other (RFC 1035).

use std::net::Ipv4Addr;

/// The length of a message's header in bytes.
const HEADER_BYTES: usize = 12;
/// The type of an IPv4 address.
const TYPE_A: [u8; 2] = [0, 1];
/// How long the answer is good, in seconds.
const TTL_S: u32 = 60;

/// The name that is asked for, and the answer's bytes.
pub(super) fn answer(question: &[u8], address: Ipv4Addr) -> (String, Vec<u8>) {
    let (name, end) = name(question);
    let kind = question.get(end..end + 2).unwrap_or_default();
    let asked = question.get(HEADER_BYTES..end + 4).unwrap_or_default();
    let id = question.get(..2).unwrap_or_default();
    let answers = u8::from(kind == TYPE_A);
    let mut out = Vec::with_capacity(64);
    out.extend_from_slice(id);
    // A response to a recursive question, no error; one question, and its answer.
    out.extend_from_slice(&[0x81, 0x80, 0, 1, 0, answers, 0, 0, 0, 0]);
    out.extend_from_slice(asked);
    if answers > 0 {
        // The name is the question's.
        out.extend_from_slice(&[0xc0, 0x0c]);
        out.extend_from_slice(&TYPE_A);
        out.extend_from_slice(&[0, 1]);
        out.extend_from_slice(&TTL_S.to_be_bytes());
        out.extend_from_slice(&[0, 4]);
        out.extend_from_slice(&address.octets());
    }
    (name, out)
}

/// The name in the question, and where it ends.
fn name(question: &[u8]) -> (String, usize) {
    let mut labels: Vec<String> = Vec::new();
    let mut at = HEADER_BYTES;
    // Bounded by the message: each label takes a byte at least.
    while let Some(len) = question.get(at).map(|len| usize::from(*len)) {
        at += 1;
        if len == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(question.get(at..at + len).unwrap_or_default()).into_owned());
        at += len;
    }
    (labels.join("."), at)
}
