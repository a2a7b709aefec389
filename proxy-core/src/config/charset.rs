//! The charset module: what the Content-Type of a text says about its characters.

use alloc::boxed::Box;

use hashbrown::HashSet;

use super::{CoreSettings, Template};

/// `charset` and its kind. Texts are never recoded: a configuration that asks for it is refused.
#[derive(Clone, Debug)]
pub struct Charset {
    /// `charset`; none is `off`.
    pub name: Option<Template>,
    /// `override_charset`: a proxied reply's own charset is replaced, where it is the same by another spelling.
    pub override_charset: bool,
    /// `charset_types`, lower case.
    pub types: HashSet<Box<[u8]>>,
    /// `charset_types *`
    pub all_types: bool,
}

impl Charset {
    /// Whether replies of this media type get the charset.
    #[must_use]
    pub fn covers(&self, media_type: &[u8]) -> bool {
        self.all_types
            || self.types.contains(media_type)
            || self.types.contains(&*media_type.to_ascii_lowercase())
    }
}

impl CoreSettings {
    /// The charset that a reply of this media type gets, where it is known at load.
    #[must_use]
    pub fn charset_for(&self, media_type: &[u8]) -> Option<&[u8]> {
        let charset = self.charset.as_ref().filter(|charset| charset.covers(media_type))?;
        charset.name.as_ref()?.as_literal()
    }
}
