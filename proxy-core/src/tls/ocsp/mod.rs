//! OCSP (RFC 6960): what responders say of our certificates, fetched ahead and stapled to handshakes (RFC 6066, section 8).
//!
//! ```text
//!  look ─► is it due, and nobody asks? ─► the responder's addresses ─► Fetch ─► judged ─► shared ─► every worker's look
//! ```
//! A handshake never waits: it shows what is there. Answers belong to the process ([`shared::staples`]), so one worker
//! asks for all, and a reload begins with what is known.
//!
//! - [`message`]: the question, and what an answer is worth;
//! - [`fetch`]: the connection.
//!
//! [`shared::staples`]: crate::shared::staples
//!
//! Reference: ngx_event_openssl_stapling.c.

pub(crate) mod fetch;
pub(crate) mod message;

use alloc::boxed::Box;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::{String, ToString as _};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use aws_lc_rs::digest::{Context as Digest, SHA256};
use rustls::pki_types::CertificateDer;

use super::build::Certificate;
use crate::command::{Address, Command, Completion, ConnId, Level, Report, ResolveId};
use crate::config::ResolverId;
use crate::conn::name_server::{Alarm, Ring};
use crate::dns::{Name, Subject};
use crate::exchange::context::{Conn, Context};
use crate::shared::staples::StapleKey;
use crate::time::{Instant, Millis};
use crate::timer::{Deadline, Reason};
use crate::upstream::names;
use fetch::{Fetch, Outcome, Responder, TIMEOUT};
use message::{Question, Status};

/// How long it takes at the most until a certificate that was replaced is noticed.
const LOOK_EVERY: Millis = Millis::from_secs(5);
/// When to ask again after a failure, and how long before its end an answer is replaced; nginx's.
const RETRY: Millis = Millis::from_secs(300);
/// How long an answer is shown at the most before there is a look for a newer one; nginx's.
const REFRESH: Millis = Millis::from_secs(3600);
/// How much longer than all timeouts a question is left to who took it.
const SLACK: Millis = Millis::from_secs(5);

/// A certificate that is to be shown with what its responder says (`ssl_stapling`).
#[derive(Debug)]
pub struct Stapling {
    /// The certificate.
    pub certificate: Certificate,
    /// The file that it came from, for messages.
    pub name: Arc<str>,
    /// `ssl_stapling_responder`: whom to ask in the place of the one that the certificate names.
    pub responder: Option<Box<str>>,
    /// `ssl_trusted_certificate`: who may have issued it, where the chain does not tell.
    pub trusted: Arc<[CertificateDer<'static>]>,
    /// `resolver`; the system's where there is none.
    pub resolver: Option<ResolverId>,
    /// `resolver_timeout`
    pub timeout: Millis,
}

/// What is asked about one certificate.
struct Inquiry {
    key: StapleKey,
    question: Question,
    responder: Responder,
}

impl Stapling {
    /// Whether anybody can be asked.
    ///
    /// # Errors
    /// nginx's words for why not.
    pub fn check(&self) -> Result<(), String> {
        self.inquiry().map(|_| ())
    }

    fn inquiry(&self) -> Result<Inquiry, String> {
        let current = self.certificate.current();
        let (leaf, chain) = current.cert.split_first().ok_or("there is no certificate")?;
        let name = &self.name;
        let issuer = message::issuer_of(leaf, chain.iter().chain(self.trusted.iter()));
        let issuer = issuer.ok_or_else(|| {
            format!("\"ssl_stapling\" ignored, issuer certificate not found for certificate \"{name}\"")
        })?;
        let url = match &self.responder {
            Some(url) => url.to_string(),
            None => message::responder_of(leaf).ok_or_else(|| {
                format!("\"ssl_stapling\" ignored, no OCSP responder URL in the certificate \"{name}\"")
            })?,
        };
        let responder = Responder::parse(&url).map_err(|error| {
            format!(
                "\"ssl_stapling\" ignored, {error} in OCSP responder \"{}\" in the certificate \"{name}\"",
                url.escape_default()
            )
        })?;
        let question = Question::new(leaf, issuer).ok_or("OCSP_CERTID_new() failed")?;
        let mut digest = Digest::new(&SHA256);
        [leaf.as_ref(), issuer, url.as_bytes()].into_iter().for_each(|part| digest.update(part));
        let mut key = StapleKey::default();
        key.copy_from_slice(digest.finish().as_ref());
        Ok(Inquiry { key, question, responder })
    }
}

/// A worker's view of all that is to be stapled.
#[derive(Default)]
pub(crate) struct Staples {
    list: Vec<Running>,
    /// The key that their timer goes by.
    alarm: Option<ConnId>,
}

/// One certificate of the present configuration.
struct Running {
    stapling: Arc<Stapling>,
    /// The certificate that `inquiry` is about.
    leaf: Option<CertificateDer<'static>>,
    inquiry: Option<Inquiry>,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Resting,
    Resolving(ResolveId),
    Fetching(ConnId),
}

/// Staples to the certificates of the configuration that begins, and to no other.
pub(crate) fn start(ctx: &mut Context) {
    drop_all(ctx);
    if !ctx.draining {
        let generation = Rc::clone(&ctx.generation);
        ctx.staples.list = generation.config.staplings.iter().map(Running::new).collect();
        let keys: Vec<StapleKey> = ctx.staples.list.iter().filter_map(Running::key).collect();
        ctx.shared.staples.retain(|key| keys.contains(key));
    }
    look(ctx);
}

/// Asks nobody any more: the worker drains.
pub(crate) fn stop(ctx: &mut Context) {
    drop_all(ctx);
    look(ctx);
}

fn drop_all(ctx: &mut Context) {
    for running in core::mem::take(&mut ctx.staples.list) {
        if running.phase == Phase::Resting {
            continue;
        }
        if let Some(inquiry) = &running.inquiry {
            // Whoever comes next need not wait for this one.
            ctx.shared.staples.settle(&inquiry.key, None, ctx.now.instant);
        }
        if let Phase::Fetching(id) = running.phase
            && let Some(Conn::Fetch(mut fetch)) = ctx.conns.remove(id.0)
        {
            fetch.close(ctx);
        }
    }
}

/// The timer has rung.
pub(crate) fn handle_alarm(ctx: &mut Context) {
    look(ctx);
}

/// Shows what is known, and asks what is due.
fn look(ctx: &mut Context) {
    let now = ctx.now.instant;
    let mut next: Option<Instant> = None;
    for place in 0..ctx.staples.list.len() {
        let Some(running) = ctx.staples.list.get_mut(place) else { continue };
        running.follow_certificate();
        let Some(inquiry) = &running.inquiry else {
            next = Some(now + LOOK_EVERY);
            continue;
        };
        let answer = ctx.shared.staples.answer(&inquiry.key, ctx.now.unix_ms / 1000);
        running.stapling.certificate.staple(answer.as_deref());
        let mut at = now + LOOK_EVERY;
        if running.phase == Phase::Resting {
            let span = Millis(TIMEOUT.0 + running.stapling.timeout.0 + SLACK.0);
            match ctx.shared.staples.claim(&inquiry.key, now + span, now) {
                Err(due) => at = at.min(due),
                Ok(()) => ask(place, ctx),
            }
        }
        next = Some(next.map_or(at, |next| next.min(at)));
    }
    set_alarm(next, ctx);
}

impl Running {
    fn new(stapling: &Arc<Stapling>) -> Self {
        let mut running =
            Self { stapling: Arc::clone(stapling), leaf: None, inquiry: None, phase: Phase::Resting };
        running.follow_certificate();
        running
    }

    fn key(&self) -> Option<StapleKey> {
        self.inquiry.as_ref().map(|inquiry| inquiry.key)
    }

    /// A certificate that was replaced is asked about anew.
    fn follow_certificate(&mut self) {
        let current = self.stapling.certificate.current();
        if self.phase == Phase::Resting && self.leaf.as_ref() != current.cert.first() {
            self.leaf = current.cert.first().cloned();
            self.inquiry = self.stapling.inquiry().ok();
        }
    }
}

/// Finds out where the responder is.
fn ask(place: usize, ctx: &mut Context) {
    let generation = Rc::clone(&ctx.generation);
    let Some(running) = ctx.staples.list.get(place) else { return };
    let Some(inquiry) = &running.inquiry else { return };
    let host = inquiry.responder.host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(ip) = host.parse::<IpAddr>() {
        return fetch(place, &[ip], ctx);
    }
    let (name, timeout) = (Arc::<str>::from(host), running.stapling.timeout);
    let id = ctx.names.number();
    let known = match running.stapling.resolver.and_then(|id| generation.resolver(id)) {
        Some(resolver) => match Name::from_text(&name) {
            Some(name) => resolver
                .lookup(id, Subject::Host(name), timeout, ctx)
                .map(|result| names::Answer::of_resolver(&result)),
            None => Some(names::Answer(Err("Host not found".into()))),
        },
        None => {
            ctx.commands.push_back(Command::Resolve { id, name });
            None
        }
    };
    if let Some(running) = ctx.staples.list.get_mut(place) {
        running.phase = Phase::Resolving(id);
    }
    if let Some(answer) = known {
        handle_resolved(id, &answer, ctx);
    }
}

/// A name is known. Returns whether it was one of ours.
pub(crate) fn handle_resolved(id: ResolveId, answer: &names::Answer, ctx: &mut Context) -> bool {
    let place = ctx.staples.list.iter().position(|running| running.phase == Phase::Resolving(id));
    let Some(place) = place else { return false };
    ctx.names.answered(id);
    match &answer.0 {
        Ok((addresses, _)) => {
            let addresses = addresses.clone();
            fetch(place, &addresses, ctx);
        }
        Err(why) => {
            let host = ctx.staples.list.get(place).and_then(|running| running.inquiry.as_ref());
            let host = host.map_or("", |inquiry| &*inquiry.responder.host);
            let words = format!("{host} could not be resolved ({why})");
            conclude(place, None, Err(words), ctx);
        }
    }
    true
}

fn fetch(place: usize, addresses: &[IpAddr], ctx: &mut Context) {
    let Some(running) = ctx.staples.list.get(place) else { return };
    let Some(inquiry) = &running.inquiry else { return };
    let port = inquiry.responder.port;
    let addresses = addresses.iter().map(|ip| Address::Ip(SocketAddr::new(*ip, port))).collect();
    let responder = inquiry.responder.clone();
    let question = inquiry.question.der.clone();
    let begun = Fetch::begin(&responder, &question, addresses, ctx);
    match (begun, ctx.staples.list.get_mut(place)) {
        (Some(id), Some(running)) => running.phase = Phase::Fetching(id),
        _ => conclude(place, None, Err("no address of the OCSP responder is known".into()), ctx),
    }
}

/// Something happened to a question's connection.
pub(crate) fn handle_completion(id: ConnId, completion: Completion, ctx: &mut Context) {
    let mut completion = Some(completion);
    drive(id, ctx, |fetch, ctx| fetch.handle_completion(completion.take()?, ctx));
}

/// A deadline of a question's connection may have passed.
pub(crate) fn handle_timeout(id: ConnId, ctx: &mut Context) {
    drive(id, ctx, |fetch, ctx| fetch.is_late(ctx).then(|| Err("OCSP responder timed out".into())));
}

fn drive(id: ConnId, ctx: &mut Context, act: impl FnOnce(&mut Fetch, &mut Context) -> Option<Outcome>) {
    let Some(slot) = ctx.conns.get_mut(id.0) else { return };
    if !matches!(slot, Conn::Fetch(_)) {
        return;
    }
    let Conn::Fetch(mut fetch) = core::mem::replace(slot, Conn::Driven) else { return };
    let Some(outcome) = act(&mut fetch, ctx) else {
        if let Some(slot) = ctx.conns.get_mut(id.0) {
            *slot = Conn::Fetch(fetch);
        }
        return;
    };
    ctx.conns.remove(id.0);
    let place = ctx.staples.list.iter().position(|running| running.phase == Phase::Fetching(id));
    let next = if outcome.is_err() { fetch.next(ctx) } else { None };
    fetch.close(ctx);
    let Some(place) = place else { return };
    match (next, ctx.staples.list.get_mut(place)) {
        (Some(next), Some(running)) => running.phase = Phase::Fetching(next),
        _ => conclude(place, Some(&fetch.peer), outcome, ctx),
    }
}

/// The responder has answered, or will not.
fn conclude(place: usize, peer: Option<&Address>, outcome: Outcome, ctx: &mut Context) {
    let now_s = ctx.now.unix_ms / 1000;
    let Some(running) = ctx.staples.list.get_mut(place) else { return };
    running.phase = Phase::Resting;
    let Some(inquiry) = &running.inquiry else { return };
    let judged = outcome.and_then(|answer| {
        let finding = inquiry.question.judge(&answer, now_s)?;
        match finding.status {
            Status::Good => Ok((Arc::<[u8]>::from(answer), finding.until_s)),
            Status::Revoked | Status::Unknown => {
                Err(format!("certificate status \"{}\" in the OCSP response", finding.status.word()))
            }
        }
    });
    let settled = match judged {
        Ok((answer, until_s)) => {
            let until_s = until_s.unwrap_or(u64::MAX);
            let left = Millis(until_s.saturating_sub(now_s).saturating_mul(1000).saturating_sub(RETRY.0));
            let again = Millis(left.0.clamp(RETRY.0, REFRESH.0));
            ctx.shared.staples.settle(&inquiry.key, Some((answer, until_s)), ctx.now.instant + again);
            None
        }
        Err(words) => {
            ctx.shared.staples.settle(&inquiry.key, None, ctx.now.instant + RETRY);
            Some(words)
        }
    };
    if let Some(words) = settled {
        let peer = peer.map(|peer| format!(", peer: {peer}")).unwrap_or_default();
        let (host, name) = (&inquiry.responder.host, &running.stapling.name);
        let doing = "while requesting certificate status";
        let message =
            format!("{words} {doing}, responder: {host}{peer}, certificate: \"{name}\"").into_bytes();
        ctx.reports.push_back(Report::Error { log: 0, level: Level::Error, message });
    }
    look(ctx);
}

fn set_alarm(at: Option<Instant>, ctx: &mut Context) {
    let Some(at) = at else {
        let alarm = ctx.staples.alarm.take();
        if let Some(Conn::Alarm(mut alarm)) = alarm.and_then(|id| ctx.conns.remove(id.0)) {
            alarm.deadline.disarm(&mut ctx.timers);
        }
        return;
    };
    let id = *ctx.staples.alarm.get_or_insert_with(|| {
        let alarm = Alarm { ring: Ring::Staples, deadline: Deadline::default() };
        ConnId(ctx.conns.insert(Conn::Alarm(Box::new(alarm))))
    });
    if let Some(Conn::Alarm(alarm)) = ctx.conns.get_mut(id.0) {
        alarm.deadline.set(&mut ctx.timers, id, at, Reason::Staple);
    }
}
