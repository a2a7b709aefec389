//! What a proxy keeps in memory: for thousands of silent connections, and while one large body passes through.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use ringgate_benches::browser_request;

use crate::client::connect_from;
use crate::proxies::Proxy;
use crate::reply::ReplyReader;
use crate::shapes::Shape;
use crate::{Result, cpu};

const MEBIBYTE: u64 = 1024 * 1024;
/// How many bytes pass between two looks at the proxy's memory.
const LOOK: u64 = 8 * MEBIBYTE;
/// A proxy that moves nothing for this long has failed.
const STALL: Duration = Duration::from_secs(30);

/// The result for one proxy.
pub(crate) struct Passed {
    /// CPU and wall-clock time for all units.
    pub(crate) spent: cpu::Spent,
    /// Connections, or MiB.
    pub(crate) units: u64,
    /// By how much resident memory grew at most, KiB.
    pub(crate) growth_kib: u64,
}

/// Opens `count` connections, asks once on each, and looks while all of them stay open.
pub(crate) fn idle(proxy: &Proxy, shape: &Shape, count: usize) -> Result<Passed> {
    let request = browser_request("GET", shape.target, "Connection: keep-alive\r\n");
    let mut buffer = vec![0; 64 * 1024];
    let mut ask = |number: usize| -> Result<_> {
        let mut stream = connect_from(proxy.address, number as u64)?;
        stream.set_read_timeout(Some(STALL))?;
        stream.write_all(&request)?;
        read_reply(&mut stream, &mut buffer)?;
        Ok(stream)
    };
    // The first request finds what is made once, such as the upstream connection.
    drop(ask(0)?);
    let pids = proxy.pids();
    let resident = cpu::resident_kib(&pids);
    let before = cpu::read(&pids);
    let open = (0..count).map(&mut ask).collect::<Result<Vec<_>>>()?;
    let spent = cpu::read(&pids) - before;
    let growth_kib = cpu::resident_kib(&pids).saturating_sub(resident);
    drop(open);
    Ok(Passed { spent, units: count as u64, growth_kib })
}

/// Fetches one reply of `mebibytes`.
pub(crate) fn download(proxy: &Proxy, shape: &Shape, mebibytes: u64) -> Result<Passed> {
    let target = format!("{}{}", shape.target, mebibytes * MEBIBYTE);
    let mut stream = greeted(proxy.address, shape)?;
    let mut watch = Watch::start(proxy);
    stream.write_all(&browser_request("GET", &target, ""))?;
    let mut reader = ReplyReader::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let got = stream.read(&mut buffer)?;
        watch.passed(got as u64);
        if got == 0 {
            return Err("the proxy closed in the middle of a download".into());
        }
        if reader.feed(buffer.get(..got).unwrap_or_default())? {
            return Ok(watch.finish(mebibytes));
        }
    }
}

/// Sends one body of `mebibytes` and waits for the reply to it.
pub(crate) fn upload(proxy: &Proxy, shape: &Shape, mebibytes: u64) -> Result<Passed> {
    let mut stream = greeted(proxy.address, shape)?;
    let mut watch = Watch::start(proxy);
    let length = format!("Content-Length: {}\r\n", mebibytes * MEBIBYTE);
    stream.write_all(&browser_request("PUT", shape.target, &length))?;
    let mut block = vec![b'x'; MEBIBYTE as usize];
    for _ in 0..mebibytes {
        stream.write_all(&block)?;
        watch.passed(MEBIBYTE);
    }
    read_reply(&mut stream, &mut block)?;
    Ok(watch.finish(mebibytes))
}

/// A connection that has had one small reply.
fn greeted(address: SocketAddr, shape: &Shape) -> Result<std::net::TcpStream> {
    let mut stream = connect_from(address, 0)?;
    stream.set_read_timeout(Some(STALL))?;
    stream.set_write_timeout(Some(STALL))?;
    let directory = shape.target.rsplit_once('/').map_or("", |(directory, _)| directory);
    stream.write_all(&browser_request("GET", &format!("{directory}/2"), ""))?;
    read_reply(&mut stream, &mut [0; 4096])?;
    Ok(stream)
}

fn read_reply(stream: &mut impl Read, buffer: &mut [u8]) -> Result<()> {
    let mut reader = ReplyReader::new();
    loop {
        let got = stream.read(buffer)?;
        if got == 0 {
            return Err("the proxy closed before a reply was complete".into());
        }
        if reader.feed(buffer.get(..got).unwrap_or_default())? {
            return Ok(());
        }
    }
}

/// Looks at a proxy's memory while a body passes.
struct Watch {
    pids: Vec<u32>,
    before: cpu::Reading,
    resident: u64,
    most: u64,
    since_look: u64,
}

impl Watch {
    fn start(proxy: &Proxy) -> Self {
        let pids = proxy.pids();
        let resident = cpu::resident_kib(&pids);
        Self { before: cpu::read(&pids), pids, resident, most: resident, since_look: 0 }
    }

    fn passed(&mut self, bytes: u64) {
        self.since_look += bytes;
        if self.since_look >= LOOK {
            self.since_look = 0;
            self.most = self.most.max(cpu::resident_kib(&self.pids));
        }
    }

    fn finish(self, units: u64) -> Passed {
        let spent = cpu::read(&self.pids) - self.before;
        Passed { spent, units, growth_kib: self.most - self.resident }
    }
}
