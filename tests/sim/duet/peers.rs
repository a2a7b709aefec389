//! The client and the server of a run: neither cares which version it speaks.

use std::collections::BTreeMap;

use super::http1::Http1;
use super::http2::Http2;
use super::plan::{Exchange, Fault, Plan};
use super::speech::{Fields, Heard, Speech, value};
use crate::net::PeerEnd;
use crate::pipe::End;
use crate::rng::Rng;

/// RFC 9113, section 7.
const REFUSED_STREAM: u32 = 7;
const CANCEL: u32 = 8;

/// What came back for an exchange.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) head: Option<Fields>,
    pub(crate) body: Vec<u8>,
    pub(crate) complete: bool,
    /// The client has given it up.
    pub(crate) cancelled: bool,
    /// It was cut, in a way that can be seen.
    pub(crate) broken: bool,
}

impl Seen {
    const fn is_over(&self) -> bool {
        self.complete || self.cancelled || self.broken
    }
}

/// A client on its one connection.
pub(crate) struct Client {
    speech: Speech,
    /// Its exchanges by their number on the connection.
    keys: BTreeMap<u32, usize>,
    waiting: Vec<usize>,
    pub(crate) seen: BTreeMap<usize, Seen>,
    asked: u32,
    at_once: usize,
    /// When what was asked is given up: the number and the time.
    cancel_at: Vec<(u32, u64)>,
    ready_us: u64,
    pub(crate) done: bool,
}

impl Client {
    pub(crate) fn new(number: usize, plan: &Plan) -> Self {
        let two = plan.client_h2;
        let speech = if two {
            Speech::Two(Box::new(Http2::new(false, plan.client_window, 100)))
        } else {
            Speech::One(Http1::new(false))
        };
        let mut waiting = plan.clients[number].clone();
        waiting.reverse();
        Self {
            speech,
            keys: BTreeMap::new(),
            waiting,
            seen: BTreeMap::new(),
            asked: 0,
            at_once: if two { plan.at_once } else { 1 },
            cancel_at: Vec::new(),
            ready_us: 0,
            done: false,
        }
    }

    pub(crate) fn step(&mut self, end: &mut PeerEnd<'_>, plan: &Plan, rng: &mut Rng) {
        if self.done {
            return;
        }
        let bytes = end.read(if rng.percent(20) { rng.size(1, 3000) } else { usize::MAX });
        if !bytes.is_empty() {
            end.wake_in(0);
        }
        let mut heard = self.speech.feed(&bytes);
        let over = end.end() != End::Open && bytes.is_empty();
        if over {
            heard.extend(self.speech.ended());
        }
        heard.into_iter().for_each(|heard| self.note(heard));
        if over {
            // Whatever is not whole is visibly cut, and what was not asked will not be.
            self.seen.values_mut().filter(|seen| !seen.is_over()).for_each(|seen| seen.broken = true);
            end.close();
            self.done = true;
            return;
        }
        self.give_up(end);
        self.ask(end, plan, rng);
        write(&mut self.speech, end);
        if self.waiting.is_empty() && self.seen.values().all(Seen::is_over) && !self.done {
            end.close();
            self.done = true;
        }
    }

    fn note(&mut self, heard: Heard) {
        let key = match heard {
            Heard::Head(key, _) | Heard::Data(key, _) | Heard::End(key) | Heard::Reset(key) => key,
            // The proxy leaves: what it has not seen is asked elsewhere by a real client.
            Heard::Goodbye(last) => {
                let unseen = self.keys.range(last + 1..).map(|(_, id)| *id).collect::<Vec<_>>();
                for id in unseen.into_iter().chain(self.waiting.drain(..)) {
                    self.seen.entry(id).or_default().broken = true;
                }
                return;
            }
        };
        let id = self.keys.get(&key).unwrap_or_else(|| panic!("client: {heard:?}, which nobody asked for"));
        let seen = self.seen.get_mut(id).expect("it was asked");
        match heard {
            _ if seen.is_over() => {}
            Heard::Head(_, fields) => seen.head = Some(fields),
            Heard::Data(_, data) => seen.body.extend(data),
            Heard::End(_) => seen.complete = true,
            Heard::Reset(..) | Heard::Goodbye(_) => seen.broken = true,
        }
    }

    fn ask(&mut self, end: &mut PeerEnd<'_>, plan: &Plan, rng: &mut Rng) {
        while self.seen.values().filter(|seen| !seen.is_over()).count() < self.at_once {
            let now_us = end.clock.now_us();
            if now_us < self.ready_us {
                return end.wake_in(self.ready_us - now_us);
            }
            let Some(id) = self.waiting.pop() else { return };
            let exchange = &plan.exchanges[id];
            let key = match self.speech {
                Speech::One(_) => self.asked,
                Speech::Two(_) => 2 * self.asked + 1,
            };
            self.asked += 1;
            self.keys.insert(key, id);
            self.seen.insert(id, Seen::default());
            let method = if exchange.post { "POST" } else { "GET" };
            let fields = [(":method", method), (":path", "/a?b"), ("x-id", &*id.to_string())];
            let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
            self.speech.say(key, &fields, &exchange.body);
            if let Some(after_us) = exchange.cancel_us {
                self.cancel_at.push((key, now_us + after_us));
                end.wake_in(after_us);
            }
            if rng.percent(30) {
                self.ready_us = now_us + rng.range(0, 20_000);
            }
        }
    }

    fn give_up(&mut self, end: &mut PeerEnd<'_>) {
        let now_us = end.clock.now_us();
        let due: Vec<u32> =
            self.cancel_at.iter().filter(|(_, at_us)| *at_us <= now_us).map(|(key, _)| *key).collect();
        self.cancel_at.retain(|(_, at_us)| *at_us > now_us);
        for key in due {
            let seen = self.keys.get(&key).and_then(|id| self.seen.get_mut(id));
            let Some(seen) = seen.filter(|seen| !seen.is_over()) else { continue };
            seen.cancelled = true;
            match &mut self.speech {
                Speech::Two(two) => two.reset(key, CANCEL),
                Speech::One(_) => {
                    // All that HTTP/1.1 has for it.
                    end.reset();
                    self.done = true;
                    for id in self.waiting.drain(..) {
                        self.seen.entry(id).or_default().cancelled = true;
                    }
                }
            }
        }
    }
}

/// A request as a server got it.
pub(crate) struct Attempt {
    pub(crate) exchange: usize,
    pub(crate) fields: Fields,
    pub(crate) body: Vec<u8>,
    pub(crate) complete: bool,
    /// What was done to it, by its own fault or by that of another one on the same connection.
    pub(crate) spoilt: bool,
    /// It was surely not processed, and the proxy was told so.
    pub(crate) unprocessed: bool,
    /// The proxy does not want it any more.
    pub(crate) cancelled: bool,
}

/// A server on one connection.
pub(crate) struct Server {
    speech: Speech,
    /// The attempt of each number, and when its reply is due.
    running: BTreeMap<u32, Running>,
    /// All attempts on this connection.
    served: Vec<usize>,
    /// The highest number that was answered.
    answered: u32,
    leaving: bool,
    /// The connection ends at this time.
    closes_at: Option<u64>,
    done: bool,
}

struct Running {
    attempt: usize,
    due_us: u64,
    fault: Option<Fault>,
    replied: bool,
}

impl Server {
    pub(crate) fn new(plan: &Plan) -> Self {
        let speech = if plan.server_h2 {
            Speech::Two(Box::new(Http2::new(true, plan.server_window, plan.server_streams)))
        } else {
            Speech::One(Http1::new(true))
        };
        Self {
            speech,
            running: BTreeMap::new(),
            served: Vec::new(),
            answered: 0,
            leaving: false,
            closes_at: None,
            done: false,
        }
    }

    pub(crate) fn step(
        &mut self,
        end: &mut PeerEnd<'_>,
        plan: &Plan,
        attempts: &mut Vec<Attempt>,
        cuts: &mut usize,
        rng: &mut Rng,
    ) {
        if self.done {
            return;
        }
        let bytes = end.read(if rng.percent(20) { rng.size(1, 3000) } else { usize::MAX });
        if !bytes.is_empty() {
            end.wake_in(0);
        }
        for heard in self.speech.feed(&bytes) {
            self.note(heard, end, plan, attempts);
        }
        if end.end() != End::Open && bytes.is_empty() {
            end.close();
            self.done = true;
            return;
        }
        self.reply(end, plan, attempts, rng);
        write(&mut self.speech, end);
        let now_us = end.clock.now_us();
        if self.leaving && !self.is_busy() {
            // The proxy has all of it once it closes as well.
            return end.shutdown();
        }
        if self.closes_at.is_some_and(|at_us| at_us <= now_us) {
            for place in &self.served {
                attempts[*place].spoilt = true;
            }
            *cuts += 1;
            if rng.percent(50) {
                end.close();
            } else {
                end.reset();
            }
            self.done = true;
        }
    }

    fn is_busy(&self) -> bool {
        match &self.speech {
            Speech::One(_) => self.speech.has_unsaid(),
            Speech::Two(two) => two.is_busy() || two.has_unsaid(),
        }
    }

    fn note(&mut self, heard: Heard, end: &mut PeerEnd<'_>, plan: &Plan, attempts: &mut Vec<Attempt>) {
        match heard {
            Heard::Head(key, fields) => self.begin(key, fields, end, plan, attempts),
            Heard::Data(key, data) => {
                if let Some(running) = self.running.get(&key) {
                    attempts[running.attempt].body.extend(data);
                }
            }
            Heard::End(key) => {
                if let Some(running) = self.running.get(&key) {
                    attempts[running.attempt].complete = true;
                }
            }
            Heard::Reset(key) => {
                if let Some(running) = self.running.remove(&key) {
                    attempts[running.attempt].cancelled = true;
                }
            }
            Heard::Goodbye(_) => {}
        }
    }

    fn begin(
        &mut self,
        key: u32,
        fields: Fields,
        end: &mut PeerEnd<'_>,
        plan: &Plan,
        attempts: &mut Vec<Attempt>,
    ) {
        let id: usize = value(&fields, "x-id").expect("an id").parse().expect("a number");
        let exchange = &plan.exchanges[id];
        let first = !attempts.iter().any(|attempt| attempt.exchange == id);
        let fault = exchange.fault.filter(|_| first);
        let attempt = Attempt {
            exchange: id,
            fields,
            body: Vec::new(),
            complete: false,
            spoilt: false,
            unprocessed: self.leaving,
            cancelled: false,
        };
        self.served.push(attempts.len());
        attempts.push(attempt);
        if self.leaving {
            // Behind GOAWAY nothing is looked at.
            return self.forget(key);
        }
        let due_us = end.clock.now_us() + exchange.delay_us;
        end.wake_in(exchange.delay_us);
        self.running.insert(key, Running { attempt: attempts.len() - 1, due_us, fault, replied: false });
    }

    fn forget(&mut self, key: u32) {
        if let Speech::Two(two) = &mut self.speech {
            two.forget(key);
        }
    }

    fn reply(&mut self, end: &mut PeerEnd<'_>, plan: &Plan, attempts: &mut [Attempt], rng: &mut Rng) {
        let now_us = end.clock.now_us();
        let keys: Vec<u32> = self.running.keys().copied().collect();
        for key in keys {
            let Some(running) = self.running.get_mut(&key) else { continue };
            let attempt = &mut attempts[running.attempt];
            let exchange = &plan.exchanges[attempt.exchange];
            if running.replied {
                if attempt.complete {
                    self.running.remove(&key);
                }
                continue;
            }
            // An early fault comes before the request is whole, an early reply too.
            let waits = !attempt.complete && !exchange.early;
            if running.due_us > now_us || waits {
                continue;
            }
            running.replied = true;
            if let Some(fault) = running.fault {
                self.spoil(key, fault, exchange, end, attempts, rng);
            } else {
                self.answer(key, exchange);
            }
        }
    }

    fn answer(&mut self, key: u32, exchange: &Exchange) {
        self.answered = self.answered.max(key);
        let fields = [(":status", "200"), ("x-reply", &*exchange.id.to_string())];
        let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        self.speech.say(key, &fields, &exchange.reply);
    }

    fn spoil(
        &mut self,
        key: u32,
        fault: Fault,
        exchange: &Exchange,
        end: &mut PeerEnd<'_>,
        attempts: &mut [Attempt],
        rng: &mut Rng,
    ) {
        let place = self.running.get(&key).map(|running| running.attempt).expect("it runs");
        let body_bytes = rng.size(0, exchange.reply.len().saturating_sub(1));
        let soon = end.clock.now_us() + rng.range(0, 30_000);
        let two = matches!(self.speech, Speech::Two(_));
        attempts[place].spoilt = true;
        // Who has answered a later one cannot say that it has not seen this one's successors.
        let fault = if fault == Fault::Leave && self.answered > key { Fault::Refuse } else { fault };
        match (fault, &mut self.speech) {
            (Fault::Refuse, Speech::Two(two)) => {
                (attempts[place].spoilt, attempts[place].unprocessed) = (false, true);
                self.running.remove(&key);
                two.reset(key, REFUSED_STREAM);
            }
            (Fault::Leave, Speech::Two(two)) => {
                // The streams before this one are served, this one and those behind it were never seen.
                two.goodbye(key.saturating_sub(2));
                self.leaving = true;
                let unseen: Vec<u32> = self.running.range(key..).map(|(key, _)| *key).collect();
                for key in unseen {
                    two.forget(key);
                    let Some(running) = self.running.remove(&key) else { continue };
                    attempts[running.attempt].unprocessed = true;
                    attempts[running.attempt].spoilt = false;
                }
            }
            (Fault::Reset, Speech::Two(two)) => two.reset(key, rng.pick(&[1, 2, CANCEL, 11])),
            (Fault::Cut, _) => {
                self.answer(key, exchange);
                self.speech.cut(key, body_bytes);
                if two && rng.percent(60) {
                    if let Speech::Two(two) = &mut self.speech {
                        two.output();
                        two.reset(key, 2);
                    }
                } else {
                    self.closes_at = Some(soon);
                    end.wake_in(soon.saturating_sub(end.clock.now_us()));
                }
            }
            (Fault::Close | Fault::Refuse | Fault::Leave | Fault::Reset, _) => {
                self.closes_at = Some(end.clock.now_us());
            }
        }
    }
}

/// Writes what goes.
fn write(speech: &mut Speech, end: &mut PeerEnd<'_>) {
    let out = speech.output();
    let n = end.write(out);
    out.drain(..n);
}
