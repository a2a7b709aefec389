//! `health_check [parameters];` and `match name { … }`.

use std::sync::Arc;

use proxy_core::config::{
    BodyCondition, CheckKind, Content, HeaderCondition, HeaderTest, HealthCheck, LocationId, Match, Piece,
    Proxy, ServerId, StatusSet, Target,
};
use proxy_core::time::Millis;

use super::context::{Call, Context, Place};
use super::level::Own;
use super::template::compile_bytes;
use crate::conf::diagnostic::{Diagnostic, nearest};
use crate::conf::span::Span;
use crate::conf::tree::Directive;
use crate::conf::value::{Field, Parsed, milliseconds, number};

/// A `health_check` as written.
#[derive(Debug)]
pub struct RawCheck {
    kind: Kind,
    uri: Option<Box<[u8]>>,
    conditions: Option<(String, Span)>,
    interval: Millis,
    jitter: Millis,
    fails: u32,
    passes: u32,
    mandatory: bool,
    persistent: bool,
    grpc_service: Option<Box<[u8]>>,
    grpc_status: Option<u32>,
    port: Option<u16>,
    keepalive_time: Option<Millis>,
    /// The whole directive.
    text: String,
    span: Span,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Http,
    Tcp,
    Grpc,
}

/// The parameters.
const NAMES: [&str; 13] = [
    "interval",
    "jitter",
    "fails",
    "passes",
    "uri",
    "mandatory",
    "persistent",
    "match",
    "port",
    "type",
    "grpc_service",
    "grpc_status",
    "keepalive_time",
];

/// `health_check [parameters];`
///
/// # Errors
/// nginx's `invalid parameter`; what does not go together.
pub fn health_check(own: &mut Own, call: &mut Call<'_, '_>) -> Parsed<()> {
    let words: Vec<_> = call.args().iter().map(|arg| arg.text()).collect();
    let mut check = RawCheck {
        kind: Kind::Http,
        uri: None,
        conditions: None,
        interval: Millis::from_secs(5),
        jitter: Millis(0),
        fails: 1,
        passes: 1,
        mandatory: false,
        persistent: false,
        grpc_service: None,
        grpc_status: None,
        port: None,
        keepalive_time: None,
        text: words.join(" "),
        span: call.directive.span,
    };
    for n in 0..call.args().len() {
        parameter(&mut check, call.arg(n))?;
    }
    if check.persistent && !check.mandatory {
        return Err(call.error("\"persistent\" requires \"mandatory\""));
    }
    let name = if check.kind == Kind::Tcp { "tcp" } else { "grpc" };
    if check.kind != Kind::Http && (check.uri.is_some() || check.conditions.is_some()) {
        let message = format!("\"type={name}\" does not go together with \"uri\" and \"match\"");
        return Err(call.error(message));
    }
    own.health_checks.push(check);
    Ok(())
}

fn parameter(check: &mut RawCheck, field: Field<'_>) -> Parsed<()> {
    let text = field.arg.text();
    let invalid = || {
        let mut diagnostic = field.error(format!("invalid parameter \"{text}\""));
        let name = text.split('=').next().unwrap_or_default();
        match nearest(name, NAMES).filter(|near| *near != name) {
            Some(near) => diagnostic.help(format!("did you mean \"{near}\"?")),
            None => diagnostic.help(format!("parameters: {}", NAMES.join(", "))),
        };
        diagnostic
    };
    let time = |value: &str| milliseconds(value).map(Millis).ok_or_else(invalid);
    let count = |value: &str| {
        number(value).and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0).ok_or_else(invalid)
    };
    match text.split_once('=') {
        Some(("interval", value)) => {
            check.interval = time(value)?;
            if check.interval.is_zero() {
                return Err(invalid());
            }
        }
        Some(("jitter", value)) => check.jitter = time(value)?,
        Some(("keepalive_time", value)) => check.keepalive_time = Some(time(value)?),
        Some(("fails", value)) => check.fails = count(value)?,
        Some(("passes", value)) => check.passes = count(value)?,
        Some(("uri", value)) => {
            let target = value.starts_with('/') && value.bytes().all(|byte| byte > b' ' && byte != 0x7f);
            check.uri = Some(value.as_bytes().into()).filter(|_| target);
            if !target {
                let mut diagnostic = invalid();
                diagnostic.help("a URI begins with a slash and holds no blanks");
                return Err(diagnostic);
            }
        }
        Some(("match", value)) => check.conditions = Some((value.into(), field.arg.span)),
        Some(("port", value)) => {
            let port = proxy_core::config::port_number(value);
            check.port = Some(port.map_err(|_| invalid())?);
        }
        Some(("type", "http")) => check.kind = Kind::Http,
        Some(("type", "tcp")) => check.kind = Kind::Tcp,
        Some(("type", "grpc")) => check.kind = Kind::Grpc,
        Some(("grpc_service" | "grpc_status", _)) if check.kind != Kind::Grpc => {
            let name = text.split('=').next().unwrap_or_default();
            return Err(field.error(format!("\"{name}\" must follow \"type=grpc\"")));
        }
        Some(("grpc_service", value)) => check.grpc_service = Some(value.as_bytes().into()),
        Some(("grpc_status", value)) => check.grpc_status = Some(count(value)?),
        None if text == "mandatory" => check.mandatory = true,
        None if text == "persistent" => check.persistent = true,
        _ => return Err(invalid()),
    }
    Ok(())
}

/// What a check cannot ask such servers.
fn mismatch(proxy: &Proxy, kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Http if proxy.is_grpc => {
            Some("\"health_check\" of gRPC servers needs \"type=grpc\" or \"type=tcp\"")
        }
        Kind::Http | Kind::Grpc if proxy.gateway.is_some() => {
            Some("\"health_check\" of FastCGI, SCGI and uwsgi servers needs \"type=tcp\"")
        }
        Kind::Http | Kind::Tcp | Kind::Grpc => None,
    }
}

/// Gives a location's checks to the group that it passes requests to.
pub fn attach(
    cx: &mut Context<'_>,
    checks: Vec<RawCheck>,
    content: &Content,
    server: ServerId,
    location: LocationId,
) {
    for check in checks {
        if let Content::Proxy(proxy) = content
            && let Some(message) = mismatch(proxy, check.kind)
        {
            cx.diagnostics.push(Diagnostic::emerg(check.span, message));
            continue;
        }
        let (proxy, upstream) = match content {
            Content::Proxy(proxy) => match proxy.target {
                Target::Upstream(upstream) => (proxy, upstream),
                Target::Dynamic(_) => {
                    let message = "\"health_check\" needs a \"proxy_pass\" without variables in its address";
                    cx.diagnostics.push(Diagnostic::emerg(check.span, message));
                    continue;
                }
            },
            Content::Files | Content::StubStatus | Content::Api { .. } | Content::EmptyGif => {
                let mut diagnostic =
                    Diagnostic::emerg(check.span, "\"health_check\" needs a \"proxy_pass\" in its location");
                diagnostic.help("the check asks the servers that this location passes requests to");
                cx.diagnostics.push(diagnostic);
                continue;
            }
        };
        let conditions = match &check.conditions {
            None => None,
            Some((name, span)) => match cx.matches.get(name) {
                Some(found) => Some(Arc::clone(found)),
                None => {
                    let mut diagnostic = Diagnostic::emerg(*span, format!("unknown match \"{name}\""));
                    if let Some(near) = nearest(name, cx.matches.keys().map(String::as_str)) {
                        diagnostic.help(format!("did you mean \"{near}\"?"));
                    }
                    cx.diagnostics.push(diagnostic);
                    continue;
                }
            },
        };
        let check = check.finish(conditions, proxy, server, location);
        cx.upstreams.add_check(upstream, check);
    }
}

impl RawCheck {
    fn finish(
        self,
        conditions: Option<Arc<Match>>,
        proxy: &Arc<Proxy>,
        server: ServerId,
        location: LocationId,
    ) -> HealthCheck {
        let kind = match self.kind {
            Kind::Tcp => CheckKind::Tcp,
            Kind::Grpc => {
                CheckKind::Grpc { service: self.grpc_service.unwrap_or_default(), status: self.grpc_status }
            }
            Kind::Http => {
                CheckKind::Http { uri: self.uri.unwrap_or_else(|| b"/".as_slice().into()), conditions }
            }
        };
        let text = format!("{} {}", proxy.url, self.text);
        HealthCheck {
            key: text.into(),
            server,
            location,
            proxy: Arc::clone(proxy),
            kind,
            interval: self.interval,
            jitter: self.jitter,
            fails: self.fails,
            passes: self.passes,
            mandatory: self.mandatory,
            persistent: self.persistent,
            port: self.port,
            keepalive_time: self.keepalive_time,
        }
    }
}

/// `match name { … }`
pub fn match_block(cx: &mut Context<'_>, directive: &Directive) {
    let call = Call { cx, directive, place: Place::NONE };
    let name = call.text(0).into_owned();
    if call.cx.matches.contains_key(&name) {
        let error = call.first().error(format!("duplicate match \"{name}\""));
        return call.cx.record(Err(error));
    }
    let mut found = Conditions::default();
    for line in directive.children() {
        let result = condition(cx, &mut found, line);
        cx.record(result);
    }
    let block = Match {
        name: name.as_str().into(),
        status: found.status,
        headers: found.headers.into(),
        bodies: found.bodies.into(),
        required: found.required.into(),
    };
    cx.matches.insert(name, Arc::new(block));
}

#[derive(Default)]
struct Conditions {
    status: Option<StatusSet>,
    headers: Vec<HeaderCondition>,
    bodies: Vec<BodyCondition>,
    required: Vec<proxy_core::config::Variable>,
}

fn condition(cx: &mut Context<'_>, found: &mut Conditions, line: &Directive) -> Parsed<()> {
    let name = Field::new(line, &line.name);
    if line.block.is_some() {
        return Err(name.error("unexpected \"{\""));
    }
    let few = || name.error(format!("invalid number of arguments in \"{}\"", line.name.text()));
    match &*line.name.text() {
        "status" => {
            if found.status.is_some() {
                return Err(name.error("\"status\" is duplicate"));
            }
            found.status = Some(status(line).and_then(|set| set.ok_or_else(few))?);
        }
        "header" => found.headers.push(header(cx, line, few)?),
        "body" => {
            let [operator, pattern] = line.args.as_slice() else { return Err(few()) };
            let negated = match &*operator.text() {
                "~" => false,
                "!~" => true,
                other => {
                    return Err(Field::new(line, operator).error(format!("invalid operator \"{other}\"")));
                }
            };
            let regex = cx.regex(Field::new(line, pattern), &pattern.text(), false)?;
            found.bodies.push(BodyCondition { regex, negated });
        }
        "require" => {
            if line.args.is_empty() {
                return Err(few());
            }
            for arg in &line.args {
                let field = Field::new(line, arg);
                let template = compile_bytes(cx, field, &arg.bytes)?;
                let [Piece::Variable(variable)] = template.pieces() else {
                    return Err(field.error(format!("invalid variable name \"{}\"", arg.text())));
                };
                found.required.push(variable.clone());
            }
        }
        other => {
            let mut diagnostic = name.error(format!("unknown directive \"{other}\""));
            diagnostic.help("a match block holds `status`, `header`, `body` and `require`");
            return Err(diagnostic);
        }
    }
    Ok(())
}

/// `status [!] code | from-to …`; none where nothing follows.
fn status(line: &Directive) -> Parsed<Option<StatusSet>> {
    let negated = line.args.first().is_some_and(|arg| arg.is("!"));
    let mut ranges = Vec::new();
    for arg in line.args.iter().skip(usize::from(negated)) {
        let text = arg.text();
        let code = |text: &str| {
            number(text).and_then(|code| u16::try_from(code).ok()).filter(|code| (100..=599).contains(code))
        };
        let range = match text.split_once('-') {
            None => code(&text).map(|code| (code, code)),
            Some((from, to)) => code(from).zip(code(to)).filter(|(from, to)| from <= to),
        };
        ranges.push(range.ok_or_else(|| Field::new(line, arg).error(format!("invalid status \"{text}\"")))?);
    }
    Ok((!ranges.is_empty()).then(|| StatusSet { negated, ranges: ranges.into() }))
}

/// `header [!] name` or `header name =|!=|~|!~ value`.
fn header(
    cx: &mut Context<'_>,
    line: &Directive,
    few: impl Fn() -> Box<Diagnostic>,
) -> Parsed<HeaderCondition> {
    let (name, test) = match line.args.as_slice() {
        [name] => (name, HeaderTest::Present),
        [not, name] if not.is("!") => (name, HeaderTest::Absent),
        [name, operator, value] => {
            let field = Field::new(line, value);
            let test = match &*operator.text() {
                "=" => HeaderTest::Is(value.bytes.as_slice().into()),
                "!=" => HeaderTest::IsNot(value.bytes.as_slice().into()),
                "~" => HeaderTest::Matches(cx.regex(field, &value.text(), false)?),
                "!~" => HeaderTest::MatchesNot(cx.regex(field, &value.text(), false)?),
                other => {
                    let mut diagnostic =
                        Field::new(line, operator).error(format!("invalid operator \"{other}\""));
                    diagnostic.help("one of =, !=, ~, !~");
                    return Err(diagnostic);
                }
            };
            (name, test)
        }
        _ => return Err(few()),
    };
    Ok(HeaderCondition { name: name.bytes.as_slice().into(), test })
}
