//! Numbers of whole maps.
//!
//! In: maps, drawn and written. Out: numbers that fit each other.
//! Left out on purpose: what a mesh says to its fragments; `tests/mesh.rs` asks.
