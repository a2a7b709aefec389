//! The control API: what it shows, and changes that all workers follow without a reload.

use std::fs;
use std::io::Write as _;

use crate::harness::proxy::Proxy;
use crate::harness::upstream::Then;
use crate::harness::{Client, Ringgate, Upstream, eventually};

/// Three workers, a group in a state file, and the API below `/api`.
fn conf(state: &str) -> String {
    format!(
        "worker_processes 3; events {{}} error_log @DIR@/error.log info; http {{ access_log off; \
         upstream live {{ zone live 64k; {state} }} \
         server {{ listen 127.0.0.1:@PORT0@; location / {{ proxy_pass http://live; }} \
         location /api {{ allow 127.0.0.1; deny all; api write=on; }} location /look/ {{ api; }} \
         location /closed {{ deny all; api write=on; }} }} }}"
    )
}

/// A request and its reply: the status and the body.
fn ask(proxy: &Proxy, method: &str, path: &str, body: &str) -> (u16, String) {
    let mut client = Client::connect(proxy.port(0));
    let length = body.len();
    client.send(format!("{method} {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n"));
    client.send(body);
    let reply = client.reply(method);
    assert_eq!(
        reply.field("Content-Type").filter(|_| reply.status != 403).unwrap_or("application/json"),
        "application/json"
    );
    (reply.status, reply.text().to_owned())
}

/// `ringgate upstream …`: whether it went well, and what it said on either stream.
fn upstream(proxy: &Proxy, api: &str, words: &[&str]) -> (bool, String) {
    let api =
        api.replace("PORT", &proxy.port(0).to_string()).replace("DIR", &proxy.directory().to_string_lossy());
    let mut command = Ringgate::command(&["upstream", "--api", &api]);
    let output = command.args(words).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

#[test]
fn the_command_line_changes_groups_over_tcp_and_unix_sockets() {
    let (a, b) = (Upstream::saying("a"), Upstream::saying("b"));
    let text = conf(&format!("server 127.0.0.1:{} weight=3;", a.port))
        .replace("listen ", "listen unix:@DIR@/api.sock; listen ")
        .replace("allow 127.0.0.1;", "allow 127.0.0.1; allow unix:;");
    let proxy = Ringgate::start(&text);
    let (unix, tcp) = ("unix:DIR/api.sock", "http://127.0.0.1:PORT/api");
    let of_a = format!("127.0.0.1:{}", a.port);
    let of_b = format!("127.0.0.1:{}", b.port);
    let run = |api: &str, words: &[&str]| upstream(&proxy, api, words);
    let (well, text) = run(tcp, &["list"]);
    assert!(well && text.lines().count() == 2, "{text}");
    let cells: Vec<&str> = text.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(cells, ["live", "0", &of_a, "up", "3", "0", "0", "0", "-"]);
    let (well, text) = run(unix, &["add", "live", &of_b, "max_conns=7", "fail_timeout=15s"]);
    let cells: Vec<&str> = text.lines().nth(1).unwrap().split_whitespace().collect();
    assert!(well);
    assert_eq!(cells, ["1", &of_b, "1", "7", "1", "15s", "0s", "-"]);
    assert_eq!(answering(&proxy), "ab");
    for (words, expected) in [
        (vec!["drain", "live", &*of_a], "b"),
        (vec!["up", "live", "0"], "ab"),
        (vec!["down", "live", "1"], "a"),
        (vec!["set", "live", "1", "down=off", "weight=4", "slow_start=0s"], "ab"),
        (vec!["remove", "live", &*of_a], "b"),
    ] {
        let (well, text) = run(unix, &words);
        assert!(well, "{words:?}: {text}");
        assert_eq!(answering(&proxy), expected, "{words:?}");
    }
    let (well, text) = run(unix, &["show", "live", "--json"]);
    assert!(well && text.contains("\"weight\": 4"), "{text}");
    for (api, words, expected) in [
        (tcp, vec!["show", "dead"], "there is no group \"dead\"; there are live"),
        (tcp, vec!["up", "live", "7"], "group \"live\" has no server \"7\"; it has"),
        (tcp, vec!["add", "live", "name.test"], "(UpstreamConfNoResolver)"),
        (
            "http://127.0.0.1:PORT/look",
            vec!["remove", "live", "1"],
            "its location says `api;` and not `api write=on;`",
        ),
        ("http://127.0.0.1:PORT/closed", vec![], "lets nobody in from here"),
        ("http://127.0.0.1:PORT/x", vec![], "is no API"),
        ("unix:DIR/none", vec![], "nobody answers at unix:"),
    ] {
        let (well, text) = run(api, &words);
        assert!(
            !well && text.starts_with("ringgate upstream: ") && text.contains(expected),
            "{words:?}: {text}"
        );
    }
}

/// Who answers, each named once; asked often enough that every worker was asked.
fn answering(proxy: &Proxy) -> String {
    let mut names: Vec<_> = (0..40)
        .map(|_| {
            let reply = Client::fetch(proxy.port(0), "/");
            if reply.status == 200 { reply.text().to_owned() } else { reply.status.to_string() }
        })
        .collect();
    names.sort();
    names.dedup();
    names.concat()
}

const SERVERS: &str = "/api/9/http/upstreams/live/servers";

#[test]
fn servers_come_and_go_and_the_state_file_keeps_them() {
    let (a, b) = (Upstream::saying("a"), Upstream::saying("b"));
    let text = conf("state @DIR@/live.state;");
    let proxy = Ringgate::start(&text);
    assert_eq!(answering(&proxy), "502");
    let of =
        |upstream: &Upstream, rest: &str| format!("{{\"server\":\"127.0.0.1:{}\"{rest}}}", upstream.port);
    let (status, added) =
        ask(&proxy, "POST", SERVERS, &of(&a, ",\"weight\":2,\"max_fails\":3,\"fail_timeout\":\"30s\""));
    assert_eq!(status, 201, "{added}");
    let expected = format!(
        "{{\"id\":0,\"server\":\"127.0.0.1:{}\",\"weight\":2,\"max_conns\":0,\"max_fails\":3,\"fail_timeout\":\"30s\",\
         \"slow_start\":\"0s\",\"route\":\"\",\"backup\":false,\"down\":false}}",
        a.port
    );
    let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    assert_eq!(value(&added), value(&expected));
    assert_eq!(answering(&proxy), "a");
    assert_eq!(ask(&proxy, "POST", SERVERS, &of(&b, ",\"route\":\"r b\"")).0, 201);
    assert_eq!(answering(&proxy), "ab");
    assert_eq!(ask(&proxy, "PATCH", &format!("{SERVERS}/0"), "{\"drain\":true}").0, 200);
    assert_eq!(answering(&proxy), "b");
    assert_eq!(ask(&proxy, "PATCH", &format!("{SERVERS}/0"), "{\"drain\":false,\"down\":true}").0, 200);
    assert_eq!(answering(&proxy), "b");
    let expected = format!(
        "server 127.0.0.1:{} weight=2 max_fails=3 fail_timeout=30s down;\nserver 127.0.0.1:{} route=\"r b\";\n",
        a.port, b.port
    );
    assert_eq!(proxy.read("live.state"), expected);
    // What the file says is what a reload finds, and what another process begins with.
    proxy.signal("HUP");
    proxy.wait_for("error.log", "reconfiguring", 1);
    assert_eq!(answering(&proxy), "b");
    assert_eq!(ask(&proxy, "PATCH", &format!("{SERVERS}/0"), "{\"down\":false}").0, 200);
    let (status, left) = ask(&proxy, "DELETE", &format!("{SERVERS}/1"), "");
    assert_eq!((status, value(&left).as_array().map(Vec::len)), (200, Some(1)), "{left}");
    assert_eq!(answering(&proxy), "a");
    let kept = std::env::temp_dir().join(format!("ringgate-kept-{}.state", a.port));
    fs::write(&kept, proxy.read("live.state")).unwrap();
    let again = Ringgate::start(&conf(&format!("state {};", kept.display())));
    assert_eq!(answering(&again), "a");
    fs::remove_file(&kept).unwrap();
}

#[test]
fn what_is_asked_wrongly_is_told_in_plus_words() {
    let a = Upstream::saying("a");
    let proxy = Ringgate::start(&conf(&format!("server 127.0.0.1:{};", a.port)));
    let table: [(&str, &str, &str, u16, &str); 16] = [
        ("GET", "/api/10/", "", 404, "UnknownVersion"),
        ("GET", "/api/9/nothing", "", 404, "PathNotFound"),
        ("GET", "/api/9/http/upstreams/dead", "", 404, "UpstreamNotFound"),
        ("GET", "/api/9/http/upstreams/live/servers/7", "", 404, "UpstreamServerNotFound"),
        ("GET", "/api/9/http/upstreams/live/servers/x", "", 400, "UpstreamBadServerId"),
        ("POST", "/api/9/nginx", "{}", 405, "MethodNotAllowed"),
        ("POST", "/look/9/http/upstreams/live/servers", "{}", 405, "MethodDisabled"),
        ("POST", SERVERS, "{", 415, "JsonError"),
        ("POST", SERVERS, "{}", 400, "UpstreamConfFormatError"),
        ("POST", SERVERS, "{\"server\":\"127.0.0.1:0\"}", 400, "UpstreamBadAddress"),
        ("POST", SERVERS, "{\"server\":\"name.test\"}", 400, "UpstreamConfNoResolver"),
        ("POST", SERVERS, "{\"server\":\"127.0.0.1\",\"weight\":0}", 400, "UpstreamBadWeight"),
        ("POST", SERVERS, "{\"server\":\"127.0.0.1\",\"wait\":0}", 400, "UpstreamConfFormatError"),
        (
            "PATCH",
            "/api/9/http/upstreams/live/servers/0",
            "{\"slow_start\":true}",
            400,
            "UpstreamBadSlowStart",
        ),
        ("PATCH", "/api/9/http/upstreams/live/servers/0", "{\"route\":[]}", 400, "UpstreamConfFormatError"),
        ("DELETE", "/api/9/http/upstreams/live/servers/9", "", 404, "UpstreamServerNotFound"),
    ];
    for (method, path, body, status, code) in table {
        let (got, text) = ask(&proxy, method, path, body);
        assert_eq!(got, status, "{method} {path}: {text}");
        let text: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(text["error"]["code"], code);
        assert_eq!(text["error"]["status"], status);
        assert_eq!(text["request_id"].as_str().map(str::len), Some(32));
    }
    assert_eq!(ask(&proxy, "GET", "/closed/9/nginx", "").0, 403);
    assert_eq!(answering(&proxy), "a");
}

#[test]
fn statistics_are_those_of_the_process() {
    let a = Upstream::saying("a");
    let group = format!(
        "server 127.0.0.1:{} weight=5 max_conns=9; server 127.0.0.1:{} backup; server 127.0.0.1:1 down;",
        a.port, a.port
    );
    let proxy = Ringgate::start(&conf(&group));
    assert_eq!(answering(&proxy), "a");
    let get = |path: &str| {
        let (status, text) = ask(&proxy, "GET", path, "");
        assert_eq!(status, 200, "{path}: {text}");
        serde_json::from_str::<serde_json::Value>(&text).unwrap()
    };
    assert_eq!(get("/api/"), serde_json::json!([1, 2, 3, 4, 5, 6, 7, 8, 9]));
    assert_eq!(get("/look/9"), serde_json::json!(["nginx", "processes", "connections", "slabs", "http"]));
    assert_eq!(
        get("/api/8/nginx?fields=pid,generation"),
        serde_json::json!({"pid": proxy.pid(), "generation": 1})
    );
    assert_eq!(get("/api/9/processes/"), serde_json::json!({"respawned": 0}));
    assert!(get("/api/9/http/requests")["total"].as_u64() > Some(40));
    eventually("the connections to be counted", || {
        let connections = get("/api/9/connections");
        (connections["accepted"].as_u64() > Some(40) && connections["dropped"] == 0).then_some(())
    });
    let group = get("/api/9/http/upstreams")["live"].clone();
    assert_eq!(group, get("/api/9/http/upstreams/live"));
    let peers = group["peers"].as_array().unwrap();
    let states: Vec<_> = peers.iter().map(|peer| peer["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["up", "up", "down"]);
    assert_eq!(
        (&peers[0]["requests"], &peers[0]["weight"], &group["zone"]),
        (&40.into(), &5.into(), &"live".into())
    );
    assert_eq!(peers[1]["backup"], true);
}

/// A proxy in front of a server that answers with the status that the path ends with, and limits on some requests.
fn counting() -> Proxy {
    let a = Upstream::start(|received, stream| {
        let target = received.line().split([' ', '?']).nth(1).unwrap();
        let status = target.rsplit('/').next().unwrap().to_owned();
        let body = if status == "204" { "\r\n" } else { "Content-Length: 2\r\n\r\nhi" };
        let _ = write!(stream, "HTTP/1.1 {status} X\r\n{body}");
        Then::Keep
    });
    let conf = format!(
        "worker_processes 2; events {{}} error_log @DIR@/error.log; http {{ access_log off; \
         limit_req_zone $arg_who zone=rate:32k rate=1r/m; limit_conn_zone $arg_who zone=many:32k; \
         upstream live {{ zone live 64k; server 127.0.0.1:{} max_fails=0; server 127.0.0.1:1 down; queue 3; }} \
         server {{ listen 127.0.0.1:@PORT0@; location / {{ proxy_pass http://live; }} \
         location /limited/ {{ limit_req zone=rate; limit_conn many 5; proxy_pass http://live; }} \
         location /api {{ api write=on; }} }} }}",
        a.port
    );
    Ringgate::start(&conf)
}

/// What each server has answered, what limits have said, and how both are counted anew.
#[test]
fn replies_and_limits_are_counted_and_may_be_counted_anew() {
    let proxy = counting();
    let get = |path: &str| {
        let (status, text) = ask(&proxy, "GET", &format!("/api/9{path}"), "");
        assert_eq!(status, 200, "{path}: {text}");
        serde_json::from_str::<serde_json::Value>(&text).unwrap()
    };
    for target in
        ["/200", "/200", "/204", "/404", "/503", "/limited/200?who=a", "/limited/200?who=a", "/limited/200"]
    {
        Client::fetch(proxy.port(0), target);
    }
    let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    let peer = &get("/http/upstreams/live")["peers"][0];
    let expected = r#"{"1xx": 0, "2xx": 5, "3xx": 0, "4xx": 1, "5xx": 1, "total": 7,
        "codes": {"200": 4, "204": 1, "404": 1, "503": 1}}"#;
    assert_eq!(peer["responses"], json(expected), "{peer}");
    let received = 6 * "HTTP/1.1 200 X\r\nContent-Length: 2\r\n\r\nhi".len() + "HTTP/1.1 204 X\r\n\r\n".len();
    assert_eq!(peer["received"], received, "{peer}");
    assert!(peer["sent"].as_u64() > Some(7 * 30), "{peer}");
    assert!(peer["selected"].as_str().is_some_and(|at| at.ends_with('Z') && at.len() == 24), "{peer}");
    assert_eq!(get("/http/upstreams/live")["peers"][1]["responses"]["total"], 0);
    let rate = r#"{"passed": 1, "delayed": 0, "rejected": 1, "delayed_dry_run": 0, "rejected_dry_run": 0}"#;
    assert_eq!(get("/http/limit_reqs/rate"), json(rate));
    assert_eq!(get("/http/limit_reqs"), serde_json::json!({"rate": json(rate)}));
    assert_eq!(
        get("/http/limit_conns"),
        json(r#"{"many": {"passed": 1, "rejected": 0, "rejected_dry_run": 0}}"#)
    );
    assert_eq!(get("/http/limit_conns?fields="), json(r#"{"many": {}}"#));
    for nothing in ["/slabs", "/http/server_zones", "/http/location_zones", "/http/keyvals", "/http/caches"] {
        assert_eq!(get(nothing), serde_json::json!({}), "{nothing}");
        assert_eq!(ask(&proxy, "GET", &format!("/api/9{nothing}/x"), "").0, 404);
    }
    assert!(get("/http/requests")["total"].as_u64() > Some(8));
    for path in
        ["/http/upstreams/live", "/http/limit_reqs/rate", "/http/requests", "/connections", "/processes"]
    {
        assert_eq!(ask(&proxy, "DELETE", &format!("/api/9{path}"), ""), (204, String::new()), "{path}");
    }
    let group = get("/http/upstreams/live");
    let peer = &group["peers"][0];
    assert_eq!((&peer["requests"], &peer["responses"]["codes"]), (&0.into(), &serde_json::json!({})));
    assert_eq!((&peer["received"], &group["queue"]["overflows"]), (&0.into(), &0.into()));
    assert_eq!(get("/http/limit_reqs/rate")["rejected"], 0);
    assert!(get("/http/requests")["total"].as_u64() < Some(8));
    assert_eq!(ask(&proxy, "DELETE", "/api/9/http/upstreams/dead", "").0, 404);
    assert_eq!(ask(&proxy, "DELETE", "/api/9/nginx", "").0, 405);
}
