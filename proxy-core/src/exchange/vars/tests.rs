//! Tables: a request, a template, its text. What nginx 1.22 prints was asked of it, line by line; where 1.31 differs
//! (several fields of one name are joined) it is what the documentation says.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;

use super::fixture::{ALIAS, Fixture, PROXY, REGEX_ALIAS, slot};
use super::*;
use crate::buf::Chunk;
use crate::command::Address;
use crate::config::{CoreSettings, Root, VariableName};
use crate::h1::{Parsed, ResponseLimits, parse_response};
use crate::http::Status;
use crate::route::Regex;

const PLAIN: &str = "GET /r HTTP/1.1\r\nHost: 127.0.0.1:18431\r\n\r\n";

const RICH: &str = "GET /r/x%20y?a&A=1&b=& HTTP/1.1\r\nHost: A.Example.COM:81\r\nAuthorization: Basic Ym9iOnB3\r\n\
    X-A: 1\r\nx-a: 2\r\nX_A: 3\r\nCookie: a=1; b = 2,c=3\r\nCookie: b=9; d\r\nX-Forwarded-For: 1.1.1.1\r\n\
    x-forwarded-for: 2.2.2.2\r\nUser-Agent: one\r\nUser-Agent: two\r\nReferer: r1\r\nReferer: r2\r\nX-Empty:\r\n\
    Content-Type: text/x\r\nContent-Length: 5\r\n\r\n";

/// `-` stands for a variable without a value.
const TABLE: &[(&str, &[(&str, &str)])] = &[
    (
        PLAIN,
        &[
            ("args", "-"),
            ("body_bytes_sent", "0"),
            ("bytes_sent", "0"),
            ("connection", "42"),
            ("connection_requests", "3"),
            ("connection_time", "3.042"),
            ("connections_active", "0"),
            ("connections_waiting", "0"),
            ("content_length", "-"),
            ("document_root", "/srv"),
            ("document_uri", "/r"),
            ("host", "127.0.0.1"),
            ("hostname", "edge"),
            ("http_host", "127.0.0.1:18431"),
            ("http_user_agent", "-"),
            ("https", ""),
            ("is_args", ""),
            ("is_request_port", ":"),
            ("limit_rate", "0"),
            ("msec", "1795236300.007"),
            ("nginx_version", "1.31.5"),
            ("pid", "77"),
            ("pipe", "."),
            ("proxy_add_x_forwarded_for", "192.0.2.7"),
            ("proxy_host", "-"),
            ("realpath_root", "/srv"),
            ("remote_addr", "192.0.2.7"),
            ("remote_port", "4711"),
            ("remote_user", "-"),
            ("request", "GET /r HTTP/1.1"),
            ("request_body", "-"),
            ("request_completion", ""),
            ("request_filename", "/srv/r"),
            ("request_id", "0123456789abcdef00000000000000ff"),
            ("request_length", "42"),
            ("request_method", "GET"),
            ("request_port", "18431"),
            ("request_time", "1.542"),
            ("request_uri", "/r"),
            ("scheme", "http"),
            ("sent_http_server", "-"),
            ("server_addr", "127.0.0.1"),
            ("server_name", "first.example"),
            ("server_port", "8080"),
            ("server_protocol", "HTTP/1.1"),
            ("status", "000"),
            ("tcpinfo_rtt", "-"),
            ("time_iso8601", "2026-11-21T05:45:00+01:00"),
            ("time_local", "21/Nov/2026:05:45:00 +0100"),
            ("upstream_addr", "-"),
            ("upstream_status", "-"),
            ("upstream_http_server", "-"),
            ("1", "-"),
            ("myset", ""),
        ],
    ),
    (
        RICH,
        &[
            ("arg_", "-"),
            ("arg_a", "1"),
            ("arg_b", ""),
            ("arg_c", "-"),
            ("args", "a&A=1&b=&"),
            ("content_length", "5"),
            ("content_type", "text/x"),
            ("cookie_a", "1"),
            ("cookie_B", "2,c=3"),
            ("cookie_c", "3"),
            ("cookie_d", "-"),
            ("host", "a.example.com"),
            ("http_cookie", "a=1; b = 2,c=3; b=9; d"),
            ("http_empty", "-"),
            ("http_referer", "r1, r2"),
            ("http_user_agent", "one"),
            ("http_x_a", "1, 2, 3"),
            ("http_x_empty", ""),
            ("http_x_forwarded_for", "1.1.1.1, 2.2.2.2"),
            ("is_args", "?"),
            ("proxy_add_x_forwarded_for", "1.1.1.1, 2.2.2.2, 192.0.2.7"),
            ("query_string", "a&A=1&b=&"),
            ("remote_user", "bob"),
            ("request_uri", "/r/x%20y?a&A=1&b=&"),
            ("uri", "/r/x y"),
        ],
    ),
    (
        "GET /? HTTP/1.0\r\n\r\n",
        &[("args", "-"), ("host", "first.example"), ("request_port", ""), ("is_request_port", "")],
    ),
    (
        "GE\u{1}T / HTTP/1.1\r\n\r\n",
        &[
            ("host", "first.example"),
            ("request", "GE\u{1}T / HTTP/1.1"),
            ("request_method", "-"),
            ("request_uri", "-"),
            ("server_protocol", "-"),
            ("uri", "-"),
        ],
    ),
    ("", &[("request", "-")]),
];

#[test]
fn variables_say_what_nginx_says() {
    for (request, rows) in TABLE {
        let fixture = Fixture::new(request);
        for (name, expected) in *rows {
            let text = if fixture.has(name) { fixture.text(&format!("${name}")) } else { "-".into() };
            assert_eq!(text, *expected, "${name} of {request:?}");
        }
    }
}

#[test]
fn every_fixed_variable_belongs_to_one_family() {
    let fixture = Fixture::new(RICH);
    let env = fixture.env();
    for name in crate::config::VARIABLES {
        let VariableName::Known(variable) = Variable::lookup(name) else { panic!("{name} is unknown") };
        let (facts, out) = (&fixture.facts, &mut Vec::new());
        let answers = [
            facts.request_value(&variable, &env, out),
            facts.connection_value(&variable, &env, out),
            facts.field_value(&variable, out),
            facts.upstream_value(&variable, &env, out),
            facts.other_value(&variable, &env, out),
            facts.tls_value(&variable, &env, out),
        ];
        assert_eq!(answers.iter().flatten().count(), 1, "${name}");
    }
}

#[test]
fn a_user_is_what_stands_before_the_colon() {
    for (field, expected) in [
        ("Basic Ym9iOnB3", "bob"),
        ("basic   Ym9iOnB3", "bob"),
        ("BASIC Ym9iOg", "bob"),
        ("Basic Ym9i", "-"),
        ("Basic OnB3", "-"),
        ("Basic !!!!", "-"),
        ("Basic", "-"),
        ("Bearer Ym9iOnB3", "-"),
    ] {
        let fixture = Fixture::new(&format!("GET / HTTP/1.0\r\nAuthorization: {field}\r\n\r\n"));
        let text = if fixture.has("remote_user") { fixture.text("$remote_user") } else { "-".into() };
        assert_eq!(text, expected, "{field}");
    }
}

#[test]
fn paths_follow_root_and_alias() {
    let mut fixture = Fixture::new("GET /al/f.txt HTTP/1.0\r\n\r\n");
    (fixture.facts.location, fixture.facts.found) = (ALIAS, ALIAS);
    assert_eq!(fixture.text("$document_root $request_filename"), "/files/ /files/f.txt");
    let mut fixture = Fixture::new("GET /rx/f.txt HTTP/1.0\r\n\r\n");
    (fixture.facts.location, fixture.facts.found) = (REGEX_ALIAS, REGEX_ALIAS);
    let regex = Regex::new("^/rx/(?<grp>.*)$", false).unwrap().bind(slot);
    let captures = regex.captures(&fixture.facts.uri).unwrap();
    fixture.facts.set_captures(&regex, captures);
    assert_eq!(
        fixture.text("$document_root $request_filename $1 $grp$2"),
        "/files/f.txt /files/f.txt f.txt f.txt"
    );
}

#[test]
fn tries_are_listed() {
    let mut fixture = Fixture::new(PLAIN);
    fixture.facts.location = PROXY;
    let ip = |port| Ok(Address::Ip(([10, 0, 0, 1], port).into()));
    fixture.add_try(ip(1), 502, [None, None, Some(999)]);
    fixture.add_try(Ok(Address::Unix("/run/a.sock".into())), 0, [Some(1_000), None, None]);
    fixture.facts.tries[1].last_of_group = true;
    fixture.add_try(Err("dead"), 200, [Some(0), Some(12_345_678), Some(12_400_000)]);
    for (name, expected) in [
        ("$upstream_addr", "10.0.0.1:1, unix:/run/a.sock : dead"),
        ("$upstream_status", "502, - : 200"),
        ("$upstream_connect_time", "-, 0.001 : 0.000"),
        ("$upstream_header_time", "-, - : 12.345"),
        ("$upstream_response_time", "0.000, - : 12.400"),
        ("$upstream_bytes_sent", "100, 100 : 100"),
        ("$upstream_bytes_received", "200, 200 : 200"),
        ("$upstream_response_length", "50, 50 : 50"),
        ("$proxy_host $proxy_port", "backend:81 81"),
    ] {
        assert_eq!(fixture.text(name), expected, "{name}");
    }
}

#[test]
fn replies_are_read_by_their_fields() {
    let mut fixture = Fixture::new(PLAIN);
    let text = "HTTP/1.1 200 OK\r\nX-S: one\r\nx-s:  two \r\nSet-Cookie: a=1; Path=/\r\nSet-Cookie: S = 2 ;x\r\n\r\n";
    fixture.facts.reply.head = Chunk::from_static(text.as_bytes());
    fixture.facts.reply.status = Status(200);
    let limits = ResponseLimits { total_bytes_max: 4096, fields_max: 100 };
    let parsed = parse_response(&Chunk::from_static(text.as_bytes()), &mut Vec::new(), &limits);
    let Ok(Parsed::Complete { head, .. }) = parsed else { panic!("{parsed:?}") };
    fixture.facts.upstream_head = Some(head);
    for (name, expected) in [
        ("$status", "200"),
        ("$sent_http_x_s", "one, two"),
        ("$upstream_http_x_s", "one, two"),
        ("$upstream_cookie_a", "1"),
        ("$upstream_cookie_s", "2 "),
        ("$upstream_cookie_path", ""),
        ("$sent_http_http/1", "/1"),
    ] {
        assert_eq!(fixture.text(name), expected, "{name}");
    }
}

#[test]
fn maps_are_looked_up_in_nginxs_order() {
    let lines = "hostnames\n default none\n *.example.com star\n *.a.example.com star2\n www.example.* tail\n \
                 dot.com exact\n ~^(?<grp>z+)(q)$ re:$1:$2:$grp\n ~b b";
    for (host, expected) in [
        ("a.example.com", "star"),
        ("A.EXAMPLE.com.", "star"),
        ("example.com", "none"),
        ("www.example.org", "tail"),
        ("www.example.com", "star"),
        ("dot.com", "exact"),
        ("dot.com.", "exact"),
        ("zzq", "re:zz:q:zz"),
        ("ZZQ", "none"),
        ("abc", "b"),
        ("", "none"),
    ] {
        let mut fixture = Fixture::new(&format!("GET / HTTP/1.0\r\nX-M: {host}\r\n\r\n"));
        fixture.add_map("m", "$http_x_m", lines);
        assert_eq!(fixture.text("<$m$m>"), format!("<{expected}{expected}>"), "{host}");
    }
}

#[test]
fn a_map_keeps_its_first_value_unless_it_is_volatile() {
    for (volatile, expected) in [("", "/a /a"), ("volatile", "/a /b")] {
        let mut fixture = Fixture::new("GET /a HTTP/1.0\r\n\r\n");
        fixture.add_map("m", "$uri", &format!("{volatile}\ndefault $uri"));
        let first = fixture.text("$m");
        fixture.facts.uri = Chunk::from_static(b"/b");
        assert_eq!(format!("{first} {}", fixture.text("$m")), expected);
    }
}

#[test]
fn maps_that_ask_for_each_other_end() {
    let mut fixture = Fixture::new(PLAIN);
    fixture.add_map("other", "x", "default x");
    fixture.add_map("m", "$other", "default <$other>");
    let cycle = fixture.template("$m");
    fixture.config.maps[0].source = cycle;
    assert_eq!(fixture.text("$m"), "<x>");
}

/// Each would double its work, or its stack, with every step inwards.
#[test]
fn what_leads_back_to_itself_is_empty_there() {
    let mut fixture = Fixture::new(PLAIN);
    fixture.add_map("v", "", "volatile\ndefault x");
    fixture.config.maps[0].source = fixture.template("$v$v");
    assert_eq!(fixture.text("$v"), "x");

    let limit_rate = Some(fixture.template("$limit_rate$limit_rate"));
    let root = Root::Root(fixture.template("/a$request_filename"));
    let core = CoreSettings { limit_rate, root, ..CoreSettings::default() };
    fixture.config.locations[0].core = Arc::new(core);
    assert_eq!(fixture.text("$limit_rate $document_root"), "0 /a");
}

#[test]
fn an_address_can_be_had_as_bytes() {
    let fixture = Fixture::new(PLAIN);
    let mut out = Vec::new();
    fixture.template("$binary_remote_addr").write(&fixture.facts, &fixture.env(), &mut out);
    assert_eq!(out, [192, 0, 2, 7]);
}

#[test]
fn literal_text_and_variables_alternate() {
    let fixture = Fixture::new(PLAIN);
    assert_eq!(
        fixture.text("a $scheme://$host$request_uri$http_nothing!"),
        String::from("a http://127.0.0.1/r!")
    );
}
