//! Who makes a reply without an upstream: files, and the pages that are part of the program.

pub(crate) mod files;
pub(crate) mod pages;
