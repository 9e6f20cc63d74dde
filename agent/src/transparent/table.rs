//! Whose an address is.
//!
//! In: addresses and networks with what they belong to, all at once or anew while the agent runs. Out: what an address
//! belongs to.
//! Left out on purpose: where the addresses come from: the configuration, or whoever watches pods.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::config::Network;

/// What addresses belong to. It is read for each connection, without a lock.
#[derive(Debug)]
pub(crate) struct WorkloadTable<T>(ArcSwap<Entries<T>>);

#[derive(Debug)]
struct Entries<T> {
    single: HashMap<IpAddr, T>,
    /// The longest prefix first.
    networks: Vec<(Network, T)>,
}

impl<T: Clone> WorkloadTable<T> {
    pub(crate) fn new(entries: impl IntoIterator<Item = (Network, T)>) -> Self {
        let table = Self(ArcSwap::from_pointee(Entries::new([])));
        table.replace(entries);
        table
    }

    /// Puts other addresses in place of all there are. Connections that are open stay what they are.
    pub(crate) fn replace(&self, entries: impl IntoIterator<Item = (Network, T)>) {
        self.0.store(Arc::new(Entries::new(entries)));
    }

    /// What `address` belongs to: by itself, else by the narrowest network that contains it.
    pub(crate) fn of(&self, address: IpAddr) -> Option<T> {
        let entries = self.0.load();
        let address = address.to_canonical();
        let within = || {
            let found = entries
                .networks
                .iter()
                .find(|(network, _)| network.contains(address));
            found.map(|(_, whose)| whose)
        };
        entries.single.get(&address).or_else(within).cloned()
    }
}

impl<T> Entries<T> {
    fn new(entries: impl IntoIterator<Item = (Network, T)>) -> Self {
        let (mut single, mut networks) = (HashMap::new(), Vec::new());
        for (network, whose) in entries {
            match network.single() {
                Some(address) => {
                    single.insert(address, whose);
                }
                None => networks.push((network, whose)),
            }
        }
        networks.sort_by_key(|(network, _)| std::cmp::Reverse(network.prefix()));
        Self { single, networks }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(list: &[(&str, &'static str)]) -> Vec<(Network, &'static str)> {
        let read = |(network, whose): &(&str, _)| (network.parse().expect("a network"), *whose);
        list.iter().map(read).collect()
    }

    #[test]
    fn the_narrowest_entry_says_whose_an_address_is() {
        let table = WorkloadTable::new(entries(&[
            ("10.244.0.0/16", "node"),
            ("10.244.1.0/24", "shop"),
            ("10.244.1.7", "cart"),
            ("fd00:1::/64", "six"),
        ]));
        for (address, expected) in [
            ("10.244.1.7", Some("cart")),
            ("::ffff:10.244.1.7", Some("cart")),
            ("10.244.1.8", Some("shop")),
            ("10.244.2.1", Some("node")),
            ("fd00:1::9", Some("six")),
            ("192.0.2.1", None),
        ] {
            assert_eq!(
                table.of(address.parse().expect("an address")),
                expected,
                "{address}"
            );
        }
    }

    #[test]
    fn a_pod_that_comes_or_goes_changes_the_next_answer() {
        let table = WorkloadTable::new(entries(&[("10.244.1.7", "cart")]));
        table.replace(entries(&[("10.244.1.8", "cart")]));
        let of = |address: &str| table.of(address.parse().expect("an address"));
        assert_eq!((of("10.244.1.7"), of("10.244.1.8")), (None, Some("cart")));
    }
}
