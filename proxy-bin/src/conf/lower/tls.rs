//! TLS towards clients: files to certificates, directives to what a server needs.

use std::sync::Arc;

use proxy_core::config::TlsServer;
use proxy_core::tls::build::{self, Certificate, Fault, ServerSettings};

use super::context::{Call, Context};
use super::core::inherit;
use crate::conf::diagnostic::Diagnostic;
use crate::conf::span::Span;
use crate::conf::value::Parsed;

/// What a level says; `None` is silence.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "each field is the directive of its name")]
pub struct TlsLevel {
    pub certificate: Option<Vec<Named>>,
    pub certificate_key: Option<Vec<Named>>,
}

/// A file as it was named, and where.
#[derive(Clone, Debug)]
pub struct Named {
    /// The argument.
    pub text: String,
    /// Where it stands.
    pub span: Span,
}

impl TlsLevel {
    /// Fills what this level does not say from the level above.
    pub fn inherit(&mut self, parent: &Self) {
        inherit!(self, parent; certificate certificate_key);
    }

    /// What the core needs; none for a server without a certificate. Mistakes are recorded.
    pub fn finish(&self, http2: bool, cx: &mut Context<'_>) -> Option<Arc<TlsServer>> {
        let certificates = self.certificate.as_deref().filter(|list| !list.is_empty())?;
        let keys = self.certificate_key.as_deref().unwrap_or_default();
        if keys.len() < certificates.len() {
            let at = certificates.get(keys.len()).or(certificates.first())?;
            let message = format!("no \"ssl_certificate_key\" is defined for certificate \"{}\"", at.text);
            cx.diagnostics.push(Diagnostic::emerg(at.span, message));
            return None;
        }
        let mut settings = ServerSettings { http2, ..ServerSettings::default() };
        for (certificate, key) in certificates.iter().zip(keys) {
            settings.certificates.push(load(cx, certificate, key)?);
        }
        match build::server(&settings) {
            Ok(server) => Some(Arc::new(server)),
            Err(error) => {
                cx.diagnostics.push(Diagnostic::emerg(certificates.first()?.span, error));
                None
            }
        }
    }
}

/// `ssl_certificate file;`
///
/// # Errors
/// None.
pub fn certificate(level: &mut TlsLevel, call: &mut Call<'_, '_>) -> Parsed<()> {
    level.certificate.get_or_insert_default().push(named(call));
    Ok(())
}

/// `ssl_certificate_key file;`
///
/// # Errors
/// None.
pub fn certificate_key(level: &mut TlsLevel, call: &mut Call<'_, '_>) -> Parsed<()> {
    level.certificate_key.get_or_insert_default().push(named(call));
    Ok(())
}

fn named(call: &Call<'_, '_>) -> Named {
    Named { text: call.text(0).into_owned(), span: call.first().arg.span }
}

fn load(cx: &mut Context<'_>, certificate: &Named, key: &Named) -> Option<Certificate> {
    let chain = read(cx, certificate, "cannot load certificate")?;
    let key_text = read(cx, key, "cannot load certificate key")?;
    let fault = match Certificate::from_pem(&chain, &key_text) {
        Ok(certificate) => return Some(certificate),
        Err(fault) => fault,
    };
    let (at, what, error) = match &fault {
        Fault::Certificate(error) => (certificate, "cannot load certificate", error),
        Fault::Key(error) => (key, "cannot load certificate key", error),
    };
    cx.diagnostics.push(Diagnostic::emerg(at.span, format!("{what} \"{}\": {error}", at.text)));
    None
}

fn read(cx: &mut Context<'_>, named: &Named, what: &str) -> Option<Vec<u8>> {
    if let Some(data) = named.text.strip_prefix("data:") {
        return Some(data.as_bytes().to_vec());
    }
    let path = cx.conf_path(&named.text);
    match std::fs::read(&path) {
        Ok(bytes) => Some(bytes),
        Err(error) => {
            let message = format!("{what} \"{}\" ({})", path.display(), crate::say::errno(&error));
            cx.diagnostics.push(Diagnostic::emerg(named.span, message));
            None
        }
    }
}
