//! How what leaves the agent travels.
//!
//! In: keys of the section `agent.export`. Out: types of their values.
//! Left out on purpose: the section itself, which stands with the others.

use std::fmt;

use schemars::JsonSchema;
use serde::Deserialize;

/// How requests to the collector travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ExportProtocol {
    /// OTLP/gRPC.
    #[default]
    Grpc,
    /// OTLP/HTTP with protobuf; `http/protobuf`, as SDKs call it, is the same. Requests go to `/v1/traces`, `/v1/metrics` and
    /// `/v1/logs` below the endpoint, which may have a path; one that ends so already is used as it is.
    #[serde(alias = "http/protobuf")]
    Http,
}

/// Text that is not shown again.
#[derive(Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_protocol_is_known_by_both_names_and_a_secret_is_not_shown() {
        for (name, protocol) in [
            ("grpc", ExportProtocol::Grpc),
            ("http", ExportProtocol::Http),
            ("http/protobuf", ExportProtocol::Http),
        ] {
            let read: ExportProtocol = serde_json::from_value(name.into()).expect(name);
            assert_eq!(read, protocol);
        }
        assert_eq!(format!("{:?}", Secret("s3cret".to_owned())), "[redacted]");
    }
}
