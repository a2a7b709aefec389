//! Who makes a reply without an upstream: files, and the pages that are part of the program.
//!
//! Read in this order: [`files`] looks for what a URI means (`try_files`, `index`, the file itself) by the paths that
//! [`path`] makes; [`serve`] sends what was found, as [`conditional`] and [`range`] cut it; [`listing`] looks into
//! directories, and [`autoindex`] has the pages that show them; [`pages`] has nginx's own.

mod api;
mod autoindex;
pub(crate) mod conditional;
pub(crate) mod files;
mod listing;
pub(crate) mod pages;
pub(crate) mod path;
pub(crate) mod range;
pub(crate) mod serve;
