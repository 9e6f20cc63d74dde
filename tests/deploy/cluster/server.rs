//! A real API server: etcd and kube-apiserver on ports of the loopback address.
//!
//! In: the programs that `tests/deploy/tools.sh` builds. Out: a server with RBAC, TLS and the definitions of the Prometheus
//! operator, and who may ask it. It ends with the value.
//! Left out on purpose: controllers, a scheduler and kubelets: nothing becomes of a pod but what a test says.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, LazyLock, Weak};

use serde_json::json;
use tokio::sync::Mutex;

use super::api::{Api, soon};
use crate::render::{root, tool};

/// A process that ends with the value.
pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn start(command: &mut Command, log: &Path) -> Self {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(log)
            .expect("a log");
        let command = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log);
        Self(command.spawn().expect("it starts"))
    }

    /// Whether it still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(None))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An API server and its database.
pub(crate) struct Cluster {
    dir: tempfile::TempDir,
    port: u16,
    etcd_port: u16,
    server: Option<Process>,
    _etcd: Process,
}

static SHARED: LazyLock<Mutex<Weak<Cluster>>> = LazyLock::new(Mutex::default);

impl Cluster {
    /// The one for tests that keep to a namespace of their own; it ends when none of them has it any longer.
    pub(crate) async fn shared() -> Arc<Self> {
        let mut shared = SHARED.lock().await;
        if let Some(cluster) = shared.upgrade() {
            return cluster;
        }
        let cluster = Arc::new(Self::start().await);
        *shared = Arc::downgrade(&cluster);
        cluster
    }

    /// One that nobody else has.
    pub(crate) async fn start() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        certificates(dir.path());
        std::fs::write(
            dir.path().join("tokens.csv"),
            "admin,admin,admin,system:masters\n",
        )
        .expect("tokens");
        std::fs::write(dir.path().join("admin"), "admin").expect("a token");
        let (port, etcd_port) = (free_port(), free_port());
        let address = format!("http://127.0.0.1:{etcd_port}");
        let mut etcd = tool("etcd");
        etcd.args(["--data-dir", &dir.path().join("etcd").display().to_string()])
            .args([
                "--listen-client-urls",
                &address,
                "--advertise-client-urls",
                &address,
            ])
            .args(["--listen-peer-urls", "http://127.0.0.1:0", "--unsafe-no-fsync"])
            .args(["--log-level", "error"]);
        let mut cluster = Self {
            _etcd: Process::start(&mut etcd, &dir.path().join("etcd.log")),
            dir,
            port,
            etcd_port,
            server: None,
        };
        cluster.begin().await;
        cluster.define().await;
        cluster
    }

    /// Starts the API server on its port and waits until it is ready.
    pub(crate) async fn begin(&mut self) {
        let at = |name: &str| self.path(name).display().to_string();
        let mut server = tool("kube-apiserver");
        server
            .args(["--etcd-servers", &format!("http://127.0.0.1:{}", self.etcd_port)])
            .args(["--bind-address", "127.0.0.1", "--advertise-address", "127.0.0.1"])
            .args([
                "--secure-port",
                &self.port.to_string(),
                "--endpoint-reconciler-type",
                "none",
            ])
            .args([
                "--tls-cert-file",
                &at("server.crt"),
                "--tls-private-key-file",
                &at("server.key"),
            ])
            .args(["--cert-dir", &at("generated")])
            .args(["--service-account-key-file", &at("account.key")])
            .args(["--service-account-signing-key-file", &at("account.key")])
            .args(["--service-account-issuer", "https://kubernetes.default.svc"])
            .args([
                "--service-cluster-ip-range",
                "10.96.0.0/24",
                "--authorization-mode",
                "RBAC",
            ])
            .args(["--anonymous-auth=false", "--token-auth-file", &at("tokens.csv")]);
        self.server = Some(Process::start(&mut server, &self.path("server.log")));
        let mut api = self.admin();
        soon("an API server that is ready", async || {
            assert!(
                self.server.as_mut().is_some_and(Process::is_running),
                "{}",
                self.said()
            );
            api.try_get("/readyz").await == Some(200)
        })
        .await;
    }

    /// Ends the API server; its database stays.
    pub(crate) fn end(&mut self) {
        self.server = None;
    }

    /// The operator's kinds.
    async fn define(&self) {
        let mut api = self.admin();
        let dir = root().join("target/deploy/openapi/crds");
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&dir).expect("the operator's resource definitions") {
            let text = std::fs::read_to_string(entry.expect("an entry").path()).expect("a definition");
            let definition = serde_json::from_str(&text).expect("JSON");
            api.apply(&definition, "operator").await;
            names.push(
                definition["metadata"]["name"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned(),
            );
        }
        for name in names {
            let path = format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}");
            let established = json!("Established");
            soon(&name, async || {
                let found = api.get(&path).await.expect("a definition");
                let conditions = found["status"]["conditions"]
                    .as_array()
                    .cloned()
                    .unwrap_or_default();
                conditions
                    .iter()
                    .any(|one| one["type"] == established && one["status"] == json!("True"))
            })
            .await;
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    pub(crate) fn ca(&self) -> PathBuf {
        self.path("ca.crt")
    }

    /// Who may do all.
    pub(crate) fn admin(&self) -> Api {
        self.with_token(&self.path("admin"))
    }

    /// Who has the token in a file.
    pub(crate) fn with_token(&self, token: &Path) -> Api {
        Api::new(&self.url(), &self.ca(), token)
    }

    fn said(&self) -> String {
        std::fs::read_to_string(self.path("server.log")).unwrap_or_default()
    }
}

/// A port that nobody has at the moment.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

/// An authority, a certificate for 127.0.0.1, and a key that signs tokens.
fn certificates(dir: &Path) {
    let openssl = |args: &[&str]| {
        let mut command = Command::new("openssl");
        let output = command.current_dir(dir).args(args).output();
        let output = output.expect("openssl runs: it is in the Debian package of that name");
        assert!(output.status.success(), "{}", crate::said(&output));
    };
    let new = |args: &[&'static str]| {
        let all = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"];
        openssl(&[&all[..], args].concat());
    };
    new(&["-subj", "/CN=authority", "-keyout", "ca.key", "-out", "ca.crt"]);
    new(&[
        "-subj",
        "/CN=kube-apiserver",
        "-addext",
        "subjectAltName=IP:127.0.0.1",
        "-addext",
        "basicConstraints=critical,CA:FALSE",
        "-CA",
        "ca.crt",
        "-CAkey",
        "ca.key",
        "-keyout",
        "server.key",
        "-out",
        "server.crt",
    ]);
    openssl(&["genrsa", "-out", "account.key", "2048"]);
}
