//! Structured logging that joins traces.
//!
//! In: the map, the language of each service. Out: files below `logging/<service>/`.
//! Left out on purpose: shipping logs.
