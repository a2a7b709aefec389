//! Who visits: the directives of the browser and userid modules.

use proxy_core::config::{BrowserFamily, Browsers, CookieLife, UserId};

use super::context::Call;
use super::core::inherit;
use super::vetting::VettingLevel;
use crate::conf::value::Parsed;

/// What a level says about browsers.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "each field is the directive of its name")]
pub struct BrowsersLevel {
    pub modern: Option<Vec<(BrowserFamily, u32)>>,
    pub ancient: Option<Vec<Box<[u8]>>>,
    /// As in nginx, this and the next are not inherited.
    pub unlisted: bool,
    pub netscape4: bool,
    pub modern_value: Option<Box<[u8]>>,
    pub ancient_value: Option<Box<[u8]>>,
}

impl BrowsersLevel {
    /// Fills what this level does not say from the level above.
    pub fn inherit(&mut self, parent: &Self) {
        inherit!(self, parent; modern ancient modern_value ancient_value);
    }

    /// The settings; none where nothing is said.
    pub fn finish(&self) -> Option<Browsers> {
        let mut modern = self.modern.clone().unwrap_or_default();
        if !modern.is_empty() && !modern.iter().any(|(family, _)| *family == BrowserFamily::Opera) {
            // It may claim to be another: where nobody says which is modern, none is.
            modern.push((BrowserFamily::Opera, u32::MAX));
        }
        modern.sort_by_key(|(family, _)| *family);
        let browsers = Browsers {
            modern,
            unlisted_are_modern: self.unlisted,
            netscape4: self.netscape4,
            ancient: self.ancient.clone().unwrap_or_default(),
            modern_value: self.modern_value.clone(),
            ancient_value: self.ancient_value.clone(),
        };
        let lists = !browsers.modern.is_empty() || !browsers.ancient.is_empty();
        let values = browsers.modern_value.is_some() || browsers.ancient_value.is_some();
        (lists || values || self.unlisted || self.netscape4).then_some(browsers)
    }
}

/// `modern_browser unlisted;`, `modern_browser family version;`
///
/// # Errors
/// As nginx's.
pub fn modern_browser(level: &mut VettingLevel, call: &mut Call<'_, '_>) -> Parsed<()> {
    let level = &mut level.browsers;
    if call.args().len() == 1 {
        if call.text(0) != "unlisted" {
            return Err(call.first().error("a family needs a version: only \"unlisted\" stands alone"));
        }
        level.unlisted = true;
        return Ok(());
    }
    let family = match &*call.text(0) {
        "opera" => BrowserFamily::Opera,
        "msie" => BrowserFamily::Msie,
        "gecko" => BrowserFamily::Gecko,
        "safari" => BrowserFamily::Safari,
        "konqueror" => BrowserFamily::Konqueror,
        name => return Err(call.first().error(format!("unknown browser name \"{name}\""))),
    };
    let text = call.text(1);
    let version =
        version(&text).ok_or_else(|| call.arg(1).error(format!("invalid browser version \"{text}\"")))?;
    level.modern.get_or_insert_default().push((family, version));
    Ok(())
}

/// `X.X.X.X` as a number: the first counts millions, each of the others a hundredth of the one before.
fn version(text: &str) -> Option<u32> {
    let mut scale = 1_000_000_u32;
    let mut version = 0_u32;
    for part in text.split('.') {
        let number: u32 = if part.is_empty() { 0 } else { part.parse().ok()? };
        version = version.checked_add(number.checked_mul(scale)?)?;
        scale /= 100;
    }
    Some(version)
}

/// `ancient_browser text …;`
///
/// # Errors
/// None.
pub fn ancient_browser(level: &mut VettingLevel, call: &mut Call<'_, '_>) -> Parsed<()> {
    for arg in call.args() {
        if arg.is("netscape4") {
            level.browsers.netscape4 = true;
        } else {
            level.browsers.ancient.get_or_insert_default().push(arg.bytes.as_slice().into());
        }
    }
    Ok(())
}

/// What a level says about the cookie that tells clients apart; `None` is silence.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "each field is the directive of its name")]
pub struct UserIdLevel {
    pub enable: Option<Enable>,
    pub service: Option<u32>,
    pub name: Option<Box<[u8]>>,
    /// Empty for `none`.
    pub domain: Option<Box<[u8]>>,
    pub path: Option<Box<[u8]>>,
    pub expires: Option<CookieLife>,
    /// As they stand in the cookie; empty for `off`.
    pub flags: Option<Vec<u8>>,
    /// Empty for `none`.
    pub p3p: Option<Box<[u8]>>,
    /// The inner `None` is `off`.
    pub mark: Option<Option<u8>>,
}

/// `userid`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the words of the directive")]
pub enum Enable {
    Off,
    Log,
    V1,
    On,
}

impl UserIdLevel {
    /// Fills what this level does not say from the level above.
    pub fn inherit(&mut self, parent: &Self) {
        inherit!(self, parent; enable service name domain path expires flags p3p mark);
    }

    /// The settings, with nginx's defaults where nothing was said; none for `off`.
    pub fn finish(&self) -> Option<UserId> {
        let enable = self.enable.filter(|enable| *enable != Enable::Off)?;
        let mut attributes = Vec::new();
        if let Some(domain) = self.domain.as_deref().filter(|domain| !domain.is_empty()) {
            attributes.extend_from_slice(b"; domain=");
            attributes.extend_from_slice(domain);
        }
        attributes.extend_from_slice(b"; path=");
        attributes.extend_from_slice(self.path.as_deref().unwrap_or(b"/"));
        attributes.extend_from_slice(self.flags.as_deref().unwrap_or_default());
        Some(UserId {
            sets: enable != Enable::Log,
            v1: enable == Enable::V1,
            service: self.service,
            name: self.name.clone().unwrap_or_else(|| b"uid".as_slice().into()),
            expires: self.expires.unwrap_or(CookieLife::Session),
            attributes: attributes.into(),
            p3p: self.p3p.clone().filter(|p3p| !p3p.is_empty()),
            mark: self.mark.flatten(),
        })
    }
}

/// An argument as it is.
///
/// # Errors
/// None.
pub fn bytes(call: &Call<'_, '_>) -> Parsed<Box<[u8]>> {
    Ok(call.first().arg.bytes.as_slice().into())
}

/// An argument that may be `none`.
///
/// # Errors
/// None.
pub fn bytes_or_none(call: &Call<'_, '_>) -> Parsed<Box<[u8]>> {
    Ok(if call.text(0) == "none" { Box::default() } else { bytes(call)? })
}

/// `userid_expires time|max|off;`
///
/// # Errors
/// As nginx's.
pub fn userid_expires(call: &Call<'_, '_>) -> Parsed<CookieLife> {
    Ok(match &*call.text(0) {
        "max" => CookieLife::Max,
        "off" => CookieLife::Session,
        _ => match call.first().seconds()? {
            0 => CookieLife::Session,
            seconds => CookieLife::Seconds(seconds),
        },
    })
}

/// `userid_flags off | flag …;`
///
/// # Errors
/// As nginx's.
pub fn userid_flags(call: &Call<'_, '_>) -> Parsed<Vec<u8>> {
    const KNOWN: [&str; 5] = ["secure", "httponly", "samesite=strict", "samesite=lax", "samesite=none"];
    let mut given = [false; 5];
    for n in 0..call.args().len() {
        let field = call.arg(n);
        let text = field.arg.text();
        if text == "off" && call.args().len() == 1 {
            break;
        }
        // Another `samesite` takes the place of the one before.
        let at = KNOWN.iter().position(|known| *known == text);
        let at = at.ok_or_else(|| field.error(format!("invalid parameter \"{text}\"")))?;
        for (place, flag) in given.iter_mut().enumerate() {
            *flag = place == at || (*flag && !(place >= 2 && at >= 2));
        }
    }
    let given = KNOWN.iter().zip(given).filter(|(_, given)| *given);
    Ok(given.flat_map(|(known, _)| [b"; ", known.as_bytes()].concat()).collect())
}

/// `userid_mark letter|digit|=|off;`
///
/// # Errors
/// As nginx's.
pub fn userid_mark(call: &Call<'_, '_>) -> Parsed<Option<u8>> {
    match call.first().arg.bytes.as_slice() {
        b"off" => Ok(None),
        [mark] if mark.is_ascii_alphanumeric() || *mark == b'=' => Ok(Some(*mark)),
        _ => {
            Err(call
                .error("\"userid_mark\" directive value must be \"off\" or a single letter, digit or \"=\""))
        }
    }
}
