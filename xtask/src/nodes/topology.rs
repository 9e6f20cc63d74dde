//! Three nodes with two pods each, a host for the collector, and the router between them.
//!
//! In: nothing. Out: hosts that reach each other, and cuts between them.
//! Left out on purpose: what runs on them.

use std::net::{Ipv4Addr, SocketAddr};

use super::Failure;
use super::hosts::{End, Host, cable, check};

pub(crate) const NODES: u8 = 3;
const PODS: u8 = 2;

/// Where the service of every pod listens.
pub(crate) const SERVICE_PORT: u16 = 8080;

/// Names of the pods' services begin so, and no others do.
pub(crate) const POD: &str = "pod-";

pub(crate) struct Topology {
    pub(crate) nodes: Vec<Node>,
    pub(crate) collector: Host,
    router: Host,
}

pub(crate) struct Node {
    /// From 1.
    pub(crate) number: u8,
    pub(crate) host: Host,
    pub(crate) pods: Vec<Pod>,
}

pub(crate) struct Pod {
    pub(crate) name: String,
    pub(crate) address: Ipv4Addr,
    pub(crate) host: Host,
}

/// What a node is cut off from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    Collector,
    Everything,
}

impl Topology {
    pub(crate) fn new() -> Result<Self, Failure> {
        check()?;
        let router = Host::new("router")?;
        let collector = Host::new("collector")?;
        cable(
            &End(&router, "collector", "10.76.0.1/24"),
            &End(&collector, "uplink", "10.76.0.2/24"),
        )?;
        collector.sh("ip route add default via 10.76.0.1")?;
        let nodes = (1..=NODES).map(|number| Node::new(number, &router));
        Ok(Self {
            nodes: nodes.collect::<Result<_, _>>()?,
            collector,
            router,
        })
    }

    /// An address of the collector.
    pub(crate) fn collector_at(port: u16) -> SocketAddr {
        (Ipv4Addr::new(10, 76, 0, 2), port).into()
    }

    /// All pods with the number of their node.
    pub(crate) fn pods(&self) -> impl Iterator<Item = (u8, &Pod)> {
        self.nodes
            .iter()
            .flat_map(|node| node.pods.iter().map(|pod| (node.number, pod)))
    }

    /// Lets packets between a node and what it is cut off from vanish, both ways, until [`Topology::heal`].
    pub(crate) fn cut(&self, node: u8, from: Cut) -> Result<(), Failure> {
        let also = match from {
            Cut::Collector => ["-o collector", "-i collector"],
            Cut::Everything => ["", ""],
        };
        self.router.sh(&format!(
            "iptables -w 10 -I FORWARD -i node{node} {} -j DROP; iptables -w 10 -I FORWARD -o node{node} {} -j DROP",
            also[0], also[1]
        ))?;
        Ok(())
    }

    pub(crate) fn heal(&self) -> Result<(), Failure> {
        self.router.sh("iptables -w 10 -F FORWARD")?;
        Ok(())
    }
}

impl Node {
    fn new(number: u8, router: &Host) -> Result<Self, Failure> {
        let host = Host::new(&format!("node{number}"))?;
        let (above, own) = (format!("10.76.{number}.1"), format!("10.76.{number}.2"));
        cable(
            &End(router, &format!("node{number}"), &format!("{above}/24")),
            &End(&host, "uplink", &format!("{own}/24")),
        )?;
        host.sh(&format!("ip route add default via {above}"))?;
        router.sh(&format!("ip route add 10.77.{number}.0/24 via {own}"))?;
        let pods = (1..=PODS).map(|pod| Pod::new(number, pod, &host));
        Ok(Self {
            number,
            pods: pods.collect::<Result<_, _>>()?,
            host,
        })
    }

    /// An address of the node, which its pods reach.
    pub(crate) fn at(&self, port: u16) -> SocketAddr {
        (Ipv4Addr::new(10, 76, self.number, 2), port).into()
    }

    /// The network of its pods.
    pub(crate) fn network(&self) -> String {
        format!("10.77.{}.0/24", self.number)
    }
}

impl Pod {
    fn new(node: u8, number: u8, on: &Host) -> Result<Self, Failure> {
        let host = Host::new(&format!("pod{node}{number}"))?;
        let address = Ipv4Addr::new(10, 77, node, number + 10);
        let interface = format!("pod{number}");
        cable(
            &End(on, &interface, "169.254.1.1/32"),
            &End(&host, "uplink", &format!("{address}/32")),
        )?;
        on.sh(&format!("ip route add {address}/32 dev {interface}"))?;
        host.sh("ip route add 169.254.1.1 dev uplink; ip route add default via 169.254.1.1 dev uplink")?;
        Ok(Self {
            name: format!("{POD}{node}{number}"),
            address,
            host,
        })
    }

    /// Where its service listens.
    pub(crate) fn service(&self) -> SocketAddr {
        (self.address, SERVICE_PORT).into()
    }
}
