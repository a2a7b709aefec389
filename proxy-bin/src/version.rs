//! What `-v`, `-V`, `-h` and `ringgate help` print.
//!
//! certbot and others read `-V` to learn what a server can do, so [`CONFIGURE`] holds what is true of this build and
//! nothing else: one entry per module of nginx that is optional there and works here, and one per default module of
//! nginx that does not work here yet.

use std::fmt::Write as _;

use crate::cli::Version;
use crate::paths;

/// The version of nginx whose behaviour we follow.
pub const NGINX: &str = "1.31.5";

/// The module switches of this build.
const CONFIGURE: &[&str] = &[
    "--with-http_stub_status_module",
    "--with-threads",
    "--without-http_access_module",
    "--without-http_auth_basic_module",
    "--without-http_autoindex_module",
    "--without-http_browser_module",
    "--without-http_charset_module",
    "--without-http_empty_gif_module",
    "--without-http_fastcgi_module",
    "--without-http_geo_module",
    "--without-http_grpc_module",
    "--without-http_gzip_module",
    "--without-http_limit_conn_module",
    "--without-http_limit_req_module",
    "--without-http_memcached_module",
    "--without-http_mirror_module",
    "--without-http_referer_module",
    "--without-http_scgi_module",
    "--without-http_split_clients_module",
    "--without-http_ssi_module",
    "--without-http_tunnel_module",
    "--without-http_upstream_hash_module",
    "--without-http_upstream_ip_hash_module",
    "--without-http_upstream_least_conn_module",
    "--without-http_upstream_least_time_module",
    "--without-http_upstream_random_module",
    "--without-http_upstream_sticky_module",
    "--without-http_upstream_zone_module",
    "--without-http_userid_module",
    "--without-http_uwsgi_module",
    "--without-http-cache",
];

/// The whole answer to `-v`, `-V` or `-h`.
#[must_use]
pub fn text(version: Version) -> String {
    let ours = env!("CARGO_PKG_VERSION");
    let mut out = format!("ringgate version: ringgate/{ours}\nnginx version: nginx/{NGINX}\n");
    if version.help {
        let _ = write!(out, "{}", usage());
    }
    if version.configure {
        let _ = writeln!(out, "built without a TLS library: \"listen ... ssl\" is not supported yet");
        let _ = writeln!(out, "configure arguments: {} {}", places(), CONFIGURE.join(" "));
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
    fn nothing_is_claimed_that_is_not_built() {
        let out = text(Version { configure: true, help: true });
        for absent in ["TLS SNI support enabled", "--with-http_ssl_module", "=dynamic"] {
            assert!(!out.contains(absent), "{absent}");
        }
        let mut sorted = CONFIGURE.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), CONFIGURE.len());
    }
}
