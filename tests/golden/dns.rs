//! Answers of name servers, read by the question that they belong to; and the same answers cut and spoilt everywhere.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic, in its helpers too")]

use std::fmt::Write as _;

use proxy_core::dns::message::{decode, encode};
use proxy_core::dns::{Answer, Kind, Name, Question, Record};

use crate::cases::{self, Case};

fn question(case: &Case) -> (u16, Question) {
    let kind = match case.options["kind"].as_str() {
        "A" => Kind::A,
        "AAAA" => Kind::Aaaa,
        "SRV" => Kind::Srv,
        other => panic!("no such kind: {other}"),
    };
    let id = u16::try_from(case.number("id").unwrap()).unwrap();
    (id, Question { name: Name::from_text(&case.options["name"]).unwrap(), kind })
}

fn render(answer: Option<&Answer>) -> String {
    let mut text = String::new();
    match answer {
        None => text.push_str("not the answer"),
        Some(Answer::Records { records, ttl_s }) => {
            write!(text, "for {ttl_s} s").unwrap();
            for record in records {
                match record {
                    Record::Address(ip) => write!(text, "\n{ip}").unwrap(),
                    Record::Service(service) => write!(
                        text,
                        "\n{}:{} priority {} weight {}",
                        service.target, service.port, service.priority, service.weight
                    )
                    .unwrap(),
                }
            }
        }
        Some(Answer::Alias { name, ttl_s }) => write!(text, "ask for {name}, for {ttl_s} s").unwrap(),
        Some(Answer::Nothing { ttl_s: Some(ttl_s) }) => write!(text, "nothing, for {ttl_s} s").unwrap(),
        Some(Answer::Nothing { ttl_s: None }) => text.push_str("nothing"),
        Some(Answer::Truncated) => text.push_str("truncated"),
        Some(Answer::Failed(failure)) => write!(text, "{failure}").unwrap(),
    }
    text
}

#[test]
fn answers() {
    cases::run("golden/dns", "txt", |case| {
        let (id, question) = question(case);
        let whole = decode(&case.input, id, &question);
        spoil(&case.input, id, &question, whole.as_ref());
        render(whole.as_ref())
    });
}

/// Cut at every byte and with every byte changed: no panic, and never more than the whole message says.
fn spoil(message: &[u8], id: u16, question: &Question, whole: Option<&Answer>) {
    for end in 0..message.len() {
        let cut = decode(&message[..end], id, question);
        let harmless = cut.is_none()
            || cut.as_ref() == whole
            || matches!(cut, Some(Answer::Nothing { ttl_s: None } | Answer::Alias { .. }));
        assert!(harmless, "cut at {end}: {cut:?}");
    }
    for at in 0..message.len() {
        for bit in 0..8 {
            let mut spoilt = message.to_vec();
            spoilt[at] ^= 1 << bit;
            let read = decode(&spoilt, id, question);
            // Id, kind of message and question, up to the class, must all be as they were sent.
            let question_end = encode(question, id).len();
            let guarded = at < 2 || (at == 2 && bit >= 3) || (12..question_end).contains(&at);
            let cased = (12..question_end).contains(&at) && bit == 5;
            if guarded && !cased && whole.is_some() {
                assert_eq!(read, None, "bit {bit} of byte {at}");
            }
        }
    }
}

#[test]
fn questions() {
    let question = Question { name: Name::from_text("_http._tcp.Example.").unwrap(), kind: Kind::Srv };
    let expected = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x05_http\x04_tcp\x07example\0\0\x21\0\x01";
    assert_eq!(encode(&question, 0x1234), expected);
}
