//! Workloads of pods that no configuration names.
//!
//! In: the pods that are known, and the configuration in force. Out: a [`Workload`] for each pod whose address is nobody's.
//! Left out on purpose: one workload for several pods. A request in one pod explains no call of another, whatever they are
//! called, so each has its own correlation state.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use tokio::task::JoinSet;
use tracing::debug;

use super::{Known, KnownPod};
use crate::config::{AgentConfig, Network, WorkloadConfig};
use crate::detect::Detected;
use crate::plan::Plan;
use crate::run::Ending;
use crate::start;
use crate::workload::{Before, Shared, Workload};

/// The workloads of pods under one configuration.
pub(crate) struct PodWorkloads {
    config: AgentConfig,
    shared: Arc<Shared>,
    plan: Option<Arc<Plan>>,
    ending: Ending,
    /// Addresses of configured workloads.
    taken: Vec<Network>,
    /// By the pods' uids.
    made: HashMap<String, PodWorkload>,
    addresses: Vec<(IpAddr, String)>,
}

/// A pod as a workload.
pub(crate) struct PodWorkload {
    known: Arc<KnownPod>,
    pub(crate) workload: Arc<Workload>,
    /// Keeps its share of new traces as it is set afar.
    _follower: JoinSet<()>,
}

impl PodWorkloads {
    /// For pods under `config`, of which none is known yet.
    pub(crate) fn new(
        config: &AgentConfig,
        shared: Arc<Shared>,
        plan: Option<Arc<Plan>>,
        ending: Ending,
    ) -> Self {
        let workloads = config.workloads.iter();
        Self {
            taken: workloads
                .flat_map(|workload| workload.addresses.clone())
                .collect(),
            config: config.clone(),
            shared,
            plan,
            ending,
            made: HashMap::new(),
            addresses: Vec::new(),
        }
    }

    /// The workloads of the pods that are known now. Those that are new here go on with the state they had in `earlier`.
    pub(crate) fn renew(&mut self, known: &Known, earlier: Option<&Self>) {
        let mut before = std::mem::take(&mut self.made);
        self.addresses.clear();
        for (address, pod) in known.addresses() {
            if self.taken.iter().any(|network| network.contains(address)) {
                continue;
            }
            let uid = &pod.pod.uid;
            if !self.made.contains_key(uid) {
                let made = match before.remove(uid) {
                    Some(same) if Arc::ptr_eq(&same.known, pod) => Some(same),
                    other => self.make(pod, other.as_ref(), earlier),
                };
                let Some(made) = made else {
                    continue;
                };
                self.made.insert(uid.clone(), made);
            }
            self.addresses.push((address, uid.clone()));
        }
    }

    /// Each address with the uid and the workload of its pod.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (IpAddr, &str, &PodWorkload)> {
        self.addresses
            .iter()
            .filter_map(|(address, uid)| Some((*address, uid.as_str(), self.made.get(uid)?)))
    }

    /// The workload of each pod, in no order.
    pub(crate) fn workloads(&self) -> impl Iterator<Item = &Arc<Workload>> {
        self.made.values().map(|made| &made.workload)
    }

    fn make(
        &self,
        known: &Arc<KnownPod>,
        before: Option<&PodWorkload>,
        earlier: Option<&Self>,
    ) -> Option<PodWorkload> {
        let of_earlier = earlier.and_then(|earlier| Some((earlier, earlier.made.get(&known.pod.uid)?)));
        let state = |node: &str| match (before, of_earlier) {
            (Some(before), _) => Before {
                workload: Some(&before.workload),
                same_correlation: true,
                same_sampling: *before.workload.node == *node,
                plan: self.plan.as_deref(),
            },
            (None, Some((earlier, before))) => Before {
                workload: Some(&before.workload),
                same_correlation: earlier.config.correlation == self.config.correlation,
                same_sampling: earlier.config.sampling == self.config.sampling
                    && self.share(node) == earlier.share(node),
                plan: self.plan.as_deref(),
            },
            (None, None) => Before {
                plan: self.plan.as_deref(),
                ..Before::default()
            },
        };
        let config = WorkloadConfig {
            service: Some(known.pod.service.clone()),
            resource: known.pod.attributes.iter().cloned().collect(),
            ..WorkloadConfig::default()
        };
        let made = Workload::new(
            &config,
            &Detected::default(),
            &self.config,
            self.shared.clone(),
            state,
        );
        let workload = match made {
            Ok(workload) => Arc::new(workload),
            Err(error) => {
                debug!(%error, "no workload made of a pod");
                return None;
            }
        };
        let followed = std::slice::from_ref(&workload);
        Some(PodWorkload {
            known: known.clone(),
            _follower: start::follow_shares(&self.config, followed, &self.ending),
            workload,
        })
    }

    /// What the plan says of a node's new traces.
    fn share(&self, node: &str) -> Option<crate::sampling::Strategy> {
        self.plan.as_deref().and_then(|plan| plan.shares_of(node))
    }
}
