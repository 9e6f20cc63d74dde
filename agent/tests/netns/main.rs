//! The agent where the system sends connections to it: network namespaces, real rules, real programs on both sides.
//!
//! Needs root, `ip`, `iptables`, `ip6tables`, `setpriv`, `curl` and `openssl`; a test that lacks one fails and says which.

mod node;
mod rig;
mod sidecar;
mod tproxy;

#[allow(
    dead_code,
    reason = "the peers are those of the other tests, and not all of them are needed here"
)]
#[path = "../wire/support.rs"]
mod support;
