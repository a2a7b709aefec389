//! What a request brings along for the choice of its server, and what the choice leaves behind: hashed keys, `sticky`.

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;

use smallvec::SmallVec;

use crate::command::Address;
use crate::config::{Balance, CookieExpires, Policy, Sticky, StickyCookie, StickyKind, Template};
use crate::exchange::Exchange;
use crate::exchange::context::{Context, Generation};
use crate::h1::encode;
use crate::http::date::write_cookie_time;
use crate::upstream::Group;
use crate::upstream::balance::sticky::session_key;

impl Exchange {
    /// The first choice is about to be made: finds out what it goes by.
    pub(super) fn prepare_choice(&mut self, group: &RefCell<Group>, ctx: &mut Context) {
        let generation = Rc::clone(&self.generation);
        let (balance, policy) = {
            let group = group.borrow();
            if !group.asks_the_request {
                return;
            }
            (group.balance(), group.policy.clone())
        };
        match balance {
            Balance::IpHash => self.proxy.pick.key = self.hashed_address(),
            Balance::Hash | Balance::HashConsistent => {
                let key = policy.key.as_ref().map(|key| self.evaluate(key, &generation, ctx));
                self.proxy.pick.key = key.map(SmallVec::from_vec).unwrap_or_default();
            }
            Balance::RoundRobin | Balance::LeastConn | Balance::LeastTime(_) | Balance::Random(_) => {}
        }
        if let Some(sticky) = &policy.sticky {
            self.proxy.session = self.first_value(&sticky.lookup, &generation, ctx);
            self.find_own_server(sticky, group, ctx);
        }
        if policy.retry_budget.is_some() {
            self.proxy.budget.enter(&group.borrow().shared);
        }
    }

    /// As `ip_hash` sees it: three bytes of an IPv4 address, all of an IPv6 address.
    fn hashed_address(&self) -> SmallVec<[u8; 16]> {
        match &self.facts.conn.peer.client {
            Address::Ip(core::net::SocketAddr::V4(address)) => {
                let [a, b, c, _] = address.ip().octets();
                SmallVec::from_slice(&[a, b, c])
            }
            Address::Ip(core::net::SocketAddr::V6(address)) => SmallVec::from_slice(&address.ip().octets()),
            Address::Unix(_) => SmallVec::from_slice(&[0, 0, 0]),
        }
    }

    /// The first of some variables that has a value.
    fn first_value(&self, templates: &[Template], generation: &Generation, ctx: &mut Context) -> Vec<u8> {
        let mut values = templates.iter().map(|template| self.evaluate(template, generation, ctx));
        values.find(|value| !value.is_empty()).unwrap_or_default()
    }

    fn find_own_server(&mut self, sticky: &Sticky, group: &RefCell<Group>, ctx: &Context) {
        let session = &self.proxy.session;
        if session.is_empty() {
            return;
        }
        self.proxy.pick.sid = match &sticky.kind {
            StickyKind::Cookie(_) | StickyKind::Route => session.clone(),
            StickyKind::Learn(_) => {
                let found = group
                    .borrow()
                    .sessions
                    .as_ref()
                    .and_then(|sessions| sessions.find(&session_key(session), ctx.now.instant));
                found.map(SmallVec::into_vec).unwrap_or_default()
            }
        };
    }

    /// A server was chosen: `sticky cookie` says so to the client.
    pub(super) fn note_choice(&mut self, group: &RefCell<Group>, place: usize, ctx: &mut Context) {
        let generation = Rc::clone(&self.generation);
        let (policy, sid) = {
            let group = group.borrow();
            if !group.asks_the_request || group.policy.sticky.is_none() {
                return;
            }
            (group.policy.clone(), group.sid(place).unwrap_or_default())
        };
        let Policy { sticky: Some(Sticky { kind: StickyKind::Cookie(cookie), .. }), .. } = &*policy else {
            return;
        };
        let mut line = Vec::from(b"Set-Cookie: ");
        let value = line.len();
        self.write_cookie(cookie, &sid, &generation, ctx, &mut line);
        if !encode::is_clean(line.get(value..).unwrap_or_default()) {
            // A line end, by way of a variable in the domain.
            line.clear();
        } else {
            line.extend_from_slice(b"\r\n");
        }
        self.proxy.cookie = line;
    }

    fn write_cookie(
        &self,
        cookie: &StickyCookie,
        sid: &[u8],
        generation: &Generation,
        ctx: &mut Context,
        out: &mut Vec<u8>,
    ) {
        let mut put = |parts: &[&[u8]]| parts.iter().for_each(|part| out.extend_from_slice(part));
        put(&[&cookie.name, b"=", sid]);
        match cookie.expires_s {
            Some(CookieExpires::Max) => put(&[b"; expires=Thu, 31-Dec-37 23:55:55 GMT; max-age=315360000"]),
            Some(CookieExpires::Seconds(seconds)) => {
                let mut time = Vec::new();
                write_cookie_time(&mut time, (ctx.now.unix_ms / 1000).saturating_add(seconds).cast_signed());
                put(&[b"; expires=", &time, b"; max-age="]);
                time.clear();
                encode::decimal(&mut time, seconds);
                put(&[&time]);
            }
            None => {}
        }
        let value = |template: &Option<Template>, ctx: &mut Context| {
            template.as_ref().map(|template| self.evaluate(template, generation, ctx)).unwrap_or_default()
        };
        let domain = value(&cookie.domain, ctx);
        if !domain.is_empty() {
            put(&[b"; domain=", &domain]);
        }
        if cookie.http_only {
            put(&[b"; httponly"]);
        }
        if cookie.secure {
            put(&[b"; secure"]);
        }
        let mut same_site = value(&cookie.same_site, ctx);
        if !same_site.is_empty() {
            let known: [&[u8]; 3] = [b"strict", b"lax", b"none"];
            if !known.iter().any(|known| known.eq_ignore_ascii_case(&same_site)) {
                same_site = b"strict".into();
            }
            put(&[b"; samesite=", &same_site]);
        }
        if let Some(path) = &cookie.path {
            put(&[b"; path=", path]);
        }
    }

    /// `sticky learn`: a server has answered, with the head or with all of it.
    pub(super) fn learn_session(&mut self, header: bool, ctx: &mut Context) {
        let Some(seat) = &self.proxy.seat else { return };
        let (policy, sid, sessions) = {
            let group = seat.group.borrow();
            let Some(sessions) = group.sessions.clone() else { return };
            (group.policy.clone(), group.sid(seat.server).unwrap_or_default(), sessions)
        };
        let Policy { sticky: Some(Sticky { kind: StickyKind::Learn(learn), .. }), .. } = &*policy else {
            return;
        };
        if learn.header != header {
            return;
        }
        let generation = Rc::clone(&self.generation);
        let created = self.first_value(&learn.create, &generation, ctx);
        let session = if created.is_empty() { &self.proxy.session } else { &created };
        if !session.is_empty() {
            sessions.learn(&session_key(session), &sid, !created.is_empty(), ctx.now.instant);
        }
    }
}
