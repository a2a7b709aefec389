//! A simulated client: it plays its script, reads strictly, and remembers what it saw.

use crate::net::PeerEnd;
use crate::pipe::End;
use crate::plan::{self, Coding, Exchange, Misdeed, Plan};
use crate::rng::Rng;
use crate::script::{Act, Script};
use crate::wire::{Event, Head, Reader};

/// What came back for one request.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) interims: Vec<Head>,
    pub(crate) head: Option<Head>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(String, String)>,
    /// The body, or the tunnel, came to a proper end.
    pub(crate) complete: bool,
}

/// A client on its one connection.
pub(crate) struct Client {
    pub(crate) number: usize,
    exchanges: Vec<usize>,
    /// Where each request's head ends and where the request ends, in bytes that are written on this connection.
    pub(crate) marks: Vec<(usize, usize)>,
    pub(crate) written: usize,
    pub(crate) seen: Vec<Seen>,
    script: Script,
    reader: Reader,
    read_bytes_max: usize,
    read_pause_us: u64,
    next_read_us: u64,
    lingers: bool,
    in_tunnel: bool,
    pub(crate) done: bool,
    /// The client gave up first.
    pub(crate) left_early: bool,
    pub(crate) was_reset: bool,
}

/// How long a client waits for a 100 before it sends its body anyway.
const CONTINUE_WAIT_US: u64 = 400_000;

impl Client {
    pub(crate) fn new(number: usize, plan: &Plan, rng: &mut Rng) -> Self {
        let client = &plan.clients[number];
        let mut marks = Vec::new();
        let script = script(client, plan, &mut marks, rng);
        Self {
            number,
            exchanges: client.exchanges.clone(),
            marks,
            written: 0,
            seen: Vec::new(),
            script: Script::new(script),
            reader: Reader::new(),
            read_bytes_max: client.read_bytes_max,
            read_pause_us: client.read_pause_us,
            next_read_us: 0,
            lingers: client.lingers,
            in_tunnel: false,
            done: false,
            left_early: false,
            was_reset: false,
        }
    }

    /// How many final replies have ended.
    pub(crate) fn replies(&self) -> usize {
        self.seen.iter().filter(|seen| seen.complete).count()
    }

    /// Does what can be done now.
    pub(crate) fn step(&mut self, end: &mut PeerEnd<'_>, plan: &Plan) {
        if self.done {
            return;
        }
        self.read(end, plan);
        while !self.done && self.act(end) {}
        let waits = self.lingers || self.in_tunnel;
        if !self.done && self.script.is_over() && !waits && self.replies() == self.exchanges.len() {
            end.close();
            self.done = true;
        }
    }

    fn read(&mut self, end: &mut PeerEnd<'_>, plan: &Plan) {
        let now_us = end.clock.now_us();
        if now_us < self.next_read_us {
            return;
        }
        let bytes = end.read(self.read_bytes_max);
        if !bytes.is_empty() {
            self.next_read_us = now_us + self.read_pause_us;
            if self.read_pause_us > 0 {
                end.wake_in(self.read_pause_us);
            }
        }
        self.reader.feed(&bytes);
        while let Some(event) = self.next_event() {
            self.note(event, plan);
        }
        if end.end() != End::Open {
            self.ended(end);
        }
    }

    fn next_event(&mut self) -> Option<Event> {
        let event = self.reader.next();
        event.unwrap_or_else(|why| panic!("client {}: {why}, then {:?}", self.number, self.reader.rest()))
    }

    fn note(&mut self, event: Event, plan: &Plan) {
        match event {
            Event::Head(head) => self.note_head(head, plan),
            Event::Data(data) => {
                let last = self.last();
                if !last.complete {
                    last.body.extend(data);
                }
            }
            Event::End(trailers) => {
                let seen = self.last();
                if seen.head.is_some() {
                    seen.trailers = trailers;
                    seen.complete = true;
                }
            }
        }
    }

    fn last(&mut self) -> &mut Seen {
        self.seen.last_mut().expect("a head came first")
    }

    fn note_head(&mut self, head: Head, plan: &Plan) {
        if self.seen.last().is_none_or(|seen| seen.complete) {
            let nth = self.seen.len();
            let began = if nth == 0 { 0 } else { self.marks.get(nth - 1).map_or(0, |mark| mark.1) };
            let asked = nth < self.exchanges.len() && self.written > began;
            if !asked && self.sent_early_bytes(plan) {
                // The early bytes of a refused handshake were read as a request: this answers them, then comes the end.
                assert_eq!(head.status(), Ok(400), "client {}: to bytes that are no request", self.number);
                return self.reader.tunnel();
            }
            assert!(asked, "client {}: a reply that nobody asked for: {head:?}", self.number);
            self.seen.push(Seen::default());
        }
        let exchange = &plan.exchanges[self.exchanges[self.seen.len() - 1]];
        let status = head.status().unwrap_or_else(|why| panic!("client {}: {why}", self.number));
        let framing = head.response_framing(exchange.method == "HEAD");
        let framing = framing.unwrap_or_else(|why| panic!("client {}: {why} in {head:?}", self.number));
        if status == 101 {
            self.in_tunnel = true;
            self.reader.tunnel();
        } else {
            self.reader.body(framing);
        }
        let seen = self.last();
        if status < 200 && status != 101 { seen.interims.push(head) } else { seen.head = Some(head) }
    }

    fn ended(&mut self, end: &mut PeerEnd<'_>) {
        self.was_reset = end.end() == End::Reset;
        if !self.was_reset
            && self.reader.may_end()
            && let Some(seen) = self.seen.last_mut()
        {
            seen.complete |= seen.head.is_some();
        }
        end.close();
        self.done = true;
    }

    /// Whether the last request was a handshake, refused, with bytes behind it.
    fn sent_early_bytes(&self, plan: &Plan) -> bool {
        let last = self.exchanges.last().map(|id| &plan.exchanges[*id]);
        let early = last.is_some_and(|x| x.upgrade.as_ref().is_some_and(|tunnel| tunnel.early > 0));
        early && self.seen.len() == self.exchanges.len() && !self.in_tunnel
    }

    /// Plays the current act; says whether the next one may follow at once.
    fn act(&mut self, end: &mut PeerEnd<'_>) -> bool {
        let replies = self.replies();
        let Some(act) = self.script.current() else { return false };
        match act {
            Act::Write(bytes) => {
                let n = end.write(bytes);
                self.written += n;
                bytes.drain(..n);
                if !bytes.is_empty() {
                    return false;
                }
            }
            Act::Pause(span_us) => {
                let span_us = *span_us;
                return self.wait(end, span_us);
            }
            Act::AwaitReplies(n) if replies < *n => return false,
            Act::AwaitContinue(nth) => {
                let nth = *nth;
                let answered =
                    self.seen.get(nth).is_some_and(|seen| seen.head.is_some() || !seen.interims.is_empty());
                if !answered {
                    return self.wait(end, CONTINUE_WAIT_US);
                }
            }
            Act::AwaitSwitch(nth) => {
                let Some(head) = self.seen.get(*nth).and_then(|seen| seen.head.as_ref()) else {
                    return false;
                };
                if head.status() != Ok(101) {
                    self.script.stop();
                    return false;
                }
            }
            Act::Finish => end.shutdown(),
            Act::Close | Act::Reset => {
                if matches!(act, Act::Close) {
                    end.close()
                } else {
                    end.reset()
                }
                self.done = true;
                self.left_early = true;
            }
            Act::Hang => return false,
            Act::AwaitReplies(_) | Act::AwaitRequest | Act::Echo => {}
        }
        self.script.advance();
        true
    }

    fn wait(&mut self, end: &mut PeerEnd<'_>, span_us: u64) -> bool {
        let left_us = self.script.left_us(end.clock.now_us(), span_us);
        if left_us > 0 {
            end.wake_in(left_us);
            return false;
        }
        self.script.advance();
        true
    }
}

/// The script of a client and where its requests end.
fn script(client: &plan::Client, plan: &Plan, marks: &mut Vec<(usize, usize)>, rng: &mut Rng) -> Vec<Act> {
    let mut acts = Vec::new();
    let count = client.exchanges.len();
    for (nth, id) in client.exchanges.iter().enumerate() {
        let exchange = &plan.exchanges[*id];
        let misdeed = client.misdeed.filter(|_| nth + 1 == count);
        let start = marks.last().map_or(0, |mark: &(usize, usize)| mark.1);
        let request = request(exchange, rng);
        let sizes = request.iter().map(|act| if let Act::Write(bytes) = act { bytes.len() } else { 0 });
        marks.push((start + exchange.head().len(), start + sizes.sum::<usize>()));
        if let Some(misdeed) = misdeed {
            if client.pipelined {
                acts.push(Act::AwaitReplies(nth));
            }
            misbehave(misdeed, exchange, request, nth, rng, &mut acts);
            break;
        }
        acts.extend(request.into_iter().map(|act| match act {
            Act::AwaitContinue(_) => Act::AwaitContinue(nth),
            other => other,
        }));
        if let Some(tunnel) = &exchange.upgrade {
            acts.push(Act::AwaitSwitch(nth));
            acts.extend(cuts(&tunnel.bytes[tunnel.early..], rng));
            acts.push(Act::Finish);
        }
        if !client.pipelined {
            acts.push(Act::AwaitReplies(nth + 1));
            acts.push(Act::Pause(rng.pick(&[0, 0, 1000, 1_500_000])));
        }
    }
    acts
}

/// One request's bytes, with the pauses between them.
fn request(exchange: &Exchange, rng: &mut Rng) -> Vec<Act> {
    let mut head = exchange.head().into_bytes();
    let body = match exchange.coding {
        Coding::None | Coding::UntilClose => {
            exchange.upgrade.as_ref().map(|tunnel| vec![tunnel.bytes[..tunnel.early].to_vec()])
        }
        Coding::Length | Coding::Chunked => Some(plan::encode(&exchange.body, exchange.coding, false, rng)),
    };
    let body = body.unwrap_or_default();
    if !exchange.expect && rng.percent(50) {
        head.extend(body.concat());
        return cuts(&head, rng);
    }
    let mut acts = cuts(&head, rng);
    if exchange.expect {
        acts.push(Act::AwaitContinue(0));
    }
    for piece in body {
        acts.push(Act::Write(piece));
        if rng.percent(20) {
            acts.push(Act::Pause(rng.range(0, 20_000)));
        }
    }
    acts
}

/// `bytes` in a few writes.
fn cuts(bytes: &[u8], rng: &mut Rng) -> Vec<Act> {
    let mut acts = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let len = if rng.percent(60) { rest.len() } else { rng.size(1, rest.len()) };
        let (piece, tail) = rest.split_at(len);
        acts.push(Act::Write(piece.to_vec()));
        if rng.percent(30) {
            acts.push(Act::Pause(rng.range(0, 50_000)));
        }
        rest = tail;
    }
    acts
}

fn misbehave(
    misdeed: Misdeed,
    exchange: &Exchange,
    request: Vec<Act>,
    nth: usize,
    rng: &mut Rng,
    acts: &mut Vec<Act>,
) {
    let whole: Vec<u8> = request
        .iter()
        .filter_map(|act| if let Act::Write(bytes) = act { Some(&bytes[..]) } else { None })
        .collect::<Vec<_>>()
        .concat();
    let head = exchange.head().len();
    let cut = |rng: &mut Rng, low: usize, high: usize| whole[..rng.size(low, high)].to_vec();
    let leave = if rng.percent(50) { Act::Close } else { Act::Reset };
    match misdeed {
        Misdeed::AbortInRequest => {
            acts.extend([Act::Write(cut(rng, 1, whole.len() - 1)), Act::Pause(rng.range(0, 300_000)), leave]);
        }
        Misdeed::AbortWaiting => {
            acts.extend([Act::Write(whole), Act::Pause(rng.range(0, 300_000)), leave]);
        }
        Misdeed::EndlessHead => {
            for byte in cut(rng, 1, head - 1) {
                acts.extend([Act::Write(vec![byte]), Act::Pause(100_000)]);
            }
            acts.push(Act::Hang);
        }
        Misdeed::StopInBody => {
            let low = head.min(whole.len() - 1);
            acts.extend([Act::Write(cut(rng, low, whole.len() - 1)), Act::Hang]);
        }
        Misdeed::HalfClose => acts.extend([Act::Write(whole), Act::Finish, Act::AwaitReplies(nth + 1)]),
    }
}
