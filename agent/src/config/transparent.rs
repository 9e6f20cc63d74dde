//! How connections come to the agent that were meant for somebody else, and which workload they are of.
//!
//! In: the keys `mode`, `addresses`, `node` and `transparent` of the agent's section. Out: typed values with their defaults.
//! Left out on purpose: the rules of the system that send connections here, see `deploy/redirect`; and what is wrong with
//! the keys together, see `transparent/check.rs`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ::config::HumanDuration;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};

use crate::listen::ListenAddr;

/// How a listener learns where a connection was going.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ListenMode {
    /// From the request, or from `upstream`: the caller knows that it speaks to a proxy.
    #[default]
    Proxy,
    /// From the system, which redirected the connection (`iptables -t nat … -j REDIRECT`). Needs no privilege. What is not
    /// HTTP passes as it is.
    Redirect,
    /// As `redirect`, but the connection still has its destination (`iptables -t mangle … -j TPROXY`). The agent needs
    /// `CAP_NET_ADMIN`.
    Tproxy,
}

impl ListenMode {
    /// Whether connections come here that were meant for others.
    pub fn is_transparent(self) -> bool {
        self != Self::Proxy
    }
}

/// Where an inbound connection that was redirected goes on to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Deliver {
    /// To the address and port that it was meant for. What the service offers on loopback alone stays there.
    #[default]
    Destination,
    /// To that port on loopback, for services that listen nowhere else. It opens every port on loopback to callers.
    Loopback,
}

/// What holds for all listeners in the modes `redirect` and `tproxy`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TransparentConfig {
    /// How long the agent waits for the caller's first bytes before it connects onward. Default `100ms`. From then on it
    /// waits for whoever speaks first, for as long as it takes: bytes of the caller are looked at for HTTP, bytes of the far
    /// side mean a protocol in which servers speak first, and pass. So it is the delay of such protocols on ports that are
    /// not listed below, and a longer one costs HTTP nothing.
    pub detect_timeout: HumanDuration,
    /// Ports whose connections pass without a look, at once. Default: those of protocols in which servers speak first:
    /// `[21, 22, 23, 25, 110, 119, 143, 220, 587, 873, 3306, 4222, 5900, 6667, 33060]`.
    pub blind_ports: Vec<u16>,
    /// Mark (`SO_MARK`) of connections that the agent makes for redirected callers, so that a rule can leave them alone
    /// where its user cannot tell them from the service's: `-m mark --mark 0x746d -j RETURN`. Needs `CAP_NET_ADMIN`. It is
    /// not on connections to the collector. Default: none; the rule names the agent's user.
    pub mark: Option<u32>,
    /// Mark of connections that the agent makes with its caller's address, by which the answers find back to it, see
    /// `preserve_source`. Default 29805 (`0x746d`), as in `deploy/redirect`.
    pub source_mark: u32,
}

/// Listeners that all workloads of a node share. Whose a connection is, its address says: `workloads[].addresses`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NodeConfig {
    /// For calls of the workloads, told apart by their source address. Default: off.
    pub outbound: Option<NodeListenConfig>,
    /// For requests to the workloads, told apart by their destination address; not in mode `proxy`. Default: off.
    pub inbound: Option<NodeListenConfig>,
}

/// A listener of a node.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeListenConfig {
    /// Where connections arrive. After a redirect on their way through the node that is an address of the interface
    /// that they came in by: `0.0.0.0:15001`.
    pub listen: ListenAddr,
    /// How connections come here. Default `redirect`.
    #[serde(default = "redirect")]
    pub mode: ListenMode,
    /// Addresses of no known workload whose connections pass all the same, without spans: `["10.244.0.0/16"]`, usually the
    /// node's pods. Default `[]`: connections of others are refused, since they would go on with the node's address.
    /// Outbound these are callers, inbound destinations.
    #[serde(default)]
    pub allow: Vec<Network>,
    /// For calls: hosts outside, as in `agent.outbound.untrusted`, of workloads without an `outbound` of their own. Default
    /// `[]`.
    #[serde(default)]
    pub untrusted: Vec<String>,
    /// For calls in mode `proxy`: where they may not go, as in `agent.outbound.deny`. Default: this host and link-local
    /// addresses, since pods would reach there through the agent what only the host may.
    #[serde(default)]
    pub deny: Option<Vec<Network>>,
    /// Whether connections go on with their caller's address. Default `false`; see `inbound[].preserve_source`.
    #[serde(default)]
    pub preserve_source: bool,
}

/// Addresses that begin alike: `10.244.1.0/24`, or one: `10.244.1.7`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// A text that is no network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{value}` is no address and no network: write such as `10.244.1.7`, `10.244.1.0/24` or `fd00:1::/64`"
)]
pub struct NetworkError {
    value: String,
}

impl Network {
    /// Whether `address` is of this network. An IPv4 address within IPv6 is the IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        let host_bits = u32::from(bits(self.address)).saturating_sub(u32::from(self.prefix));
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                (u32::from(network) ^ u32::from(address))
                    .checked_shr(host_bits)
                    .unwrap_or(0)
                    == 0
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                (u128::from(network) ^ u128::from(address))
                    .checked_shr(host_bits)
                    .unwrap_or(0)
                    == 0
            }
            _ => false,
        }
    }

    /// How many leading bits an address must share, 0 to 32 or 128. Of two that contain an address, that with more is meant.
    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    /// The single address that it is, where it is one.
    pub fn single(&self) -> Option<IpAddr> {
        (self.prefix == bits(self.address)).then_some(self.address)
    }
}

fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

impl From<IpAddr> for Network {
    /// The one address.
    fn from(address: IpAddr) -> Self {
        let address = address.to_canonical();
        Self {
            address,
            prefix: bits(address),
        }
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(value: &str) -> Result<Self, NetworkError> {
        let read = || {
            let (address, prefix) = match value.split_once('/') {
                Some((address, prefix)) => (address, Some(prefix)),
                None => (value, None),
            };
            let address = address.parse::<IpAddr>().ok()?.to_canonical();
            let prefix = prefix.map_or(Some(bits(address)), |prefix| prefix.parse().ok())?;
            (prefix <= bits(address)).then_some(Self { address, prefix })
        };
        read().ok_or_else(|| NetworkError {
            value: value.to_owned(),
        })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.single() {
            Some(address) => address.fmt(f),
            None => write!(f, "{}/{}", self.address, self.prefix),
        }
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Network {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Network".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "An IP address, or a network as address and prefix length.",
            "examples": ["10.244.1.7", "10.244.1.0/24", "fd00:1::/64"],
        })
    }
}

fn redirect() -> ListenMode {
    ListenMode::Redirect
}

impl Default for TransparentConfig {
    fn default() -> Self {
        Self {
            detect_timeout: HumanDuration::from_millis(100),
            blind_ports: vec![
                21, 22, 23, 25, 110, 119, 143, 220, 587, 873, 3306, 4222, 5900, 6667, 33060,
            ],
            mark: None,
            source_mark: 0x746d,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_contains_what_shares_its_prefix_and_nothing_else() {
        for (network, address, expected) in [
            ("10.244.1.0/24", "10.244.1.255", true),
            ("10.244.1.0/24", "10.244.2.0", false),
            ("10.244.1.7", "10.244.1.7", true),
            ("10.244.1.7", "::ffff:10.244.1.7", true),
            ("10.244.1.7", "10.244.1.6", false),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("fd00:1::/64", "fd00:1::abcd", true),
            ("fd00:1::/64", "fd00:1:0:1::", false),
            ("::/0", "2001:db8::1", true),
        ] {
            let contains = network
                .parse::<Network>()
                .expect(network)
                .contains(address.parse().expect(address));
            assert_eq!(contains, expected, "{address} in {network}");
        }
    }

    #[test]
    fn what_is_no_network_is_told_as_written() {
        for wrong in [
            "10.0.0.0/33",
            "10.0.0/8",
            "10.0.0.0/",
            "pods",
            "",
            "fd00::/129",
            "10.0.0.0/-1",
        ] {
            let error = wrong.parse::<Network>().expect_err(wrong).to_string();
            assert!(
                error.starts_with(&format!("`{wrong}` is no address and no network")),
                "{error}"
            );
        }
    }
}
