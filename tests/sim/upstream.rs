//! A simulated upstream server's end of one connection: it reads requests strictly and answers each as planned.

use crate::config::{ACCEL, TIMEOUT};
use crate::net::PeerEnd;
use crate::pipe::End;
use crate::plan::{self, Coding, Exchange, Fault, Plan, Then};
use crate::rng::Rng;
use crate::script::{Act, Script};
use crate::sickness::Trouble;
use crate::wire::{Event, Head, Reader};

/// A request that reached an upstream.
pub(crate) struct Attempt {
    pub(crate) exchange: usize,
    pub(crate) server: usize,
    pub(crate) at_us: u64,
    /// When the whole reply was handed to the network, or the connection was ended.
    pub(crate) done_us: Option<u64>,
    /// It is what X-Accel-Redirect led to.
    pub(crate) inner: bool,
    pub(crate) head: Head,
    pub(crate) body: Vec<u8>,
    /// The request's end came.
    pub(crate) complete: bool,
    /// The connection had carried a request before.
    pub(crate) reused: bool,
    /// The connection was closed on the request's arrival, as a pooled one may be.
    pub(crate) stale: bool,
    /// What was done to it on purpose.
    pub(crate) fault: Option<Fault>,
    /// The whole reply was handed to the network.
    pub(crate) replied: bool,
    /// What the core said in the tunnel.
    pub(crate) tunnel: Vec<u8>,
}

impl Attempt {
    /// When the core had to know that it failed: whoever says nothing fails when time is up.
    pub(crate) fn failed_us(&self) -> u64 {
        self.done_us.unwrap_or(self.at_us + TIMEOUT.0 * 1000)
    }
}

/// One connection of an upstream.
pub(crate) struct Upstream {
    server: usize,
    reader: Reader,
    script: Script,
    /// The request being served.
    attempt: Option<usize>,
    served: usize,
    /// How much of the tunnel's bytes went back.
    echoed: usize,
    then: Then,
    pub(crate) done: bool,
}

impl Upstream {
    pub(crate) fn new(server: usize) -> Self {
        Self {
            server,
            reader: Reader::new(),
            script: Script::new([]),
            attempt: None,
            served: 0,
            echoed: 0,
            then: Then::Keep,
            done: false,
        }
    }

    /// Does what can be done now.
    pub(crate) fn step(
        &mut self,
        end: &mut PeerEnd<'_>,
        plan: &Plan,
        attempts: &mut Vec<Attempt>,
        rng: &mut Rng,
    ) {
        if self.done {
            return;
        }
        let bytes = end.read(usize::MAX);
        self.reader.feed(&bytes);
        while !self.done {
            let event = self.reader.next();
            let event = event
                .unwrap_or_else(|why| panic!("upstream: the core sent {why}, then {:?}", self.reader.rest()));
            let Some(event) = event else { break };
            // The end of one request and the beginning of the next may come together: the first is settled before.
            while matches!(event, Event::Head(_)) && self.attempt.is_some() && self.act(end, attempts) {}
            if self.done {
                break;
            }
            self.note(event, end, plan, attempts, rng);
        }
        while !self.done && self.act(end, attempts) {}
        let ended = end.end() != End::Open;
        if !self.done && ended && !matches!(self.script.current(), Some(Act::Echo)) {
            end.close();
            self.done = true;
        }
    }

    fn note(
        &mut self,
        event: Event,
        end: &mut PeerEnd<'_>,
        plan: &Plan,
        attempts: &mut Vec<Attempt>,
        rng: &mut Rng,
    ) {
        match event {
            Event::Head(head) => self.begin(head, end, plan, attempts, rng),
            Event::Data(data) => {
                let attempt = &mut attempts[self.attempt.expect("a head came first")];
                if attempt.complete { attempt.tunnel.extend(data) } else { attempt.body.extend(data) }
            }
            Event::End(trailers) => {
                assert!(trailers.is_empty(), "upstream: trailers that nobody sent: {trailers:?}");
                attempts[self.attempt.expect("a head came first")].complete = true;
            }
        }
    }

    fn begin(
        &mut self,
        head: Head,
        end: &mut PeerEnd<'_>,
        plan: &Plan,
        attempts: &mut Vec<Attempt>,
        rng: &mut Rng,
    ) {
        assert!(
            self.attempt.is_none(),
            "upstream: a request before the reply to the last one ended: {head:?}"
        );
        let id = head.one("x-id").ok().flatten().and_then(|id| id.parse::<usize>().ok());
        let exchange = id.and_then(|id| plan.exchanges.get(id));
        let exchange = exchange.unwrap_or_else(|| panic!("upstream: a request that nobody made: {head:?}"));
        let framing = head.request_framing();
        let framing = framing.unwrap_or_else(|why| panic!("upstream: {why} in {head:?}"));
        let stale = self.served > 0 && self.then == Then::CloseOnReuse;
        let inner = head.request_line().is_ok_and(|(_, target, _)| target.starts_with(ACCEL));
        let redirects = exchange.accel && !inner;
        let trouble = plan.sickness[self.server].now(end.clock.now_us()).filter(|_| !stale);
        let same = |a: &&Attempt| a.exchange == exchange.id && a.inner == inner && !a.stale;
        let spoils = !stale && !redirects;
        let spoils = spoils && attempts.iter().filter(same).count() < exchange.reply.faulty_tries;
        let fault = suffered(trouble).or_else(|| exchange.reply.fault.filter(|_| spoils));
        let switches = exchange.reply.status == 101 && fault.is_none() && !stale;
        let bodiless = framing == crate::wire::Framing::Length(0);
        if switches && bodiless {
            self.reader.tunnel()
        } else {
            self.reader.body(framing)
        }
        self.attempt = Some(attempts.len());
        attempts.push(Attempt {
            exchange: exchange.id,
            server: self.server,
            at_us: end.clock.now_us(),
            done_us: None,
            inner,
            head,
            body: Vec::new(),
            complete: switches && bodiless,
            reused: self.served > 0,
            stale,
            fault,
            replied: false,
            tunnel: Vec::new(),
        });
        if trouble == Some(Trouble::Dead) {
            end.reset();
            self.done = true;
            return;
        }
        if stale {
            if rng.percent(50) {
                end.close()
            } else {
                end.reset()
            }
            self.done = true;
            return;
        }
        self.then = exchange.reply.then;
        let mut acts = script(exchange, redirects, fault, rng);
        if let Some(Trouble::Slow(us)) = trouble {
            acts.insert(0, Act::Pause(us));
        }
        self.script = Script::new(acts);
    }

    /// Plays the current act; says whether the next one may follow at once.
    fn act(&mut self, end: &mut PeerEnd<'_>, attempts: &mut [Attempt]) -> bool {
        let Some(act) = self.script.current() else { return self.rest(end, attempts) };
        let attempt = &mut attempts[self.attempt.expect("a script belongs to a request")];
        match act {
            Act::Write(bytes) => {
                let n = end.write(bytes);
                bytes.drain(..n);
                if !bytes.is_empty() {
                    return false;
                }
            }
            Act::Pause(span_us) => {
                let span_us = *span_us;
                let left_us = self.script.left_us(end.clock.now_us(), span_us);
                if left_us > 0 {
                    end.wake_in(left_us);
                    return false;
                }
            }
            Act::AwaitRequest if !attempt.complete => return false,
            Act::Echo => return self.echo(end, &attempt.tunnel),
            Act::Finish => end.shutdown(),
            Act::Close | Act::Reset => {
                attempt.done_us.get_or_insert(end.clock.now_us());
                if matches!(act, Act::Close) {
                    end.close()
                } else {
                    end.reset()
                }
                self.done = true;
            }
            Act::Hang => return false,
            Act::AwaitRequest | Act::AwaitReplies(_) | Act::AwaitContinue(_) | Act::AwaitSwitch(_) => {}
        }
        self.script.advance();
        true
    }

    /// Sends back what came, and the end behind it.
    fn echo(&mut self, end: &mut PeerEnd<'_>, heard: &[u8]) -> bool {
        self.echoed += end.write(&heard[self.echoed..]);
        if self.echoed == heard.len() && end.end() != End::Open {
            end.close();
            self.done = true;
        }
        false
    }

    /// The script is over: the request's rest, then the next request.
    fn rest(&mut self, end: &mut PeerEnd<'_>, attempts: &mut [Attempt]) -> bool {
        let Some(attempt) = self.attempt else { return self.idle(end) };
        attempts[attempt].replied = true;
        attempts[attempt].done_us.get_or_insert(end.clock.now_us());
        // Who replies early reads the rest of the request all the same, unless the core gives it up.
        if !attempts[attempt].complete {
            return false;
        }
        if self.then == Then::Close {
            end.close();
            self.done = true;
            return false;
        }
        self.attempt = None;
        self.served += 1;
        true
    }

    fn idle(&mut self, end: &mut PeerEnd<'_>) -> bool {
        if let Then::CloseIdle(span_us) = self.then
            && self.served > 0
        {
            let left_us = self.script.left_us(end.clock.now_us(), span_us);
            if left_us > 0 {
                end.wake_in(left_us);
            } else {
                end.close();
                self.done = true;
            }
        }
        false
    }
}

/// What an ill server does to a request.
fn suffered(trouble: Option<Trouble>) -> Option<Fault> {
    match trouble? {
        Trouble::Dead => Some(Fault::ResetBeforeHead),
        Trouble::Hangs => Some(Fault::HangBeforeHead),
        Trouble::Resets(bytes) => Some(Fault::ResetInHead(bytes)),
        Trouble::Refuses => Some(Fault::Refuses),
        Trouble::Slow(_) => None,
    }
}

/// What the upstream does about a request.
fn script(exchange: &Exchange, redirects: bool, fault: Option<Fault>, rng: &mut Rng) -> Vec<Act> {
    let reply = &exchange.reply;
    let mut acts = Vec::new();
    if !reply.early {
        acts.push(Act::AwaitRequest);
    }
    for status in &reply.interims {
        // Interim replies are for HTTP/1.1 requests only, and the core sends no others.
        acts.push(Act::Write(format!("HTTP/1.1 {status} Interim\r\n\r\n").into_bytes()));
    }
    acts.push(Act::Pause(reply.delay_us));
    match fault {
        Some(Fault::CloseBeforeHead) => return with(acts, [Act::Close]),
        Some(Fault::ResetBeforeHead) => return with(acts, [Act::Reset]),
        Some(Fault::HangBeforeHead) => return with(acts, [Act::Hang]),
        Some(Fault::Garbage) => {
            return with(acts, [Act::Write(b"ICY 200 OK\r\nX\r\n\r\n".to_vec()), Act::Hang]);
        }
        Some(Fault::ResetInHead(bytes)) => {
            let mut head = reply_head(exchange).into_bytes();
            head.truncate(bytes.min(head.len() - 1));
            return with(acts, [Act::Write(head), Act::Pause(rng.range(0, 50_000)), Act::Reset]);
        }
        Some(Fault::Refuses) => {
            let refusal = b"HTTP/1.1 503 Not now\r\nContent-Length: 3\r\n\r\nno\n";
            let len = if exchange.method == "HEAD" { refusal.len() - 3 } else { refusal.len() };
            return with(acts, [Act::Write(refusal[..len].to_vec())]);
        }
        Some(Fault::CloseInBody | Fault::ResetInBody | Fault::HangInBody) | None => {}
    }
    if redirects {
        let mut reply = format!(
            "HTTP/1.1 200 Fine\r\nX-Accel-Redirect: {ACCEL}{}?a\r\nContent-Length: 7\r\n\r\nignored",
            exchange.id
        );
        reply.truncate(reply.len() - if exchange.method == "HEAD" { 7 } else { 0 });
        return with(acts, [Act::Write(reply.into_bytes())]);
    }
    if reply.status == 101 {
        let head = format!(
            "HTTP/1.1 101 Switching\r\nUpgrade: sim\r\nConnection: Upgrade\r\nX-Reply: {}\r\n\r\n",
            exchange.id
        );
        return with(acts, [Act::Write(head.into_bytes()), Act::Echo]);
    }
    let mut pieces = vec![reply_head(exchange).into_bytes()];
    if exchange.method != "HEAD" {
        pieces.extend(plan::encode(&reply.body, reply.coding, reply.trailer, rng));
    }
    if let Some(fault) = fault {
        return with(acts, spoilt(&pieces.concat(), pieces[0].len(), fault, rng));
    }
    if rng.percent(40) {
        pieces = vec![pieces.concat()];
    }
    for piece in pieces {
        // Only before a piece: behind the last one the core may send its next request.
        if rng.percent(20) {
            acts.push(Act::Pause(rng.range(0, 30_000)));
        }
        acts.push(Act::Write(piece));
    }
    acts
}

fn with(mut acts: Vec<Act>, more: impl IntoIterator<Item = Act>) -> Vec<Act> {
    acts.extend(more);
    acts
}

/// The reply up to some byte, and the fault.
fn spoilt(whole: &[u8], head: usize, fault: Fault, rng: &mut Rng) -> [Act; 3] {
    let cut = rng.size(head.min(whole.len() - 1), whole.len() - 1);
    let how = match fault {
        Fault::CloseInBody => Act::Close,
        Fault::ResetInBody => Act::Reset,
        _ => Act::Hang,
    };
    [Act::Write(whole[..cut].to_vec()), Act::Pause(rng.range(0, 50_000)), how]
}

fn reply_head(exchange: &Exchange) -> String {
    let reply = &exchange.reply;
    let mut head = format!(
        "HTTP/1.{} {} Some Reason\r\nX-Reply: {}\r\nServer: sim\r\n",
        u8::from(!reply.http10),
        reply.status,
        exchange.id
    );
    match reply.coding {
        Coding::Length => head += &format!("Content-Length: {}\r\n", reply.body.len()),
        Coding::Chunked => head += "Transfer-Encoding: chunked\r\n",
        Coding::None | Coding::UntilClose => {}
    }
    if reply.status == 302 {
        head += "Location: /elsewhere\r\n";
    }
    if reply.then == Then::Close {
        head += "Connection: close, X-Private\r\nX-Private: p\r\n";
    }
    head + "X-Pad-Out: " + &"r".repeat(exchange.id * 53 % 900) + "\r\n\r\n"
}
