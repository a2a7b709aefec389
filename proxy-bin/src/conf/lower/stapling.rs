//! `ssl_stapling` and what belongs to it: whose responders are asked.

use std::sync::Arc;

use proxy_core::config::{ResolverId, Stapling};
use proxy_core::time::Millis;
use proxy_core::tls::build::Certificate;

use super::context::{Call, Context};
use super::core::CoreLevel;
use super::tls::{Named, TlsLevel, load_trust};
use crate::conf::diagnostic::Diagnostic;
use crate::conf::value::Parsed;

/// `resolver_timeout`
const RESOLVER_TIMEOUT: Millis = Millis::from_secs(30);

/// Who looks names up for a server.
#[derive(Clone, Copy, Debug)]
pub struct Asker {
    resolver: Option<ResolverId>,
    timeout: Millis,
}

impl Asker {
    /// What a server says of it, or else the level above.
    pub fn of(server: Option<&CoreLevel>, outer: &CoreLevel) -> Self {
        let said = server.and_then(|level| level.resolver);
        let timeout = server.and_then(|level| level.resolver_timeout).or(outer.resolver_timeout);
        Self { resolver: said.or(outer.resolver), timeout: timeout.unwrap_or(RESOLVER_TIMEOUT) }
    }
}

impl TlsLevel {
    /// Has the responder of a certificate asked, where that is wanted and nothing else is shown. Where nobody can be
    /// asked there is a warning, as in nginx.
    pub(super) fn staple(
        &self,
        asker: Asker,
        named: &Named,
        certificate: &Certificate,
        cx: &mut Context<'_>,
    ) -> Option<()> {
        if self.stapling != Some(true) || self.stapling_file.is_some() {
            return Some(());
        }
        let trusted = match &self.trusted_certificate {
            Some(file) => load_trust(cx, file)?,
            None => Vec::new(),
        };
        let stapling = Stapling {
            certificate: certificate.clone(),
            name: cx.conf_path(&named.text).to_string_lossy().into(),
            responder: self.stapling_responder.as_deref().map(Into::into),
            trusted: trusted.into(),
            resolver: asker.resolver,
            timeout: asker.timeout,
        };
        match stapling.check() {
            Ok(()) => cx.staplings.push(Arc::new(stapling)),
            Err(words) => cx.diagnostics.push(Diagnostic::warn(named.span, words)),
        }
        Some(())
    }
}

/// `ssl_stapling_responder url;`
///
/// # Errors
/// None: what is wrong with the URL is told with the certificate, as in nginx.
pub fn responder(level: &mut TlsLevel, call: &Call<'_, '_>) -> Parsed<()> {
    level.stapling_responder = Some(call.text(0).into());
    Ok(())
}
