//! `map`: exact strings, then host-name masks, then regexes, then the default.
//!
//! A map keeps its first value for the whole request, unless it is `volatile`. The string that is looked up is written
//! behind what the caller has and taken away again, so that a look-up costs no memory.

use alloc::vec::Vec;

use super::Env;
use crate::buf::Chunk;
use crate::config::{Map, MapId, MapValue};
use crate::exchange::Facts;
use crate::exchange::facts::Nested;
use crate::route::Captures;
use crate::trace::Step;

impl Facts {
    /// Writes what a map says.
    pub(super) fn map_value(&self, id: MapId, env: &Env<'_>, out: &mut Vec<u8>) -> bool {
        let Some(map) = env.config.maps.get(id.0 as usize) else { return false };
        if let Some((_, value)) = self.maps.borrow().iter().find(|(known, _)| *known == id) {
            out.extend_from_slice(value);
            return true;
        }
        let start = out.len();
        let is_known = self.nest(Nested::Map(id), || {
            map.source.write(self, env, out);
            let source = env.trace.and_then(|_| out.get(start..)).map(<[u8]>::to_vec);
            let MapValue { value, origin } = self.choose(map, start, out);
            value.write(self, env, out);
            if let (Some(trace), Some(source)) = (env.trace, source) {
                let value = out.get(start..).unwrap_or_default().to_vec();
                trace.push(Step::Map { map: id, source, value, origin: origin.clone() });
            }
        });
        if !is_known {
            return false;
        }
        if !map.volatile {
            let value = out.get(start..).unwrap_or_default().into();
            self.maps.borrow_mut().push((id, value));
        }
        true
    }

    /// The entry for the string behind `start`, which is taken off.
    fn choose<'a>(&self, map: &'a Map, start: usize, out: &mut Vec<u8>) -> &'a MapValue {
        if map.hostnames && out.len() > start && out.last() == Some(&b'.') {
            out.pop();
        }
        let end = out.len();
        out.extend_from_within(start..);
        let lower = out.get_mut(end..).unwrap_or_default();
        lower.make_ascii_lowercase();
        let found =
            map.by_string(lower).or_else(|| self.by_regex(map, out.get(start..end).unwrap_or_default()));
        out.truncate(start);
        found.unwrap_or(&map.default)
    }

    fn by_regex<'a>(&self, map: &'a Map, text: &[u8]) -> Option<&'a MapValue> {
        let matches = |(regex, _): &&'a (crate::route::Regex, MapValue)| {
            if !regex.has_groups() {
                let matched = regex.is_match(text);
                if matched {
                    // As in nginx, it leaves no captures behind, and takes away those that there were.
                    self.captures.replace(Some(Captures::default()));
                }
                return matched;
            }
            let captures = regex.captures(&Chunk::from_vec(text.to_vec()));
            let matched = captures.is_some();
            if let Some(captures) = captures {
                self.set_captures(regex, captures);
            }
            matched
        };
        map.regexes.iter().filter(|_| !text.is_empty()).find(matches).map(|(_, value)| value)
    }
}

impl Map {
    /// The entry for a string in lower case: the same string, or else the longest mask.
    fn by_string(&self, lower: &[u8]) -> Option<&MapValue> {
        let longer = |mask: &[u8]| lower.len() > mask.len();
        let suffix = || self.suffixes.iter().find(|(mask, _)| longer(mask) && lower.ends_with(mask));
        let prefix = || self.prefixes.iter().find(|(mask, _)| longer(mask) && lower.starts_with(mask));
        let masked = || suffix().or_else(prefix).map(|(_, value)| value);
        self.exact.get(lower).or_else(masked)
    }
}
