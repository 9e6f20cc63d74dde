//! The plan: which edges are traced, which only joined in logs, which only counted.
//!
//! In: the map, a budget, the plan before. Out: a mode and a share for each edge, with reasons and what it costs.
//! Left out on purpose: telling it to agents and SDKs.
