//! TLS of the agent: towards callers, services, the rest of the world and the collector.
//!
//! In: what the configuration says, and the files it names. Out: both ends of TLS with their counts, and every problem under
//! its key.
//! Left out on purpose: TLS itself, which `otlp::tls` has for agent and collector alike.

use std::path::PathBuf;
use std::sync::Arc;

use ::config::Finding;
use otlp::tls::{
    ClientFiles, ClientTls, Handshake, Part, Protocols, Reload, ServerTls, TlsError, TlsObserver,
};
use tokio::sync::OnceCell;

use crate::config::{
    AgentConfig, ClientAuthConfig, ClientTlsConfig, ExportConfig, ListenMode, ServerTlsConfig, WorkloadConfig,
};
use crate::telemetry::{Metrics, TlsSide};

/// Counts one side's handshakes and reloads.
pub(crate) struct Counts {
    metrics: Arc<Metrics>,
    side: TlsSide,
}

impl TlsObserver for Counts {
    fn handshake(&self, outcome: Handshake) {
        self.metrics.tls_handshake(self.side, outcome);
    }

    fn reload(&self, outcome: Reload) {
        self.metrics.tls_reload(self.side, outcome);
    }
}

pub(crate) fn counts(metrics: &Arc<Metrics>, side: TlsSide) -> Arc<Counts> {
    Arc::new(Counts {
        metrics: metrics.clone(),
        side,
    })
}

/// TLS for callers.
pub(crate) fn server(
    config: &ServerTlsConfig,
    side: TlsSide,
    metrics: &Arc<Metrics>,
) -> Result<ServerTls, TlsError> {
    let counts = counts(metrics, side);
    ServerTls::new(config.files(), Protocols::Both, counts)
}

/// TLS towards the collector, where an endpoint wants it.
pub(crate) fn export(
    config: Option<&ClientTlsConfig>,
    metrics: &Arc<Metrics>,
) -> Result<ClientTls, TlsError> {
    let files = config.map(ClientTlsConfig::files).unwrap_or_default();
    ClientTls::new(files, counts(metrics, TlsSide::Export))
}

/// TLS towards servers, made when it is first needed: the host's authorities are hundreds, and most agents talk to nobody
/// that has a certificate.
pub(crate) struct Origin {
    made: OnceCell<ClientTls>,
    files: ClientFiles,
    counts: Arc<Counts>,
}

impl Origin {
    /// Of files that are written in the configuration the problems are told now.
    pub(crate) fn new(
        config: Option<&ClientTlsConfig>,
        side: TlsSide,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, TlsError> {
        let (files, counts) = (
            config.map(ClientTlsConfig::files).unwrap_or_default(),
            counts(metrics, side),
        );
        let made = config
            .map(|_| ClientTls::new(files.clone(), counts.clone()))
            .transpose()?;
        Ok(Self {
            made: OnceCell::new_with(made),
            files,
            counts,
        })
    }

    /// Whoever asks first waits until the host's authorities are read, some milliseconds.
    pub(crate) async fn get(&self) -> Result<ClientTls, TlsError> {
        let make = || async {
            let (files, counts) = (self.files.clone(), self.counts.clone());
            let made = tokio::task::spawn_blocking(move || ClientTls::new(files, counts)).await;
            made.unwrap_or(Err(TlsError::NoRoots))
        };
        self.made.get_or_try_init(make).await.cloned()
    }
}

/// Whether an endpoint of the export wants TLS.
pub(crate) fn is_exported_over(config: &ExportConfig) -> bool {
    endpoints(config).any(|(_, endpoint)| is_https(endpoint))
}

/// Where the export goes, with the keys that say so.
fn endpoints(config: &ExportConfig) -> impl Iterator<Item = (&'static str, &str)> {
    let all = [
        ("agent.export.endpoint", &config.endpoint),
        ("agent.export.metrics_endpoint", &config.metrics_endpoint),
        ("agent.export.logs_endpoint", &config.logs_endpoint),
    ];
    all.into_iter()
        .filter_map(|(key, endpoint)| Some((key, endpoint.as_deref()?)))
}

/// Every problem with TLS, each under its key. Reads the files.
pub(crate) fn problems(config: &AgentConfig) -> Vec<Finding> {
    let mut found = Vec::new();
    let flat = config.flat_workload();
    let flat = flat.iter().map(|flat| ("agent".to_owned(), flat));
    let listed = config.workloads.iter().enumerate();
    let listed = listed.map(|(index, workload)| (format!("agent.workloads[{index}]"), workload));
    for (path, workload) in flat.chain(listed) {
        of_workload(&path, workload, &mut found);
    }
    let own = [
        ("agent.otlp", &config.otlp.tls, &config.otlp.access),
        ("agent.admin", &config.admin.tls, &config.admin.access),
        ("agent.sampling", &config.sampling.tls, &config.sampling.access),
    ];
    for (path, tls, access) in own {
        if let Some(tls) = tls {
            of_server(&format!("{path}.tls"), tls, &mut found);
        }
        found.extend(access.check(&format!("{path}.access")));
    }
    let export = &config.export;
    let secure = endpoints(export).find(|(_, endpoint)| is_https(endpoint));
    let address = secure.or_else(|| endpoints(export).next());
    let address = address.unwrap_or(("agent.export.endpoint", ""));
    let tls = export.tls.as_ref();
    of_client("agent.export.tls", address, secure.is_some(), tls, &mut found);
    found
}

fn of_workload(path: &str, workload: &WorkloadConfig, found: &mut Vec<Finding>) {
    for (index, inbound) in workload.inbound.iter().enumerate() {
        let path = format!("{path}.inbound[{index}]");
        if let Some(tls) = &inbound.tls {
            of_server(&format!("{path}.tls"), tls, found);
            found.extend(unseen(&format!("{path}.tls"), inbound.mode));
        }
        let key = format!("{path}.upstream");
        let used = is_https(&inbound.upstream);
        let address = (key.as_str(), inbound.upstream.as_str());
        let tls = inbound.upstream_tls.as_ref();
        of_client(&format!("{path}.upstream_tls"), address, used, tls, found);
    }
    if let Some(tls) = workload
        .outbound
        .as_ref()
        .and_then(|outbound| outbound.tls.as_ref())
    {
        let path = format!("{path}.outbound.tls");
        let mode = workload.outbound.as_ref().map(|outbound| outbound.mode);
        found.extend(mode.and_then(|mode| unseen(&path, mode)));
        if let Some(name) = &tls.server_name {
            let key = format!("{path}.server_name");
            found.push(finding(
                &key,
                format!("`{key}` is `{name}`, but calls go to many servers"),
                "leave it out: each server is asked for by the name in its address",
            ));
        } else {
            files_of_client(&path, tls, found);
        }
    }
}

fn of_server(path: &str, tls: &ServerTlsConfig, found: &mut Vec<Finding>) {
    let key = format!("{path}.client_auth");
    match (&tls.client_ca, tls.client_auth) {
        (None, Some(auth @ (ClientAuthConfig::Request | ClientAuthConfig::Require))) => {
            let word = if auth == ClientAuthConfig::Request {
                "request"
            } else {
                "require"
            };
            found.push(finding(
                &key,
                format!("`{key}` is `{word}`, but no authority of callers' certificates is named"),
                "name a file of them as `client_ca`",
            ));
        }
        (Some(ca), Some(ClientAuthConfig::None)) => found.push(finding(
            &key,
            format!(
                "`{key}` is `none`, so `client_ca` (`{}`) has no use",
                ca.display()
            ),
            "write `request` or `require`, or take `client_ca` out",
        )),
        _ => {}
    }
    if let Err(error) = tls.files().check() {
        let paths = [
            (Part::Cert, Some(&tls.cert)),
            (Part::Key, Some(&tls.key)),
            (Part::Ca, tls.client_ca.as_ref()),
        ];
        found.push(unusable(path, "client_ca", &paths, &error));
    }
}

/// A listener of redirected connections passes TLS on as it comes.
fn unseen(key: &str, mode: ListenMode) -> Option<Finding> {
    let redirected = || {
        finding(
            key,
            format!("`{key}` is set, but TLS of redirected connections passes unseen"),
            "take it out, or listen with `mode: proxy`",
        )
    };
    mode.is_transparent().then(redirected)
}

/// `address` is the key and the value of what TLS is for, and `used` whether that wants TLS.
fn of_client(
    path: &str,
    (key, value): (&str, &str),
    used: bool,
    tls: Option<&ClientTlsConfig>,
    found: &mut Vec<Finding>,
) {
    match tls {
        Some(_) if !used => found.push(finding(
            path,
            format!("`{path}` is set, but `{key}` is `{value}`, which is not encrypted"),
            "write `https://` there, or take the TLS keys out",
        )),
        Some(tls) => files_of_client(path, tls, found),
        None if used => {
            if let Err(error) = ClientFiles::default().check() {
                found.push(finding(
                    key,
                    format!("`{key}` is `{value}`, but {error}"),
                    &format!("name a PEM file of the authorities to trust as `{path}.ca`, or install `ca-certificates`"),
                ));
            }
        }
        None => {}
    }
}

fn files_of_client(path: &str, tls: &ClientTlsConfig, found: &mut Vec<Finding>) {
    let (given, missing) = match (&tls.cert, &tls.key) {
        (Some(_), None) => ("cert", "key"),
        (None, Some(_)) => ("key", "cert"),
        _ => {
            if let Err(error) = tls.files().check() {
                let paths = [
                    (Part::Cert, tls.cert.as_ref()),
                    (Part::Key, tls.key.as_ref()),
                    (Part::Ca, tls.ca.as_ref()),
                ];
                found.push(unusable(path, "ca", &paths, &error));
            }
            return;
        }
    };
    found.push(finding(
        &format!("{path}.{missing}"),
        format!("`{path}.{given}` is set without `{path}.{missing}`"),
        "write both, or neither",
    ));
}

/// A problem with one of the files, under the key that names it.
fn unusable(path: &str, ca: &str, paths: &[(Part, Option<&PathBuf>)], error: &TlsError) -> Finding {
    let (name, hint) = match error.part() {
        Part::Cert => (
            "cert",
            "write the path of a PEM file with the certificate and its chain",
        ),
        Part::Key => (
            "key",
            "write the path of the certificate's own private key, PEM and not encrypted",
        ),
        Part::Ca => (
            ca,
            "write the path of a PEM file with the certificates of authorities",
        ),
        Part::ServerName => ("server_name", "write the name that the server's certificate has"),
    };
    let key = format!("{path}.{name}");
    let file = paths.iter().find(|(part, _)| *part == error.part());
    let value = file
        .and_then(|(_, file)| *file)
        .map(|file| format!(" is `{}`", file.display()));
    let message = match value {
        Some(value) => format!("`{key}`{value}, but {}", error.chain()),
        None => format!("`{key}`: {}", error.chain()),
    };
    finding(&key, message, hint)
}

fn is_https(address: &str) -> bool {
    address.starts_with("https://")
}

fn finding(path: &str, message: String, hint: &str) -> Finding {
    Finding {
        path: path.to_owned(),
        message,
        hint: Some(hint.to_owned()),
    }
}
