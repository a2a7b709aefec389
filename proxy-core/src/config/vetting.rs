//! Variables that judge a request: where it comes from, what its link says, which part of all requests it is in.

use alloc::boxed::Box;
use alloc::vec::Vec;

use hashbrown::HashMap;

use super::Template;
use crate::access::forwarded::Proxies;
use crate::access::table::AddressTable;
use crate::route::Regex;

/// What a level says about `$invalid_referer`, `$secure_link` and `$secure_link_expires`.
#[derive(Clone, Debug, Default)]
pub struct Vetting {
    /// `valid_referers`
    pub referers: Option<Referers>,
    /// `secure_link` with `secure_link_md5`, or `secure_link_secret`.
    pub secure_link: Option<SecureLink>,
}

/// `valid_referers`
#[derive(Clone, Debug, Default)]
pub struct Referers {
    /// `none`: no Referer is fine.
    pub none: bool,
    /// `blocked`: one that is no URL of HTTP is fine.
    pub blocked: bool,
    /// Hosts in lower case, with how the path must begin.
    pub exact: HashMap<Box<[u8]>, Box<[u8]>>,
    /// `*.example.com` as `.example.com`, longest first.
    pub suffixes: Vec<HostMask>,
    /// `example.*` as `example.`, longest first.
    pub prefixes: Vec<HostMask>,
    /// The server's own names that are regexes: for the host.
    pub hosts: Vec<Regex>,
    /// `~`: for the URL behind its scheme.
    pub regexes: Vec<Regex>,
}

/// The end or the beginning of a host, and how the path must begin.
pub type HostMask = (Box<[u8]>, Box<[u8]>);

/// How a link proves that we made it.
#[derive(Clone, Debug)]
pub enum SecureLink {
    /// `secure_link` and `secure_link_md5`
    Md5 {
        /// The hash in base64url and, behind a comma, when the link expires.
        link: Template,
        /// What was hashed.
        text: Template,
    },
    /// `secure_link_secret`: `/prefix/hash/link`.
    Secret(Box<[u8]>),
}

/// One `geo` block.
#[derive(Debug)]
pub struct Geo {
    /// The variable that it makes, without the dollar sign.
    pub name: Box<str>,
    /// The variable that holds the address; none for the client's own.
    pub source: Option<Template>,
    /// `proxy`: whose X-Forwarded-For is believed.
    pub proxies: Option<Proxies>,
    /// `proxy_recursive`
    pub recursive: bool,
    /// `ranges`: only IPv4 addresses are looked up.
    pub ranges: bool,
    /// Addresses to places in `values`.
    pub table: AddressTable<u32>,
    /// The values, each once.
    pub values: Vec<Box<[u8]>>,
    /// `default`
    pub default: Box<[u8]>,
}

/// One `split_clients` block.
#[derive(Debug)]
pub struct SplitClients {
    /// The variable that it makes, without the dollar sign.
    pub name: Box<str>,
    /// What is hashed.
    pub source: Template,
    /// Below which hash which value stands; none for `*`, which takes the rest.
    pub parts: Vec<(Option<u32>, Box<[u8]>)>,
}
