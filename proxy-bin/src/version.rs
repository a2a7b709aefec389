//! What `-v`, `-V`, `-h` and `ringgate help` print.
//!
//! certbot and others read `-V` to learn what a server can do. So its list of modules is made from the table of
//! directives: an optional module of nginx is there if its directive works, a default one is named if it does not.

use std::fmt::Write as _;

use crate::cli::Version;
use crate::conf::directive::{Support, lookup};
use crate::paths;

/// The version of nginx whose behaviour we follow.
pub const NGINX: &str = "1.31.5";

/// nginx's optional modules, each with a directive that only it has.
const OPTIONAL: &[(&str, &str)] = &[
    ("http_addition_module", "add_before_body"),
    ("http_auth_request_module", "auth_request"),
    ("http_dav_module", "dav_methods"),
    ("http_flv_module", "flv"),
    ("http_geoip_module", "geoip_country"),
    ("http_gunzip_module", "gunzip"),
    ("http_gzip_static_module", "gzip_static"),
    ("http_image_filter_module", "image_filter"),
    ("http_mp4_module", "mp4"),
    ("http_perl_module", "perl"),
    ("http_random_index_module", "random_index"),
    ("http_realip_module", "set_real_ip_from"),
    ("http_secure_link_module", "secure_link"),
    ("http_slice_module", "slice"),
    ("http_ssl_module", "ssl_reject_handshake"),
    ("http_stub_status_module", "stub_status"),
    ("http_sub_module", "sub_filter"),
    ("http_v2_module", "http2"),
    ("http_v3_module", "http3"),
    ("http_xslt_module", "xslt_stylesheet"),
];

/// The modules that nginx is built with unless told otherwise.
const DEFAULT: &[(&str, &str)] = &[
    ("http-cache", "proxy_cache"),
    ("http_access_module", "satisfy"),
    ("http_auth_basic_module", "auth_basic"),
    ("http_autoindex_module", "autoindex"),
    ("http_browser_module", "ancient_browser"),
    ("http_charset_module", "override_charset"),
    ("http_empty_gif_module", "empty_gif"),
    ("http_fastcgi_module", "fastcgi_pass"),
    ("http_geo_module", "geo"),
    ("http_grpc_module", "grpc_pass"),
    ("http_gzip_module", "gzip"),
    ("http_limit_conn_module", "limit_conn"),
    ("http_limit_req_module", "limit_req"),
    ("http_map_module", "map"),
    ("http_memcached_module", "memcached_pass"),
    ("http_mirror_module", "mirror"),
    ("http_proxy_module", "proxy_pass"),
    ("http_referer_module", "valid_referers"),
    ("http_rewrite_module", "rewrite"),
    ("http_scgi_module", "scgi_pass"),
    ("http_split_clients_module", "split_clients"),
    ("http_ssi_module", "ssi"),
    ("http_tunnel_module", "tunnel_pass"),
    ("http_upstream_hash_module", "hash"),
    ("http_upstream_ip_hash_module", "ip_hash"),
    ("http_upstream_keepalive_module", "keepalive"),
    ("http_upstream_least_conn_module", "least_conn"),
    ("http_upstream_least_time_module", "least_time"),
    ("http_upstream_random_module", "random"),
    ("http_upstream_sticky_module", "sticky"),
    ("http_upstream_zone_module", "zone"),
    ("http_userid_module", "userid"),
    ("http_uwsgi_module", "uwsgi_pass"),
];

/// The module switches of this build.
fn switches() -> String {
    let works = |name: &str| lookup(name).iter().any(|entry| entry.support == Support::Works);
    let there = OPTIONAL.iter().filter(|(_, name)| works(name)).map(|(module, _)| format!("--with-{module}"));
    let lacking =
        DEFAULT.iter().filter(|(_, name)| !works(name)).map(|(module, _)| format!("--without-{module}"));
    there.chain(["--with-threads".to_owned()]).chain(lacking).collect::<Vec<_>>().join(" ")
}

/// The whole answer to `-v`, `-V` or `-h`.
#[must_use]
pub fn text(version: Version) -> String {
    let ours = env!("CARGO_PKG_VERSION");
    let mut out = format!("ringgate version: ringgate/{ours}\nnginx version: nginx/{NGINX}\n");
    if version.help {
        let _ = write!(out, "{}", usage());
    }
    if version.configure {
        out.push_str("built with rustls 0.23 and AWS-LC\nTLS SNI support enabled\n");
        let _ = writeln!(out, "configure arguments: {} {}", places(), switches());
    }
    out
}

fn places() -> String {
    format!(
        "--prefix={} --conf-path={} --error-log-path={} --http-log-path={} --pid-path={} \
         --http-client-body-temp-path={} --http-proxy-temp-path={} --user={}",
        paths::PREFIX,
        paths::CONF,
        paths::ERROR_LOG,
        paths::ACCESS_LOG,
        paths::PID,
        paths::CLIENT_BODY_TEMP,
        paths::PROXY_TEMP,
        paths::USER,
    )
}

fn usage() -> String {
    format!(
        "\
Usage: ringgate [-?hvVtTq] [-s signal] [-p prefix]
                [-e filename] [-c filename] [-g directives]
       ringgate SUBCOMMAND ...   (\"ringgate help\" lists them)

Options:
  -?,-h         : this help
  -v            : show version and exit
  -V            : show version and configure options then exit
  -t            : test configuration and exit
  -T            : test configuration, dump it and exit
  -q            : suppress non-error messages during configuration testing
  -s signal     : send signal to a running process: stop, quit, reopen, reload
  -p prefix     : set prefix path (default: {}/)
  -e filename   : set error log file (default: {})
  -c filename   : set configuration file (default: {})
  -g directives : set global directives out of configuration file

",
        paths::PREFIX,
        paths::ERROR_LOG,
        paths::CONF,
    )
}

/// What `ringgate help` prints.
pub const SUBCOMMANDS: &str = "\
ringgate: a reverse proxy that reads nginx.conf and runs it on io_uring.

  ringgate                        serve /etc/nginx/nginx.conf (options as nginx's: ringgate -h)
  ringgate demo                   a proxy in front of a built-in upstream, to look at and to try
      --listen ADDRESS            where to listen (default 127.0.0.1:8080)
      --print-config              print the configuration and exit
  ringgate proxy --to ADDRESS     proxy to a server without a configuration file
      --to ADDRESS                the server: 3000, 127.0.0.1:3000, http://host:port, unix:/path.
                                  Several take turns
      --listen ADDRESS            where to listen (default :8080); may be repeated
      --print-config              print the nginx.conf that this stands for and exit
  ringgate lint                   warn about what a configuration says that nobody means
      -c FILE, -p PREFIX, -g TEXT the configuration, as for ringgate -t
      --json                      the findings as a JSON list
  ringgate explain METHOD URL     what would happen to this request, and which line says so; nothing is sent
      -c FILE, -p PREFIX, -g TEXT the configuration, as for ringgate -t
      -H 'NAME: VALUE'            a header field; may be repeated
      --data BODY                 the body
      --from ADDRESS              the client's address (default 127.0.0.1)
      --answer STATUS             what every upstream answers (default 200)
      --json                      the account as JSON
  ringgate upstream [list]        the upstream groups of the running process, through its control API
      show GROUP                  its servers and what is said of them
      add GROUP ADDRESS [weight=N …], remove GROUP SERVER, set GROUP SERVER weight=N …
      drain|down|up GROUP SERVER  a SERVER is an address or an id
      --api URL|unix:PATH[:/LOC]  where `api` is (default http://127.0.0.1:8080/api)
      --json                      the API's own answer
  ringgate help                   this text
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certbot_can_read_it() {
        let out = text(Version { configure: true, help: false });
        let lines: Vec<&str> = out.lines().collect();
        assert!(lines[0].starts_with("ringgate version: ringgate/"), "{out}");
        assert_eq!(lines[1], "nginx version: nginx/1.31.5");
        assert!(lines.last().unwrap().starts_with("configure arguments: --prefix=/"), "{out}");
        assert_eq!(out.matches("nginx version: ").count(), 1, "certbot takes the first that it finds");
    }

    #[test]
    fn the_modules_are_those_that_work() {
        for (_, name) in OPTIONAL.iter().chain(DEFAULT) {
            assert!(!lookup(name).is_empty(), "{name} is no directive");
        }
        let out = text(Version { configure: true, help: true });
        for present in [" --with-http_ssl_module ", " --with-http_v2_module ", "TLS SNI support enabled"] {
            assert!(out.contains(present), "{present}: {out}");
        }
        for absent in ["=dynamic", "--with-http_v3_module", "--without-http_proxy_module"] {
            assert!(!out.contains(absent), "{absent}: {out}");
        }
    }
}
