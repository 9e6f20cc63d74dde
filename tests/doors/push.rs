//! Remote write to a Prometheus that speaks TLS and wants a certificate.
//!
//! In: the collector, a real Prometheus behind TLS, certificates of ours and of strangers. Out: a failed test where series go to
//! whoever was not verified, or do not arrive once the files are right.
//! Left out on purpose: bearer tokens, which Prometheus does not ask for (`collector/exposition/tests`).

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use tempfile::TempDir;

use super::peers::{Authority, PATIENCE, Pair, Part, curl, free_port};

const YEARS: (i32, i32) = (2020, 2099);

/// Killed when dropped.
struct Prometheus(Child);

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct System {
    dir: TempDir,
    ours: Authority,
    client: Pair,
    port: u16,
    _prometheus: Prometheus,
}

impl System {
    /// A Prometheus that takes remote write from whoever has a certificate of ours.
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let ours = Authority::new(dir.path(), "ours");
        let (server, client) = (ours.gives("server", YEARS), ours.gives("client", YEARS));
        let (port, path) = (free_port(), |name: &str| dir.path().join(name));
        fs::write(path("prometheus.yml"), "global: {}\n").expect("a file");
        let web = format!(
            "tls_server_config:\n  cert_file: {}\n  key_file: {}\n  client_ca_file: {}\n  \
             client_auth_type: RequireAndVerifyClientCert\n",
            server.cert.display(),
            server.key.display(),
            ours.ca.display()
        );
        fs::write(path("web.yml"), web).expect("a file");
        let log = fs::File::create(path("prometheus.log")).expect("a file");
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", path("prometheus.yml").display()))
            .arg(format!("--web.config.file={}", path("web.yml").display()))
            .arg(format!("--storage.tsdb.path={}", path("tsdb").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--web.enable-remote-write-receiver")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("prometheus is installed");
        let system = Self {
            _prometheus: Prometheus(child),
            dir,
            ours,
            client,
            port,
        };
        let deadline = Instant::now() + PATIENCE;
        while system.ask("-/ready").is_none() {
            let said = fs::read_to_string(system.dir.path().join("prometheus.log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "Prometheus is not ready: {said}");
        }
        system
    }

    fn ask(&self, path: &str) -> Option<String> {
        let files = [&self.ours.ca, &self.client.cert, &self.client.key];
        let [ca, cert, key] = files.map(|path| path.display().to_string());
        let url = format!("https://127.0.0.1:{}/{path}", self.port);
        let answer = curl(&["--cacert", &ca, "--cert", &cert, "--key", &key, &url]);
        (answer.code == 200).then_some(answer.body)
    }

    fn has_series(&self) -> bool {
        let found = self.ask("api/v1/query?query=tracemap_collector_requests_total");
        found.is_some_and(|found| found.contains("\"outcome\":\"accepted\""))
    }

    /// A collector that pushes there, and trusts and shows these files.
    fn collector(&self, ca: &str, cert: &str) -> Part {
        let [otlp, grpc, web]: [u16; 3] = std::array::from_fn(|_| free_port());
        let file = |name: &str| self.dir.path().join(name).display().to_string();
        let config = format!(
            "collector:\n  otlp: {{ grpc: '127.0.0.1:{grpc}', http: '127.0.0.1:{otlp}' }}\n  \
             web: {{ listen: '127.0.0.1:{web}' }}\n  \
             remote_write: {{ url: 'https://127.0.0.1:{}/api/v1/write', version: '1', interval: 1s, \
             tls: {{ ca: {}, cert: {}, key: {} }} }}\n",
            self.port,
            file(&format!("{ca}.crt")),
            file(&format!("{cert}.crt")),
            file(&format!("{cert}.key")),
        );
        let ready = format!("http://127.0.0.1:{web}/readyz");
        Part::start(
            self.dir.path(),
            &[],
            "collector",
            &config,
            &["curl", "-sf", &ready],
        )
    }

    fn until_told(&self, collector: &Part, said: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !collector.said().contains(said) {
            assert!(Instant::now() < deadline, "{said}: {}", collector.said());
        }
        assert!(!self.has_series(), "{}", collector.said());
    }
}

#[test]
fn series_go_to_a_receiver_that_was_verified_and_knows_us() {
    let system = System::new();
    let theirs = Authority::new(system.dir.path(), "theirs");
    let shown = theirs.gives("shown", YEARS);

    // A receiver whose authority is not the one that is trusted.
    let collector = system.collector("theirs", "client");
    system.until_told(&collector, "no TLS with `127.0.0.1`");
    drop(collector);

    // A receiver that does not know our certificate's authority; once the files are others it does, without a restart.
    let collector = system.collector("ours", "shown");
    system.until_told(&collector, "remote write is tried again");
    fs::copy(&system.client.key, &shown.key).expect("a file");
    fs::copy(&system.client.cert, &shown.cert).expect("a file");
    let deadline = Instant::now() + PATIENCE;
    while !system.has_series() {
        assert!(Instant::now() < deadline, "{}", collector.said());
    }
}
