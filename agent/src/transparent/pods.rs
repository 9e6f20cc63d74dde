//! Pods behind the listeners of a node, as they come and go.
//!
//! In: the workloads of pods, and word of changes. Out: the listeners' tables, with the configured addresses and those of pods.
//! Left out on purpose: connections that are open. They stay what they were.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::node::Making;
use super::steered::Way;
use super::table::WorkloadTable;
use crate::config::Network;
use crate::pods::{Known, PodWorkloads};
use crate::workload::Workload;

/// The table of one listener of the node.
pub(crate) struct NodeTable {
    pub(super) table: Arc<WorkloadTable<Way>>,
    /// Configured addresses, which no pod takes over.
    pub(super) fixed: Vec<(Network, Way)>,
    pub(super) making: Making,
    /// Of pods, by their uids.
    pub(super) ways: HashMap<String, (Arc<Workload>, Way)>,
}

impl NodeTable {
    /// From now on the pods are those of `pods`.
    pub(crate) fn replace(&mut self, pods: &PodWorkloads) {
        let mut before = std::mem::take(&mut self.ways);
        let mut entries = self.fixed.clone();
        for (address, uid, pod) in pods.entries() {
            let (_, way) = self.ways.entry(uid.to_owned()).or_insert_with(|| {
                let same = before.remove(uid);
                let same = same.filter(|(workload, _)| Arc::ptr_eq(workload, &pod.workload));
                same.unwrap_or_else(|| (pod.workload.clone(), self.making.way(&pod.workload)))
            });
            entries.push((Network::from(address), way.clone()));
        }
        self.table.replace(entries);
    }
}

/// Keeps `tables` as `known` says, for as long as the agent runs.
pub(crate) async fn follow(
    pods: Arc<Mutex<PodWorkloads>>,
    mut tables: Vec<NodeTable>,
    mut known: watch::Receiver<Arc<Known>>,
) {
    while known.changed().await.is_ok() {
        let now = known.borrow_and_update().clone();
        let mut pods = pods.lock().unwrap_or_else(PoisonError::into_inner);
        pods.renew(&now, None);
        for table in &mut tables {
            table.replace(&pods);
        }
    }
}
