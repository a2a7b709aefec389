//! What an exchange may ask of a trunk: a stream, a head, bytes, and to take what its link has.
//!
//! All of it goes by the link that the exchange has in a connection's place. Nothing here drives another exchange.

use super::super::encode::Scheme;
use super::super::frame;
use super::*;
use crate::command::{Address, Command, ConnectOptions};
use crate::http::ResponseHead;

/// Where an exchange stands with the trunk that it is attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// The connection is being made.
    Connecting,
    /// Requests may be sent.
    Open,
    /// There is no connection.
    Failed(UpstreamError),
}

/// What an exchange was attached to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Berth {
    /// The trunk.
    pub(crate) trunk: ConnId,
    /// Whether the connection stands already.
    pub(crate) is_open: bool,
    /// Whether it has served before: if it turns out to be dead, that is nobody's fault.
    pub(crate) has_served: bool,
}

/// Attaches the exchange with this link to a connection that has room, if there is one.
pub(crate) fn attach(
    seat: &Seat,
    identity: Option<&Arc<Identity>>,
    key: ConnId,
    ctx: &mut Context,
) -> Option<Berth> {
    // Bounded: each one that is found is taken or stops to be listed.
    loop {
        let found = seat.group.borrow().trunks.find(seat.server, identity)?;
        let berth = with(found, ctx, |trunk, ctx| {
            let now = ctx.now.instant;
            let usable = trunk.has_room()
                && trunk.link.broken().is_none()
                && seat.group.borrow().may_keep(seat.server, trunk.requests, trunk.opened, now);
            if !usable {
                trunk.leave();
                if trunk.is_empty() {
                    trunk.end(ctx);
                }
                return None;
            }
            Some(trunk.admit(key))
        });
        match berth {
            Some(Some(berth)) => return Some(berth),
            Some(None) => {}
            None => {
                debug_assert!(false, "a trunk is listed that there is not");
                seat.group.borrow_mut().trunks.unlist(seat.server, found);
            }
        }
    }
}

/// Opens a connection for the exchange with this link. Without a seat it is the exchange's own.
pub(crate) fn open(
    seat: Option<Seat>,
    address: Address,
    options: ConnectOptions,
    key: ConnId,
    ctx: &mut Context,
) -> Berth {
    let id = ConnId(ctx.conns.insert(Conn::Driven));
    let mut trunk = Trunk::new(Link::new(id), seat, None, ctx.now.instant);
    ctx.commands.push_back(Command::Connect { conn: id, address, options });
    let berth = trunk.admit(key);
    if let Some(slot) = ctx.conns.get_mut(id.0) {
        *slot = Conn::Trunk(trunk);
    }
    berth
}

/// A connection that an exchange has made speaks HTTP/2: it is everybody's from now on, and the exchange with this link
/// the first on it. Without a seat it stays the exchange's own.
pub(crate) fn adopt(
    link: Link,
    seat: Option<Seat>,
    identity: Option<Arc<Identity>>,
    key: ConnId,
    ctx: &mut Context,
) -> Berth {
    let id = link.id;
    let mut trunk = Trunk::new(link, seat, identity, ctx.now.instant);
    let berth = trunk.admit(key);
    trunk.connected(ctx);
    if let Some(slot) = ctx.conns.get_mut(id.0) {
        *slot = Conn::Trunk(trunk);
    }
    // Its first words may have come with the last ones of the handshake.
    with(id, ctx, Trunk::read);
    Berth { is_open: true, ..berth }
}

/// How it stands with the trunk of this link.
pub(crate) fn standing(link: &Link, ctx: &Context) -> Standing {
    let trunk = link.leg().and_then(|leg| ctx.conns.get(leg.trunk.0));
    match trunk {
        Some(Conn::Trunk(trunk)) => match trunk.phase {
            Phase::Connecting => Standing::Connecting,
            Phase::Open => Standing::Open,
            Phase::Leaving(code) => Standing::Failed(UpstreamError::GoneAway(code)),
            Phase::Dead(error) => Standing::Failed(error),
        },
        _ => Standing::Failed(UpstreamError::ClosedBeforeHead),
    }
}

/// The next head for this link.
///
/// # Errors
/// Why there will be none.
pub(crate) fn take_head(link: &mut Link, ctx: &mut Context) -> Result<Option<ResponseHead>, UpstreamError> {
    let Some(at) = link.leg() else { return Ok(None) };
    let taken = with(at.trunk, ctx, |trunk, _| match trunk.legs.get_mut(at.stream) {
        Some(leg) => match (leg.next_head(), leg.error) {
            (Some(head), _) => Ok(Some(head)),
            (None, Some(error)) => Err(error),
            (None, None) => Ok(None),
        },
        None => match trunk.phase {
            Phase::Connecting | Phase::Open => Ok(None),
            Phase::Leaving(code) => Err(UpstreamError::GoneAway(code)),
            Phase::Dead(error) => Err(error),
        },
    });
    taken.unwrap_or(Err(UpstreamError::ClosedBeforeHead))
}

/// This link asks for bytes: gives it what is there, the end if there is no more, or stirs it when there is.
pub(crate) fn pull(link: &mut Link, ctx: &mut Context) {
    let Some(at) = link.leg() else { return };
    with(at.trunk, ctx, |trunk, ctx| {
        let Some(leg) = trunk.legs.get_mut(at.stream) else { return };
        leg.wants_input = false;
        if leg.final_taken
            && let Some(chunk) = leg.pending.pop_front()
        {
            link.deliver(chunk);
            if let Some(credit) = leg.credit() {
                frame::write_window_update(at.stream, credit, &mut trunk.output.frames);
                trunk.mark(ctx);
            }
        } else if let Some(trailers) = leg.next_end() {
            link.deliver_end();
            link.put_trailers(trailers);
        } else if leg.final_taken
            && let Some(error) = leg.error
        {
            link.fail_leg(error);
        } else {
            leg.wants_input = true;
        }
    });
}

/// This link has something to send: takes as much as there is room for.
pub(crate) fn flush(link: &mut Link, ctx: &mut Context) {
    if let Some(at) = link.leg()
        && (link.has_head() || link.has_end() || link.ready_bytes() > 0)
    {
        with(at.trunk, ctx, |trunk, ctx| trunk.carry(link, ctx));
    }
}

/// This link's exchange needs its stream no more.
pub(crate) fn release(link: &Link, ctx: &mut Context) {
    let Some(at) = link.leg() else { return };
    let key = link.id;
    with(at.trunk, ctx, |trunk, ctx| {
        trunk.waiting.retain(|other| *other != key);
        trunk.attached.retain(|other| *other != key);
        if let Some(leg) = trunk.legs.remove(at.stream) {
            trunk.has_served |= leg.input_closed;
            let open = !(leg.input_closed && leg.half.closed) && leg.error.is_none();
            if open && !matches!(trunk.phase, Phase::Dead(_)) {
                trunk.output.reset(at.stream, ErrorCode::Cancel);
                trunk.remember_reset(at.stream);
            }
        } else if trunk.phase == Phase::Connecting && trunk.is_empty() {
            // Nobody waits for this connection any more.
            return trunk.end(ctx);
        }
        trunk.after_release(ctx);
    });
}

impl Trunk {
    fn admit(&mut self, key: ConnId) -> Berth {
        self.attached.push(key);
        self.requests += 1;
        self.link.deadline.clear();
        self.tell_group();
        Berth { trunk: self.link.id, is_open: self.phase == Phase::Open, has_served: self.has_served }
    }

    /// Takes what a link has, as far as the windows and the connection have room.
    fn carry(&mut self, from: &mut Link, ctx: &mut Context) {
        if self.phase != Phase::Open && !matches!(self.phase, Phase::Leaving(_)) {
            return;
        }
        let Some(id) = self.stream_of(from) else { return };
        // Bounded: each round sends something, and the connection has room for so much.
        loop {
            let backlog = self.backlog();
            let Self { legs, output, counts, link, waiting, .. } = self;
            let Some(leg) = legs.get_mut(id) else { return };
            if leg.half.closed {
                // The upstream wants no more of it.
                return from.drop_output();
            }
            let blocked = output.window <= 0 && !from.has_head() && !from.has_end();
            if blocked || !leg.half.has_output(from) {
                return;
            }
            let crowded = !waiting.is_empty() && !leg.is_waiting && !from.has_head();
            if backlog >= OUT_BYTES_MAX || crowded {
                if !waiting.contains(&from.id) {
                    waiting.push_back(from.id);
                }
                leg.is_waiting = true;
                return self.mark(ctx);
            }
            leg.is_waiting = false;
            let sent = output.send(&mut leg.half, from, frame::PAYLOAD_BYTES_MAX, counts, link, ctx);
            self.mark(ctx);
            match sent {
                Ok(true) => {}
                Ok(false) => return,
                Err(_) => return self.violated(ErrorCode::EnhanceYourCalm, ctx),
            }
        }
    }

    /// The stream of a link that has something to send; opened now if it has none.
    fn stream_of(&mut self, from: &mut Link) -> Option<u32> {
        let at = from.leg()?;
        if at.stream > 0 {
            return Some(at.stream);
        }
        if self.phase != Phase::Open {
            return None;
        }
        if self.legs.len() >= self.streams_max() {
            // The upstream takes fewer than we thought; somebody's end stirs this one.
            if !self.waiting.contains(&from.id) {
                self.waiting.push_back(from.id);
            }
            return None;
        }
        let scheme = if self.link.is_tls() { Scheme::Https } else { Scheme::Http };
        let id = self.next_id;
        self.next_id += 2;
        self.attached.retain(|other| *other != from.id);
        let half = Half::new(id, self.output.peer.window, Heads::Request(scheme));
        self.legs.push(Leg::new(half, from.id, at.head_bytes_max));
        from.open_leg(id);
        Some(id)
    }
}
