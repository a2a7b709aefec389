//! The simulated network: it carries the worker's commands out between the worker's connections and simulated peers,
//! and holds the worker to every rule that `command.rs` states.

use std::collections::BTreeMap;

use proxy_core::buf::Chain;
use proxy_core::command::{Address, CloseHow, Completion, ConnId, IoError, Room};
use proxy_core::worker::Pools;

use crate::clock::{Clock, Event, Side};
use crate::pipe::{End, Pipe};
use crate::rng::Rng;

/// How rough the network is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weather {
    /// The longest way of a byte.
    pub(crate) delay_us_max: u64,
    /// How many of a hundred reads and writes are cut short.
    pub(crate) cut_percent: u64,
    /// A socket buffer's size.
    pub(crate) socket_bytes: usize,
}

/// How an attempt to connect ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConnectOutcome {
    Accepted,
    Refused,
    /// Nobody answers, ever.
    Silent,
}

/// A connection: two pipes and what the core has asked for.
pub(crate) struct Link {
    pub(crate) conn: ConnId,
    pub(crate) to_core: Pipe,
    pub(crate) to_peer: Pipe,
    connecting: Option<ConnectOutcome>,
    pub(crate) core_open: bool,
    core_shut: bool,
    recv: Option<Room>,
    send: Option<Chain>,
    pub(crate) peer_open: bool,
}

/// All connections.
pub(crate) struct Net {
    pub(crate) links: Vec<Link>,
    by_conn: BTreeMap<ConnId, usize>,
    strays: Vec<Option<Completion>>,
    pools: Pools,
    pub(crate) rng: Rng,
    weather: Weather,
    /// The most bytes that one `Send` may carry.
    send_bytes_max: usize,
}

impl Net {
    pub(crate) fn new(pools: Pools, weather: Weather, send_bytes_max: usize, rng: Rng) -> Self {
        let (links, by_conn, strays) = (Vec::new(), BTreeMap::new(), Vec::new());
        Self { links, by_conn, strays, pools, rng, weather, send_bytes_max }
    }

    /// A new connection under the core's key; `connecting` is how an attempt of the core's own will end.
    pub(crate) fn open(&mut self, conn: ConnId, connecting: Option<ConnectOutcome>) -> usize {
        let link = self.links.len();
        assert!(self.by_conn.insert(conn, link).is_none(), "rule: connection key {conn:?} is in use");
        let mut pipe = || {
            let tiny = self.rng.percent(15);
            Pipe::new(if tiny {
                self.rng.size(64, 512)
            } else {
                self.rng.size(512, self.weather.socket_bytes)
            })
        };
        self.links.push(Link {
            conn,
            to_core: pipe(),
            to_peer: pipe(),
            connecting,
            core_open: true,
            core_shut: false,
            recv: None,
            send: None,
            peer_open: true,
        });
        link
    }

    /// How many connections the core holds.
    pub(crate) fn core_open(&self) -> usize {
        self.by_conn.len()
    }

    fn delay(&mut self) -> u64 {
        let max = self.weather.delay_us_max;
        if self.rng.percent(70) { self.rng.range(0, max / 20) } else { self.rng.range(0, max) }
    }

    /// The core's connection, which must be open and connected.
    fn core_link(&mut self, conn: ConnId, doing: &str) -> usize {
        let link = self.by_conn.get(&conn);
        let link = *link.unwrap_or_else(|| panic!("rule: {doing} on the closed key {conn:?}"));
        assert!(
            self.links[link].connecting.is_none(),
            "rule: {doing} on {conn:?}, which is not connected yet"
        );
        link
    }

    /// `Command::Connect`.
    pub(crate) fn connect(&mut self, conn: ConnId, outcome: ConnectOutcome, clock: &mut Clock) -> usize {
        let link = self.open(conn, Some(outcome));
        if outcome != ConnectOutcome::Silent {
            let delay = self.delay();
            clock.plan(delay, Event::Connected(conn));
        }
        link
    }

    /// `Event::Connected`: the completion and, if it stands, the link that now has a peer.
    pub(crate) fn connected(&mut self, conn: ConnId) -> Option<(Completion, Option<usize>)> {
        let link = *self.by_conn.get(&conn)?;
        let outcome = self.links[link].connecting.take()?;
        let local = Address::Ip(([10, 0, 0, 1], 40_000).into());
        Some(match outcome {
            ConnectOutcome::Accepted => (Completion::Connect { conn, result: Ok(local) }, Some(link)),
            ConnectOutcome::Refused | ConnectOutcome::Silent => {
                // The key lives until the core closes it; the connection never will.
                self.links[link].to_core.refuse(0);
                self.links[link].to_core.deliver(0);
                self.links[link].peer_open = false;
                (Completion::Connect { conn, result: Err(IoError::REFUSED) }, None)
            }
        })
    }

    /// `Command::Recv`.
    pub(crate) fn recv(&mut self, conn: ConnId, room: Room, clock: &mut Clock) {
        let link = self.core_link(conn, "Recv");
        let pending = self.links[link].recv.replace(room);
        assert!(pending.is_none(), "rule: a second Recv in flight on {conn:?}");
        if self.links[link].to_core.is_ready() {
            let delay = self.delay();
            clock.plan(delay, Event::RecvReady(conn));
        }
    }

    /// `Command::Send`.
    pub(crate) fn send(&mut self, conn: ConnId, chain: Chain, clock: &mut Clock) {
        let link = self.core_link(conn, "Send");
        assert!(!chain.is_empty(), "rule: an empty Send on {conn:?}");
        assert!(chain.len() <= self.send_bytes_max, "bound: a Send of {} bytes on {conn:?}", chain.len());
        assert!(!self.links[link].core_shut, "rule: a Send behind Shutdown on {conn:?}");
        let pending = self.links[link].send.replace(chain);
        assert!(pending.is_none(), "rule: a second Send in flight on {conn:?}");
        let delay = self.delay();
        clock.plan(delay, Event::SendReady(conn));
    }

    /// `Command::Shutdown`.
    pub(crate) fn shutdown(&mut self, conn: ConnId, clock: &mut Clock) {
        let link = self.core_link(conn, "Shutdown");
        let at_us = clock.now_us() + self.delay();
        let state = &mut self.links[link];
        assert!(state.send.is_none(), "rule: Shutdown with a Send in flight on {conn:?}");
        assert!(!state.core_shut, "rule: a second Shutdown on {conn:?}");
        state.core_shut = true;
        if !state.to_peer.finished {
            let at_us = state.to_peer.finish(at_us);
            clock.plan_at(at_us, Event::Delivered(link, Side::Peer));
        }
    }

    /// `Command::Close`. Returns the link, whose peer may have to be told.
    pub(crate) fn close(&mut self, conn: ConnId, how: CloseHow, clock: &mut Clock) -> usize {
        let link = self.by_conn.remove(&conn);
        let link = link.unwrap_or_else(|| panic!("rule: Close on the closed key {conn:?}"));
        self.stray(link, clock);
        let at_us = clock.now_us() + self.delay();
        let state = &mut self.links[link];
        state.core_open = false;
        let unread = state.to_core.readable() > 0;
        if !state.to_peer.finished || how == CloseHow::Reset {
            let at_us = match how {
                CloseHow::Reset => state.to_peer.reset(at_us),
                CloseHow::Graceful if unread => state.to_peer.refuse(at_us),
                CloseHow::Graceful => state.to_peer.finish(at_us),
            };
            clock.plan_at(at_us, Event::Delivered(link, Side::Peer));
        }
        state.to_core.deafen();
        link
    }

    /// What was in flight at a close is dropped, or comes back late.
    fn stray(&mut self, link: usize, clock: &mut Clock) {
        let conn = self.links[link].conn;
        let connecting = self.links[link].connecting.take();
        let (recv, send) = (self.links[link].recv.take(), self.links[link].send.take());
        let mut late = Vec::new();
        if connecting.is_some() {
            late.push(Completion::Connect { conn, result: Err(IoError::CANCELED) });
        }
        if let Some(room) = recv {
            let mut buf = self.pool(room).take();
            let landed = self.rng.percent(50) && buf.try_extend(b"late");
            late.push(Completion::Recv {
                conn,
                result: if landed { Ok(buf) } else { Err(IoError::CANCELED) },
            });
        }
        if let Some(chain) = send {
            let result = if self.rng.percent(50) { Ok(chain.len()) } else { Err(IoError::CANCELED) };
            late.push(Completion::Send { conn, chain, result });
        }
        for completion in late {
            if self.rng.percent(50) {
                let delay = self.delay();
                clock.plan(delay, Event::Stray(self.strays.len()));
                self.strays.push(Some(completion));
            }
        }
    }

    /// `Event::Stray`.
    pub(crate) fn take_stray(&mut self, index: usize) -> Option<Completion> {
        self.strays[index].take()
    }

    fn pool(&self, room: Room) -> &proxy_core::buf::Pool {
        match room {
            Room::Small => &self.pools.small,
            Room::Large => &self.pools.large,
        }
    }

    /// `Event::RecvReady`.
    pub(crate) fn recv_ready(&mut self, conn: ConnId, clock: &mut Clock) -> Option<Completion> {
        let link = *self.by_conn.get(&conn)?;
        if !self.links[link].to_core.is_ready() {
            return None;
        }
        let room = self.links[link].recv.take()?;
        let mut buf = self.pool(room).take();
        let mut n = self.links[link].to_core.readable().min(buf.spare());
        if n > 1 && self.rng.percent(self.weather.cut_percent) {
            n = 1 + self.rng.spread(n - 1);
        }
        let pipe = &mut self.links[link].to_core;
        let end = pipe.end();
        assert!(buf.try_extend(&pipe.read(n)), "simulator: the block is too small");
        if n > 0 && self.links[link].peer_open {
            clock.plan(0, Event::Wake(link));
        }
        let result = if n == 0 && end == End::Reset { Err(IoError::RESET) } else { Ok(buf) };
        Some(Completion::Recv { conn, result })
    }

    /// `Event::SendReady`.
    pub(crate) fn send_ready(&mut self, conn: ConnId, clock: &mut Clock) -> Option<Completion> {
        let link = *self.by_conn.get(&conn)?;
        let state = &mut self.links[link];
        if state.to_core.was_reset() || state.to_peer.finished {
            let chain = state.send.take()?;
            return Some(Completion::Send { conn, chain, result: Err(IoError::BROKEN_PIPE) });
        }
        let room = state.to_peer.room();
        if room == 0 {
            return None;
        }
        let chain = state.send.take()?;
        let mut n = chain.len().min(room);
        if n > 1 && self.rng.percent(self.weather.cut_percent) {
            n = 1 + self.rng.spread(n - 1);
        }
        let at_us = clock.now_us() + self.delay();
        let at_us = self.links[link].to_peer.write(&chain.to_vec()[..n], at_us);
        clock.plan_at(at_us, Event::Delivered(link, Side::Peer));
        Some(Completion::Send { conn, chain, result: Ok(n) })
    }

    /// `Event::Delivered`: wakes whom it concerns.
    pub(crate) fn delivered(&mut self, link: usize, to: Side, clock: &mut Clock) {
        let state = &mut self.links[link];
        let now_us = clock.now_us();
        match to {
            Side::Core => {
                // Bytes for a reader that is gone are answered with a reset, as TCP does.
                if state.to_core.deliver(now_us) && !state.to_peer.was_reset() {
                    state.to_peer.refuse(now_us);
                    clock.plan(0, Event::Delivered(link, Side::Peer));
                }
                if state.core_open && state.to_core.is_ready() {
                    clock.plan(0, Event::RecvReady(state.conn));
                }
                if state.core_open && state.to_core.was_reset() {
                    clock.plan(0, Event::SendReady(state.conn));
                }
            }
            Side::Peer => {
                if state.to_peer.deliver(now_us) && !state.to_core.was_reset() {
                    state.to_core.refuse(now_us);
                    clock.plan(0, Event::Delivered(link, Side::Core));
                }
                if state.peer_open {
                    clock.plan(0, Event::Wake(link));
                }
            }
        }
    }

    /// The peer's hands on its end of `link`.
    pub(crate) fn peer<'a>(&'a mut self, link: usize, clock: &'a mut Clock) -> PeerEnd<'a> {
        PeerEnd { net: self, clock, link }
    }
}

/// What a simulated client or upstream may do with its socket.
pub(crate) struct PeerEnd<'a> {
    net: &'a mut Net,
    pub(crate) clock: &'a mut Clock,
    link: usize,
}

impl PeerEnd<'_> {
    /// Reads at most `max` bytes; none if nothing is there now.
    pub(crate) fn read(&mut self, max: usize) -> Vec<u8> {
        let state = &mut self.net.links[self.link];
        let bytes = state.to_peer.read(max);
        if !bytes.is_empty() && state.core_open {
            self.clock.plan(0, Event::SendReady(state.conn));
        }
        bytes
    }

    /// What stands behind the bytes that were read.
    pub(crate) fn end(&self) -> End {
        self.net.links[self.link].to_peer.end()
    }

    /// Whether the core can still be reached.
    pub(crate) fn is_writable(&self) -> bool {
        let state = &self.net.links[self.link];
        !state.to_core.finished && !state.to_peer.was_reset()
    }

    /// Writes what fits and says how much that was.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> usize {
        if !self.is_writable() {
            return bytes.len();
        }
        let n = bytes.len().min(self.net.links[self.link].to_core.room());
        if n > 0 {
            let at_us = self.clock.now_us() + self.net.delay();
            let at_us = self.net.links[self.link].to_core.write(&bytes[..n], at_us);
            self.clock.plan_at(at_us, Event::Delivered(self.link, Side::Core));
        }
        n
    }

    /// Half-closes.
    pub(crate) fn shutdown(&mut self) {
        if self.is_writable() {
            let at_us = self.clock.now_us() + self.net.delay();
            let at_us = self.net.links[self.link].to_core.finish(at_us);
            self.clock.plan_at(at_us, Event::Delivered(self.link, Side::Core));
        }
    }

    /// Closes: with the end of the stream, or a reset if the core's bytes are unread.
    pub(crate) fn close(&mut self) {
        if self.net.links[self.link].to_peer.readable() > 0 {
            self.refuse();
        } else {
            self.shutdown();
        }
        self.leave();
    }

    /// Closes with a reset that overtakes what is in flight.
    pub(crate) fn reset(&mut self) {
        if self.is_writable() || !self.net.links[self.link].to_core.was_reset() {
            let at_us = self.clock.now_us() + self.net.delay();
            let at_us = self.net.links[self.link].to_core.reset(at_us);
            self.clock.plan_at(at_us, Event::Delivered(self.link, Side::Core));
        }
        self.leave();
    }

    fn refuse(&mut self) {
        if self.is_writable() {
            let at_us = self.clock.now_us() + self.net.delay();
            let at_us = self.net.links[self.link].to_core.refuse(at_us);
            self.clock.plan_at(at_us, Event::Delivered(self.link, Side::Core));
        }
    }

    fn leave(&mut self) {
        let state = &mut self.net.links[self.link];
        state.peer_open = false;
        state.to_peer.deafen();
        // A write that waited for room finds some: nobody reads it, but the socket takes it.
        self.clock.plan(0, Event::SendReady(state.conn));
    }

    /// Looks around again in `delay_us`.
    pub(crate) fn wake_in(&mut self, delay_us: u64) {
        self.clock.plan(delay_us, Event::Wake(self.link));
    }
}
