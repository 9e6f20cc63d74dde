//! The dependency map: who calls whom, how often, how slowly, and on what evidence.
//!
//! In: observations that the collector made of whole traces, or a `map.yaml` that people wrote.
//! Out: [`Map`] with its nodes, edges and statistics; its files; what follows from its shape
//! ([`reach`], entry points, owners); the [`catalogue`] of every series that tracemap exports.
//! Left out on purpose: sockets, files, clocks and tasks. Time is an argument, bytes are arguments.

pub mod catalogue;
pub mod diff;
pub mod evidence;
pub mod export;
pub mod file;
pub mod histogram;
pub mod id;
pub mod language;
pub mod model;
pub mod pairs;
pub mod reach;
pub mod roots;
pub mod services;
pub mod why;

pub use histogram::{Histogram, Sample};
pub use id::{ConnectionType, EdgeKey, NodeId, NodeKind};
pub use language::{Language, LogLibrary};
pub use model::{
    Chain, Edge, EdgeStats, Evidence, Flow, FlowKey, LONGEST_CHAIN, Map, Node, NodeStats, Seen, UnixNanos,
};
pub use roots::{Passed, Root, RootKey};
pub use services::{
    LoggingFacts, Mode, Objective, Owner, PlanPins, ServiceSettings, Services, StatedResilience, Usual,
};
pub use why::Why;
