//! ringgate beside the real nginx: the same configuration and the same bytes through both.
//!
//! Every file in `cases/` is a configuration and a table of cases; [`case`] says how they are written. Each case holds
//! what the client gets, what the upstream gets and, where it asks for them, the lines of the logs. ringgate is always
//! held to that. Where nginx is installed it is, too, so that the files say what nginx does and not what we wish; a case
//! with a `differs` section says why we go another way: a newer nginx than the installed one does, or a safer reading.
//!
//! `GOLDEN_BLESS=1` rewrites the files: from nginx, or from ringgate where the two are meant to differ.

mod bytes;
mod case;
mod normal;
mod programs;
mod run;
mod scripted;

use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::proxy::{Nginx, Proxy, Ringgate};
use case::{Case, File};
use run::{Bench, Outcome};

macro_rules! files {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                compare(stringify!($name));
            }
        )*

        #[test]
        fn every_file_is_run() {
            let mut found: Vec<String> = fs::read_dir(directory())
                .unwrap()
                .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
                .collect();
            found.sort_unstable();
            assert_eq!(found, [$(stringify!($name)),*], "in the order of the alphabet");
        }
    };
}

files! {
    access
    auth_basic
    body_file
    cache
    core
    errors
    fastcgi
    fields
    files
    filters
    framing
    grpc
    headers
    host
    limit_conn
    limit_rate
    limit_req
    limits
    listings
    logs
    predicates
    proxy
    proxy_ssl
    realip
    redirects
    refused
    rewrite_corners
    rewrite_log
    routing
    scgi_uwsgi
    ssi
    static_corners
    status
    store
    subrequests
    timeouts
    upgrade
    upstreams
    uri
    vetting
    visitors
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("e2e/cases")
}

fn compare(name: &str) {
    let path = directory().join(format!("{name}.case"));
    let mut file = File::parse(&fs::read_to_string(&path).unwrap());
    let bless = std::env::var_os("GOLDEN_BLESS").is_some();
    let bench = Bench::new(&file);
    let ours = Ringgate::start(&bench.conf(&file, None));
    let nginx = nginx(&bench, &file);
    bench.place_files(&file, &ours);
    let mut failures = String::new();
    for case in &mut file.cases {
        let came = bench.run(case, &ours);
        let oracle = nginx.as_ref().map(|nginx| bench.run(case, nginx));
        if bless {
            let from = oracle.as_ref().filter(|_| case.differs.is_none()).unwrap_or(&came);
            from.bless(case);
        }
        check("ringgate", case, &came, &mut failures);
        if let Some(oracle) = oracle.filter(|_| case.differs.is_none()) {
            check("nginx", case, &oracle, &mut failures);
        }
    }
    if bless {
        fs::write(&path, file.text()).unwrap();
    }
    assert!(failures.is_empty(), "\n{failures}");
}

fn nginx(bench: &Bench, file: &File) -> Option<Proxy> {
    if file.cases.iter().all(|case| case.differs.is_some()) {
        // It may not even know the directives.
        return None;
    }
    let nginx = Nginx::start(&bench.conf(file, Some(run::NGINX_AS_NOW)));
    match &nginx {
        Some(nginx) => bench.place_files(file, nginx),
        None => eprintln!("nginx is not installed: only ringgate is held to the cases"),
    }
    nginx
}

fn check(who: &str, case: &Case, came: &Outcome, failures: &mut String) {
    for (part, expected, came) in came.parts(case) {
        if expected != came {
            failures.push_str(&format!(
                "{}: {part} with {who}\n--- expected\n{expected}--- came\n{came}\n",
                case.name
            ));
        }
    }
}
