//! The reference model: from the plan it says what each upstream and each client must have seen, and compares.
//!
//! Where nothing went wrong everything is exact. Where a fault was injected, the model names what it excuses: a status
//! of the proxy's own, a reply that is visibly cut. It never excuses another exchange's bytes, a request that was sent
//! twice though it may not be, or a cut body that looks whole.

use proxy_core::config::Balance;

use crate::client::{Client, Seen};
use crate::config::ACCEL;
use crate::plan::{self, Coding, Exchange, Fault, Misdeed, Mood, Plan};
use crate::upstream::Attempt;
use crate::wire::Head;
use crate::world::Outcome;

/// Compares what was seen with what the plan says; panics with the first difference.
pub(crate) fn check(plan: &Plan, outcome: &Outcome) {
    for client in &outcome.clients {
        let mut alive = true;
        for (nth, id) in plan.clients[client.number].exchanges.iter().enumerate() {
            let case = Case { plan, outcome, client, exchange: &plan.exchanges[*id], nth };
            alive = case.check(alive);
        }
    }
    for attempt in &outcome.attempts {
        let known =
            outcome.clients.iter().any(|c| plan.clients[c.number].exchanges.contains(&attempt.exchange));
        assert!(known, "a request of a client that never came: {}", attempt.exchange);
    }
    let nameless =
        outcome.access.iter().filter(|line| line.starts_with("id=- ") || line.starts_with("id= ")).count();
    let client_may = |client: &&plan::Client| {
        // Early bytes behind a handshake that was refused are read as a request, which they are none.
        let early = |id: &usize| plan.exchanges[*id].upgrade.as_ref().is_some_and(|tunnel| tunnel.early > 0);
        client.misdeed.is_some() || client.exchanges.iter().any(early)
    };
    let troubled = plan.clients.iter().filter(client_may).count();
    assert!(nameless <= troubled, "{nameless} access lines without an id, {troubled} clients may cause one");
    check_shares(plan, outcome);
    check_patience(plan, outcome);
    check_room(plan, outcome);
    assert_eq!(outcome.kept_blocks, (0, 0), "leak: the drained worker holds blocks (small, large)");
}

/// Where nothing goes wrong, the round robin gives each server its share to within two requests.
fn check_shares(plan: &Plan, outcome: &Outcome) {
    let even = plan.shutdown_us.is_none() && plan.reloads.is_empty() && plan.site.max_conns == 0;
    if plan.mood != Mood::default() || !even || plan.site.balance != Balance::RoundRobin {
        return;
    }
    let all = outcome.attempts.len();
    let total: u32 = plan.site.weights.iter().sum();
    for (server, weight) in plan.site.weights.iter().enumerate() {
        let got = outcome.attempts.iter().filter(|attempt| attempt.server == server).count();
        let due = all as f64 * f64::from(*weight) / f64::from(total);
        assert!(
            (got as f64 - due).abs() <= 2.0,
            "server {server} got {got} of {all} requests, {due} were due"
        );
    }
}

/// A server that has failed `max_fails` times in a row, and does so for good, gets nothing for `fail_timeout`.
fn check_patience(plan: &Plan, outcome: &Outcome) {
    if plan.site.max_fails == 0 || !plan.mood.sick_servers || !plan.reloads.is_empty() {
        return;
    }
    for (server, _) in plan.sickness.iter().enumerate().filter(|(_, sickness)| sickness.is_for_good()) {
        // A reset of a connection that served before does not count against a server.
        let counts = |attempt: &Attempt| match attempt.fault {
            Some(Fault::ResetInHead(_)) => !attempt.reused,
            fault => fault.is_some(),
        };
        let failed = |attempt: &&Attempt| attempt.server == server && counts(attempt);
        let asked =
            outcome.attempts.iter().filter(failed).map(|attempt| (attempt.at_us, attempt.failed_us()));
        let refused = outcome.refused.iter().filter(|(to, _, _)| *to == server);
        let failed: Vec<(u64, u64)> = asked.chain(refused.map(|(_, from, until)| (*from, *until))).collect();
        let mut ends: Vec<u64> = failed.iter().map(|(_, end_us)| *end_us).collect();
        ends.sort_unstable();
        let Some(out_us) = ends.get(plan.site.max_fails as usize - 1) else { continue };
        let quiet = out_us + SETTLES_US..out_us + plan.site.fail_timeout.0 * 1000;
        let asked = failed.iter().find(|(at_us, _)| quiet.contains(at_us));
        assert!(asked.is_none(), "server {server} is out from {out_us} us, and asked: {asked:?}");
    }
}

/// How long it takes at the most until a failure is known and what is on its way to a server has arrived.
const SETTLES_US: u64 = 300_000;

/// Where nothing goes wrong, `max_conns` bounds what a server works on at one time.
fn check_room(plan: &Plan, outcome: &Outcome) {
    if plan.site.max_conns == 0 || plan.mood != Mood::default() || plan.shutdown_us.is_some() {
        return;
    }
    // Who answers before it has the request may still read when the exchange is over.
    let counts = |attempt: &&Attempt| !plan.exchanges[attempt.exchange].reply.early;
    let spans = |server: usize| {
        let own = outcome.attempts.iter().filter(counts).filter(move |attempt| attempt.server == server);
        own.filter_map(|attempt| Some((attempt.at_us, attempt.done_us?)))
    };
    // A server that a reload takes away and another one brings back is a new one, and what the old one works on its own affair.
    for server in (0..plan.site.weights.len()).filter(|server| !plan.goes(*server)) {
        for (at_us, _) in spans(server) {
            let busy = spans(server).filter(|(from, until)| *from <= at_us && at_us < *until).count();
            assert!(busy <= plan.site.max_conns as usize, "server {server} works on {busy} at {at_us} us");
        }
    }
}

/// One exchange under comparison.
struct Case<'a> {
    plan: &'a Plan,
    outcome: &'a Outcome,
    client: &'a Client,
    exchange: &'a Exchange,
    nth: usize,
}

impl Case<'_> {
    /// Checks everything about this exchange. `alive` says whether the connection was to be used for it at all; the
    /// result says the same about the next one.
    fn check(&self, alive: bool) -> bool {
        let attempts = self.attempts();
        for attempt in &attempts {
            self.check_attempt(attempt);
        }
        self.check_repetition(&attempts);
        self.check_access(attempts.len());
        let seen = self.client.seen.get(self.nth);
        let Some((seen, head)) = seen.and_then(|seen| Some((seen, seen.head.as_ref()?))) else {
            // A slow reader's next request may come after the idle connection was closed.
            let slow = self.nth > 0 && self.plan.clients[self.client.number].read_pause_us > 0;
            // A reset is all that tells HTTP/1.0 of a cut reply, and it may overtake the head.
            let reset = self.exchange.http10 && attempts.iter().any(|attempt| attempt.fault.is_some());
            let excused =
                !alive || slow || reset || self.misdeed().is_some() || self.plan.shutdown_us.is_some();
            assert!(excused, "{}: no reply", self.name());
            return false;
        };
        self.check_interims(seen);
        match head.one("x-reply").unwrap_or_else(|why| self.fail(&why)) {
            Some(id) => {
                assert_eq!(id, self.exchange.id.to_string(), "{}: another exchange's reply", self.name());
                self.check_reply(seen, head, &attempts);
            }
            None => self.check_own_reply(head, &attempts),
        }
        let closes = head.has_word("connection", "close") || self.exchange.http10;
        alive && seen.complete && !closes
    }

    fn name(&self) -> String {
        let x = self.exchange;
        format!("client {} exchange {} ({} {})", self.client.number, x.id, x.method, x.target)
    }

    fn fail(&self, why: &str) -> ! {
        panic!("{}: {why}", self.name())
    }

    fn attempts(&self) -> Vec<&Attempt> {
        self.outcome.attempts.iter().filter(|attempt| attempt.exchange == self.exchange.id).collect()
    }

    /// What the client does wrong in this very exchange.
    fn misdeed(&self) -> Option<Misdeed> {
        let client = &self.plan.clients[self.client.number];
        client.misdeed.filter(|_| self.nth + 1 == client.exchanges.len())
    }

    fn is_calm(&self) -> bool {
        self.plan.mood == Mood::default() && self.plan.shutdown_us.is_none()
    }

    /// What an upstream got: rewritten as configured, and not a byte of the body wrong.
    fn check_attempt(&self, attempt: &Attempt) {
        let x = self.exchange;
        let head = &attempt.head;
        let line = head.request_line().unwrap_or_else(|why| self.fail(&why));
        let version = if self.plan.site.http10 { "HTTP/1.0" } else { "HTTP/1.1" };
        let inner = format!("{ACCEL}{}?a", x.id);
        let target = if attempt.inner { &inner } else { &x.target };
        assert!(x.accel || !attempt.inner, "{}: redirected for nothing", self.name());
        assert_eq!(line, (x.method, target.as_str(), version), "{}: the request line", self.name());
        let address = format!("192.0.2.{}", self.client.number + 1);
        let long = "v".repeat(x.id * 37 % 700);
        let fields = [
            ("host", crate::config::HOST),
            ("x-real-ip", &address),
            ("x-forwarded-for", &address),
            ("x-forwarded-proto", "http"),
            ("x-long", &long),
        ];
        for (name, value) in fields {
            assert_eq!(head.all(name), [value], "{}: the field {name} upstream", self.name());
        }
        for name in ["x-hop", "keep-alive", "expect", "te", "proxy-connection"] {
            assert!(head.all(name).is_empty(), "{}: {name} was forwarded", self.name());
        }
        let handshake = x.upgrade.is_some();
        assert_eq!(
            head.all("upgrade"),
            if handshake { vec!["sim"] } else { vec![] },
            "{}: Upgrade",
            self.name()
        );
        let expected =
            if attempt.complete { &x.body[..] } else { x.body.get(..attempt.body.len()).unwrap_or(&[]) };
        assert!(
            attempt.body == expected,
            "{}: the request's body upstream ({} bytes)",
            self.name(),
            attempt.body.len()
        );
        if let Some(tunnel) = &x.upgrade {
            let prefix = tunnel.bytes.starts_with(&attempt.tunnel);
            assert!(prefix, "{}: the tunnel upstream ({} bytes)", self.name(), attempt.tunnel.len());
        } else {
            assert!(attempt.tunnel.is_empty(), "{}: bytes behind the request", self.name());
        }
    }

    fn check_repetition(&self, attempts: &[&Attempt]) {
        let sent = attempts.len();
        assert!(sent <= 1 || self.exchange.is_idempotent(), "{}: sent {sent} times", self.name());
        for inner in [false, true] {
            let attempts: Vec<&Attempt> = attempts.iter().copied().filter(|a| a.inner == inner).collect();
            self.check_tries(&attempts);
        }
    }

    /// The tries at one reply.
    fn check_tries(&self, attempts: &[&Attempt]) {
        let servers = (0..self.plan.site.weights.len()).filter(|server| !self.plan.goes(*server));
        for server in servers {
            // A pooled connection that was dead is no try; on a new one a server is asked once.
            let fresh = attempts.iter().filter(|attempt| attempt.server == server && !attempt.reused).count();
            assert!(fresh <= 1, "{}: {fresh} tries at server {server}", self.name());
        }
        // Who answers well, or will, is not passed over: nobody else is asked behind it.
        let well = attempts.iter().position(|attempt| attempt.fault.is_none() && !attempt.stale);
        let last = well.is_none_or(|well| well + 1 == attempts.len());
        assert!(last, "{}: asked again behind a good try: {:?}", self.name(), tries(attempts));
    }

    fn check_access(&self, attempts: usize) {
        let key = format!("id={} ", self.exchange.id);
        let lines: Vec<&String> = self.outcome.access.iter().filter(|line| line.starts_with(&key)).collect();
        assert!(lines.len() <= 1, "{}: logged more than once: {lines:?}", self.name());
        let head = self.client.seen.get(self.nth).and_then(|seen| seen.head.as_ref());
        let Some(line) = lines.first() else {
            let served = attempts > 0 || head.is_some_and(|head| head.all("x-reply").len() == 1);
            return assert!(!served, "{}: not logged", self.name());
        };
        if let Some(head) = head {
            let status = head.status().unwrap_or_else(|why| self.fail(&why));
            assert!(
                line.contains(&format!("status={status} ")),
                "{}: logged as {line}, was {status}",
                self.name()
            );
        }
    }

    fn check_interims(&self, seen: &Seen) {
        for head in &seen.interims {
            let status = head.status().unwrap_or_else(|why| self.fail(&why));
            let planned = self.exchange.reply.interims.contains(&status);
            let own = status == 100 && self.exchange.expect;
            assert!((planned || own) && !self.exchange.http10, "{}: an unasked {status}", self.name());
        }
    }

    /// A reply that an upstream made.
    fn check_reply(&self, seen: &Seen, head: &Head, attempts: &[&Attempt]) {
        let (x, reply) = (self.exchange, &self.exchange.reply);
        let status = head.status().unwrap_or_else(|why| self.fail(&why));
        assert_eq!(status, reply.status, "{}: the status", self.name());
        self.check_fields(head);
        let whole: &[u8] = match (status, &x.upgrade) {
            (101, Some(tunnel)) => &tunnel.bytes,
            _ if x.method == "HEAD" => &[],
            _ => &reply.body,
        };
        assert!(
            whole.starts_with(&seen.body),
            "{}: the body ({} bytes) differs",
            self.name(),
            seen.body.len()
        );
        let cut = attempts.iter().any(|attempt| {
            matches!(attempt.fault, Some(Fault::CloseInBody | Fault::ResetInBody | Fault::HangInBody))
        });
        if seen.complete {
            let hidden =
                cut && (reply.coding == Coding::UntilClose || x.http10 && reply.coding != Coding::Length);
            // Who misbehaves in a tunnel may have said less than planned.
            let exact = seen.body.len() == whole.len() || (status == 101 && self.misdeed().is_some());
            assert!(
                exact || hidden,
                "{}: {} of {} bytes look whole",
                self.name(),
                seen.body.len(),
                whole.len()
            );
        } else {
            let excused = cut || self.misdeed().is_some() || self.outcome.files_failed;
            assert!(excused, "{}: cut at {} of {} bytes", self.name(), seen.body.len(), whole.len());
        }
    }

    fn check_fields(&self, head: &Head) {
        let (x, reply) = (self.exchange, &self.exchange.reply);
        if reply.status == 101 {
            return assert!(head.has_word("upgrade", "sim"), "{}: 101 without Upgrade", self.name());
        }
        let pad = "r".repeat(x.id * 53 % 900);
        assert_eq!(head.all("x-pad-out"), [pad.as_str()], "{}: the field X-Pad-Out", self.name());
        assert_eq!(head.all("date").len(), 1, "{}: Date", self.name());
        assert!(!head.all("server").contains(&"sim"), "{}: the upstream's Server", self.name());
        assert!(head.all("x-accel-redirect").is_empty(), "{}: X-Accel-Redirect", self.name());
        let location = if reply.status == 302 { vec!["/elsewhere"] } else { vec![] };
        assert_eq!(head.all("location"), location, "{}: Location", self.name());
        if reply.coding == Coding::Length {
            let length = reply.body.len().to_string();
            assert_eq!(head.all("content-length"), [length.as_str()], "{}: Content-Length", self.name());
        }
        let framed = !head.all("content-length").is_empty() || !head.all("transfer-encoding").is_empty();
        assert!(
            !x.http10 || head.all("transfer-encoding").is_empty(),
            "{}: a coding for HTTP/1.0",
            self.name()
        );
        let bodiless = x.method == "HEAD" || reply.coding == Coding::None;
        assert!(framed || bodiless || x.http10, "{}: close-delimited for HTTP/1.1", self.name());
        let unread = reply.early && !x.body.is_empty();
        let last = x.close || x.http10 || self.nth + 1 >= self.requests_max();
        if self.is_calm() && !unread && !last {
            assert!(!head.has_word("connection", "close"), "{}: closed without need", self.name());
        }
    }

    fn requests_max(&self) -> usize {
        usize::try_from(self.plan.site.client_requests_max).expect("a small number")
    }

    /// A reply that the proxy made itself, which needs an excuse.
    fn check_own_reply(&self, head: &Head, attempts: &[&Attempt]) {
        let status = head.status().unwrap_or_else(|why| self.fail(&why));
        let excused = match status {
            // A refusal is the last server's own words.
            503 if self.plan.site.next_on_503 => self.may_fail(attempts),
            502 | 504 => self.may_fail(attempts),
            400 | 408 | 499 => self.misdeed().is_some(),
            500 | 507 => self.outcome.files_failed,
            _ => false,
        };
        assert!(excused, "{}: the proxy's own {status}; tries {:?}", self.name(), tries(attempts));
    }

    /// Whether an upstream's fault may end this exchange.
    fn may_fail(&self, attempts: &[&Attempt]) -> bool {
        let mood = self.plan.mood;
        let faulty = attempts.iter().any(|attempt| attempt.fault.is_some());
        let marked_down = mood.bad_upstreams && self.plan.site.max_fails > 0;
        // A dead pooled connection is nobody's fault, so a request that may be repeated must be.
        let repeatable = self.exchange.is_idempotent()
            && (self.exchange.body.is_empty() || self.plan.site.request_buffering);
        if mood.sick_servers {
            // One of them is well, and nothing else goes wrong.
            return !repeatable;
        }
        faulty || marked_down || mood.connect_fail_percent > 0 || (mood.stale_pool && !repeatable)
    }
}

fn tries(attempts: &[&Attempt]) -> Vec<String> {
    let text = |a: &&Attempt| {
        format!(
            "server {} reused {} stale {} fault {:?} replied {}",
            a.server, a.reused, a.stale, a.fault, a.replied
        )
    };
    attempts.iter().map(text).collect()
}
