//! `mirror`: copies of requests, and whether their bodies go along.

use std::sync::Arc;

use proxy_core::config::Mirrors;

use super::context::Call;
use super::core::inherit;
use crate::conf::value::Parsed;

/// What a level says; `None` is silence.
#[derive(Clone, Debug, Default)]
pub struct MirrorLevel {
    /// `mirror`; an empty list is `off`.
    pub uris: Option<Vec<Arc<[u8]>>>,
    /// `mirror_request_body`
    pub request_body: Option<bool>,
}

impl MirrorLevel {
    /// Fills what this level does not say from the level above.
    pub fn inherit(&mut self, parent: &Self) {
        inherit!(self, parent; uris request_body);
    }

    /// The mirrors; none where there are none.
    pub fn finish(&self) -> Option<Arc<Mirrors>> {
        let uris = self.uris.as_deref().filter(|uris| !uris.is_empty())?;
        let request_body = self.request_body.unwrap_or(true);
        Some(Arc::new(Mirrors { uris: uris.into(), request_body }))
    }
}

/// `mirror uri|off;`
///
/// # Errors
/// nginx's `is duplicate`, where `off` stands beside others.
pub fn mirror(level: &mut MirrorLevel, call: &mut Call<'_, '_>) -> Parsed<()> {
    let uri = call.first().arg;
    let off = uri.is("off");
    if level.uris.as_ref().is_some_and(|uris| off || uris.is_empty()) {
        return Err(call.error("\"mirror\" directive is duplicate"));
    }
    let uris = level.uris.get_or_insert_default();
    if !off {
        uris.push(uri.bytes.as_slice().into());
    }
    Ok(())
}
