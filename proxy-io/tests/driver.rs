//! The driver against real sockets and files, on io_uring and on epoll.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout)]

mod support;

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::time::Duration;

use proxy_core::command::Address;
use proxy_io::{Choice, Crew, Driver, Logs, bind};
use support::{CHOICES, Client, Rig, SLICE, any_port, config, eventually, ip, listener, scratch};

#[test]
fn the_driver_is_the_one_asked_for() {
    let rig = Rig::new(Choice::Epoll, "echo", 1);
    assert_eq!(rig.crew.driver(), Driver::Epoll);
    rig.finish();
    let rig = Rig::new(Choice::Monoio, "echo", 1);
    assert!(!matches!(rig.crew.driver(), Driver::IoUring { own_ring: true, .. }));
    rig.finish();
}

#[test]
fn many_connections_echo() {
    for choice in CHOICES {
        let rig = Rig::new(choice, "echo", 2);
        // More than have a buffer each while they wait: the rest waits for readiness first.
        let mut clients: Vec<_> = (0..700).map(|_| rig.client()).collect();
        for round in 0..3_u8 {
            for (place, client) in clients.iter_mut().enumerate() {
                client.send(&[round; 100][..=place % 100]);
            }
            for (place, client) in clients.iter_mut().enumerate() {
                assert_eq!(client.exactly(place % 100 + 1), [round; 100][..=place % 100]);
            }
        }
        drop(clients);
        rig.finish();
    }
}

#[test]
fn a_relay_passes_everything_on_and_half_closes() {
    for choice in CHOICES {
        let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
        let rig = Rig::new(choice, &format!("relay {}", upstream.local_addr().unwrap()), 1);
        let server = std::thread::spawn(move || {
            let (mut stream, _) = upstream.accept().unwrap();
            let mut all = Vec::new();
            stream.read_to_end(&mut all).unwrap();
            stream.write_all(&all).unwrap();
            all.len()
        });
        let mut client = rig.client();
        let sent: Vec<u8> = (0..3_000_000_u32).map(|n| n.to_le_bytes()[n as usize % 3]).collect();
        let mut writer = client.reader.get_ref().try_clone().unwrap();
        let copy = sent.clone();
        let writing = std::thread::spawn(move || {
            writer.write_all(&copy).unwrap();
            writer.shutdown(Shutdown::Write).unwrap();
        });
        let mut received = Vec::new();
        client.reader.read_to_end(&mut received).unwrap();
        assert!(received == sent, "{} bytes came back of {}", received.len(), sent.len());
        writing.join().unwrap();
        assert_eq!(server.join().unwrap(), sent.len());
        rig.finish();
    }
}

#[test]
fn a_slow_reader_gets_every_byte_of_many_slices() {
    for choice in CHOICES {
        let rig = Rig::new(choice, "console", 1);
        let mut client = rig.client();
        // More slices than one vectored write takes, and more bytes than the sockets hold.
        client.send(b"burst 600\n");
        let mut other = rig.client();
        assert_eq!(other.ask("hello"), "what is hello?\n", "one that does not read holds nobody up");
        assert_eq!(client.exactly(600 * SLICE), vec![b'b'; 600 * SLICE]);
        drop((client, other));
        rig.finish();
    }
}

#[test]
fn closing_cancels_what_is_in_flight() {
    for choice in CHOICES {
        let rig = Rig::new(choice, "console", 1);
        for how in ["close", "reset"] {
            let mut client = rig.client();
            // The chain is still being written, and a read is in flight.
            client.send(format!("burst 2000\n{how}\n").as_bytes());
            let mut rest = Vec::new();
            let end = client.reader.read_to_end(&mut rest);
            assert!(rest.len() < 2000 * SLICE);
            assert_eq!(end.is_err(), how == "reset", "{how}: {end:?}");
        }
        rig.finish();
    }
}

#[test]
fn a_connection_is_made_or_the_reason_is_known() {
    for choice in CHOICES {
        let rig = Rig::new(choice, "console", 1);
        let refused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert_eq!(rig.client().ask(&format!("connect {refused}")), "error 111\n");
        let path = rig.dir.join("up.sock");
        assert_eq!(rig.client().ask(&format!("connect unix:{}", path.display())), "error 2\n");
        let upstream = UnixListener::bind(&path).unwrap();
        let mut client = rig.client();
        client.send(format!("connect unix:{}\n", path.display()).as_bytes());
        let (mut stream, _) = upstream.accept().unwrap();
        stream.write_all(b"over a path\n").unwrap();
        assert_eq!(client.line(), "over a path\n");
        drop((client, stream));
        // Connecting to a queue that is full takes for ever; closing takes it back.
        let full = TcpListener::bind("127.0.0.1:0").unwrap();
        socket2::SockRef::from(&full).listen(0).unwrap();
        let address = full.local_addr().unwrap();
        let _filler = TcpStream::connect(address).unwrap();
        let mut client = rig.client();
        client.send(format!("connect {address}\nclose\n").as_bytes());
        assert_eq!(client.line(), "");
        rig.finish();
    }
}

#[test]
fn files_are_opened_read_and_written() {
    for choice in CHOICES {
        let rig = Rig::new(choice, "console", 1);
        let mut client = rig.client();
        std::fs::write(rig.dir.join("file"), "contents").unwrap();
        let dir = rig.dir.display().to_string();
        assert_eq!(client.ask(&format!("open {dir}/file")), "Regular 8\n");
        assert_eq!(client.line(), "conte\n");
        assert!(client.ask(&format!("open {dir}")).starts_with("Directory "));
        assert_eq!(client.line(), "error 21\n");
        assert_eq!(client.ask(&format!("open {dir}/none")), "error 2\n");
        assert_eq!(client.ask(&format!("open {dir}/file/below")), "error 20\n");
        let fifo = rig.dir.join("fifo");
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        assert_eq!(client.ask(&format!("open {}", fifo.display())), "Other 0\n");
        let sub = rig.dir.join("sub");
        std::fs::create_dir_all(sub.join("inner")).unwrap();
        std::fs::write(sub.join(".hidden"), "x").unwrap();
        std::os::unix::fs::symlink("../file", sub.join("link")).unwrap();
        std::os::unix::fs::symlink("nowhere", sub.join("lost")).unwrap();
        let inner = std::fs::metadata(sub.join("inner")).unwrap().len();
        let listing = format!("inner Directory {inner};link Regular 8;lost Other 7;\n");
        assert_eq!(client.ask(&format!("list {dir}/sub")), listing);
        assert_eq!(client.ask(&format!("list {dir}/none")), "error 2\n");
        assert_eq!(client.ask(&format!("list {dir}/file")), "error 20\n");
        std::fs::write(rig.dir.join("old"), "contents").unwrap();
        assert_eq!(client.ask(&format!("rename {dir}/old {dir}/sub/a/b/new")), "renamed\n");
        assert_eq!(std::fs::read(sub.join("a/b/new")).unwrap(), b"contents");
        assert_eq!(client.ask(&format!("rename {dir}/old {dir}/sub/a/b/new")), "error 2\n");
        assert_eq!(client.ask(&format!("free {dir}")), "free\n");
        assert_eq!(client.ask(&format!("temp {dir}")), "wwwww\n");
        let left: Vec<_> =
            std::fs::read_dir(&rig.dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left.len(), 5, "the temporary file has no name: {left:?}");
        drop(client);
        rig.finish();
    }
}

#[test]
fn names_are_resolved_and_passwords_compared() {
    for choice in CHOICES {
        let rig = Rig::new(choice, "console", 1);
        let mut client = rig.client();
        assert!(client.ask("resolve localhost").contains("127.0.0.1"));
        assert_eq!(client.ask("verify secret $1$saltsalt$9xy1btjgzLYfb7hivXtC//").trim(), "Some(true)");
        assert_eq!(client.ask("verify wrong $1$saltsalt$9xy1btjgzLYfb7hivXtC//").trim(), "Some(false)");
        assert!(!client.ask("resolve no.such.name.invalid").contains('['));
        drop(client);
        rig.finish();
    }
}

#[test]
fn the_timer_rings() {
    for choice in CHOICES {
        let rig = Rig::new(choice, "console", 1);
        let mut client = rig.client();
        for ms in [30, 1, 0] {
            let start = std::time::Instant::now();
            assert_eq!(client.ask(&format!("alarm {ms}")), "rang\n");
            assert!(start.elapsed() >= Duration::from_millis(ms));
        }
        // An alarm that moved forward is not late.
        let mut other = rig.client();
        client.ask("alarm 60000\nx");
        assert_eq!(other.ask("alarm 5"), "rang\n");
        drop((client, other));
        rig.finish();
    }
}

#[test]
fn logs_are_written_and_reopened() {
    for choice in CHOICES {
        let rig = Rig::new(choice, "console", 1);
        let mut client = rig.client();
        // A turn writes its lines at its end, and with epoll it may answer before.
        client.ask("log one\nwarn look out\nx");
        let log = rig.dir.join("access.log");
        eventually(|| std::fs::read_to_string(&log).unwrap() == "one\n");
        std::fs::rename(&log, rig.dir.join("access.log.1")).unwrap();
        rig.crew.reopen_logs();
        client.ask("log two\nx");
        eventually(|| std::fs::read_to_string(&log).unwrap() == "two\n");
        let line = rig.error_log();
        let tail = line.split_once(" [warn] ").unwrap().1;
        assert!(
            tail.starts_with(&format!("{}#", std::process::id())) && tail.ends_with(": look out\n"),
            "{line}"
        );
        drop(client);
        rig.finish();
    }
}

#[test]
fn a_panic_costs_only_its_own_workers_connections() {
    for choice in CHOICES {
        let rig = Rig::new(choice, "console", 1);
        let mut bystander = rig.client();
        bystander.ask("x");
        let mut client = rig.client();
        client.send(b"panic\n");
        assert_eq!((client.line().as_str(), bystander.line().as_str()), ("", ""));
        assert_eq!(rig.client().ask("alive"), "what is alive?\n");
        assert!(rig.error_log().contains("[alert]") && rig.error_log().contains("as the client wished"));
        rig.finish();
    }
}

#[test]
fn a_reload_switches_listeners_and_workers_and_keeps_connections() {
    for choice in CHOICES {
        let rig = Rig::new(choice, "console", 1);
        let mut old = rig.client();
        old.ask("x");
        let unix = rig.dir.join("listen.sock");
        let mut next = config("greet", &rig.dir, Address::Unix(unix.to_str().unwrap().into()), 2);
        next.listeners.push(listener(any_port()));
        // The first configuration's listener, in another place.
        let bound = bind(&next, 2, Some(&rig.crew.bound())).unwrap();
        let logs = Arc::new(Logs::open(&next).unwrap());
        rig.crew.reload(Arc::new(next), bound, logs).unwrap();
        assert_eq!(old.ask("still"), "what is still?\n");
        // Port 0 is the same address in both, so the socket is the same.
        let greeting = rig.client().line();
        assert!(greeting.starts_with("1 127.0.0.1:") && greeting.ends_with(&format!("{}\n", rig.address)));
        let mut text = String::new();
        let mut stream = UnixStream::connect(&unix).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        stream.read_to_string(&mut text).unwrap();
        assert_eq!(text, format!("0 unix: unix:{}\n", unix.display()));

        let last = config("greet", &rig.dir, any_port(), 1);
        let bound = bind(&last, 1, Some(&rig.crew.bound())).unwrap();
        let logs = Arc::new(Logs::open(&last).unwrap());
        rig.crew.reload(Arc::new(last), bound, logs).unwrap();
        // The worker that is one too many drains in its own time.
        eventually(|| UnixStream::connect(&unix).is_err() && !unix.exists());
        assert_eq!(old.ask("still"), "what is still?\n");
        drop(old);
        rig.finish();
    }
}

#[test]
fn a_drain_waits_for_the_last_connection() {
    for choice in CHOICES {
        let rig = Rig::new(choice, "console", 2);
        let mut client = rig.client();
        client.ask("x");
        rig.crew.shutdown();
        assert_eq!(client.ask("more"), "what is more?\n");
        assert!(!rig.crew.wait(Some(Duration::ZERO)));
        // Each worker closes its listener in its own turn.
        eventually(|| TcpStream::connect(rig.address).is_err());
        drop(client);
        rig.finish();
    }
}

#[test]
fn a_stop_waits_for_nobody() {
    for choice in CHOICES {
        let rig = Rig::new(choice, "console", 2);
        let mut client = rig.client();
        client.send(b"burst 500\n");
        client.exactly(1);
        rig.crew.stop();
        assert!(rig.crew.wait(Some(Duration::from_secs(20))));
        rig.finish();
    }
}

#[test]
fn an_address_in_use_is_reported_in_nginxs_words() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let dir = scratch();
    let error = bind(&config("echo", &dir, Address::Ip(address), 1), 1, None).err().unwrap();
    assert_eq!(error.to_string(), format!("bind() to {address} failed (98: Address already in use)"));
    // A second instance of ours is kept out too, and a crashed one's socket file is not in the way.
    let path = dir.join("stale.sock");
    drop(UnixListener::bind(&path).unwrap());
    let stale = config("echo", &dir, Address::Unix(path.to_str().unwrap().into()), 2);
    let bound = bind(&stale, 2, None).unwrap();
    assert!(bind(&stale, 2, None).is_err());
    drop(bound);
    std::fs::remove_dir_all(&dir).unwrap();
}

/// Run by [`descriptors_run_out`] with a low limit; alone it has nothing to do.
#[test]
fn descriptors_run_out_child() {
    let Ok(choice) = std::env::var("RINGGATE_TEST_CHOICE") else { return };
    let choice = CHOICES.into_iter().find(|known| format!("{known:?}") == choice).unwrap();
    let rig = Rig::new(choice, "echo", 1);
    println!("listening {} {}", rig.address, rig.dir.display());
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    rig.finish();
}

#[test]
fn descriptors_run_out() {
    for choice in CHOICES {
        let program = std::env::current_exe().unwrap();
        let mut child = std::process::Command::new("sh")
            .args(["-c", "ulimit -n 40; exec \"$0\" --exact descriptors_run_out_child --nocapture"])
            .arg(program)
            .env("RINGGATE_TEST_CHOICE", format!("{choice:?}"))
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = std::io::BufReader::new(child.stdout.take().unwrap());
        let line = std::iter::repeat_with(|| {
            let mut line = String::new();
            std::io::BufRead::read_line(&mut output, &mut line).unwrap();
            line
        })
        .find(|line| line.contains("listening "))
        .unwrap();
        let mut words = line.split("listening ").nth(1).unwrap().split_whitespace();
        let address: SocketAddr = words.next().unwrap().parse().unwrap();
        let log = std::path::Path::new(words.next().unwrap()).join("error.log");

        let mut clients: Vec<_> =
            (0..60).map(|_| Client::new(TcpStream::connect(address).unwrap())).collect();
        clients.iter_mut().for_each(|client| client.send(b"x"));
        // The first ones are served, and those that found no descriptor are as soon as there is one.
        assert_eq!(clients[0].exactly(1), b"x");
        let mut last = clients.pop().unwrap();
        drop(clients);
        assert_eq!(last.exactly(1), b"x");
        let text = std::fs::read_to_string(log).unwrap();
        assert!(
            text.contains("[crit]") && text.contains("accept4() failed (24: Too many open files)"),
            "{text}"
        );
        assert!(text.lines().count() < 20, "it backs off: {text}");
        drop(last);
        child.stdin.take().unwrap().write_all(b"\n").unwrap();
        assert!(child.wait().unwrap().success());
    }
}

#[test]
fn wildcard_sockets_know_their_own_address() {
    let dir = scratch();
    let mut wild = config("greet", &dir, Address::Ip(SocketAddr::from(([0, 0, 0, 0], 0))), 1);
    wild.process.workers = proxy_core::config::WorkerCount::Auto;
    let bound = bind(&wild, 1, None).unwrap();
    let port = ip(&bound).port();
    let logs = Arc::new(Logs::open(&wild).unwrap());
    let crew = Crew::<support::Console>::start(Arc::new(wild), Arc::default(), bound, logs).unwrap();
    let mut client = Client::new(TcpStream::connect(("127.0.0.3", port)).unwrap());
    assert!(client.line().ends_with(&format!(" 127.0.0.3:{port}\n")));
    drop(client);
    crew.shutdown();
    assert!(crew.wait(Some(Duration::from_secs(20))));
    std::fs::remove_dir_all(&dir).unwrap();
}
