//! `$modern_browser`, `$ancient_browser`, `$msie`.
//!
//! Reference: nginx's ngx_http_browser_module.

use alloc::vec::Vec;

use memchr::memmem::find;

use super::{Env, always};
use crate::config::{BrowserFamily, Browsers};
use crate::exchange::Facts;
use crate::exchange::browser::msie;
use crate::http::HeaderId;

impl Facts {
    /// Whether it is Internet Explorer.
    pub(super) fn is_msie(&self) -> bool {
        self.head.value(HeaderId::UserAgent).is_some_and(|agent| msie(agent).is_some())
    }

    /// Writes the value of the one of the two variables that applies; the other one is empty.
    pub(super) fn browser_value(&self, modern: bool, env: &Env<'_>, out: &mut Vec<u8>) -> bool {
        let browsers = self.vetting(env).and_then(|vetting| vetting.browsers.as_ref());
        let agent = self.head.value(HeaderId::UserAgent);
        let is_modern = browsers.is_some_and(|browsers| browsers.are_modern(agent));
        if is_modern != modern {
            return true;
        }
        let value = browsers.and_then(|browsers| {
            if modern { browsers.modern_value.as_deref() } else { browsers.ancient_value.as_deref() }
        });
        always(value.unwrap_or(b"1"), out)
    }
}

impl Browsers {
    fn are_modern(&self, agent: Option<&[u8]>) -> bool {
        let Some(agent) = agent else { return self.unlisted_are_modern };
        let verdict =
            |(family, oldest): &(BrowserFamily, u32)| family.version(agent).map(|version| version >= *oldest);
        if let Some(verdict) = self.modern.iter().find_map(verdict) {
            return verdict;
        }
        self.unlisted_are_modern && !self.is_known_as_ancient(agent)
    }

    fn is_known_as_ancient(&self, agent: &[u8]) -> bool {
        let netscape4 = self.netscape4
            && agent.len() > b"Mozilla/4.72 ".len()
            && agent.starts_with(b"Mozilla/")
            && matches!(agent.get(8), Some(b'1'..=b'4'));
        netscape4 || self.ancient.iter().any(|part| find(agent, part).is_some())
    }
}

impl BrowserFamily {
    /// Where its name may begin, how it reads, and how long it is with what stands before the version.
    const fn mask(self) -> (usize, &'static [u8], usize) {
        match self {
            Self::Opera => (0, b"Opera", b"Opera ".len()),
            Self::Msie => (b"Mozilla/4.0 (compatible; ".len(), b"MSIE ", b"MSIE ".len()),
            Self::Gecko => (b"Mozilla/5.0 (".len(), b"rv:", b"rv:".len()),
            Self::Safari => (b"Mozilla/5.0 (".len(), b"Safari/", b"Safari/".len()),
            Self::Konqueror => (b"Mozilla/5.0 (compatible; ".len(), b"Konqueror/", b"Konqueror/".len()),
        }
    }

    /// The version of a browser of this family.
    fn version(self, agent: &[u8]) -> Option<u32> {
        let (skip, name, len) = self.mask();
        let rest = agent.get(skip..)?;
        let version = rest.get(find(rest, name)? + len..).filter(|version| !version.is_empty())?;
        let end = version.iter().position(|byte| !byte.is_ascii_digit() && *byte != b'.');
        Some(browser_version(version.get(..end.unwrap_or(version.len())).unwrap_or_default()))
    }
}

/// `X.X.X.X` as a number: the first counts millions, each of the others a hundredth of the one before.
fn browser_version(text: &[u8]) -> u32 {
    let mut scale = 1_000_000_u32;
    let mut version = 0_u32;
    for part in text.split(|byte| *byte == b'.') {
        let number = part.iter().fold(0_u32, |number, digit| {
            number.saturating_mul(10).saturating_add(u32::from(digit.wrapping_sub(b'0')))
        });
        version = version.saturating_add(number.saturating_mul(scale));
        scale /= 100;
    }
    version
}
