//! TLS towards callers, towards services, and towards the collector.
//!
//! In: the keys `tls` and `upstream_tls` of the agent's section. Out: typed values, and the files they name.
//! Left out on purpose: what is wrong with them, see `tls.rs`; and a way to turn verification off.

use std::path::PathBuf;

use otlp::tls::{ClientAuth, ClientFiles, Identity, ServerFiles};
use schemars::JsonSchema;
use serde::Deserialize;

/// TLS 1.2 or 1.3 for callers, HTTP/2 or HTTP/1.1 as they choose. Files that change are taken up within seconds, for
/// connections that come after.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServerTlsConfig {
    /// The certificate callers see, PEM, followed by those between it and its authority.
    pub cert: PathBuf,
    /// Its private key, PEM, not encrypted.
    pub key: PathBuf,
    /// The authorities of callers' certificates, PEM. Default: none, callers are not asked for a certificate.
    pub client_ca: Option<PathBuf>,
    /// Whether callers have to show a certificate. Default: `require` where there is a `client_ca`, else `none`.
    pub client_auth: Option<ClientAuthConfig>,
}

/// Whether callers have to show a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ClientAuthConfig {
    /// They are not asked for one.
    None,
    /// They are asked. A caller without one is served, one with a wrong one is not.
    Request,
    /// A caller without one is not served.
    Require,
}

/// TLS towards a server, TLS 1.2 or 1.3. It is always verified. Files that change are taken up within seconds.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ClientTlsConfig {
    /// The authorities that its certificate must lead to, PEM. Default: those of this host.
    pub ca: Option<PathBuf>,
    /// The name that is asked for and that its certificate must have. Default: the host of the address.
    pub server_name: Option<String>,
    /// Our certificate, PEM, for a server that wants one. Default: none.
    pub cert: Option<PathBuf>,
    /// Its private key, PEM, not encrypted.
    pub key: Option<PathBuf>,
}

impl ServerTlsConfig {
    pub(crate) fn files(&self) -> ServerFiles {
        let client_auth = match (self.client_ca.clone(), self.client_auth) {
            (None, _) | (_, Some(ClientAuthConfig::None)) => ClientAuth::None,
            (Some(ca), Some(ClientAuthConfig::Request)) => ClientAuth::Request(ca),
            (Some(ca), Some(ClientAuthConfig::Require) | None) => ClientAuth::Require(ca),
        };
        ServerFiles {
            identity: Identity {
                cert: self.cert.clone(),
                key: self.key.clone(),
            },
            client_auth,
        }
    }
}

impl ClientTlsConfig {
    pub(crate) fn files(&self) -> ClientFiles {
        let identity = self.cert.clone().zip(self.key.clone());
        ClientFiles {
            ca: self.ca.clone(),
            identity: identity.map(|(cert, key)| Identity { cert, key }),
            server_name: self.server_name.clone(),
        }
    }
}
