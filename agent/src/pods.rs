//! The pods of this node: whose an address is.
//!
//! In: pods as the API server lists and watches them. Out: [`Known`], the pod that each address belongs to now.
//! Left out on purpose: pods of other nodes, services, anything but reading; and waiting: until the first list has come
//! no address is known, and while the API server is away what it said last holds. Forgetting it would refuse connections
//! that are redirected to a node's listener.

mod api;
mod metrics;
mod names;
mod objects;
mod watch;
mod watching;
mod workloads;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use otlp::export::rewrite::Sender;

pub(crate) use metrics::PodMetrics;
pub(crate) use watching::{Watching, problems};
pub(crate) use workloads::PodWorkloads;

/// What tells a pod from others.
const IDENTITY: &[&str] = &["k8s.pod.uid", "k8s.pod.name", "k8s.pod.ip"];

/// A pod with addresses of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pod {
    pub(crate) uid: String,
    /// At least one.
    pub(crate) addresses: Vec<IpAddr>,
    /// It is being deleted.
    leaving: bool,
    /// The name of its service, by label or owner.
    pub(crate) service: String,
    /// Resource attributes as in the semantic conventions, each key once.
    pub(crate) attributes: Vec<(String, String)>,
}

/// All pods that are known at one time.
#[derive(Debug, Default)]
pub(crate) struct Known {
    by_address: HashMap<IpAddr, Arc<KnownPod>>,
}

#[derive(Debug)]
pub(crate) struct KnownPod {
    pub(crate) pod: Pod,
    sender: OnceLock<Arc<Sender>>,
}

impl Known {
    /// Of pods that claim the same address it is the last one's that is not being deleted.
    fn of(pods: impl IntoIterator<Item = Arc<KnownPod>>) -> Self {
        let mut by_address: HashMap<IpAddr, Arc<KnownPod>> = HashMap::new();
        for known in pods {
            for address in &known.pod.addresses {
                let taken = by_address.get(address).is_some_and(|other| !other.pod.leaving);
                if !(taken && known.pod.leaving) {
                    by_address.insert(*address, known.clone());
                }
            }
        }
        Self { by_address }
    }

    /// Whose `address` is; an IPv4 address within IPv6 is the IPv4 address.
    pub(crate) fn at(&self, address: IpAddr) -> Option<&Arc<KnownPod>> {
        self.by_address.get(&address.to_canonical())
    }

    /// Each address with its pod, in no order.
    fn addresses(&self) -> impl Iterator<Item = (IpAddr, &Arc<KnownPod>)> {
        self.by_address.iter().map(|(address, pod)| (*address, pod))
    }
}

impl KnownPod {
    fn new(pod: Pod) -> Self {
        Self {
            pod,
            sender: OnceLock::new(),
        }
    }

    /// What is added to what it sends.
    pub(crate) fn sender(&self) -> &Arc<Sender> {
        self.sender.get_or_init(|| {
            let attributes = self.pod.attributes.clone();
            let service = Some(self.pod.service.clone());
            Arc::new(Sender::new(attributes, service, IDENTITY))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(uid: &str, address: &str, leaving: bool) -> Arc<KnownPod> {
        Arc::new(KnownPod::new(Pod {
            uid: uid.to_owned(),
            addresses: vec![address.parse().expect("an address")],
            leaving,
            service: "cart".to_owned(),
            attributes: Vec::new(),
        }))
    }

    #[test]
    fn an_address_that_two_claim_is_the_later_ones_that_stays() {
        let at = |pods: [Arc<KnownPod>; 2]| {
            let known = Known::of(pods);
            let address = "::ffff:10.0.0.7".parse().expect("an address");
            known.at(address).map(|known| known.pod.uid.clone())
        };
        let (old, new) = (
            |leaving| pod("old", "10.0.0.7", leaving),
            |leaving| pod("new", "10.0.0.7", leaving),
        );
        assert_eq!(at([old(false), new(false)]).as_deref(), Some("new"));
        assert_eq!(at([old(true), new(false)]).as_deref(), Some("new"));
        assert_eq!(at([new(false), old(true)]).as_deref(), Some("new"));
        assert_eq!(at([old(true), new(true)]).as_deref(), Some("new"));
    }
}

#[cfg(fuzzing)]
pub(crate) fn fuzz_line(bytes: &[u8]) {
    // Both are errors where they are not what they should be.
    let _ = objects::Event::read(bytes);
    let _ = serde_json::from_slice::<objects::Page>(bytes);
}
