//! Which server is asked: one file for each method.
//!
//! A method chooses among the servers of a [`Tier`] (all but the backup servers, or the backup servers) that are fit and that
//! this request has not asked yet. Whether a server is fit is settled before, for all requests until something changes
//! ([`Group`](super::Group)), so a choice reads no shared state, but for the counts that `least_conn` and `least_time` are about.

pub(crate) mod consistent;
pub(crate) mod hash;
pub(crate) mod least;
pub(crate) mod least_conn;
pub(crate) mod least_time;
pub(crate) mod random;
pub(crate) mod round_robin;
pub(crate) mod sticky;

use alloc::vec::Vec;

use least::Tournament;
use round_robin::Turn;

use super::Pick;
use super::server::Server;
use crate::config::Balance;
use crate::exchange::context::Random;
use crate::shared::upstream::Members;
use crate::time::Instant;

/// The servers that are chosen among, as places in their group's list, in the order of the configuration.
#[derive(Debug, Default)]
pub(crate) struct Tier {
    pub(crate) order: Vec<usize>,
    /// Whose turn it is.
    turn: Turn,
    /// Who has least to do.
    least: Tournament,
    /// A server begins slowly: its weight changes with time.
    pub(crate) warming: bool,
    /// The weights added up, for each server with all before it.
    sums: Vec<u64>,
    /// The rank at each point of the weights laid end to end, where these are not too many to be laid out.
    laid_out: Vec<u32>,
    /// The places of each name on the ring.
    namesakes: Vec<Vec<usize>>,
}

impl Tier {
    /// Something has changed: what was prepared for the next choices does not hold any more.
    pub(crate) fn interrupt(&mut self, servers: &mut [Server]) {
        self.turn.interrupt(servers);
        self.least.interrupt();
    }

    /// The order is new: prepares what the method looks things up in.
    pub(crate) fn prepare(&mut self, balance: Balance, servers: &mut [Server], members: &Members) {
        for (rank, place) in self.order.iter().enumerate() {
            if let Some(server) = servers.get_mut(*place) {
                server.rank = rank;
            }
        }
        self.sums.clear();
        self.laid_out.clear();
        self.namesakes.clear();
        let mut sum = 0_u64;
        for server in self.order.iter().filter_map(|place| servers.get(*place)) {
            sum += u64::from(server.config.weight);
            self.sums.push(sum);
        }
        if sum <= LAID_OUT_MAX {
            for (rank, sum) in (0_u32..).zip(&self.sums) {
                self.laid_out.resize(usize::try_from(*sum).unwrap_or(0), rank);
            }
        }
        if balance == Balance::HashConsistent {
            let ring = members.ring();
            self.namesakes.resize_with(ring.names(), Vec::new);
            for place in &self.order {
                let name = servers.get(*place).and_then(|server| ring.name_of(&server.config.name));
                if let Some(namesakes) = name.and_then(|name| self.namesakes.get_mut(name)) {
                    namesakes.push(*place);
                }
            }
        }
    }

    /// The weights of all together.
    fn total_weight(&self) -> Option<u64> {
        self.sums.last().copied().filter(|total| *total > 0)
    }

    /// The server at this point of the weights laid end to end, again and again.
    fn at_weight(&self, point: u64) -> Option<usize> {
        let point = point % self.total_weight()?;
        let rank = match self.laid_out.get(usize::try_from(point).ok()?) {
            Some(rank) => *rank as usize,
            None => self.sums.partition_point(|sum| *sum <= point),
        };
        self.order.get(rank).copied()
    }
}

/// Weights are laid out up to so many points, 4 bytes each: a thousand servers of weight 64.
const LAID_OUT_MAX: u64 = 1 << 16;

/// Chooses among the servers of a tier.
pub(crate) fn choose(
    balance: Balance,
    tier: &mut Tier,
    servers: &mut [Server],
    members: &Members,
    pick: &mut Pick,
    random: &mut Random,
    now: Instant,
) -> Option<usize> {
    match balance {
        Balance::RoundRobin => round_robin::choose(tier, servers, &pick.tried, now),
        Balance::LeastConn => least_conn::choose(tier, servers, &pick.tried, now),
        Balance::LeastTime(by) => least_time::choose(by, tier, servers, &pick.tried, now),
        Balance::IpHash => hash::choose(hash::by_address, tier, servers, pick, now),
        Balance::Hash => hash::choose(hash::by_key, tier, servers, pick, now),
        Balance::HashConsistent => consistent::choose(members.ring(), tier, servers, pick, now),
        Balance::Random(two) => random::choose(two, tier, servers, &pick.tried, random, now),
    }
}

/// A server of a tier has one request less, or another average.
pub(crate) fn note_load(balance: Balance, tier: &mut Tier, server: &Server, now: Instant) {
    match balance {
        Balance::LeastConn => tier.least.note(server, least_conn::load(server)),
        Balance::LeastTime(by) => tier.least.note(server, least_time::estimate(by, server, now)),
        Balance::RoundRobin
        | Balance::IpHash
        | Balance::Hash
        | Balance::HashConsistent
        | Balance::Random(_) => {}
    }
}
