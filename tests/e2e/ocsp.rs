//! OCSP: `openssl ocsp` is the responder, `openssl s_client` sees what is stapled.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use crate::harness::dns::NameServer;
use crate::harness::proxy::{Directory, Proxy};
use crate::harness::{Ringgate, eventually, free_port};

/// An authority with a responder of its own and what it has issued, made anew; nothing where there is no openssl.
struct Authority {
    dir: Directory,
    port: u16,
}

/// A responder that ends with its handle.
struct Responder(Child);

impl Drop for Responder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Authority {
    fn new() -> Option<Self> {
        let authority = Self { dir: Directory::new(), port: free_port() };
        let extensions = format!(
            "[req]\ndistinguished_name=dn\n[dn]\n[ca]\nbasicConstraints=critical,CA:true\n\
             subjectKeyIdentifier=hash\n[signer]\nextendedKeyUsage=OCSPSigning\n[stranger]\n\
             extendedKeyUsage=serverAuth\n[leaf]\nsubjectAltName=DNS:a.test\n\
             authorityInfoAccess=OCSP;URI:http://ocsp.test:{}\n[silent]\nsubjectAltName=DNS:a.test\n\
             [client]\nextendedKeyUsage=clientAuth\nauthorityInfoAccess=OCSP;URI:http://127.0.0.1:{}\n",
            authority.port, authority.port
        );
        fs::write(authority.file("ext"), extensions).unwrap();
        let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
        let ca = ["req", "-x509", "-subj", "/CN=ca", "-days", "3", "-config", "ext", "-extensions", "ca"];
        authority.openssl(&[&ca[..], &key, &["-keyout", "ca.key", "-out", "ca.crt"]].concat())?;
        for (number, name, section) in [
            ("1", "signer", "signer"),
            ("2", "leaf", "leaf"),
            ("3", "revoked", "leaf"),
            ("4", "silent", "silent"),
            ("5", "stranger", "stranger"),
            ("6", "client", "client"),
            ("7", "gone", "client"),
            ("8", "renewed", "leaf"),
        ] {
            let subject = format!("/CN={name}");
            let (keyout, out) = (format!("{name}.key"), format!("{name}.crt"));
            let request = ["req", "-subj", &subject, "-config", "ext", "-keyout", &keyout, "-out", "csr"];
            authority.openssl(&[&request[..], &key].concat())?;
            let sign = ["x509", "-req", "-in", "csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-days", "2"];
            let more =
                ["-set_serial", number, "-extfile", "ext", "-extensions", section, "-out", out.as_str()];
            authority.openssl(&[&sign[..], &more].concat())?;
            let chain = fs::read(authority.file(&out)).unwrap();
            let chain = [chain, fs::read(authority.file("ca.crt")).unwrap()].concat();
            fs::write(authority.file(&format!("{name}.pem")), chain).unwrap();
        }
        let index = "V\t400101000000Z\t\t02\tunknown\t/CN=leaf\n\
                     R\t400101000000Z\t200101000000Z\t03\tunknown\t/CN=revoked\n\
                     V\t400101000000Z\t\t06\tunknown\t/CN=client\n\
                     R\t400101000000Z\t200101000000Z\t07\tunknown\t/CN=gone\n\
                     V\t400101000000Z\t\t08\tunknown\t/CN=renewed\n";
        fs::write(authority.file("index"), index).unwrap();
        Some(authority)
    }

    fn file(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    fn openssl(&self, args: &[&str]) -> Option<()> {
        let run = Command::new("openssl").args(args).current_dir(self.dir.path()).output().ok()?;
        assert!(run.status.success(), "{args:?}: {}", String::from_utf8_lossy(&run.stderr));
        Some(())
    }

    /// Starts the responder, which signs with this certificate.
    fn respond(&self, signer: &str) -> Responder {
        let (certificate, key) = (format!("{signer}.crt"), format!("{signer}.key"));
        let port = self.port.to_string();
        let mut child = Command::new("openssl")
            .args(["ocsp", "-index", "index", "-CA", "ca.crt", "-ndays", "1", "-port", &port])
            .args(["-rsigner", &certificate, "-rkey", &key])
            .current_dir(self.dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // A connection without a question would keep it busy for ever, so its own words are waited for.
        let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(said.any(|line| line.unwrap().starts_with("ACCEPT")));
        let responder = Responder(child);
        std::thread::spawn(move || said.for_each(drop));
        responder
    }

    /// A site whose certificate this is; `more` goes into its server.
    fn site(&self, certificate: &str, names: &NameServer, more: &str) -> String {
        let dir = self.dir.path().display();
        format!(
            "events {{}} error_log @DIR@/error.log info; http {{ access_log off; resolver 127.0.0.1:{} ipv6=off; \
             server {{ listen 127.0.0.1:@PORT0@ ssl; ssl_certificate {dir}/{certificate}.pem; \
             ssl_certificate_key {dir}/{certificate}.key; ssl_stapling on; {more} \
             return 200 \"$ssl_client_verify $ssl_client_s_dn\\n\"; }} }}",
            names.port
        )
    }
}

/// What openssl sees stapled: the lines about it.
fn stapled(proxy: &Proxy, version: &str) -> String {
    let address = format!("127.0.0.1:{}", proxy.port(0));
    let output = Command::new("openssl")
        .args(["s_client", "-connect", &address, "-servername", "a.test", "-status", version])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let told = |line: &&str| {
        ["OCSP response: no", "OCSP Response Status", "Cert Status"].iter().any(|w| line.contains(w))
    };
    said.lines().filter(told).map(str::trim).collect::<Vec<_>>().join("; ")
}

const GOOD: &str = "OCSP Response Status: successful (0x0); Cert Status: good";
const NOTHING: &str = "OCSP response: no response sent";

#[test]
fn what_the_responder_says_is_stapled() {
    let Some(authority) = Authority::new() else { return };
    let names = NameServer::start();
    names.set("ocsp.test", &["127.0.0.1"]);
    let responder = authority.respond("signer");
    let ringgate = Ringgate::start(&authority.site("leaf", &names, "ssl_stapling_verify on;"));
    eventually("a staple", || (stapled(&ringgate, "-tls1_3") == GOOD).then_some(()));
    assert_eq!(stapled(&ringgate, "-tls1_2"), GOOD);
    // A reload forgets nothing, even if the responder is gone.
    drop(responder);
    ringgate.signal("HUP");
    ringgate.wait_for("error.log", "reconfiguring", 1);
    eventually("a staple after the reload", || (stapled(&ringgate, "-tls1_3") == GOOD).then_some(()));
    let log = ringgate.read("error.log");
    assert!(!log.contains("[error]") && !log.contains("[alert]"), "{log}");
}

#[test]
fn what_is_not_good_is_not_stapled_and_told_once() {
    let Some(authority) = Authority::new() else { return };
    let names = NameServer::start();
    names.set("ocsp.test", &["127.0.0.1"]);
    let told = |certificate: &str, more: &str, words: &str| {
        let ringgate = Ringgate::start(&authority.site(certificate, &names, more));
        ringgate.wait_for("error.log", words, 1);
        assert_eq!(stapled(&ringgate, "-tls1_3"), NOTHING);
        let log = ringgate.read("error.log");
        assert_eq!(log.matches(words).count(), 1, "{log}");
        log
    };
    // Nobody listens there.
    let log = told("leaf", "", "while requesting certificate status, responder: ocsp.test");
    assert!(log.contains("Connection refused"), "{log}");
    assert!(log.contains(&format!(", peer: 127.0.0.1:{}, certificate: \"", authority.port)), "{log}");
    {
        let _responder = authority.respond("signer");
        told("revoked", "", "certificate status \"revoked\" in the OCSP response");
        told(
            "leaf",
            "ssl_stapling_responder http://lost.test/;",
            "lost.test could not be resolved (3: Host not found)",
        );
        told("silent", "", "no OCSP responder URL in the certificate");
        let own = format!("ssl_stapling_responder http://127.0.0.1:{};", authority.port);
        // The responder does not know of this one.
        told("silent", &own, "certificate status \"unknown\" in the OCSP response");
        told("leaf", "ssl_stapling_responder https://ocsp.test/;", "invalid URL prefix in OCSP responder");
    }
    // It was issued by the same authority, but not for this.
    let _responder = authority.respond("stranger");
    told("leaf", "", "OCSP_basic_verify() failed");
}

#[test]
fn a_renewed_certificate_is_asked_about() {
    let Some(authority) = Authority::new() else { return };
    let names = NameServer::start();
    names.set("ocsp.test", &["127.0.0.1"]);
    let _responder = authority.respond("signer");
    let ringgate = Ringgate::start(&authority.site("revoked", &names, ""));
    ringgate.wait_for("error.log", "\"revoked\" in the OCSP response", 1);
    assert_eq!(stapled(&ringgate, "-tls1_3"), NOTHING);
    for kind in ["pem", "key"] {
        fs::copy(authority.file(&format!("renewed.{kind}")), authority.file(&format!("revoked.{kind}")))
            .unwrap();
    }
    eventually("a staple for the renewed one", || (stapled(&ringgate, "-tls1_3") == GOOD).then_some(()));
}
