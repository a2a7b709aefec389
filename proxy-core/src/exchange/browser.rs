//! What nginx knows of browsers: who cannot keep a connection after a POST, who hides short error pages.
//!
//! Reference: `ngx_http_process_user_agent`.

use memchr::memmem::find;

use super::Exchange;
use crate::config::KeepaliveDisable;
use crate::http::{HeaderId, Method, Version};

impl Exchange {
    /// `keepalive_disable`
    pub(crate) fn is_bad_at_keep_alive(&self, disable: KeepaliveDisable) -> bool {
        let asked = disable.safari || (disable.msie6 && self.facts.head.method() == Method::Post);
        let Some(agent) = self.facts.head.value(HeaderId::UserAgent).filter(|_| asked) else { return false };
        let posts = self.facts.head.method() == Method::Post;
        (disable.msie6 && posts && is_msie6(agent)) || (disable.safari && is_safari(agent))
    }

    /// `msie_padding`: Internet Explorer and Chrome.
    pub(crate) fn wants_padding(&self) -> bool {
        let Some(agent) = self.facts.head.value(HeaderId::UserAgent) else { return false };
        let known = self.facts.head.version >= Version::Http10;
        known && (msie(agent).is_some() || is_chrome(agent))
    }
}

/// What stands behind `MSIE ` of a browser that does not only pretend.
pub(super) fn msie(agent: &[u8]) -> Option<&[u8]> {
    let version = agent.get(find(agent, b"MSIE ")? + 5..)?;
    (version.len() > 2 && find(agent, b"Opera").is_none()).then_some(version)
}

/// Internet Explorer before 7, less the one with the second service pack.
fn is_msie6(agent: &[u8]) -> bool {
    match msie(agent) {
        Some([b'4' | b'5', b'.', ..]) => true,
        Some([b'6', b'.', rest @ ..]) => find(rest, b"SV1").is_none(),
        Some(_) | None => false,
    }
}

fn is_gecko_or_older(agent: &[u8]) -> bool {
    msie(agent).is_some() || find(agent, b"Opera").is_some() || find(agent, b"Gecko/").is_some()
}

fn is_chrome(agent: &[u8]) -> bool {
    !is_gecko_or_older(agent) && find(agent, b"Chrome/").is_some()
}

fn is_safari(agent: &[u8]) -> bool {
    !is_gecko_or_older(agent)
        && find(agent, b"Chrome/").is_none()
        && find(agent, b"Safari/").is_some()
        && find(agent, b"Mac OS X").is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_are_told_apart() {
        let table: &[(&[u8], bool, bool, bool, bool)] = &[
            (b"Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.1)", true, true, false, false),
            (b"Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.1; SV1)", true, false, false, false),
            (b"Mozilla/4.0 (compatible; MSIE 5.5; Windows 98)", true, true, false, false),
            (b"Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 6.1)", true, false, false, false),
            (b"Mozilla/4.0 (compatible; MSIE 6.0; X) Opera 8", false, false, false, false),
            (b"MSIE 6", false, false, false, false),
            (b"Mozilla/5.0 (X11) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0 Safari/537.36", false, false, true, false),
            (b"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15) AppleWebKit/605 (KHTML, like Gecko) Version/17 Safari/605", false, false, false, true),
            (b"Mozilla/5.0 (X11; rv:120.0) Gecko/20100101 Firefox/120.0", false, false, false, false),
            (b"", false, false, false, false),
        ];
        for (agent, is_msie, old, chrome, safari) in table {
            let found = (msie(agent).is_some(), is_msie6(agent), is_chrome(agent), is_safari(agent));
            assert_eq!(found, (*is_msie, *old, *chrome, *safari), "{}", agent.escape_ascii());
        }
    }
}
