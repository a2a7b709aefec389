//! Questions and answers on the wire (RFC 1035, 4).

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Failure, Name};

/// How many records of one answer are used.
pub const RECORDS_MAX: usize = 256;
/// How many aliases (CNAME) are followed for one name.
pub const ALIASES_MAX: usize = 16;

const HEADER_BYTES: usize = 12;
const CLASS_IN: u16 = 1;
const TYPE_CNAME: u16 = 5;
const TYPE_SOA: u16 = 6;
/// QR: it is an answer.
const FLAG_ANSWER: u8 = 0x80;
/// The kind of question; ours is 0.
const OPCODE: u8 = 0x78;
/// TC: it was cut to what fits a datagram.
const FLAG_TRUNCATED: u8 = 0x02;
/// RD: the name server shall find out.
const FLAG_RECURSE: u8 = 0x01;

/// What is asked about a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses (RFC 3596).
    Aaaa,
    /// Servers of a service (RFC 2782).
    Srv,
}

impl Kind {
    /// Its number.
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Self::A => 1,
            Self::Aaaa => 28,
            Self::Srv => 33,
        }
    }
}

/// A question.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Question {
    /// About which name.
    pub name: Name,
    /// What of it.
    pub kind: Kind,
}

/// A record that answers a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A or AAAA.
    Address(IpAddr),
    /// SRV.
    Service(Service),
}

/// A server of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Lower is asked first.
    pub priority: u16,
    /// Its share among those of its priority.
    pub weight: u16,
    /// Its port.
    pub port: u16,
    /// Its name.
    pub target: Name,
}

/// What an answer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The records, and for how many seconds they may be believed.
    Records {
        /// At least one.
        records: Vec<Record>,
        /// The shortest of the chain.
        ttl_s: u32,
    },
    /// Another name must be asked for.
    Alias {
        /// The end of the chain.
        name: Name,
        /// The shortest of the chain.
        ttl_s: u32,
    },
    /// There is no such name, or it has no such record (RFC 2308).
    Nothing {
        /// For how many seconds that may be believed, where the answer says so.
        ttl_s: Option<u32>,
    },
    /// It did not fit: ask again by TCP.
    Truncated,
    /// The name server cannot or does not want to.
    Failed(Failure),
}

/// The question's message.
#[must_use]
pub fn encode(question: &Question, id: u16) -> Vec<u8> {
    let name = question.name.wire();
    let mut message = Vec::with_capacity(HEADER_BYTES + name.len() + 4);
    message.extend_from_slice(&id.to_be_bytes());
    message.extend_from_slice(&[FLAG_RECURSE, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    message.extend_from_slice(name);
    message.extend_from_slice(&question.kind.code().to_be_bytes());
    message.extend_from_slice(&CLASS_IN.to_be_bytes());
    message
}

/// What a message says to the question of this id. None where it is not its answer, or makes no sense.
#[must_use]
pub fn decode(message: &[u8], id: u16, question: &Question) -> Option<Answer> {
    let mut reader = Reader { message, at: 0 };
    let its_id = reader.u16()?;
    let [high, low] = reader.u16()?.to_be_bytes();
    let [questions, answers, authorities] = [reader.u16()?, reader.u16()?, reader.u16()?];
    reader.u16()?;
    let is_ours = its_id == id && high & FLAG_ANSWER != 0 && high & OPCODE == 0 && questions == 1;
    if !is_ours || reader.question()? != *question {
        return None;
    }
    if high & FLAG_TRUNCATED != 0 {
        return Some(Answer::Truncated);
    }
    match Failure(u16::from(low & 0x0f)) {
        Failure(0) | Failure::NOT_FOUND => {}
        failure => return Some(Answer::Failed(failure)),
    }
    let entries = reader.entries(answers)?;
    let chain = Chain::follow(&reader, &entries, question);
    if !chain.records.is_empty() {
        return Some(Answer::Records { records: chain.records, ttl_s: chain.ttl_s });
    }
    let negative_s = reader.negative_ttl(authorities);
    let exists = low & 0x0f == 0;
    if exists && negative_s.is_none() && chain.name != question.name {
        return Some(Answer::Alias { name: chain.name, ttl_s: chain.ttl_s });
    }
    Some(Answer::Nothing { ttl_s: negative_s.map(|ttl| ttl.min(chain.ttl_s)) })
}

/// A record's head, and where its data is.
struct Entry {
    name: Name,
    code: u16,
    ttl_s: u32,
    at: usize,
    len: usize,
}

/// From the question's name over its aliases to the records.
struct Chain {
    name: Name,
    ttl_s: u32,
    records: Vec<Record>,
}

impl Chain {
    fn follow(reader: &Reader<'_>, entries: &[Entry], question: &Question) -> Self {
        let mut chain = Self { name: question.name.clone(), ttl_s: u32::MAX, records: Vec::new() };
        for _ in 0..=ALIASES_MAX {
            let own = || entries.iter().filter(|entry| entry.name == chain.name);
            let found = own().filter(|entry| entry.code == question.kind.code());
            let read = found.filter_map(|entry| Some((reader.record(entry, question.kind)?, entry.ttl_s)));
            for (record, ttl_s) in read.take(RECORDS_MAX) {
                chain.records.push(record);
                chain.ttl_s = chain.ttl_s.min(ttl_s);
            }
            let alias = own().find(|entry| entry.code == TYPE_CNAME);
            let Some(alias) = alias.filter(|_| chain.records.is_empty()) else { break };
            let Some((name, _)) = Name::decode(reader.message, alias.at) else { break };
            chain.name = name;
            chain.ttl_s = chain.ttl_s.min(alias.ttl_s);
        }
        chain
    }
}

struct Reader<'m> {
    message: &'m [u8],
    at: usize,
}

impl Reader<'_> {
    fn u16(&mut self) -> Option<u16> {
        let bytes = self.message.get(self.at..self.at + 2)?;
        self.at += 2;
        bytes.try_into().ok().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        let high = self.u16()?;
        let low = self.u16()?;
        Some(u32::from(high) << 16 | u32::from(low))
    }

    fn name(&mut self) -> Option<Name> {
        let (name, next) = Name::decode(self.message, self.at)?;
        self.at = next;
        Some(name)
    }

    /// A question of a kind and class that we ask.
    fn question(&mut self) -> Option<Question> {
        let name = self.name()?;
        let code = self.u16()?;
        let kind = [Kind::A, Kind::Aaaa, Kind::Srv].into_iter().find(|kind| kind.code() == code)?;
        (self.u16()? == CLASS_IN).then_some(Question { name, kind })
    }

    fn entry(&mut self) -> Option<Entry> {
        let name = self.name()?;
        let code = self.u16()?;
        let class = self.u16()?;
        let ttl_s = self.u32()?;
        let len = usize::from(self.u16()?);
        let at = self.at;
        self.message.get(at..at + len)?;
        self.at += len;
        // RFC 2181, 8: a time with its highest bit set is none.
        let ttl_s = if ttl_s > i32::MAX.cast_unsigned() { 0 } else { ttl_s };
        // A record of another class is of no kind that anybody looks for.
        Some(Entry { name, code: if class == CLASS_IN { code } else { 0 }, ttl_s, at, len })
    }

    /// A message of 64 KiB holds some thousands at the most.
    fn entries(&mut self, count: u16) -> Option<Vec<Entry>> {
        (0..count).map(|_| self.entry()).collect()
    }

    /// How long "there is nothing" may be believed: the SOA record's own time and its last field (RFC 2308, 5).
    fn negative_ttl(&mut self, authorities: u16) -> Option<u32> {
        for _ in 0..authorities {
            let entry = self.entry()?;
            if entry.code == TYPE_SOA {
                let mut field = Reader { message: self.message, at: (entry.at + entry.len).checked_sub(4)? };
                return field.u32().map(|minimum| minimum.min(entry.ttl_s));
            }
        }
        None
    }

    fn record(&self, entry: &Entry, kind: Kind) -> Option<Record> {
        let data = self.message.get(entry.at..entry.at + entry.len)?;
        Some(match kind {
            Kind::A => Record::Address(Ipv4Addr::from(<[u8; 4]>::try_from(data).ok()?).into()),
            Kind::Aaaa => Record::Address(Ipv6Addr::from(<[u8; 16]>::try_from(data).ok()?).into()),
            Kind::Srv => {
                let mut field = Reader { message: self.message, at: entry.at };
                let [priority, weight, port] = [field.u16()?, field.u16()?, field.u16()?];
                let target = field.name()?;
                if field.at != entry.at + entry.len {
                    return None;
                }
                Record::Service(Service { priority, weight, port, target })
            }
        })
    }
}
