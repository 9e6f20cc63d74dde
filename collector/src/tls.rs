//! TLS of the collector's listeners.
//!
//! In: the keys `collector.otlp.tls` and `collector.web.tls`. Out: the server's end of TLS, and how often what came of it.
//! Left out on purpose: who may ask, see `door.rs`.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use config::Finding;
use map::catalogue as names;
use otlp::tls::{
    ClientAuth, Handshake, Identity, Part, Protocols, Reload, ServerFiles, ServerTls, TlsError, TlsObserver,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::scrape::Scrape;

/// TLS 1.2 or 1.3, for HTTP/2 and HTTP/1.1 alike. Files that change are taken up within seconds, for connections that
/// come after.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TlsSettings {
    /// The certificate that clients see, PEM, followed by those between it and its authority.
    pub cert: PathBuf,
    /// Its private key, PEM, not encrypted.
    pub key: PathBuf,
    /// The authorities of clients' certificates, PEM. Then only those who have one are served. Default: none, clients need
    /// no certificate.
    pub client_ca: Option<PathBuf>,
}

impl TlsSettings {
    fn files(&self) -> ServerFiles {
        ServerFiles {
            identity: Identity {
                cert: self.cert.clone(),
                key: self.key.clone(),
            },
            client_auth: self
                .client_ca
                .clone()
                .map_or(ClientAuth::None, ClientAuth::Require),
        }
    }

    /// Reads the files, and follows them on the current runtime.
    pub(crate) fn server(&self, counts: Arc<TlsCounts>) -> Result<ServerTls, TlsError> {
        ServerTls::new(self.files(), Protocols::Both, counts)
    }

    /// What is wrong with the files, under the key that names them, below `path`. Reads them.
    pub(crate) fn check(&self, path: &str) -> Option<Finding> {
        let error = self.files().check().err()?;
        let (name, hint, file) = match error.part() {
            Part::Key => (
                "key",
                "write the path of the certificate's own private key, PEM and not encrypted",
                &self.key,
            ),
            Part::Ca => (
                "client_ca",
                "write the path of a PEM file with the certificates of authorities",
                self.client_ca.as_ref().unwrap_or(&self.cert),
            ),
            Part::Cert | Part::ServerName => (
                "cert",
                "write the path of a PEM file with the certificate and its chain",
                &self.cert,
            ),
        };
        let key = format!("{path}.{name}");
        Some(Finding {
            message: format!("`{key}` is `{}`, but {}", file.display(), error.chain()),
            path: key,
            hint: Some(hint.to_owned()),
        })
    }
}

/// Handshakes and reloads by how they ended.
#[derive(Debug, Default)]
pub(crate) struct TlsCounts {
    handshakes: [AtomicU64; Handshake::ALL.len()],
    reloads: [AtomicU64; Reload::ALL.len()],
}

impl TlsObserver for TlsCounts {
    fn handshake(&self, outcome: Handshake) {
        self.handshakes[outcome as usize].fetch_add(1, Relaxed);
    }

    fn reload(&self, outcome: Reload) {
        self.reloads[outcome as usize].fetch_add(1, Relaxed);
    }
}

impl TlsCounts {
    /// Writes the counts as series.
    pub(crate) fn write(&self, out: &mut Scrape<'_>) {
        out.family(names::COLLECTOR_TLS_HANDSHAKES);
        for (outcome, count) in Handshake::ALL.into_iter().zip(&self.handshakes) {
            out.sample(&[("result", outcome.as_str())], count.load(Relaxed) as f64);
        }
        out.family(names::COLLECTOR_TLS_RELOADS);
        for (outcome, count) in Reload::ALL.into_iter().zip(&self.reloads) {
            out.sample(&[("outcome", outcome.as_str())], count.load(Relaxed) as f64);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use map::Services;
    use otlp::export::{ExportProtocol, ExportSettings, Exporter};
    use otlp::tls::{ClientFiles, ClientTls};
    use rcgen::{CertifiedKey, generate_simple_self_signed};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    use super::*;
    use crate::rim::Collector;
    use crate::settings::{CollectorSettings, GenerateSettings, OtlpSettings, WebSettings};

    /// A certificate that is its own authority.
    fn identity(dir: &std::path::Path) -> Identity {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let identity = Identity {
            cert: dir.join("tls.crt"),
            key: dir.join("tls.key"),
        };
        std::fs::write(&identity.cert, cert.pem()).expect("a file");
        std::fs::write(&identity.key, signing_key.serialize_pem()).expect("a file");
        identity
    }

    fn exporter(address: SocketAddr, protocol: ExportProtocol, files: ClientFiles) -> Exporter {
        let settings = ExportSettings {
            endpoint: format!("https://localhost:{}", address.port()),
            protocol,
            tls: Some(ClientTls::new(files, Arc::new(())).expect("files")),
            max_delay: Duration::ZERO,
            instance: "test/1".to_owned(),
            ..ExportSettings::default()
        };
        Exporter::spawn(settings).expect("settings").0
    }

    async fn metrics(web: SocketAddr) -> String {
        let mut stream = TcpStream::connect(web).await.expect("a connection");
        let request = b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        stream.write_all(request).await.expect("a writable stream");
        let mut text = String::new();
        stream.read_to_string(&mut text).await.expect("a text");
        text
    }

    /// A request of one resource without spans, which is taken and counted.
    const EMPTY: &[u8] = &[0x0a, 0x02, 0x0a, 0x00];

    #[tokio::test]
    async fn only_senders_with_a_certificate_are_served_by_grpc_and_http_and_the_series_say_so() {
        let dir = tempfile::tempdir().expect("a directory");
        let identity = identity(dir.path());
        let loopback = || "127.0.0.1:0".to_owned();
        let settings = CollectorSettings {
            otlp: OtlpSettings {
                grpc: loopback(),
                http: loopback(),
                tls: Some(TlsSettings {
                    cert: identity.cert.clone(),
                    key: identity.key.clone(),
                    client_ca: Some(identity.cert.clone()),
                }),
                ..OtlpSettings::default()
            },
            web: WebSettings {
                listen: loopback(),
                ..WebSettings::default()
            },
            ..CollectorSettings::default()
        };
        let collector = Collector::bind(&settings, &GenerateSettings::default(), Services::new())
            .await
            .expect("loopback has free ports");
        let (grpc, http) = (collector.grpc_addr(), collector.http_addr());
        let (grpc, http) = (grpc.expect("an address"), http.expect("an address"));
        let web = collector.web_addr().expect("an address");
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let running = tokio::spawn(collector.run(async { drop(stopped.await) }));

        let without = ClientFiles {
            ca: Some(identity.cert.clone()),
            ..ClientFiles::default()
        };
        let with = ClientFiles {
            identity: Some(identity),
            ..without.clone()
        };
        let patience = Duration::from_secs(20);
        for (address, protocol) in [(grpc, ExportProtocol::Grpc), (http, ExportProtocol::Http)] {
            let known = exporter(address, protocol, with.clone());
            known.try_send(EMPTY.into(), 1).expect("room");
            known.flush(patience).await.expect("the collector took it");
            let stranger = exporter(address, protocol, without.clone());
            stranger.try_send(EMPTY.into(), 1).expect("room");
            let refused = async {
                while stranger.stats().retried_requests == 0 {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(patience, refused).await.expect("a refusal");
            assert_eq!(stranger.stats().sent_requests, 0);
        }
        let text = metrics(web).await;
        let value = |result: &str| {
            let series = format!("{}{{result=\"{result}\"}} ", names::COLLECTOR_TLS_HANDSHAKES);
            let line = text.lines().find_map(|line| line.strip_prefix(&series));
            line.and_then(|value| value.parse::<f64>().ok())
                .unwrap_or_default()
        };
        assert!((value("completed") - 2.0).abs() < f64::EPSILON, "{text}");
        assert!(value("no_certificate") >= 2.0, "{text}");
        let _ = stop.send(());
        running.await.expect("an orderly end");
    }

    #[test]
    fn a_key_of_another_certificate_is_told_under_its_key() {
        let (one, two) = (tempfile::tempdir(), tempfile::tempdir());
        let (one, two) = (one.expect("a directory"), two.expect("a directory"));
        let found = TlsSettings {
            cert: identity(one.path()).cert,
            key: identity(two.path()).key,
            client_ca: None,
        };
        let found = found.check("collector.otlp.tls").expect("a problem");
        assert_eq!(found.path, "collector.otlp.tls.key");
        assert!(
            found.message.contains("is not that of the first certificate"),
            "{}",
            found.message
        );
    }
}
