//! `proxy_store`, `proxy_store_access` and their kin.

use super::context::Call;
use super::proxy::ProxyLevel;
use crate::conf::value::Parsed;

/// `proxy_store on|off|path;`
///
/// # Errors
/// As nginx's.
pub fn store(level: &mut ProxyLevel, call: &mut Call<'_, '_>) -> Parsed<()> {
    let said = match &*call.text(0) {
        "off" => None,
        "on" => Some(None),
        _ => Some(Some(call.template(0)?)),
    };
    if said.is_some() && matches!(level.cache.zone, Some(Some(_))) {
        let name = call.directive.name.text();
        return Err(
            call.error(format!("\"{name}\" is incompatible with \"{}\"", name.replace("store", "cache")))
        );
    }
    level.store = Some(said);
    Ok(())
}

/// `proxy_store_access user:rw group:rw all:r;`: the owner may read and write in any case.
///
/// # Errors
/// As nginx's.
pub fn access(level: &mut ProxyLevel, call: &mut Call<'_, '_>) -> Parsed<()> {
    let mut mode = 0o600;
    for n in 0..call.args().len() {
        let field = call.arg(n);
        let text = field.arg.text();
        let shift = |who: &str| match who {
            "user" => Some(6),
            "group" => Some(3),
            "all" => Some(0),
            _ => None,
        };
        let right = |what: &str| match what {
            "rw" => Some(0o6),
            "r" => Some(0o4),
            _ => None,
        };
        let bits = text.split_once(':').and_then(|(who, what)| Some(right(what)? << shift(who)?));
        mode |= bits.ok_or_else(|| field.error(format!("invalid value \"{text}\"")))?;
    }
    level.store_access = Some(mode);
    Ok(())
}
