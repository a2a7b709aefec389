//! How fast a reply goes: `limit_rate` towards the client, `proxy_limit_rate` from the upstream.

use alloc::format;
use alloc::vec::Vec;

use super::Exchange;
use super::context::{Context, Generation};
use crate::command::Level;
use crate::config::Template;
use crate::conn::{Link, Pace};

impl Exchange {
    /// Sets the pace of the reply whose head is about to be sent. What `set $limit_rate` or X-Accel-Limit-Rate said
    /// stands before the location's.
    pub(crate) fn set_pace(&mut self, generation: &Generation, link: &mut Link, ctx: &mut Context) {
        let Some(core) = self.core(generation) else { return };
        if core.limit_rate.is_none() && self.facts.limit_rate.is_none() {
            return;
        }
        let rate = match self.facts.limit_rate {
            Some(rate) => rate,
            None => self.bytes_of(core.limit_rate.as_ref(), generation, ctx),
        };
        self.facts.limit_rate = Some(rate);
        let after = self.bytes_of(core.limit_rate_after.as_ref(), generation, ctx);
        link.pace = Pace::new(rate, after, self.facts.started, self.sent_before, ctx.now);
    }

    /// The size that a directive has now; 0 where it has none, or nonsense, which is said.
    pub(crate) fn bytes_of(
        &self,
        template: Option<&Template>,
        generation: &Generation,
        ctx: &mut Context,
    ) -> u64 {
        let Some(template) = template else { return 0 };
        let mut text = Vec::new();
        template.write(&self.facts, &ctx.env(generation), &mut text);
        super::vars::size(&text).unwrap_or_else(|| {
            let message =
                format!("invalid size \"{}\" while sending response to client", text.escape_ascii());
            self.log_error(Level::Error, &message, ctx);
            0
        })
    }
}
