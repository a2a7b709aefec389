//! The configuration front end: any text, and what it includes. Files are separated by the byte 0x1c.
//!
//! Whatever is wrong is said with a place inside the text. What is good serves a request on each listener.

use std::sync::Arc;

use proxy_core::command::IoError;
use ringgate::conf::diagnostic::{Severity, render};
use ringgate::conf::span::{Sources, Span};

use super::sites::compiled;
use super::worker::{self, rig::Rig};

/// Between two files.
const FILE_SEPARATOR: u8 = 0x1c;
/// So many listeners are tried.
const LISTENERS_MAX: u8 = 4;
/// So many completions are given before everything is ended.
const STEPS_MAX: usize = 40;

/// See the module.
pub fn run(input: &[u8]) {
    let texts: Vec<&[u8]> = input.split(|byte| *byte == FILE_SEPARATOR).collect();
    let result = compiled(&texts, None, input.len().is_multiple_of(2));
    for diagnostic in &result.diagnostics {
        assert!(!diagnostic.message.is_empty());
        let labels = diagnostic.labels.iter().map(|(span, _)| span);
        diagnostic.span.iter().chain(labels).for_each(|span| check_span(&result.sources, *span));
    }
    for colours in [false, true] {
        let text = render(&result.diagnostics, &result.sources, colours);
        assert!(text.matches("nginx: ").count() >= result.diagnostics.len());
        let hidden = |c: char| c.is_control() && !matches!(c, '\n' | '\t' | '\x1b');
        assert!(!text.contains(hidden), "a control character in {text:?}");
    }
    let errors = result.diagnostics.iter().any(|found| found.severity == Severity::Emerg);
    assert_eq!(result.is_good(), !errors);
    if result.is_good() {
        serve(Rig::new(Arc::new(result.lowered.config), 1));
    }
}

fn check_span(sources: &Sources, span: Span) {
    let file = sources.file(span.file).expect("a span's file");
    let len = u32::try_from(file.bytes().len()).unwrap();
    assert!(span.start <= span.end && span.end <= len, "{span:?} lies outside {len} bytes");
    let (start, end) = (sources.start(span), sources.end(span));
    assert!(start.line >= 1 && start.column >= 1 && (start.line, start.column) <= (end.line, end.column));
}

/// A request on each listener; whoever is asked does not answer.
fn serve(mut rig: Rig) {
    for listener in 0..LISTENERS_MAX {
        rig.accept(listener);
    }
    let requests: [&[u8]; 2] = [
        b"GET /a%20b/c.php?x=1&y HTTP/1.1\r\nHost: Example.com\r\nUser-Agent: u\r\nCookie: k=v\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello",
    ];
    for (turn, id) in rig.sockets.keys().copied().collect::<Vec<_>>().into_iter().enumerate() {
        if rig.sockets.get(&id).is_some_and(|socket| socket.recv.is_some()) {
            rig.received(id, Ok(requests[turn % requests.len()]));
        }
    }
    for _ in 0..STEPS_MAX {
        let sockets = || rig.sockets.iter();
        let sends = sockets().find(|(_, socket)| socket.send.is_some()).map(|(id, _)| *id);
        let connects = sockets().find(|(_, socket)| socket.connecting).map(|(id, _)| *id);
        match (sends, connects) {
            (Some(id), _) => rig.sent(id, Ok(usize::MAX)),
            (None, Some(id)) => rig.connected(id, Some(IoError::REFUSED)),
            (None, None) => break,
        }
    }
    worker::end(rig);
}
