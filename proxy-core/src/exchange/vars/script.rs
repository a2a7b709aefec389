//! `$fastcgi_script_name` and `$fastcgi_path_info`: the URI, cut in two where `fastcgi_split_path_info` matches.

use alloc::vec::Vec;

use super::{Env, always};
use crate::config::ScriptName;
use crate::exchange::Facts;
use crate::route::Captures;

impl Facts {
    pub(super) fn script_name(&self, env: &Env<'_>, out: &mut Vec<u8>) -> bool {
        let script = self.script_settings(env);
        let start = out.len();
        match self.split_script(script) {
            Some(parts) => out.extend_from_slice(parts.group(1).unwrap_or_default()),
            None => out.extend_from_slice(&self.uri),
        }
        if let Some(script) = script
            && out.len() > start
            && out.ends_with(b"/")
        {
            out.extend_from_slice(&script.index);
        }
        true
    }

    pub(super) fn path_info(&self, env: &Env<'_>, out: &mut Vec<u8>) -> bool {
        let parts = self.split_script(self.script_settings(env));
        always(parts.as_ref().and_then(|parts| parts.group(2)).unwrap_or_default(), out)
    }

    fn script_settings<'a>(&self, env: &Env<'a>) -> Option<&'a ScriptName> {
        env.config.location(self.location)?.script.as_deref()
    }

    fn split_script(&self, script: Option<&ScriptName>) -> Option<Captures> {
        script?.split.as_ref()?.captures(&self.uri)
    }
}
