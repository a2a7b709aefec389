//! Fields behind the body: `add_trailer`, and those of the upstream (`proxy_pass_trailers`).
//!
//! HTTP/1.1 has a place for them behind the last chunk only (RFC 9112, section 7.1.2), so a reply that gets any is
//! chunked even where its length is known. Their values are computed when the body has ended.

use alloc::rc::Rc;

use super::Exchange;
use super::context::{Context, Generation};
use super::reply_body::ReplyFraming;
use crate::buf::Chunk;
use crate::filter;
use crate::h1::encode;
use crate::http::Status;

impl Exchange {
    /// The framing of a reply with this status: chunks, where the level adds trailers to it.
    pub(crate) fn framing_for_trailers(
        &mut self,
        framing: ReplyFraming,
        status: Status,
        generation: &Generation,
    ) -> ReplyFraming {
        let Some(core) = self.core(generation).filter(|core| !core.add_trailers.is_empty()) else {
            return framing;
        };
        let said = |value: &crate::config::Template| !value.pieces().is_empty();
        let adds = core.add_trailers.iter().any(|trailer| trailer.applies_to(status) && said(&trailer.value));
        let chunks = core.chunked_transfer_encoding && self.client_takes_chunks();
        self.adds_trailers = adds;
        if adds && chunks && matches!(framing, ReplyFraming::Length(_)) {
            ReplyFraming::Chunked
        } else {
            framing
        }
    }

    /// The body has ended; these lines came behind it from the upstream, each with its line end.
    pub(crate) fn end_body(&mut self, upstream: Chunk, ctx: &mut Context) {
        if !self.adds_trailers {
            self.facts.reply.trailers = upstream.clone();
            return filter::end(&mut self.filters, &mut self.reply, upstream);
        }
        let generation = Rc::clone(&self.generation);
        let mut lines = upstream.to_vec();
        if !self.head_sent {
            // The head is written, but not yet on its way: `$sent_http_…` sees it.
            self.facts.reply.head = Chunk::from_vec(ctx.scratch.clone());
        }
        let Some(core) = self.core(&generation) else {
            return filter::end(&mut self.filters, &mut self.reply, upstream);
        };
        for trailer in core.add_trailers.iter() {
            if !trailer.applies_to(self.facts.reply.status) {
                continue;
            }
            let value = self.evaluate(&trailer.value, &generation, ctx);
            if !value.is_empty() && !encode::computed_field(&mut lines, &trailer.name, &value) {
                let text =
                    alloc::format!("trailer \"{}\" would hold a line end", trailer.name.escape_ascii());
                self.log_error(crate::command::Level::Error, &text, ctx);
            }
        }
        let lines = Chunk::from_vec(lines);
        self.facts.reply.trailers = lines.clone();
        filter::end(&mut self.filters, &mut self.reply, lines);
    }
}
