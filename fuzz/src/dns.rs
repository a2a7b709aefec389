//! A resolver, and name servers that say anything at any time.
//!
//! The first byte chooses how many name servers there are and of which families addresses are wanted; the rest is read
//! action by action. Whatever comes: each lookup is answered once and in time, a wire is opened, used and closed in this
//! order, what is on its way has a bound, and in the end nothing is left.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arbitrary::{Arbitrary, Result, Unstructured};
use proxy_core::command::{IoError, ResolveId};
use proxy_core::config::Resolver as Settings;
use proxy_core::dns::message::{ALIASES_MAX, RECORDS_MAX};
use proxy_core::dns::{Action, Answer, Kind, Name, Question, Resolver, Secret, Subject, WireId, message};
use proxy_core::slab::Key;
use proxy_core::time::{Instant, Millis};

/// So many actions are taken from one input.
const ACTIONS_MAX: usize = 120;
/// So many tries of one question may be open.
const WIRES_PER_QUESTION: usize = 3;
/// What an open lookup may have on its way: a service's servers in two families.
const QUESTIONS_PER_LOOKUP: usize = 130;
/// The timers that a lookup's life may take, at the most.
const ENDING_STEPS_MAX: usize = 20_000;
const TIMEOUT: Millis = Millis(30_000);
const NAMES: [&str; 6] = ["a.test", "b.a.test", "c.test.", "_http._tcp.s.test", "x..y", "d"];

/// What happens next. Choices count modulo what there is.
#[derive(Arbitrary, Debug)]
enum Act<'a> {
    Lookup(u8),
    Service(u8),
    Opened(u8),
    Failed(u8, bool),
    /// An answer to what was asked, of these records.
    Answer(u8, u8, &'a [u8]),
    /// The question with these flags, and any bytes behind it.
    Behind(u8, [u8; 2], u8, &'a [u8]),
    /// Any bytes.
    Bytes(u8, &'a [u8]),
    Pass(u16),
    Timeout,
    /// All wires are opened and their questions answered with one address.
    Settle,
}

#[derive(Debug, Default)]
struct Wire {
    datagram: bool,
    opened: bool,
    sent: Vec<u8>,
}

struct Rig {
    resolver: Resolver,
    now: Instant,
    wires: BTreeMap<WireId, Wire>,
    used: BTreeSet<WireId>,
    /// Lookups and when they end at the latest.
    open: BTreeMap<ResolveId, Instant>,
    lookups: u32,
}

/// See the module.
pub fn run(input: &[u8]) {
    let Some((choice, rest)) = input.split_first() else { return };
    decode(rest);
    let mut settings = Settings::new((0..choice % 4).map(|n| ([10, 0, 0, n], 53).into()));
    (settings.ipv4, settings.ipv6) = (choice & 4 == 0, choice & 8 == 0 || choice & 4 != 0);
    settings.valid = (choice & 16 != 0).then_some(Millis(3000));
    let mut rig = Rig {
        resolver: Resolver::new(Arc::new(settings), Secret::new(u64::from(*choice), 1)),
        now: Instant::from_micros(1_000_000),
        wires: BTreeMap::new(),
        used: BTreeSet::new(),
        open: BTreeMap::new(),
        lookups: 0,
    };
    let mut input = Unstructured::new(rest);
    for _ in 0..ACTIONS_MAX {
        if input.is_empty() {
            break;
        }
        let act: Result<Act<'_>> = input.arbitrary();
        let Ok(act) = act else { break };
        rig.act(&act);
    }
    rig.end();
}

/// Any bytes as an answer to a question that they may themselves begin with.
fn decode(bytes: &[u8]) {
    let id = bytes.first_chunk::<2>().map_or(0, |id| u16::from_be_bytes(*id));
    let name = Name::decode(bytes, 12).map_or(Name::from_text("a.test").unwrap(), |(name, _)| name);
    assert!(
        Name::from_text(&name.to_string())
            .is_none_or(|again| again == name || name.to_string().contains('\\'))
    );
    for kind in [Kind::A, Kind::Aaaa, Kind::Srv] {
        let question = Question { name: name.clone(), kind };
        let read = message::decode(bytes, id, &question);
        if let Some(Answer::Records { records, .. }) = &read {
            assert!((1..=RECORDS_MAX * (ALIASES_MAX + 1)).contains(&records.len()));
        }
        if bytes.len() >= 2 {
            assert_eq!(message::decode(bytes, id ^ 1, &question), None, "another id");
        }
    }
}

impl Rig {
    fn pick(&self, choice: u8, of: impl Fn(&Wire) -> bool) -> Option<WireId> {
        let fitting: Vec<_> = self.wires.iter().filter(|(_, wire)| of(wire)).map(|(id, _)| *id).collect();
        (!fitting.is_empty()).then(|| fitting[usize::from(choice) % fitting.len()])
    }

    fn act(&mut self, act: &Act<'_>) {
        match act {
            Act::Lookup(choice) => self.lookup(*choice, Subject::Host),
            Act::Service(choice) => self.lookup(*choice, Subject::Service),
            Act::Opened(choice) => {
                if let Some(wire) = self.pick(*choice, |wire| !wire.opened) {
                    self.opened(wire);
                }
            }
            Act::Failed(choice, reset) => {
                if let Some(wire) = self.pick(*choice, |_| true) {
                    self.resolver.handle_failed(wire, "recv()", reset.then_some(IoError::REFUSED), self.now);
                }
            }
            Act::Answer(choice, flags, records) => self.say(*choice, |sent| answer(sent, *flags, records)),
            Act::Behind(choice, flags, count, rest) => {
                self.say(*choice, |sent| behind(sent, *flags, *count, rest));
            }
            Act::Bytes(choice, bytes) => self.say(*choice, |_| bytes.to_vec()),
            Act::Pass(ms) => {
                self.now = self.now + Millis(u64::from(*ms));
                if self.resolver.poll_timeout().is_some_and(|at| at <= self.now) {
                    self.timeout();
                }
            }
            Act::Timeout => self.timeout(),
            Act::Settle => self.settle(),
        }
        self.take_actions();
    }

    fn lookup(&mut self, choice: u8, subject: impl Fn(Name) -> Subject) {
        let Some(name) = Name::from_text(NAMES[usize::from(choice) % NAMES.len()]) else { return };
        let id = ResolveId(Key { index: self.lookups, generation: 0 });
        self.lookups += 1;
        match self.resolver.lookup(id, subject(name), TIMEOUT, self.now) {
            Some(Ok(resolved)) => assert!(!resolved.found.is_empty() && resolved.until > self.now),
            Some(Err(_)) => {}
            None => assert!(self.open.insert(id, self.now + TIMEOUT).is_none()),
        }
    }

    fn opened(&mut self, wire: WireId) {
        self.wires.get_mut(&wire).unwrap().opened = true;
        self.resolver.handle_opened(wire);
        self.take_actions();
    }

    /// A name server that was asked says something.
    fn say(&mut self, choice: u8, what: impl Fn(&[u8]) -> Vec<u8>) {
        let Some(id) = self.pick(choice, |wire| !wire.sent.is_empty()) else { return };
        let wire = &self.wires[&id];
        let sent = if wire.datagram { &wire.sent[..] } else { &wire.sent[2..] };
        let mut said = what(sent);
        if !wire.datagram {
            let len = u16::try_from(said.len()).unwrap_or(u16::MAX);
            said.splice(0..0, len.to_be_bytes());
        }
        self.resolver.handle_received(id, &said, self.now);
    }

    fn settle(&mut self) {
        for wire in self.wires.keys().copied().collect::<Vec<_>>() {
            if self.wires.get(&wire).is_some_and(|wire| !wire.opened) {
                self.opened(wire);
            }
        }
        for _ in 0..self.wires.len() {
            self.say(0, |sent| answer(sent, 0, &[1]));
            self.take_actions();
        }
    }

    fn timeout(&mut self) {
        let Some(at) = self.resolver.poll_timeout() else { return };
        self.now = self.now.max(at);
        self.resolver.handle_timeout(self.now);
    }

    fn take_actions(&mut self) {
        while let Some(action) = self.resolver.poll_action() {
            match action {
                Action::Open { wire, datagram, .. } => {
                    assert!(self.used.insert(wire), "rule: {wire:?} is opened twice");
                    self.wires.insert(wire, Wire { datagram, ..Wire::default() });
                }
                Action::Send { wire, bytes } => {
                    let wire = self.wires.get_mut(&wire).expect("rule: a Send on a closed wire");
                    assert!(wire.opened && wire.sent.is_empty() && bytes.len() > 12);
                    wire.sent = bytes;
                }
                Action::Close { wire } => {
                    assert!(self.wires.remove(&wire).is_some(), "rule: {wire:?} is closed twice");
                }
                Action::Answer { id, result } => {
                    let until = self.open.remove(&id).expect("rule: an answer that nobody waits for");
                    // Late only by as much as the clock has jumped.
                    assert!(result.is_ok() || self.now <= until + Millis(u64::from(u16::MAX)));
                    assert!(result.is_err() || result.is_ok_and(|resolved| !resolved.found.is_empty()));
                }
                Action::Log { message } => assert!(message.contains("while resolving, resolver: 10.0.0.")),
            }
        }
        let most = WIRES_PER_QUESTION * QUESTIONS_PER_LOOKUP * (self.open.len() + 1);
        assert!(self.wires.len() <= most, "bound: {} wires", self.wires.len());
    }

    /// Nobody says anything any more: every lookup ends in time, and nothing is left.
    fn end(mut self) {
        let last = self.open.values().max().copied().unwrap_or(self.now).max(self.now);
        for _ in 0..ENDING_STEPS_MAX {
            if self.open.is_empty() {
                break;
            }
            self.timeout();
            self.take_actions();
            assert!(self.now <= last, "hang: {} lookups wait beyond their time", self.open.len());
        }
        assert!(self.open.is_empty(), "hang: {} lookups are left", self.open.len());
        self.resolver.stop();
        self.take_actions();
        assert!(self.wires.is_empty() && self.resolver.is_idle() && self.resolver.poll_timeout().is_none());
    }
}

/// A message to the question `sent`: each byte of `records` is an address, an alias or a server of a service.
fn answer(sent: &[u8], flags: u8, records: &[u8]) -> Vec<u8> {
    let kind = sent[sent.len() - 3];
    let mut rest = Vec::new();
    for (n, what) in records.iter().enumerate().take(12) {
        let target = [b"\x01".as_slice(), &[b'a' + what % 6], b"\x04test\0"].concat();
        let (kind, data) = match (what % 8, kind) {
            (6 | 7, _) => (5, target),
            (_, 1) => (1, vec![192, 0, 2, *what]),
            (_, 28) => (28, [&[0x20, 1, 0xd, 0xb8], &[*what; 12][..]].concat()),
            _ => (33, [&[0, what % 3, 0, *what, 31, n as u8], &target[..]].concat()),
        };
        rest.extend_from_slice(&[0xc0, 12, 0, kind, 0, 1, 0, 0, 0, what % 16, 0, data.len() as u8]);
        rest.extend_from_slice(&data);
    }
    behind(sent, [0x81 | (flags & 2), 0x80 | (flags >> 4)], records.len().min(12) as u8, &rest)
}

fn behind(sent: &[u8], flags: [u8; 2], count: u8, rest: &[u8]) -> Vec<u8> {
    let mut message = sent.to_vec();
    message[2..4].copy_from_slice(&flags);
    message[7] = count;
    message.extend_from_slice(rest);
    message
}
