//! Names that are looked up at run time, at name servers of the test's own.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, UdpSocket};

use crate::harness::dns::{Mood, NameServer};
use crate::harness::proxy::Proxy;
use crate::harness::{Client, DEADLINE, Nginx, Ringgate, Upstream, eventually};

/// A site that passes `/NAME/PORT` on to that name and port.
fn conf(resolver: &str) -> String {
    format!(
        "events {{}} error_log @DIR@/error.log info; http {{ access_log off; {resolver} server {{ \
         listen 127.0.0.1:@PORT0@; location ~ ^/(.*)/(.*)$ {{ proxy_pass http://$1:$2; }} }} }}\n"
    )
}

fn fetch(proxy: &Proxy, name: &str, port: u16) -> (u16, String) {
    let reply = Client::fetch(proxy.port(0), &format!("/{name}/{port}"));
    (reply.status, reply.text().to_owned())
}

#[test]
fn a_name_is_found_over_aliases_and_tcp_and_forgeries() {
    let upstream = Upstream::saying("found");
    for driver in ["", "monoio", "epoll"] {
        let dns = NameServer::start();
        dns.set("app.test", &["127.0.0.1"]);
        dns.set("www.test", &["CNAME alias.test"]);
        dns.set("alias.test", &["CNAME app.test"]);
        dns.set("loop.test", &["CNAME loop.test"]);
        let text = conf(&format!("resolver 127.0.0.1:{} ipv6=off;", dns.port));
        let proxy = if driver.is_empty() {
            Ringgate::start(&text)
        } else {
            Ringgate::start_with_driver(&text, driver)
        };
        let found = (200, "found".to_owned());
        assert_eq!(fetch(&proxy, "WWW.test.", upstream.port), found);
        assert_eq!(fetch(&proxy, "app.test", upstream.port), found);
        let names = dns.asked().into_iter().map(|asked| asked.name).collect::<Vec<_>>();
        assert_eq!(names, ["www.test", "alias.test", "app.test"], "the second was known by then");
        assert_eq!(fetch(&proxy, "loop.test", upstream.port).0, 502);
        dns.set_mood(Mood::Cut);
        dns.set("cut.test", &["127.0.0.1"]);
        assert_eq!(fetch(&proxy, "cut.test", upstream.port), found);
        let by_tcp =
            |tcp| dns.asked().iter().filter(|asked| asked.name == "cut.test" && asked.tcp == tcp).count();
        assert_eq!((by_tcp(false), by_tcp(true)), (1, 1));
        dns.set_mood(Mood::Lying("127.0.0.66".parse().unwrap()));
        dns.set("true.test", &["127.0.0.1"]);
        assert_eq!(fetch(&proxy, "true.test", upstream.port), found);
        // A socket for each question, and nothing that could be counted on.
        let asked = dns.asked();
        let mut ports = asked.iter().filter(|asked| !asked.tcp).map(|asked| asked.port).collect::<Vec<_>>();
        ports.sort_unstable();
        ports.dedup();
        assert!(ports.len() * 2 > asked.len(), "{asked:?}");
        let in_a_row = asked.windows(2).filter(|two| two[1].id == two[0].id.wrapping_add(1)).count();
        assert!(in_a_row <= 1, "{asked:?}");
    }
}

#[test]
fn failures_are_nginx_s() {
    let dns = NameServer::start();
    let port = dns.port;
    let silent = NameServer::start();
    silent.set_mood(Mood::Silent);
    let silent_port = silent.port;
    let text = format!(
        "events {{}} error_log @DIR@/error.log info; http {{ access_log off; resolver 127.0.0.1:{port} ipv6=off; \
         server {{ listen 127.0.0.1:@PORT0@; location ~ ^/silent/(.*)/(.*)$ {{ resolver 127.0.0.1:{silent_port}; \
         resolver_timeout 300ms; proxy_pass http://$1:$2; }} \
         location ~ ^/(.*)/(.*)$ {{ proxy_pass http://$1:$2; }} }} }}\n"
    );
    let proxies = [Some(Ringgate::start(&text)), Nginx::start(&text)];
    for proxy in proxies.into_iter().flatten() {
        dns.set_mood(Mood::Honest);
        dns.set("empty.test", &[]);
        assert_eq!(fetch(&proxy, "nosuch.test", 80).0, 502);
        proxy.wait_for("error.log", "nosuch.test could not be resolved (3: Host not found)", 1);
        assert_eq!(fetch(&proxy, "empty.test", 80).0, 502);
        proxy.wait_for("error.log", "empty.test could not be resolved (3: Host not found)", 1);
        assert_eq!(fetch(&proxy, "a..test", 80).0, 502);
        proxy.wait_for("error.log", "a..test could not be resolved (3: Host not found)", 1);
        for (code, words) in [(2, "2: Server failure"), (5, "5: Operation refused"), (4, "4: Unimplemented")]
        {
            dns.set_mood(Mood::Failing(code));
            assert_eq!(fetch(&proxy, "failing.test", 80).0, 502);
            proxy.wait_for("error.log", &format!("failing.test could not be resolved ({words})"), 1);
        }
        assert_eq!(fetch(&proxy, "silent/slow.test", 80).0, 502);
        proxy.wait_for("error.log", "slow.test could not be resolved (110: Operation timed out)", 1);
    }
}

#[test]
fn another_name_server_is_asked_where_one_fails() {
    let upstream = Upstream::saying("found");
    let (bad, good) = (NameServer::start(), NameServer::start());
    // Nobody is there: the kernel says so at once.
    let closed = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    bad.set_mood(Mood::Failing(2));
    let resolver =
        format!("resolver 127.0.0.1:{closed} 127.0.0.1:{} 127.0.0.1:{} ipv6=off;", bad.port, good.port);
    let proxy = Ringgate::start(&conf(&resolver));
    for n in 0..6 {
        let name = format!("n{n}.test");
        good.set(&name, &["127.0.0.1"]);
        assert_eq!(fetch(&proxy, &name, upstream.port), (200, "found".to_owned()));
    }
    proxy.wait_for(
        "error.log",
        "recv() failed (111: Connection refused) while resolving, resolver: 127.0.0.1:",
        1,
    );
}

#[test]
fn an_answer_is_believed_for_its_time_and_not_longer() {
    let dns = NameServer::start();
    let old = Upstream::saying("old");
    let new = Upstream::saying_at(&format!("127.0.0.2:{}", old.port), "new");
    dns.set("app.test", &["127.0.0.1"]);
    dns.set_ttl(1);
    let proxy = Ringgate::start(&conf(&format!("resolver 127.0.0.1:{} ipv6=off;", dns.port)));
    assert_eq!(fetch(&proxy, "app.test", old.port), (200, "old".to_owned()));
    dns.set("app.test", &["127.0.0.2"]);
    eventually("the new address", || (fetch(&proxy, "app.test", new.port).1 == "new").then_some(()));
    // `valid=` says otherwise.
    dns.set("app.test", &["127.0.0.1"]);
    let proxy = Ringgate::start(&conf(&format!("resolver 127.0.0.1:{} ipv6=off valid=1h;", dns.port)));
    assert_eq!(fetch(&proxy, "app.test", old.port), (200, "old".to_owned()));
    let asked = dns.asked().len();
    dns.set("app.test", &["127.0.0.2"]);
    dns.set("tick.test", &["127.0.0.1"]);
    let start = std::time::Instant::now();
    eventually("two seconds", || {
        assert_eq!(fetch(&proxy, "app.test", old.port), (200, "old".to_owned()));
        (start.elapsed().as_secs() >= 2).then_some(())
    });
    assert_eq!(dns.asked().len(), asked);
}

fn said(proxy: &Proxy) -> String {
    let reply = Client::fetch(proxy.port(0), "/");
    if reply.status == 200 { reply.text().to_owned() } else { reply.status.to_string() }
}

/// Asks until the answers of the last `times` requests are these, in any order.
fn settles(proxy: &Proxy, what: &[&str], times: usize) {
    eventually(&format!("{what:?}"), || {
        let mut answers: Vec<_> = (0..times).map(|_| said(proxy)).collect();
        answers.sort();
        answers.dedup();
        (answers == what).then_some(())
    });
}

#[test]
fn a_group_follows_its_name() {
    let dns = NameServer::start();
    let one = Upstream::saying("one");
    let two = Upstream::saying_at(&format!("127.0.0.2:{}", one.port), "two");
    let fixed = Upstream::saying("fixed");
    dns.set_ttl(1);
    let text = format!(
        "events {{}} error_log @DIR@/error.log notice; worker_processes 2; http {{ access_log off; \
         resolver 127.0.0.1:{} ipv6=off; upstream app {{ zone app 64k; server app.test:{} resolve; }} \
         server {{ listen 127.0.0.1:@PORT0@; location / {{ proxy_pass http://app; proxy_set_header Host $host; }} }} }}\n",
        dns.port, one.port
    );
    let proxy = Ringgate::start(&text);
    proxy.wait_for("error.log", "app.test could not be resolved (3: Host not found)", 1);
    assert_eq!(said(&proxy), "502");
    proxy.wait_for("error.log", "no live upstreams while connecting to upstream", 1);
    dns.set("app.test", &["127.0.0.1"]);
    settles(&proxy, &["one"], 4);
    dns.set("app.test", &["127.0.0.1", "127.0.0.2"]);
    settles(&proxy, &["one", "two"], 8);
    dns.set("app.test", &["127.0.0.2"]);
    settles(&proxy, &["two"], 8);
    // A name server that fails takes nothing away.
    dns.set_mood(Mood::Failing(2));
    proxy.wait_for("error.log", "app.test could not be resolved (2: Server failure)", 1);
    assert_eq!(said(&proxy), "two");
    dns.set_mood(Mood::Honest);
    // A reload with another server beside it keeps what was found.
    proxy.rewrite(&text.replace("zone app 64k;", &format!("server 127.0.0.1:{};", fixed.port)));
    proxy.signal("HUP");
    settles(&proxy, &["fixed", "two"], 8);
    proxy.wait_for("error.log", &format!("upstream \"app\": app.test is 127.0.0.2:{} now", two.port), 1);
    assert!(one.received().len() + two.received().len() > 0);
}

#[test]
fn a_service_has_priorities_and_weights() {
    let dns = NameServer::start();
    let (much, little, later) =
        (Upstream::saying("much"), Upstream::saying("little"), Upstream::saying("later"));
    dns.set_ttl(1);
    for name in ["much.test", "little.test", "later.test"] {
        dns.set(name, &["127.0.0.1"]);
    }
    let all = [
        format!("SRV 20 1 {} later.test", later.port),
        format!("SRV 10 3 {} much.test", much.port),
        format!("SRV 10 1 {} little.test", little.port),
        "SRV 10 1 80 absent.test".to_owned(),
    ];
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    dns.set("_http._tcp.app.test", &all);
    let proxy = Ringgate::start(&format!(
        "events {{}} error_log @DIR@/error.log notice; http {{ access_log off; upstream app {{ \
         resolver 127.0.0.1:{} ipv6=off; resolver_timeout 5s; server app.test service=http resolve; }} \
         server {{ listen 127.0.0.1:@PORT0@; location / {{ proxy_pass http://app; }} }} }}\n",
        dns.port
    ));
    settles(&proxy, &["little", "much"], 4);
    let told =
        "absent.test could not be resolved (3: Host not found) while resolving service http of app.test";
    proxy.wait_for("error.log", told, 1);
    let answers: Vec<_> = (0..40).map(|_| said(&proxy)).collect();
    let share = answers.iter().filter(|answer| *answer == "much").count();
    assert!((28..=32).contains(&share), "{share} of 40: {answers:?}");
    // Only the second priority is left: it is the first now.
    dns.set("_http._tcp.app.test", &all[..1]);
    settles(&proxy, &["later"], 4);
    dns.set("_http._tcp.app.test", &[]);
    settles(&proxy, &["502"], 2);
    proxy.wait_for("error.log", "service http of app.test could not be resolved (3: Host not found)", 1);
}

#[test]
fn a_name_that_is_not_found_at_start_ends_only_its_own_location() {
    let upstream = Upstream::saying("fine");
    let text = format!(
        "events {{}} error_log @DIR@/error.log info; http {{ access_log off; upstream lost {{ server nosuch.invalid; }} \
         server {{ listen 127.0.0.1:@PORT0@; location / {{ proxy_pass http://127.0.0.1:{}; }} \
         location /lost {{ proxy_pass http://lost; }} location /gone {{ proxy_pass http://gone.invalid; }} }} }}\n",
        upstream.port
    );
    let proxy = Ringgate::start(&text);
    assert_eq!(said(&proxy), "fine");
    for path in ["/lost", "/gone"] {
        assert_eq!(Client::fetch(proxy.port(0), path).status, 502);
    }
    proxy.wait_for("error.log", "[warn] ", 2);
    proxy.wait_for("error.log", "host not found in upstream \"gone.invalid\"", 1);
    proxy.signal("HUP");
    proxy.wait_for("error.log", "generation 2 is in force", 1);
    assert_eq!(said(&proxy), "fine");
    let tested = proxy.control(&["-t"]);
    let told = String::from_utf8_lossy(&tested.stderr).into_owned();
    assert!(
        !tested.status.success() && told.contains("host not found in upstream \"nosuch.invalid\""),
        "{told}"
    );
}

/// A name leads elsewhere: idle connections to where it led before are closed, though nobody asks any more.
#[test]
fn a_changed_name_drains_the_connections_to_its_old_servers() {
    let dns = NameServer::start();
    dns.set_ttl(1);
    let old = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = old.local_addr().unwrap().port();
    let new = Upstream::saying_at(&format!("127.0.0.2:{port}"), "new");
    dns.set("app.test", &["127.0.0.1"]);
    let text = format!(
        "worker_processes 2; events {{}} error_log @DIR@/error.log notice; http {{ access_log off; \
         resolver 127.0.0.1:{} ipv6=off; upstream app {{ server app.test:{port} resolve; }} \
         server {{ listen 127.0.0.1:@PORT0@; location / {{ proxy_pass http://app; }} }} }}",
        dns.port
    );
    let proxy = Ringgate::start(&text);
    proxy.wait_for("error.log", &format!("app.test is 127.0.0.1:{port} now"), 1);
    let mut client = Client::connect(proxy.port(0));
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let (mut upstream, _) = old.accept().unwrap();
    upstream.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut head = [0; 4096];
    assert!(upstream.read(&mut head).unwrap() > 0);
    upstream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nold").unwrap();
    assert_eq!(client.reply("GET").text(), "old");
    dns.set("app.test", &["127.0.0.2"]);
    // Long before keepalive_timeout: no request sees to it.
    assert_eq!(upstream.read(&mut head).unwrap(), 0);
    assert_eq!(Client::fetch(proxy.port(0), "/").text(), "new");
    assert_eq!(new.received().len(), 1);
}
