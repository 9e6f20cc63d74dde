//! The address of a listener, as people write it.
//!
//! In: `127.0.0.1:15006`, `[::1]:15006`, `localhost:15006`. Out: a [`ListenAddr`].
//! Left out on purpose: other host names, which may mean several addresses or none, and a bare port, which would not say
//! who may connect.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};

/// An IP address and a port; port 0 takes any free one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ListenAddr(pub SocketAddr);

/// A text that is no address to listen at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{value}` is no address to listen at: write an IP address and a port such as `127.0.0.1:15006`")]
pub struct ListenAddrError {
    value: String,
}

impl FromStr for ListenAddr {
    type Err = ListenAddrError;

    fn from_str(value: &str) -> Result<Self, ListenAddrError> {
        let local = value
            .strip_prefix("localhost:")
            .and_then(|port| Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port.parse().ok()?))));
        local
            .or_else(|| value.parse().ok())
            .map(Self)
            .ok_or_else(|| ListenAddrError {
                value: value.to_owned(),
            })
    }
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de> Deserialize<'de> for ListenAddr {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for ListenAddr {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ListenAddr".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "An IP address and a port.",
            "examples": ["127.0.0.1:15006", "0.0.0.0:15006", "[::1]:15006"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_needs_an_ip_and_a_port() {
        assert_eq!(
            "localhost:80".parse(),
            Ok(ListenAddr(SocketAddr::from(([127, 0, 0, 1], 80))))
        );
        assert_eq!(
            "[::1]:80".parse::<ListenAddr>().map(|a| a.to_string()),
            Ok("[::1]:80".to_owned())
        );
        for wrong in [
            "15006",
            ":15006",
            "127.0.0.1",
            "example.com:80",
            "127.0.0.1:70000",
            "",
        ] {
            let error = wrong.parse::<ListenAddr>().expect_err(wrong).to_string();
            assert!(
                error.starts_with(&format!("`{wrong}` is no address to listen at")),
                "{error}"
            );
        }
    }
}
