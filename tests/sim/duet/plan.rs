//! What a seed stands for: who speaks which version, what is asked, what is answered, what goes wrong.

use crate::net::Weather;
use crate::rng::Rng;

/// A whole run.
pub(crate) struct Plan {
    pub(crate) client_h2: bool,
    pub(crate) server_h2: bool,
    pub(crate) servers: usize,
    pub(crate) weather: Weather,
    /// The exchanges of each client, in their order.
    pub(crate) clients: Vec<Vec<usize>>,
    pub(crate) exchanges: Vec<Exchange>,
    /// How many exchanges a client has under way.
    pub(crate) at_once: usize,
    pub(crate) client_window: u32,
    pub(crate) server_window: u32,
    pub(crate) server_streams: u32,
    pub(crate) request_buffering: bool,
    pub(crate) buffering: bool,
    pub(crate) keepalive: usize,
    pub(crate) chunk_bytes: usize,
    /// When the process is told to drain.
    pub(crate) shutdown_us: Option<u64>,
}

/// One request, its reply, and what goes wrong.
pub(crate) struct Exchange {
    pub(crate) id: usize,
    pub(crate) post: bool,
    pub(crate) body: Vec<u8>,
    pub(crate) reply: Vec<u8>,
    pub(crate) delay_us: u64,
    /// The server answers before the request is whole.
    pub(crate) early: bool,
    /// At the first try.
    pub(crate) fault: Option<Fault>,
    /// The client gives it up after so long.
    pub(crate) cancel_us: Option<u64>,
}

/// What goes wrong at a server. Where HTTP/1.1 has no word for it, the connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// REFUSED_STREAM
    Refuse,
    /// GOAWAY, with this request behind the last one that counts.
    Leave,
    /// RST_STREAM before the head.
    Reset,
    /// The end within the reply.
    Cut,
    /// The end before the head.
    Close,
}

impl Plan {
    /// The run of this seed: each combination of versions has every fourth one.
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed ^ 0x5eed);
        let calm = rng.percent(30);
        let mut plan = Self {
            client_h2: seed & 1 == 1,
            server_h2: seed & 2 == 2,
            servers: rng.size(1, 3),
            weather: Weather {
                delay_us_max: rng.pick(&[20, 1000, 20_000]),
                cut_percent: rng.pick(&[0, 20, 90]),
                socket_bytes: rng.pick(&[2048, 65_536, 262_144]),
            },
            clients: Vec::new(),
            exchanges: Vec::new(),
            at_once: rng.size(1, 20),
            client_window: rng.pick(&[6000, 65_535, 1_000_000]),
            server_window: rng.pick(&[6000, 65_535, 1_000_000]),
            server_streams: rng.pick(&[1, 3, 100]),
            request_buffering: rng.percent(50),
            buffering: rng.percent(50),
            keepalive: rng.pick(&[0, 1, 32]),
            chunk_bytes: rng.pick(&[1000, 8192, 16_384]),
            shutdown_us: rng.percent(15).then(|| rng.range(0, 300_000)),
        };
        for _ in 0..rng.size(1, 4) {
            let first = plan.exchanges.len();
            let count = rng.size(1, 12);
            for id in first..first + count {
                let exchange = exchange(&mut rng, id, calm);
                plan.exchanges.push(exchange);
            }
            plan.clients.push((first..first + count).collect());
        }
        plan
    }
}

fn exchange(rng: &mut Rng, id: usize, calm: bool) -> Exchange {
    let post = rng.percent(50);
    let sizes = [0, 20, 3000, 70_000, 200_000];
    let (most_asked, most_said) = (rng.pick(&sizes), rng.pick(&sizes));
    let body_bytes = if post { rng.size(0, most_asked) } else { 0 };
    let reply_bytes = rng.size(0, most_said);
    Exchange {
        id,
        post,
        body: rng.noise(body_bytes),
        reply: rng.noise(reply_bytes),
        delay_us: rng.pick(&[0, 0, 5000, 100_000]),
        early: rng.percent(15),
        fault: (!calm && rng.percent(30))
            .then(|| rng.pick(&[Fault::Refuse, Fault::Leave, Fault::Reset, Fault::Cut, Fault::Close])),
        cancel_us: (!calm && rng.percent(15)).then(|| rng.range(0, 150_000)),
    }
}
