//! TLS towards clients: files to certificates, directives to what a server needs.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use proxy_core::config::{ClientVerify, Template, TlsServer};
use proxy_core::shared::tls::{SessionStore, TicketKeys};
use proxy_core::tls::build::{self, Certificate, Fault, Parameters, ServerSettings};
use proxy_core::tls::computed::Computed;
use proxy_core::tls::verify::Trust;
use rustls::pki_types::CertificateDer;
use rustls::time_provider::DefaultTimeProvider;

use super::context::{Call, Context};
use super::core::inherit;
use super::stapling::Asker;
use super::tls_values::emerg;
use crate::conf::diagnostic::{Diagnostic, Severity};
use crate::conf::span::Span;
use crate::conf::value::Parsed;
use crate::tls_cache::{CacheLimits, CertificateCache};
use crate::tls_files::{self, Watched};

/// `ssl_session_timeout`, in seconds.
const SESSION_TIMEOUT_S: u64 = 300;
/// `ssl_buffer_size`, in bytes.
const BUFFER_BYTES: usize = 16 * 1024;
/// `ssl_verify_depth`
const VERIFY_DEPTH: usize = 1;
/// A ticket key's file has so many bytes.
const TICKET_KEY_BYTES: [usize; 2] = [48, 80];

/// What outlives a reload: the sessions of each named cache, and the keys of tickets by how often they change.
static CACHES: LazyLock<Mutex<Caches>> = LazyLock::new(Mutex::default);
static TICKETS: LazyLock<Mutex<HashMap<u64, Arc<TicketKeys>>>> = LazyLock::new(Mutex::default);

/// Session caches by name, each with its size.
type Caches = HashMap<String, (u64, Arc<SessionStore>)>;

/// What a level says; `None` is silence.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "each field is the directive of its name")]
pub struct TlsLevel {
    pub certificate: Option<Vec<Named>>,
    pub certificate_key: Option<Vec<Named>>,
    pub password_file: Option<Named>,
    /// TLS 1.2, TLS 1.3.
    pub protocols: Option<(bool, bool)>,
    pub ciphers: Option<Vec<u16>>,
    /// `ssl_conf_command Ciphersuites`
    pub ciphersuites: Option<Vec<u16>>,
    pub curves: Option<Vec<u16>>,
    pub prefer_server_ciphers: Option<bool>,
    pub buffer_size: Option<usize>,
    pub session_cache: Option<SessionCache>,
    pub session_tickets: Option<bool>,
    pub session_ticket_key: Option<Vec<Named>>,
    pub session_timeout: Option<u64>,
    pub early_data: Option<bool>,
    pub verify_client: Option<ClientVerify>,
    pub verify_depth: Option<usize>,
    pub client_certificate: Option<Named>,
    pub trusted_certificate: Option<Named>,
    pub crl: Option<Named>,
    pub stapling: Option<bool>,
    pub stapling_file: Option<Named>,
    pub stapling_responder: Option<String>,
    pub stapling_verify: Option<bool>,
    pub reject_handshake: Option<bool>,
    /// The inner `None` is `off`.
    pub certificate_cache: Option<Option<CacheLimits>>,
}

/// `ssl_session_cache`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionCache {
    /// Nothing is kept.
    None,
    /// So many bytes for this server alone.
    Builtin(u64),
    /// A name and so many bytes; 0 where another directive says how many.
    Shared(String, u64),
}

impl SessionCache {
    /// A shared cache is the better one of both.
    pub(super) fn or_builtin(self, bytes: u64) -> Self {
        match self {
            Self::Shared(..) => self,
            Self::None | Self::Builtin(_) => Self::Builtin(bytes),
        }
    }
}

/// A file as it was named, and where.
#[derive(Clone, Debug)]
pub struct Named {
    /// The argument.
    pub text: String,
    /// Where it stands.
    pub span: Span,
    /// Its name, where that holds variables.
    pub template: Option<Template>,
}

impl TlsLevel {
    /// Fills what this level does not say from the level above.
    pub fn inherit(&mut self, parent: &Self) {
        inherit!(self, parent; certificate certificate_key password_file protocols ciphers ciphersuites curves
            prefer_server_ciphers buffer_size session_cache session_tickets session_ticket_key session_timeout
            early_data verify_client verify_depth client_certificate trusted_certificate crl stapling stapling_file
            stapling_responder stapling_verify reject_handshake certificate_cache);
    }

    /// What the core needs; none for a server without a certificate. Mistakes are recorded.
    /// `asker` says who looks names up for it.
    pub fn finish(&self, asker: Asker, cx: &mut Context<'_>) -> Option<Arc<TlsServer>> {
        let named = self.certificate.as_deref().unwrap_or_default();
        let reject = self.reject_handshake.unwrap_or(false);
        if named.is_empty() && !reject {
            return None;
        }
        let made = self.make(asker, cx, named, reject);
        cx.tls_failed |= made.is_none();
        made
    }

    fn make(
        &self,
        asker: Asker,
        cx: &mut Context<'_>,
        named: &[Named],
        reject: bool,
    ) -> Option<Arc<TlsServer>> {
        let keys = self.certificate_key.as_deref().unwrap_or_default();
        if let Some(alone) = named.get(keys.len()) {
            let message = format!("no \"ssl_certificate_key\" is defined for certificate \"{}\"", alone.text);
            cx.diagnostics.push(emerg(alone.span, message));
            return None;
        }
        let pairs: Vec<_> = named.iter().zip(keys).collect();
        let limits = self.certificate_cache.flatten();
        let computed = computed_pairs(&pairs, self.password_file.as_ref(), limits, cx)?;
        let mut certificates = Vec::new();
        for (certificate, key) in pairs.iter().filter(|_| computed.is_none()) {
            let loaded = self.load(cx, certificate, key)?;
            self.staple(asker, certificate, &loaded, cx)?;
            certificates.push(loaded);
        }
        let (announced, trust) = self.trust(cx)?;
        let timeout_s = self.session_timeout.unwrap_or(SESSION_TIMEOUT_S);
        let settings = ServerSettings {
            certificates,
            computed,
            parameters: self.parameters(),
            prefer_server_ciphers: self.prefer_server_ciphers.unwrap_or(false),
            tickets: self.tickets(cx, timeout_s)?,
            store: self.store(cx)?,
            session_timeout_s: timeout_s,
            early_data: self.early_data.unwrap_or(false),
            verify: self.verify_client.unwrap_or_default(),
            trust,
            announced,
            reject,
            record_bytes_max: self.buffer_size.unwrap_or(BUFFER_BYTES),
            time: Arc::new(DefaultTimeProvider),
        };
        let result = build::server(settings);
        let span = named.first().map(|named| named.span);
        let report = |error| cx.diagnostics.push(Diagnostic::new(Severity::Emerg, span, error));
        result.map(Arc::new).map_err(report).ok()
    }

    fn parameters(&self) -> Parameters {
        let (tls12, tls13) = self.protocols.unwrap_or((true, true));
        Parameters {
            tls12,
            tls13,
            ciphers12: self.ciphers.clone(),
            ciphers13: self.ciphersuites.clone(),
            groups: self.curves.clone(),
        }
    }

    fn load(&self, cx: &mut Context<'_>, certificate: &Named, key: &Named) -> Option<Certificate> {
        let passwords = match &self.password_file {
            Some(file) => tls_files::passwords(&read(cx, file, "cannot read")?),
            None => Vec::new(),
        };
        let ocsp = match self.stapling_file.as_ref().filter(|_| self.stapling == Some(true)) {
            Some(file) => Some(read(cx, file, "cannot read")?),
            None => None,
        };
        let chain = read(cx, certificate, "cannot load certificate")?;
        let key_text = read(cx, key, "cannot load certificate key")?;
        match tls_files::certificate(&chain, &key_text, &passwords, ocsp.clone()) {
            Ok(loaded) => {
                let path = |named: &Named| -> Option<PathBuf> {
                    (!named.text.starts_with("data:")).then(|| cx.conf_path(&named.text))
                };
                if let (Some(chain), Some(key)) = (path(certificate), path(key)) {
                    let watched = Watched::new(chain, key, passwords, ocsp, loaded.clone());
                    cx.certificates.push(watched);
                }
                Some(loaded)
            }
            Err(fault) => {
                let (at, what, error) = match &fault {
                    Fault::Certificate(error) => (certificate, "cannot load certificate", error),
                    Fault::Key(error) => (key, "cannot load certificate key", error),
                };
                cx.diagnostics.push(emerg(at.span, format!("{what} \"{}\": {error}", at.text)));
                None
            }
        }
    }

    /// Whom to name to clients, and whom to trust about them.
    fn trust(&self, cx: &mut Context<'_>) -> Option<(Trust, Trust)> {
        let verify = self.verify_client.unwrap_or_default();
        let depth = self.verify_depth.unwrap_or(VERIFY_DEPTH);
        let required = matches!(verify, ClientVerify::On | ClientVerify::Optional);
        if required && self.client_certificate.is_none() && self.trusted_certificate.is_none() {
            let span = self.certificate.as_ref().and_then(|list| list.first()).map(|named| named.span)?;
            let message = "no ssl_client_certificate or ssl_trusted_certificate for ssl_verify_client";
            cx.diagnostics.push(emerg(span, message.into()));
            return None;
        }
        let announced =
            self.client_certificate.as_ref().map_or(Some(Vec::new()), |file| load_trust(cx, file))?;
        let mut trusted = announced.clone();
        if let Some(file) = &self.trusted_certificate {
            trusted.extend(load_trust(cx, file)?);
        }
        let announced = trust_in(cx, announced, None, depth, self.client_certificate.as_ref())?;
        Some((announced, trust_in(cx, trusted, self.crl.as_ref(), depth, self.client_certificate.as_ref())?))
    }

    fn tickets(&self, cx: &mut Context<'_>, timeout_s: u64) -> Option<Option<Arc<TicketKeys>>> {
        if !self.session_tickets.unwrap_or(true) {
            return Some(None);
        }
        let Some(files) = &self.session_ticket_key else {
            let mut kept = TICKETS.lock().unwrap_or_else(PoisonError::into_inner);
            let rotation_s = timeout_s.max(1);
            let keys = kept.entry(rotation_s).or_insert_with(|| Arc::new(TicketKeys::random(rotation_s)));
            return Some(Some(Arc::clone(keys)));
        };
        let mut secrets = Vec::new();
        for file in files {
            let secret = read(cx, file, "cannot read")?;
            if !TICKET_KEY_BYTES.contains(&secret.len()) {
                let message = format!("\"{}\" must be 48 or 80 bytes", cx.conf_path(&file.text).display());
                cx.diagnostics.push(emerg(file.span, message));
                return None;
            }
            secrets.push(secret);
        }
        TicketKeys::from_secrets(secrets.iter().map(Vec::as_slice)).map(|keys| Some(Arc::new(keys)))
    }

    fn store(&self, cx: &mut Context<'_>) -> Option<Option<Arc<SessionStore>>> {
        let store = |bytes: u64| Arc::new(SessionStore::new(usize::try_from(bytes).unwrap_or(usize::MAX)));
        match self.session_cache.as_ref().unwrap_or(&SessionCache::None) {
            SessionCache::None => Some(None),
            SessionCache::Builtin(bytes) => Some(Some(store(*bytes))),
            SessionCache::Shared(name, bytes) => {
                let mut kept = CACHES.lock().unwrap_or_else(PoisonError::into_inner);
                match kept.get(name) {
                    Some((size, cache)) if *bytes == 0 || size == bytes => Some(Some(Arc::clone(cache))),
                    None if *bytes == 0 => {
                        let span = self
                            .certificate
                            .as_ref()
                            .and_then(|list| list.first())
                            .map(|named| named.span)?;
                        cx.diagnostics.push(emerg(span, format!("zero size shared memory zone \"{name}\"")));
                        None
                    }
                    Some(_) | None => {
                        let cache = store(*bytes);
                        kept.insert(name.clone(), (*bytes, Arc::clone(&cache)));
                        Some(Some(cache))
                    }
                }
            }
        }
    }
}

/// The certificates in a file of those who are trusted.
pub(super) fn load_trust(cx: &mut Context<'_>, file: &Named) -> Option<Vec<CertificateDer<'static>>> {
    let text = read(cx, file, "cannot load certificate")?;
    let loaded = build::certificates(&text);
    let text = &file.text;
    loaded
        .map_err(|error| {
            cx.diagnostics.push(emerg(file.span, format!("cannot load certificate \"{text}\": {error}")))
        })
        .ok()
}

/// Trust in these certificates but for the revoked ones.
pub(super) fn trust_in(
    cx: &mut Context<'_>,
    certificates: Vec<CertificateDer<'static>>,
    crl: Option<&Named>,
    depth: usize,
    at: Option<&Named>,
) -> Option<Trust> {
    let crls = match crl {
        None => Vec::new(),
        Some(file) => {
            let text = read(cx, file, "cannot load CRL")?;
            let found = build::crls(&text);
            let message = |error| emerg(file.span, format!("cannot load CRL \"{}\": {error}", file.text));
            found.map_err(|error| cx.diagnostics.push(message(error))).ok()?
        }
    };
    match Trust::new(certificates, &crls, depth) {
        Ok(trust) => Some(trust),
        Err(error) => {
            let named = crl.or(at)?;
            cx.diagnostics.push(emerg(named.span, format!("cannot load \"{}\": {error}", named.text)));
            None
        }
    }
}

/// What a file holds, or `data:` behind its colon.
pub(super) fn read(cx: &mut Context<'_>, named: &Named, what: &str) -> Option<Vec<u8>> {
    if let Some(data) = named.text.strip_prefix("data:") {
        return Some(data.as_bytes().to_vec());
    }
    let path = cx.conf_path(&named.text);
    tls_files::read(Path::new(&path))
        .map_err(|error| {
            cx.diagnostics.push(emerg(named.span, format!("{what} \"{}\" ({error})", path.display())))
        })
        .ok()
}

/// A file's name, which holds no variables.
///
/// # Errors
/// It does.
pub(super) fn named(call: &Call<'_, '_>) -> Parsed<Named> {
    let text = call.text(0).into_owned();
    if text.contains('$') {
        return Err(call.first().error(
            "variables in file names of TLS are known to nginx but ringgate does not support them yet",
        ));
    }
    Ok(Named { text, span: call.first().arg.span, template: None })
}

/// A file's name, which may hold variables.
///
/// # Errors
/// As nginx's script compiler.
pub(super) fn computed(call: &mut Call<'_, '_>) -> Parsed<Named> {
    let text = call.text(0).into_owned();
    let has_variables = super::template::has_variables(text.as_bytes());
    let template = if has_variables { Some(call.template(0)?) } else { None };
    Ok(Named { text, span: call.first().arg.span, template })
}

/// Certificates of which a name holds variables; none where no name does.
pub(super) fn computed_pairs(
    pairs: &[(&Named, &Named)],
    passwords: Option<&Named>,
    limits: Option<CacheLimits>,
    cx: &mut Context<'_>,
) -> Option<Option<Computed>> {
    if pairs.iter().all(|(chain, key)| chain.template.is_none() && key.template.is_none()) {
        return Some(None);
    }
    let passwords = match passwords {
        Some(file) => tls_files::passwords(&read(cx, file, "cannot read")?),
        None => Vec::new(),
    };
    let template =
        |named: &Named| named.template.clone().unwrap_or_else(|| Template::literal(named.text.as_bytes()));
    let cache = CertificateCache::new(cx.conf_path(""), passwords, limits);
    let pairs = pairs.iter().map(|(chain, key)| (template(chain), template(key))).collect();
    Some(Some(Computed { pairs, files: Arc::new(cache) }))
}

/// `ssl_certificate_cache off|max=N [inactive=time] [valid=time];`
///
/// # Errors
/// nginx's `invalid parameter`, `must have the "max" parameter`.
pub(super) fn certificate_cache(call: &Call<'_, '_>) -> Parsed<Option<CacheLimits>> {
    if call.args().len() == 1 && call.first().arg.is("off") {
        return Ok(None);
    }
    let mut limits =
        CacheLimits { entries_max: 0, inactive: Duration::from_secs(10), valid: Duration::from_secs(60) };
    for n in 0..call.args().len() {
        let text = call.text(n);
        let invalid = || call.arg(n).error(format!("invalid parameter \"{text}\""));
        let seconds = |value: &str| {
            let seconds = crate::conf::value::seconds(value);
            seconds.map(Duration::from_secs).ok_or_else(invalid)
        };
        match text.split_once('=') {
            Some(("max", value)) => {
                let count = value.parse().ok().filter(|count| *count > 0);
                limits.entries_max = count.ok_or_else(invalid)?;
            }
            Some(("inactive", value)) => limits.inactive = seconds(value)?,
            Some(("valid", value)) => limits.valid = seconds(value)?,
            _ => return Err(invalid()),
        }
    }
    if limits.entries_max == 0 {
        let name = call.directive.name.text();
        return Err(call.error(format!("\"{name}\" must have the \"max\" parameter")));
    }
    Ok(Some(limits))
}

macro_rules! file_directives {
    ($($(#[$doc:meta])* $function:ident => $field:ident;)*) => {$(
        $(#[$doc])*
        ///
        /// # Errors
        /// Variables in the name.
        pub fn $function(level: &mut TlsLevel, call: &mut Call<'_, '_>) -> Parsed<()> {
            level.$field = Some(named(call)?);
            Ok(())
        }
    )*};
}

file_directives! {
    /// `ssl_password_file file;`
    password_file => password_file;
    /// `ssl_client_certificate file;`
    client_certificate => client_certificate;
    /// `ssl_trusted_certificate file;`
    trusted_certificate => trusted_certificate;
    /// `ssl_crl file;`
    crl => crl;
    /// `ssl_stapling_file file;`
    stapling_file => stapling_file;
}

/// `ssl_certificate file;`
///
/// # Errors
/// As nginx's script compiler.
pub fn certificate(level: &mut TlsLevel, call: &mut Call<'_, '_>) -> Parsed<()> {
    level.certificate.get_or_insert_default().push(computed(call)?);
    Ok(())
}

/// `ssl_certificate_key file;`
///
/// # Errors
/// As nginx's script compiler.
pub fn certificate_key(level: &mut TlsLevel, call: &mut Call<'_, '_>) -> Parsed<()> {
    level.certificate_key.get_or_insert_default().push(computed(call)?);
    Ok(())
}

/// `ssl_session_ticket_key file;`
///
/// # Errors
/// Variables in the name.
pub fn ticket_key(level: &mut TlsLevel, call: &mut Call<'_, '_>) -> Parsed<()> {
    level.session_ticket_key.get_or_insert_default().push(named(call)?);
    Ok(())
}

/// `ssl_certificate_cache off|max=N [inactive=time] [valid=time];`
///
/// # Errors
/// nginx's words.
pub fn set_certificate_cache(level: &mut TlsLevel, call: &mut Call<'_, '_>) -> Parsed<()> {
    level.certificate_cache = Some(certificate_cache(call)?);
    Ok(())
}
