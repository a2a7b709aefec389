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
    /// The browser module's directives.
    pub browsers: Option<Browsers>,
    /// `userid`; none is `off`.
    pub user_id: Option<UserId>,
}

/// What `$modern_browser` and `$ancient_browser` go by.
#[derive(Clone, Debug, Default)]
pub struct Browsers {
    /// `modern_browser`: families with the first modern version, Opera first.
    pub modern: Vec<(BrowserFamily, u32)>,
    /// `modern_browser unlisted`
    pub unlisted_are_modern: bool,
    /// `ancient_browser netscape4`
    pub netscape4: bool,
    /// `ancient_browser`: what stands in the names of old ones.
    pub ancient: Vec<Box<[u8]>>,
    /// `modern_browser_value`; none is 1.
    pub modern_value: Option<Box<[u8]>>,
    /// `ancient_browser_value`; none is 1.
    pub ancient_value: Option<Box<[u8]>>,
}

/// What `modern_browser` knows, in the order in which it is looked for: Opera may claim to be another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "names of browsers")]
pub enum BrowserFamily {
    Opera,
    Msie,
    Gecko,
    Safari,
    Konqueror,
}

/// The userid module's directives.
#[derive(Clone, Debug)]
pub struct UserId {
    /// Whether cookies are set (`on`, `v1`) or only read (`log`).
    pub sets: bool,
    /// `v1`: the older form.
    pub v1: bool,
    /// `userid_service`; none is the server's address, or 0 in the older form.
    pub service: Option<u32>,
    /// `userid_name`
    pub name: Box<[u8]>,
    /// `userid_expires`
    pub expires: CookieLife,
    /// Domain, path and flags, as they stand in the cookie.
    pub attributes: Box<[u8]>,
    /// `userid_p3p`
    pub p3p: Option<Box<[u8]>>,
    /// `userid_mark`
    pub mark: Option<u8>,
}

/// How long a cookie is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CookieLife {
    /// As long as the browser runs.
    Session,
    /// To the end of 2037.
    Max,
    /// So many seconds.
    Seconds(u64),
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
