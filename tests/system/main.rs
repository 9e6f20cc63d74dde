//! Whole processes on loopback, with real peers. In one binary, because they share their support.

mod baselines;
mod kills;
mod nodes;
mod one_fault_one_page;
mod other_faults;
mod plan;
mod prometheus;
mod queues;
mod replay;
mod support;
mod watch;
