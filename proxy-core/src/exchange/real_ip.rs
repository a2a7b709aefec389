//! `set_real_ip_from` and its kin: behind proxies that are believed, the client is whom they say.
//!
//! It is asked first thing in the server's settings (the postread phase), and before the limits in the location's. What
//! is found holds for this request: the connection's own facts stay what they are.
//!
//! Reference: nginx's ngx_http_realip_module.

use alloc::boxed::Box;
use alloc::rc::Rc;

use super::Exchange;
use super::context::{Context, Generation};
use super::facts::Replaced;
use crate::access::forwarded::text_of;
use crate::command::Address;
use crate::config::{RealIp, RealIpHeader};
use crate::http::HeaderId;
use crate::trace::Step;

impl Exchange {
    /// Finds out who the client is, where the present level says how.
    pub(crate) fn find_real_ip(&mut self, generation: &Generation, ctx: &Context) {
        let Some(real_ip) = self.location(generation).and_then(|location| location.real_ip.as_ref()) else {
            return;
        };
        if self.facts.conn.replaced.is_some() {
            return;
        }
        let Some(address) = self.real_client(real_ip) else { return };
        ctx.note(|| Step::RealIp { from: self.facts.conn.peer.client.clone(), to: Address::Ip(address) });
        let mut facts = (*self.facts.conn).clone();
        let port = match &facts.peer.client {
            Address::Ip(address) => address.port(),
            Address::Unix(_) => 0,
        };
        let text = core::mem::replace(&mut facts.client_text, text_of(address.ip()));
        facts.replaced = Some(Box::new(Replaced { text, port }));
        facts.peer.client = Address::Ip(address);
        self.facts.conn = Rc::new(facts);
    }

    fn real_client(&self, real_ip: &RealIp) -> Option<core::net::SocketAddr> {
        let (head, conn) = (&self.facts.head, &self.facts.conn);
        let peer = &conn.peer.client;
        match &real_ip.header {
            RealIpHeader::XForwardedFor => {
                let fields = head.fields.iter().filter(|field| field.id == HeaderId::XForwardedFor);
                let values = fields.map(|field| field.value.of(&head.bytes));
                real_ip.from.client_of(peer, values, real_ip.recursive)
            }
            RealIpHeader::Field(name) => {
                let same =
                    |field: &&crate::http::Field| field.name.of(&head.bytes).eq_ignore_ascii_case(name);
                let field = head.fields.iter().find(same)?;
                let value = core::iter::once(field.value.of(&head.bytes));
                real_ip.from.client_of(peer, value, real_ip.recursive)
            }
            RealIpHeader::ProxyProtocol => {
                let proxy = conn.proxy.as_ref()?;
                let value = core::iter::once(&*proxy.source);
                let mut address = real_ip.from.client_of(peer, value, real_ip.recursive)?;
                address.set_port(proxy.source_port);
                Some(address)
            }
        }
    }
}
