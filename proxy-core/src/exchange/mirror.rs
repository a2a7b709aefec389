//! `mirror`: copies of the request, each for another URI, whose replies are thrown away.
//!
//! They begin once the request's body is there, if they are to have it. The client does not wait for them; only its
//! connection's next request does, as with nginx.
//!
//! Reference: nginx's ngx_http_mirror_module.

use super::context::Context;
use super::request_body::Mode;
use super::sub::{Purpose, SubNature, Wish};
use super::{Exchange, Stage};
use crate::buf::Chunk;
use crate::config::Mirrors;
use crate::conn::Link;

impl Exchange {
    /// Begins the location's mirrors. Returns whether the content is to be made now: not while the body is waited for.
    pub(super) fn mirror(&mut self, mirrors: &Mirrors, link: &mut Link, ctx: &mut Context) -> bool {
        if self.is_sub() || self.mirrored {
            return true;
        }
        if mirrors.request_body && self.body.mode() == Mode::Untouched {
            self.want_request_body(Mode::Buffer, link, ctx);
            if !self.body.is_complete() {
                self.gathers_for_content = true;
                self.stage = Stage::Gather;
                self.set_body_deadline(link, ctx);
                return false;
            }
        }
        self.mirrored = true;
        for uri in &*mirrors.uris {
            let wish = Wish {
                purpose: Purpose::Mirror,
                uri: Chunk::from_shared(uri.clone()),
                args: self.facts.args.clone(),
                nature: SubNature { head_only: true, keeps_method: true },
                with_body: mirrors.request_body,
            };
            if self.spawn_sub(wish, link, ctx).is_none() {
                break;
            }
        }
        true
    }
}
