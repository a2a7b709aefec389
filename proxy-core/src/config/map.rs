//! `map`: a variable whose value is looked up by the value of another string.

use alloc::boxed::Box;
use alloc::vec::Vec;

use hashbrown::HashMap;

use super::{Origin, Template};
use crate::route::Regex;

/// One `map` block. Looked up in this order: exact strings, host-name masks, regexes in order, the default.
#[derive(Debug)]
pub struct Map {
    /// The variable that it makes, without the dollar sign.
    pub name: Box<str>,
    /// The string that is looked up.
    pub source: Template,
    /// Strings (lower case: they match without regard to case).
    pub exact: HashMap<Box<[u8]>, MapValue>,
    /// `hostnames`: `*.example.com` as `.example.com`, longest first, with `.example.com` also in `exact`.
    pub suffixes: Vec<(Box<[u8]>, MapValue)>,
    /// `hostnames`: `www.example.*` as `www.example.`, longest first.
    pub prefixes: Vec<(Box<[u8]>, MapValue)>,
    /// Whether a trailing dot of the source is dropped first (`hostnames`).
    pub hostnames: bool,
    /// `~` and `~*`.
    pub regexes: Vec<(Regex, MapValue)>,
    /// `default`, empty if there is none.
    pub default: MapValue,
    /// `volatile`: looked up again for each use.
    pub volatile: bool,
}

/// A map's resulting value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MapValue {
    /// The value.
    pub value: Template,
    /// Where its line stands.
    pub origin: Origin,
}
