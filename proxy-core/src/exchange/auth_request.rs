//! `auth_request`: the status of a subrequest decides whether this request may go on.
//!
//! 2xx lets it pass, 401 and 403 refuse it, anything else is 500. Variables of the configuration may take values from the
//! subrequest (`auth_request_set`), whatever it says.
//!
//! Reference: nginx's ngx_http_auth_request_module.

use alloc::format;
use alloc::rc::Rc;
use alloc::vec::Vec;

use super::access::Verdict;
use super::context::Context;
use super::sub::{Purpose, SubNature, Wish};
use super::{Exchange, Facts, Stage};
use crate::buf::Chunk;
use crate::command::Level;
use crate::config::Access;
use crate::conn::Link;
use crate::h1::encode;
use crate::http::{HeaderId, Status};

impl Exchange {
    /// Asks, and waits for the answer.
    pub(super) fn check_request(&mut self, access: &Access, link: &Link, ctx: &mut Context) -> Verdict {
        let Some(request) = &access.request else { return Verdict::Declined };
        let wish = Wish {
            purpose: Purpose::Auth,
            uri: Chunk::from_shared(request.uri.clone()),
            args: Chunk::empty(),
            nature: SubNature { head_only: true, keeps_method: false },
            with_body: false,
        };
        if self.spawn_sub(wish, link, ctx).is_none() {
            return Verdict::Denied(Status::INTERNAL_SERVER_ERROR);
        }
        self.stage = Stage::Access;
        Verdict::Pending
    }

    /// The answer is there: `sub` are the facts of the subrequest.
    pub(super) fn auth_request_done(&mut self, sub: &Facts, link: &mut Link, ctx: &mut Context) {
        if self.stage != Stage::Access {
            // The client has gone meanwhile.
            return;
        }
        let generation = Rc::clone(&self.generation);
        let access = self.location(&generation).and_then(|location| location.access.as_ref());
        if let Some(request) = access.and_then(|access| access.request.as_ref()) {
            for (target, template) in &*request.set {
                let mut value = Vec::new();
                template.write(sub, &ctx.env(&generation), &mut value);
                self.set(*target, value, ctx);
            }
        }
        let verdict = match sub.reply.status {
            status if (200..300).contains(&status.0) => Verdict::Allowed,
            Status::FORBIDDEN => Verdict::Denied(Status::FORBIDDEN),
            Status::UNAUTHORIZED => {
                self.carry_challenges(sub);
                Verdict::Denied(Status::UNAUTHORIZED)
            }
            status => {
                // An upstream that was asked leaves these words behind, in nginx.
                let doing = if sub.tries.is_empty() { "" } else { " while sending to client" };
                let text = format!("auth request unexpected status: {}{doing}", status.0);
                self.log_error(Level::Error, &text, ctx);
                Verdict::Denied(Status::INTERNAL_SERVER_ERROR)
            }
        };
        self.resume_access(verdict, link, ctx);
    }

    /// What the client is to answer goes out with the refusal.
    fn carry_challenges(&mut self, sub: &Facts) {
        let Some(head) = &sub.upstream_head else { return };
        for field in head.fields.iter().filter(|field| field.id == HeaderId::WwwAuthenticate) {
            let (name, value) = head.pair(field);
            encode::field(&mut self.challenge, name, value);
        }
    }
}
