//! The access phase's settings of one level: who may ask.

use alloc::boxed::Box;
use alloc::sync::Arc;

use super::{LocationId, SetTarget, Template};
use crate::access::forwarded::Proxies;
use crate::access::table::AddressTable;
use crate::command::Address;
use crate::http::Method;
use crate::time::Millis;

/// What the access phase asks at a level. A level where nothing is asked has none.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// `satisfy any`: one check that lets the request pass is enough.
    pub satisfy_any: bool,
    /// `auth_delay`: how long a 401 waits.
    pub delay: Millis,
    /// `allow` and `deny`
    pub rules: Option<Arc<AccessRules>>,
    /// `auth_basic` with its file.
    pub basic: Option<Arc<AuthBasic>>,
    /// `auth_request`
    pub request: Option<Arc<AuthRequest>>,
}

/// `auth_basic` and `auth_basic_user_file`
#[derive(Clone, Debug)]
pub struct AuthBasic {
    /// The realm; one that comes out as `off` asks nobody.
    pub realm: Template,
    /// The file.
    pub file: UserFilePath,
}

/// Where a password file is.
#[derive(Clone, Debug)]
pub enum UserFilePath {
    /// Always here. Absolute.
    Fixed(Arc<[u8]>),
    /// Here for this request.
    Computed(Template),
}

/// `auth_request`: another request's status decides.
#[derive(Clone, Debug)]
pub struct AuthRequest {
    /// What is asked for.
    pub uri: Arc<[u8]>,
    /// `auth_request_set`: variables, and what of the other request goes into them.
    pub set: Arc<[(SetTarget, Template)]>,
}

/// `allow` and `deny`: for each address the verdict of the first rule that holds it, if one does.
#[derive(Clone, Debug)]
pub struct AccessRules {
    /// `true` allows.
    pub addresses: AddressTable<bool>,
    /// The first rule that holds Unix sockets.
    pub unix: Option<bool>,
}

impl AccessRules {
    /// What the first rule that holds this address says: `true` allows.
    #[must_use]
    pub fn verdict(&self, client: &Address) -> Option<bool> {
        match client {
            Address::Unix(_) => self.unix,
            // nginx asks the IPv4 rules, if there are any, about a mapped address.
            Address::Ip(address) if self.addresses.has_no_v4() => self.addresses.find(address.ip()),
            Address::Ip(address) => self.addresses.find(address.ip().to_canonical()),
        }
    }
}

/// `set_real_ip_from` and its kin: whose word is taken for who the client is.
#[derive(Clone, Debug)]
pub struct RealIp {
    /// `set_real_ip_from`
    pub from: Proxies,
    /// `real_ip_header`
    pub header: RealIpHeader,
    /// `real_ip_recursive`
    pub recursive: bool,
}

/// Where the client's address stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RealIpHeader {
    /// In X-Forwarded-For: the last one that is no proxy of ours.
    XForwardedFor,
    /// In the first field of this name.
    Field(Box<[u8]>),
    /// In the PROXY protocol's header.
    ProxyProtocol,
}

/// `limit_except`: what other methods than these meet.
#[derive(Clone, Debug)]
pub struct LimitExcept {
    /// The methods that are left alone; HEAD stands here wherever GET does.
    pub methods: Box<[Method]>,
    /// The level that handles all others.
    pub location: LocationId,
}
