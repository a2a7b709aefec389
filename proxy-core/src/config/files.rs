//! How files are served: listings, symbolic links.

use super::Template;

/// The settings of the autoindex and random_index modules, and `disable_symlinks`.
#[derive(Clone, Debug, Default)]
pub struct FileServing {
    /// `autoindex`; none is `off`.
    pub autoindex: Option<Autoindex>,
    /// `random_index`
    pub random_index: bool,
    /// `disable_symlinks`; none is `off`.
    pub symlinks: Option<Symlinks>,
}

/// `autoindex on`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Autoindex {
    /// `autoindex_format`
    pub format: AutoindexFormat,
    /// `autoindex_localtime`
    pub local_time: bool,
    /// `autoindex_exact_size`
    pub exact_size: bool,
}

/// `autoindex_format`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AutoindexFormat {
    /// `html`
    Html,
    /// `xml`
    Xml,
    /// `json`
    Json,
    /// `jsonp`: JSON as the argument of the function that the argument `callback` names, if there is one.
    Jsonp,
}

/// `disable_symlinks on|if_not_owner [from=part]`
#[derive(Clone, Debug)]
pub struct Symlinks {
    /// `if_not_owner`
    pub same_owner: bool,
    /// `from=`: if a path begins with this, only what follows is looked at.
    pub from: Option<Template>,
}
