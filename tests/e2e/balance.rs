//! Which server is asked: the same configuration and requests through nginx and ringgate, and whom each of them chose.
//!
//! The upstreams are the same for both, since several methods hash the servers' names. nginx gives the expectation;
//! where it is not installed there is none.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::harness::proxy::Proxy;
use crate::harness::upstream::Then;
use crate::harness::{Client, DEADLINE, Nginx, Ringgate, Upstream, eventually};

/// How many servers there are.
const SERVERS: usize = 5;

/// Servers that say their letters.
fn servers() -> Vec<Upstream> {
    (0..SERVERS).map(|n| Upstream::saying(&letter(n).to_string())).collect()
}

fn letter(n: usize) -> char {
    char::from(b'a' + u8::try_from(n).unwrap())
}

/// One worker, and a group of this block; `@A@` … `@E@` are the servers' addresses. The log has who was asked.
fn conf(servers: &[Upstream], group: &str) -> String {
    let mut group = group.to_owned();
    for (n, server) in servers.iter().enumerate() {
        let name = format!("@{}@", letter(n).to_ascii_uppercase());
        group = group.replace(&name, &format!("127.0.0.1:{}", server.port));
    }
    format!(
        "worker_processes 1; events {{}} error_log @DIR@/error.log warn; http {{ \
         log_format asked '$upstream_addr'; access_log @DIR@/asked.log asked; upstream group {{ {group} }} \
         server {{ listen 127.0.0.1:@PORT0@; location / {{ proxy_pass http://group; }} }} }}"
    )
}

/// Whom so many requests for different targets are passed to, one after the other.
fn order(proxy: &Proxy, requests: usize) -> String {
    let mut client = Client::connect(proxy.port(0));
    let mut order = String::new();
    for n in 0..requests {
        client.send(format!("GET /{}/x?n={n} HTTP/1.1\r\nHost: h{}.test\r\n\r\n", n * 7919, n % 3));
        let reply = client.reply("GET");
        order += reply.text().get(..1).filter(|_| reply.status == 200).unwrap_or("-");
    }
    order
}

#[test]
fn the_order_is_nginxs() {
    let groups = [
        "server @A@; server @B@; server @C@;",
        "server @A@ weight=5; server @B@; server @C@ weight=2;",
        "server @A@ weight=3; server @B@ down; server @C@ weight=2; server @D@ backup; server @E@;",
        "least_conn; server @A@ weight=2; server @B@; server @C@ weight=3;",
        "ip_hash; server @A@; server @B@ weight=2; server @C@; server @D@;",
        "ip_hash; server @A@ down; server @B@ down; server @C@; server @D@; server @E@ down;",
        "hash $request_uri; server @A@; server @B@ weight=3; server @C@; server @D@; server @E@ weight=2;",
        "hash $request_uri; server @A@ down; server @B@; server @C@; server @D@ down;",
        "hash $host$uri consistent; server @A@; server @B@ weight=3; server @C@; server @D@; server @E@;",
        "hash $request_uri consistent; server @A@ down; server @B@; server @C@; server @D@ weight=2;",
        "hash $cookie_none; server @A@; server @B@ weight=2;",
        "server @A@; server @A@; server @B@ weight=2 max_conns=1;",
        "hash $request_uri consistent; server @A@; server @A@ weight=2; server @B@;",
    ];
    assert_same_order(&groups);
}

/// Servers that nobody listens for: each failure lowers a weight, puts one out, lets the backups in.
#[test]
fn the_order_around_dead_servers_is_nginxs() {
    let groups = [
        "server @X@; server @A@; server @B@;",
        "server @A@ weight=5; server @X@ weight=3; server @C@ weight=2;",
        "server @A@ weight=5; server @X@ weight=3 max_fails=3; server @C@ weight=2;",
        "server @A@ weight=5; server @X@ weight=3 max_fails=0; server @C@ weight=2;",
        "server @A@ weight=2; server @X@ weight=9 max_fails=2; server @C@ weight=3; server @Y@ weight=4 max_fails=3;",
        "server @X@; server @Y@; server @A@ backup; server @B@ backup weight=2;",
        "server @X@ max_fails=0; server @Y@; server @A@ backup; server @B@ backup weight=2;",
        "server @X@; server @Y@ backup; server @A@ backup;",
        "server @A@ down; server @X@; server @B@ down; server @C@ backup;",
        "least_conn; server @A@ weight=2; server @X@; server @C@ weight=3;",
        "least_conn; server @X@ max_fails=0; server @A@; server @B@;",
        "least_conn; server @X@; server @A@ backup; server @B@ backup;",
        "ip_hash; server @X@; server @B@ weight=2; server @C@; server @D@;",
        "ip_hash; server @A@; server @X@ weight=2; server @Y@; server @D@;",
        "hash $request_uri; server @A@; server @X@ weight=3; server @C@; server @Y@; server @E@ weight=2;",
        "hash $request_uri; server @A@; server @X@ weight=3 max_fails=0; server @C@; server @Y@ max_fails=0;",
        "hash $request_uri; server @X@ weight=30 max_fails=0; server @C@;",
        "hash $host$uri consistent; server @A@; server @X@ weight=3; server @C@; server @Y@; server @E@;",
        "hash $host$uri consistent; server @A@; server @X@ weight=3 max_fails=0; server @C@; server @Y@ max_fails=0;",
        "hash $host$uri consistent; server @X@ weight=50 max_fails=0; server @A@;",
    ];
    let dead = [crate::harness::free_port(), crate::harness::free_port()];
    let groups = groups.map(|group| {
        let group = group.replace("@X@", &format!("127.0.0.1:{} fail_timeout=1h", dead[0]));
        group.replace("@Y@", &format!("127.0.0.1:{} fail_timeout=1h", dead[1]))
    });
    assert_same_order(&groups.each_ref().map(String::as_str));
}

/// Both proxies ask the same servers in the same order, those that failed included.
fn assert_same_order(groups: &[&str]) {
    let servers = servers();
    let mut wrong = String::new();
    for group in groups {
        let conf = conf(&servers, group);
        let run = |proxy: &Proxy| {
            let answers = order(proxy, 120);
            proxy.wait_for("asked.log", "\n", 120);
            (answers, proxy.read("asked.log"))
        };
        let Some(nginx) = Nginx::start(&conf) else { return };
        let (expected, all_expected) = run(&nginx);
        let (actual, all) = run(&Ringgate::start(&conf));
        assert!(!expected.contains('-'), "{group}: {expected}");
        if (&actual, &all) != (&expected, &all_expected) {
            let first = all.lines().zip(all_expected.lines()).find(|(a, b)| a != b);
            let _ = writeln!(wrong, "{group}\n  nginx    {expected}\n  ringgate {actual}\n  {first:?}");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// `random` is drawn from other numbers than nginx's, so shares are compared and not the order. With `two` the second of
/// two different servers is asked where the first has no less to do.
#[test]
fn random_goes_by_weight() {
    let servers = servers();
    let group = "server @A@ weight=3; server @B@ weight=2; server @C@; server @D@ down;";
    for (method, due) in [("random", [450, 300, 150]), ("random two least_conn", [315, 360, 225])] {
        let order = order(&Ringgate::start(&conf(&servers, &format!("{method}; {group}"))), 900);
        let shares = ['a', 'b', 'c'].map(|letter| order.matches(letter).count());
        assert_eq!(shares.iter().sum::<usize>(), 900, "{order}");
        assert!(shares.iter().zip(due).all(|(got, due)| got.abs_diff(due) < 70), "{method}: {shares:?}");
    }
}

/// A busy server gets no more than its share: `least_conn` with requests that stay.
#[test]
fn least_conn_goes_by_what_is_under_way_as_nginx_does() {
    let (arrived, arrivals) = channel();
    let arrived = Mutex::new(arrived);
    let gates: Vec<Arc<AtomicBool>> = (0..3).map(|_| Arc::default()).collect();
    let servers: Vec<Upstream> = (0..3)
        .map(|n| {
            let (gate, arrived) = (Arc::clone(&gates[n]), arrived.lock().unwrap().clone());
            let arrived = Mutex::new(arrived);
            Upstream::start(move |received, stream| {
                arrived.lock().unwrap().send(n).unwrap();
                if received.line().contains("/stay") {
                    eventually("the gate", || gate.load(Ordering::Relaxed).then_some(()));
                }
                let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{}", letter(n));
                Then::Keep
            })
        })
        .collect();
    let conf = conf(&servers, "least_conn; server @A@ weight=2; server @B@; server @C@;");
    let run = |proxy: &Proxy| {
        gates.iter().for_each(|gate| gate.store(false, Ordering::Relaxed));
        let mut order = String::new();
        let mut clients = Vec::new();
        for _ in 0..12 {
            let mut client = Client::connect(proxy.port(0));
            client.send("GET /stay HTTP/1.1\r\nHost: a\r\n\r\n");
            order.push(letter(arrivals.recv_timeout(DEADLINE).unwrap()));
            clients.push(client);
        }
        gates[0].store(true, Ordering::Relaxed);
        // Those of the first end.
        for (client, _) in clients.iter_mut().zip(order.chars()).filter(|(_, server)| *server == 'a') {
            assert_eq!(client.reply("GET").text(), "a");
        }
        for _ in 0..4 {
            assert_eq!(Client::fetch(proxy.port(0), "/quick").status, 200);
            order.push(letter(arrivals.recv_timeout(DEADLINE).unwrap()));
        }
        gates.iter().for_each(|gate| gate.store(true, Ordering::Relaxed));
        order
    };
    let Some(nginx) = Nginx::start(&conf) else { return };
    let expected = run(&nginx);
    assert_eq!(run(&Ringgate::start(&conf)), expected);
}

/// What the access log says about tries, as nginx writes it.
#[test]
fn every_try_is_in_the_log_as_nginx_writes_it() {
    let good = Upstream::saying("good");
    let bad = Upstream::replying("HTTP/1.1 503 No\r\nContent-Length: 2\r\n\r\nno");
    let closing = Upstream::start(|_, _| Then::Close);
    let conf = format!(
        "worker_processes 1; events {{}} error_log @DIR@/error.log; http {{ \
         log_format tries '$request_uri $upstream_addr|$upstream_status|$upstream_response_length|$status'; \
         access_log @DIR@/access.log tries; \
         upstream all {{ server 127.0.0.1:{bad} max_fails=0; server 127.0.0.1:{closing} max_fails=0; \
         server 127.0.0.1:{good} max_fails=0; }} \
         upstream out {{ server 127.0.0.1:{closing} fail_timeout=1h; server 127.0.0.1:{bad} fail_timeout=1h; }} \
         upstream off {{ server 127.0.0.1:{good} down; }} \
         server {{ listen 127.0.0.1:@PORT0@; proxy_next_upstream error http_503; \
         location /all {{ proxy_pass http://all; }} \
         location /two {{ proxy_pass http://all; proxy_next_upstream_tries 2; }} \
         location /out {{ proxy_pass http://out; }} \
         location /off {{ proxy_pass http://off; }} \
         location /page {{ proxy_pass http://out; error_page 502 503 = /other; }} \
         location /other {{ proxy_pass http://all; }} \
         }} }}",
        good = good.port,
        bad = bad.port,
        closing = closing.port,
    );
    let run = |proxy: &Proxy| {
        for target in ["/all/1", "/two/1", "/all/2", "/out/1", "/out/2", "/off", "/page", "/all/3"] {
            Client::fetch(proxy.port(0), target);
        }
        proxy.wait_for("access.log", "/all/3", 1);
        let names = [(good.port, "GOOD"), (bad.port, "BAD"), (closing.port, "CLOSING")];
        names.iter().fold(proxy.read("access.log"), |log, (port, name)| {
            log.replace(&format!("127.0.0.1:{port}"), name)
        })
    };
    let Some(nginx) = Nginx::start(&conf) else { return };
    let expected = run(&nginx);
    assert_eq!(run(&Ringgate::start(&conf)), expected);
}

/// Asks until it is told to stop, and notes the highest status.
fn keep_asking(port: u16, stop: &AtomicBool, served: &AtomicUsize, worst: &AtomicU32) {
    let mut client = Client::connect(port);
    while !stop.load(Ordering::Relaxed) {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let reply = client.reply("GET");
        worst.fetch_max(u32::from(reply.status), Ordering::Relaxed);
        if reply.field("Connection") == Some("close") {
            client = Client::connect(port);
        }
        served.fetch_add(1, Ordering::Relaxed);
    }
}

/// A server that is killed and started again under load, as a process: no client sees an error.
#[test]
fn a_crash_of_one_of_three_shows_no_error_to_any_client() {
    let listeners: Vec<u16> =
        (0..3).map(|_| TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()).collect();
    let serving = |n: usize| {
        let conf = format!(
            "worker_processes 1; events {{}} error_log @DIR@/error.log; http {{ access_log off; server {{ \
             listen 127.0.0.1:{}; location / {{ return 200 {}; }} }} }}",
            listeners[n],
            letter(n)
        );
        Ringgate::start(&conf)
    };
    let mut servers: Vec<Option<Proxy>> = (0..3).map(|n| Some(serving(n))).collect();
    let group: String = listeners
        .iter()
        .map(|port| format!("server 127.0.0.1:{port} max_fails=1 fail_timeout=1s; "))
        .collect();
    let proxy = Ringgate::start(&format!(
        "worker_processes 2; events {{}} error_log @DIR@/error.log warn; http {{ access_log off; \
         upstream group {{ {group} }} \
         server {{ listen 127.0.0.1:@PORT0@; location / {{ proxy_pass http://group; proxy_connect_timeout 2s; }} }} }}"
    ));
    let stop = Arc::new(AtomicBool::new(false));
    let served = Arc::new(AtomicUsize::new(0));
    let worst = Arc::new(AtomicU32::new(0));
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let (stop, served, worst) = (Arc::clone(&stop), Arc::clone(&served), Arc::clone(&worst));
            let port = proxy.port(0);
            thread::spawn(move || keep_asking(port, &stop, &served, &worst))
        })
        .collect();
    let serve_more = || {
        let before = served.load(Ordering::Relaxed);
        eventually("more requests", || (served.load(Ordering::Relaxed) > before + 200).then_some(()));
    };
    for round in 0..6 {
        serve_more();
        let victim = servers[round % 3].take().unwrap();
        victim.signal("KILL");
        drop(victim);
        serve_more();
        servers[round % 3] = Some(serving(round % 3));
        // Until it is asked again, so that there is another healthy one when the next is killed.
        let back = letter(round % 3).to_string();
        eventually("the server that came back", || {
            thread::sleep(Duration::from_millis(20));
            (Client::fetch(proxy.port(0), "/").text() == back).then_some(())
        });
    }
    stop.store(true, Ordering::Relaxed);
    clients.into_iter().for_each(|client| client.join().unwrap());
    assert_eq!(worst.load(Ordering::Relaxed), 200, "{}", proxy.read("error.log"));
}

/// What `sticky cookie` gives leads back to the same server, and a cookie that nobody has given leads anywhere.
#[test]
fn a_sticky_cookie_leads_back() {
    let servers = servers();
    let sticky = "sticky cookie srv expires=1h domain=.$host path=/x httponly secure samesite=lax;";
    let proxy =
        Ringgate::start(&conf(&servers, &format!("{sticky} server @A@; server @B@; server @C@ route=c;")));
    let ask = |cookie: &str| {
        let mut client = Client::connect(proxy.port(0));
        client.send(format!("GET / HTTP/1.1\r\nHost: h.test\r\nCookie: srv={cookie}\r\n\r\n"));
        let reply = client.reply("GET");
        let set = reply.field("Set-Cookie").unwrap().to_owned();
        (reply.text().to_owned(), set)
    };
    for _ in 0..4 {
        let (server, set) = ask("nobody");
        let (value, rest) = set.strip_prefix("srv=").and_then(|set| set.split_once(';')).unwrap();
        assert!(rest.starts_with(" expires="), "{rest}");
        assert!(
            rest.ends_with("; max-age=3600; domain=.h.test; httponly; secure; samesite=lax; path=/x"),
            "{rest}"
        );
        assert_eq!(value == "c", server == "c");
        for _ in 0..3 {
            assert_eq!(ask(value).0, server);
        }
    }
}

/// `sticky learn`: a session goes to the server that began it, on every worker.
#[test]
fn a_learnt_session_leads_back() {
    let servers: Vec<Upstream> = (0..3)
        .map(|n| {
            Upstream::start(move |received, stream| {
                let cookie = if received.line().contains("/login") {
                    let id = received.line().split('/').nth(2).unwrap().split(' ').next().unwrap();
                    format!("Set-Cookie: session={id}\r\n")
                } else {
                    String::new()
                };
                let _ = write!(stream, "HTTP/1.1 200 OK\r\n{cookie}Content-Length: 1\r\n\r\n{}", letter(n));
                Then::Keep
            })
        })
        .collect();
    let group = "sticky learn create=$upstream_cookie_session lookup=$cookie_session zone=s:1m; \
                 server @A@; server @B@; server @C@;";
    let text = conf(&servers, group).replace("worker_processes 1", "worker_processes 2");
    let proxy = Ringgate::start(&text);
    let owners: Vec<String> =
        (0..9).map(|n| Client::fetch(proxy.port(0), &format!("/login/{n}")).text().to_owned()).collect();
    for round in 0..3 {
        for (n, owner) in owners.iter().enumerate() {
            let mut client = Client::connect(proxy.port(0));
            client.send(format!("GET /{round} HTTP/1.1\r\nHost: a\r\nCookie: session={n}\r\n\r\n"));
            assert_eq!(client.reply("GET").text(), owner, "session {n}");
        }
    }
}

/// `queue`: who finds no room waits for it, the others are told, and time runs out for the last.
#[test]
fn a_queue_waits_for_room() {
    let (arrived, arrivals) = channel();
    let (release, gate) = channel::<()>();
    let (arrived, gate) = (Mutex::new(arrived), Mutex::new(gate));
    let upstream = Upstream::start(move |_, stream| {
        arrived.lock().unwrap().send(()).unwrap();
        let _ = gate.lock().unwrap().recv();
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na");
        Then::Keep
    });
    let group = format!("server 127.0.0.1:{} max_conns=1; queue 2 timeout=1h;", upstream.port);
    let proxy = Ringgate::start(&conf(&[], &group));
    let ask = |proxy: &Proxy| {
        let mut client = Client::connect(proxy.port(0));
        client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        client
    };
    let first = ask(&proxy);
    arrivals.recv_timeout(DEADLINE).unwrap();
    let mut clients = [first, ask(&proxy), ask(&proxy), ask(&proxy)];
    // Whoever comes last finds the queue full; the other two wait by then.
    proxy.wait_for("error.log", "no live upstreams while connecting to upstream", 1);
    (0..3).for_each(|_| release.send(()).unwrap());
    let mut statuses: Vec<u16> = clients.iter_mut().map(|client| client.reply("GET").status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 200, 502]);
    drop(proxy);

    let proxy = Ringgate::start(&conf(&[], &group.replace("1h", "100ms")));
    let _first = ask(&proxy);
    arrivals.recv_timeout(DEADLINE).unwrap();
    assert_eq!(ask(&proxy).reply("GET").status, 502, "its time is up");
}

/// `outlier_ejection`: three bad replies in a row, and it is left alone; the other one is not, whatever it does.
#[test]
fn an_outlier_is_left_out() {
    let bad = Upstream::replying("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n");
    let good = Upstream::saying("g");
    let group = format!(
        "server 127.0.0.1:{}; server 127.0.0.1:{}; outlier_ejection consecutive_5xx=3 time=1h max_ejected=50%;",
        bad.port, good.port
    );
    let proxy = Ringgate::start(&conf(&[], &group));
    let statuses: Vec<u16> = (0..20).map(|_| Client::fetch(proxy.port(0), "/").status).collect();
    assert_eq!((bad.received().len(), good.received().len()), (3, 17), "{statuses:?}");
    proxy.wait_for("error.log", "upstream server ejected for 3600000 ms: 3 failures in a row while", 1);
}

/// `retry_budget`: without one a dead server shows to nobody, with an empty one it does.
#[test]
fn a_retry_budget_ends_retries() {
    let dead = crate::harness::free_port();
    let good = Upstream::saying("g");
    let errors = |budget: &str| {
        let group = format!("server 127.0.0.1:{dead} max_fails=0; server 127.0.0.1:{}; {budget}", good.port);
        let proxy = Ringgate::start(&conf(&[], &group));
        (0..10).filter(|_| Client::fetch(proxy.port(0), "/").status == 502).count()
    };
    assert_eq!(["", "retry_budget 10% min=1;", "retry_budget 0% min=0;"].map(errors), [0, 0, 5]);
}

/// A reload that adds a server: it is used, and what is known of the others stays known.
#[test]
fn a_reload_adds_a_server_and_forgets_no_failure() {
    let dead = crate::harness::free_port();
    let servers = servers();
    let group = |more: &str| format!("server 127.0.0.1:{dead} fail_timeout=1h; server @A@; {more}");
    let proxy = Ringgate::start(&conf(&servers, &group("")));
    assert_eq!(order(&proxy, 6), "aaaaaa");
    proxy.wait_for("error.log", "connect() failed", 1);
    proxy.rewrite(&conf(&servers, &group("server @B@ weight=2;")));
    proxy.signal("HUP");
    eventually("the new server", || order(&proxy, 3).contains('b').then_some(()));
    let after = order(&proxy, 30);
    assert_eq!((after.matches('a').count(), after.matches('b').count()), (10, 20), "{after}");
    assert_eq!(
        proxy.read("error.log").matches("connect() failed").count(),
        1,
        "it is still known to be dead"
    );
}
