//! `allow`, `deny`, `satisfy`, `auth_delay` and `limit_except`.

use std::sync::Arc;

use proxy_core::access::table::{AddressTableBuilder, Cidr};
use proxy_core::config::{
    Access, AccessRules, AuthBasic, AuthRequest, RewriteOp, SetTarget, Template, UserFilePath,
};
use proxy_core::http::Method;
use proxy_core::time::Millis;

use super::cidr;
use super::context::Call;
use super::core::inherit;
use crate::conf::value::Parsed;

/// What a level says; `None` is silence.
#[derive(Clone, Debug, Default)]
pub struct AccessLevel {
    /// `satisfy`
    pub satisfy_any: Option<bool>,
    /// `auth_delay`
    pub delay: Option<Millis>,
    /// `allow` and `deny`, in order; `true` allows.
    pub rules: Option<Vec<(Whom, bool)>>,
    /// `auth_basic`
    pub realm: Option<Template>,
    /// `auth_basic_user_file`
    pub user_file: Option<UserFilePath>,
    /// `auth_request`; an inner `None` is `off`.
    pub request: Option<Option<Arc<[u8]>>>,
    /// `auth_request_set`
    pub request_set: Option<Vec<(SetTarget, Template)>>,
}

/// Whom a rule is about.
#[derive(Clone, Copy, Debug)]
pub enum Whom {
    /// Everybody.
    All,
    /// Unix sockets.
    Unix,
    /// A network.
    Network(Cidr),
}

impl AccessLevel {
    /// Fills what this level does not say from the level above.
    pub fn inherit(&mut self, parent: &Self) {
        inherit!(self, parent; satisfy_any delay rules realm user_file request request_set);
    }

    /// The settings; none where nothing is asked.
    pub fn finish(&self) -> Option<Arc<Access>> {
        let rules = self.rules.as_deref().map(|rules| Arc::new(compile(rules)));
        let basic = self.basic().map(Arc::new);
        let request = self.request.clone().flatten().map(|uri| {
            let set = self.request_set.as_deref().unwrap_or_default().into();
            Arc::new(AuthRequest { uri, set })
        });
        if rules.is_none() && basic.is_none() && request.is_none() {
            return None;
        }
        let satisfy_any = self.satisfy_any.unwrap_or(false);
        Some(Arc::new(Access { satisfy_any, delay: self.delay.unwrap_or_default(), rules, basic, request }))
    }

    /// As in nginx neither of the two directives means anything without the other.
    fn basic(&self) -> Option<AuthBasic> {
        let realm = self.realm.clone().filter(|realm| realm.as_literal() != Some(b"off"))?;
        Some(AuthBasic { realm, file: self.user_file.clone()? })
    }
}

/// The first rule that fits counts, so the last is inserted first.
fn compile(rules: &[(Whom, bool)]) -> AccessRules {
    let mut addresses = AddressTableBuilder::default();
    let mut unix = None;
    for (whom, allow) in rules.iter().rev() {
        let allow = Some(*allow);
        match whom {
            Whom::All => {
                cidr::ALL.into_iter().for_each(|network| addresses.insert(network, allow));
                unix = allow;
            }
            Whom::Unix => unix = allow,
            Whom::Network(network) => addresses.insert(*network, allow),
        }
    }
    AccessRules { addresses: addresses.build(), unix }
}

/// `allow address | CIDR | unix: | all;` and `deny`.
///
/// # Errors
/// nginx's `invalid parameter "X"`.
pub fn rule(level: &mut AccessLevel, call: &mut Call<'_, '_>, allow: bool) -> Parsed<()> {
    let text = call.text(0);
    let whom = match &*text {
        "all" => Whom::All,
        "unix:" => Whom::Unix,
        _ => {
            let network = cidr::parse(&text);
            let network =
                network.ok_or_else(|| call.first().error(format!("invalid parameter \"{text}\"")))?;
            if network.masked() != network {
                call.warn(format!("low address bits of {text} are meaningless"));
            }
            Whom::Network(network.masked())
        }
    };
    level.rules.get_or_insert_default().push((whom, allow));
    Ok(())
}

/// `auth_basic_user_file file;` — a relative name starts at the directory of the main file, unless it begins with a
/// variable.
///
/// # Errors
/// As nginx's script compiler.
pub fn user_file(call: &mut Call<'_, '_>) -> Parsed<UserFilePath> {
    let bytes = &call.first().arg.bytes;
    if bytes.starts_with(b"$") {
        return call.template(0).map(UserFilePath::Computed);
    }
    let text = call.text(0);
    let path =
        call.cx.sources.directory().map_or_else(|| call.cx.path(&text), |directory| directory.join(&*text));
    let path = path.to_string_lossy().into_owned();
    if !super::template::has_variables(path.as_bytes()) {
        return Ok(UserFilePath::Fixed(path.into_bytes().into()));
    }
    super::template::compile_bytes(call.cx, call.first(), path.as_bytes()).map(UserFilePath::Computed)
}

/// The methods that `limit_except` may name.
const METHODS: [(&str, Method); 14] = [
    ("GET", Method::Get),
    ("HEAD", Method::Head),
    ("POST", Method::Post),
    ("PUT", Method::Put),
    ("DELETE", Method::Delete),
    ("MKCOL", Method::Mkcol),
    ("COPY", Method::Copy),
    ("MOVE", Method::Move),
    ("OPTIONS", Method::Options),
    ("PROPFIND", Method::Propfind),
    ("PROPPATCH", Method::Proppatch),
    ("LOCK", Method::Lock),
    ("UNLOCK", Method::Unlock),
    ("PATCH", Method::Patch),
];

/// The head of `limit_except method … { }`.
///
/// # Errors
/// nginx's `invalid method "X"`.
pub fn methods(call: &Call<'_, '_>) -> Parsed<Box<[Method]>> {
    let mut methods = Vec::new();
    for n in 0..call.args().len() {
        let text = call.text(n);
        let found = METHODS.iter().find(|(name, _)| name.eq_ignore_ascii_case(&text));
        let (_, method) = found.ok_or_else(|| call.arg(n).error(format!("invalid method \"{text}\"")))?;
        methods.push(*method);
    }
    if methods.contains(&Method::Get) {
        methods.push(Method::Head);
    }
    Ok(methods.into())
}

/// `auth_request uri|off;`
///
/// # Errors
/// None.
pub fn request(level: &mut AccessLevel, call: &mut Call<'_, '_>) -> Parsed<()> {
    let uri = call.first().arg;
    level.request = Some((!uri.is("off")).then(|| uri.bytes.as_slice().into()));
    Ok(())
}

/// `auth_request_set $variable value;`
///
/// # Errors
/// As `set`'s.
pub fn request_set(level: &mut AccessLevel, call: &mut Call<'_, '_>) -> Parsed<()> {
    if let RewriteOp::Set { target, value } = super::rewrite::set(call)? {
        level.request_set.get_or_insert_default().push((target, value));
    }
    Ok(())
}
