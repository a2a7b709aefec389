//! TLS towards upstreams: `proxy_ssl_*` as written, inherited, and made into what the core needs.
//!
//! Nothing is read and nothing is refused where no URL is `https://`, as in nginx.

use std::sync::Arc;

use proxy_core::config::{ProxyTls, Template, UpstreamTls};
use proxy_core::tls::build::{Certificate, Fault, Parameters};
use proxy_core::tls::client::{UpstreamSettings, upstream};
use proxy_core::tls::verify::Trust;
use rustls::time_provider::DefaultTimeProvider;

use super::context::{Call, Context};
use super::core::inherit;
use super::proxy_pass::Pass;
use super::tls::{
    Named, TlsLevel, certificate_cache, computed, computed_pairs, load_trust, named, read, trust_in,
};
use super::tls_values::{self, emerg};
use crate::conf::diagnostic::{Diagnostic, Severity};
use crate::conf::directive::store;
use crate::conf::span::Span;
use crate::conf::value::Parsed;
use crate::tls_cache::CacheLimits;
use crate::tls_files::{self, Watched};

/// `proxy_ssl_verify_depth`
const VERIFY_DEPTH: usize = 1;

/// What a level says; `None` is silence.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "each field is the directive of its name")]
pub struct UpstreamTlsLevel {
    pub session_reuse: Option<bool>,
    /// TLS 1.2, TLS 1.3.
    pub protocols: Option<(bool, bool)>,
    pub ciphers: Option<Vec<u16>>,
    /// `proxy_ssl_conf_command Ciphersuites`
    pub ciphersuites: Option<Vec<u16>>,
    /// `proxy_ssl_conf_command Groups`
    pub curves: Option<Vec<u16>>,
    pub name: Option<Template>,
    pub server_name: Option<bool>,
    pub verify: Option<bool>,
    pub verify_depth: Option<usize>,
    pub trusted_certificate: Option<Named>,
    pub crl: Option<Named>,
    pub certificate: Option<Named>,
    pub certificate_key: Option<Named>,
    pub password_file: Option<Named>,
    /// The inner `None` is `off`.
    pub certificate_cache: Option<Option<CacheLimits>>,
}

/// TLS for a location's requests, and for its upgrades.
pub type TlsPair = (Option<Box<ProxyTls>>, Option<Box<ProxyTls>>);

impl UpstreamTlsLevel {
    /// Fills what this level does not say from the level above.
    pub fn inherit(&mut self, parent: &Self) {
        inherit!(self, parent; session_reuse protocols ciphers ciphersuites curves name server_name verify
            verify_depth trusted_certificate crl certificate certificate_key password_file certificate_cache);
    }

    /// TLS of one `proxy_pass`, and of upgrades where those need another protocol; none where it needs none, or where
    /// mistakes were recorded.
    pub fn of_pass(&self, pass: &Pass, http2: bool, cx: &mut Context<'_>) -> TlsPair {
        let protocols: &[&[u8]] = if http2 { &[b"h2", b"http/1.1"] } else { &[] };
        let main = self.offering(pass, "proxy", protocols, cx);
        let upgrades = if http2 { self.offering(pass, "proxy", &[], cx) } else { None };
        (main, upgrades)
    }

    /// TLS of one `grpc_pass`.
    pub fn of_grpc(&self, pass: &Pass, cx: &mut Context<'_>) -> TlsPair {
        (self.offering(pass, "grpc", &[b"h2"], cx), None)
    }

    fn offering(
        &self,
        pass: &Pass,
        family: &str,
        protocols: &[&[u8]],
        cx: &mut Context<'_>,
    ) -> Option<Box<ProxyTls>> {
        let settings = self.settings(pass.tls?, family, protocols, cx)?;
        Some(Box::new(ProxyTls::new(settings, pass.tls_name.as_deref())))
    }

    /// The settings for a URL that stands at `at`, of this family of directives (`proxy`), which offer these protocols by ALPN;
    /// the same ones for all who say the same. None where mistakes were recorded.
    pub fn settings(
        &self,
        at: Span,
        family: &str,
        protocols: &[&[u8]],
        cx: &mut Context<'_>,
    ) -> Option<Arc<UpstreamTls>> {
        let key = format!("{family} {protocols:?} {self:?}");
        if let Some(known) = cx.upstream_tls.get(&key) {
            return known.clone();
        }
        let made = self.make(at, family, protocols, cx);
        cx.upstream_tls.insert(key, made.clone());
        made
    }

    fn make(
        &self,
        at: Span,
        family: &str,
        protocols: &[&[u8]],
        cx: &mut Context<'_>,
    ) -> Option<Arc<UpstreamTls>> {
        let own: Vec<_> = self.certificate.iter().zip(&self.certificate_key).collect();
        let limits = self.certificate_cache.flatten();
        let computed = computed_pairs(&own, self.password_file.as_ref(), limits, cx)?;
        let (tls12, tls13) = self.protocols.unwrap_or((true, true));
        let made = upstream(UpstreamSettings {
            parameters: Parameters {
                tls12,
                tls13,
                ciphers12: self.ciphers.clone(),
                ciphers13: self.ciphersuites.clone(),
                groups: self.curves.clone(),
            },
            name: self.name.clone(),
            server_name: self.server_name.unwrap_or(false),
            trust: self.trust(at, family, cx)?,
            certificate: if computed.is_none() { self.own_certificate(at, family, cx)? } else { None },
            computed,
            session_reuse: self.session_reuse.unwrap_or(true),
            protocols: protocols.iter().map(|protocol| protocol.to_vec()).collect(),
            key_log: None,
            time: Arc::new(DefaultTimeProvider),
        });
        let report = |error| cx.diagnostics.push(Diagnostic::new(Severity::Emerg, Some(at), error));
        made.map(Arc::new).map_err(report).ok()
    }

    /// Whom to trust; the inner `None` is nobody and anybody.
    fn trust(&self, at: Span, family: &str, cx: &mut Context<'_>) -> Option<Option<Trust>> {
        if !self.verify.unwrap_or(false) {
            return Some(None);
        }
        let Some(file) = &self.trusted_certificate else {
            let message = format!("no {family}_ssl_trusted_certificate for {family}_ssl_verify");
            cx.diagnostics.push(emerg(at, message));
            return None;
        };
        let certificates = load_trust(cx, file)?;
        let depth = self.verify_depth.unwrap_or(VERIFY_DEPTH);
        trust_in(cx, certificates, self.crl.as_ref(), depth, Some(file)).map(Some)
    }

    /// What is shown to servers that ask.
    fn own_certificate(&self, at: Span, family: &str, cx: &mut Context<'_>) -> Option<Option<Certificate>> {
        // An empty name takes the one of the level above away.
        let Some(chain) = self.certificate.as_ref().filter(|named| !named.text.is_empty()) else {
            return Some(None);
        };
        let Some(key) = &self.certificate_key else {
            let message =
                format!("no \"{family}_ssl_certificate_key\" is defined for certificate \"{}\"", chain.text);
            cx.diagnostics.push(emerg(at, message));
            return None;
        };
        let passwords = match &self.password_file {
            Some(file) => tls_files::passwords(&read(cx, file, "cannot read")?),
            None => Vec::new(),
        };
        let chain_text = read(cx, chain, "cannot load certificate")?;
        let key_text = read(cx, key, "cannot load certificate key")?;
        match tls_files::certificate(&chain_text, &key_text, &passwords, None) {
            Ok(loaded) => {
                let is_file = |named: &Named| !named.text.starts_with("data:");
                if is_file(chain) && is_file(key) {
                    let (chain, key) = (cx.conf_path(&chain.text), cx.conf_path(&key.text));
                    cx.certificates.push(Watched::new(chain, key, passwords, None, loaded.clone()));
                }
                Some(Some(loaded))
            }
            Err(fault) => {
                let (file, what, error) = match &fault {
                    Fault::Certificate(error) => (chain, "cannot load certificate", error),
                    Fault::Key(error) => (key, "cannot load certificate key", error),
                };
                cx.diagnostics.push(emerg(file.span, format!("{what} \"{}\": {error}", file.text)));
                None
            }
        }
    }
}

macro_rules! file_directives {
    ($($(#[$doc:meta])* $function:ident => $field:ident;)*) => {$(
        $(#[$doc])*
        ///
        /// # Errors
        /// Variables in the name.
        pub fn $function(level: &mut UpstreamTlsLevel, call: &mut Call<'_, '_>) -> Parsed<()> {
            store(&mut level.$field, named(call))
        }
    )*};
}

file_directives! {
    /// `proxy_ssl_trusted_certificate file;`
    trusted_certificate => trusted_certificate;
    /// `proxy_ssl_crl file;`
    crl => crl;
    /// `proxy_ssl_password_file file;`
    password_file => password_file;
}

/// `proxy_ssl_certificate file;`
///
/// # Errors
/// As nginx's script compiler.
pub fn certificate(level: &mut UpstreamTlsLevel, call: &mut Call<'_, '_>) -> Parsed<()> {
    store(&mut level.certificate, computed(call))
}

/// `proxy_ssl_certificate_key file;`
///
/// # Errors
/// As nginx's script compiler.
pub fn certificate_key(level: &mut UpstreamTlsLevel, call: &mut Call<'_, '_>) -> Parsed<()> {
    store(&mut level.certificate_key, computed(call))
}

/// `proxy_ssl_certificate_cache off|max=N [inactive=time] [valid=time];`
///
/// # Errors
/// nginx's words.
pub fn set_certificate_cache(level: &mut UpstreamTlsLevel, call: &mut Call<'_, '_>) -> Parsed<()> {
    store(&mut level.certificate_cache, certificate_cache(call))
}

/// `proxy_ssl_verify_depth number;`
///
/// # Errors
/// nginx's `invalid number`.
pub fn verify_depth(level: &mut UpstreamTlsLevel, call: &mut Call<'_, '_>) -> Parsed<()> {
    let depth = call.first().number()?;
    level.verify_depth = Some(usize::try_from(depth).unwrap_or(usize::MAX));
    Ok(())
}

/// `proxy_ssl_conf_command name value;`
///
/// # Errors
/// A value that cannot be honoured.
pub fn conf_command(level: &mut UpstreamTlsLevel, call: &mut Call<'_, '_>) -> Parsed<()> {
    let mut said = TlsLevel::default();
    tls_values::conf_command(&mut said, call)?;
    let TlsLevel { protocols, ciphers, ciphersuites, curves, .. } = said;
    level.protocols = protocols.or(level.protocols);
    level.ciphers = ciphers.or_else(|| level.ciphers.take());
    level.ciphersuites = ciphersuites.or_else(|| level.ciphersuites.take());
    level.curves = curves.or_else(|| level.curves.take());
    Ok(())
}
