//! What is told of which edge.
//!
//! In: the default mode, rules in order, and the peer of a request. Out: its mode.
//! Left out on purpose: anything but `*` and `?` in patterns; peers are names, not paths.

use crate::config::{EdgeDirection, EdgeMode, EdgeRule, EdgesConfig};
use crate::telemetry::Direction;

/// The modes of all edges.
#[derive(Debug, Clone, Default)]
pub(crate) struct Modes {
    otherwise: EdgeMode,
    rules: Vec<EdgeRule>,
}

impl Modes {
    pub(crate) fn new(config: &EdgesConfig) -> Self {
        Self {
            otherwise: config.mode,
            rules: config.rules.clone(),
        }
    }

    /// The same, and after all others these rules.
    #[must_use]
    pub(crate) fn and(mut self, rules: impl IntoIterator<Item = EdgeRule>) -> Self {
        self.rules.extend(rules);
        self
    }

    /// The mode of a request to or from `peer`: outbound `host[:port]`, inbound the caller's node id.
    pub(crate) fn of(&self, direction: Direction, peer: &str) -> EdgeMode {
        let wanted = match direction {
            Direction::Inbound => EdgeDirection::Inbound,
            Direction::Outbound => EdgeDirection::Outbound,
        };
        let names = |rule: &&EdgeRule| {
            let any_port = direction == Direction::Outbound && !has_port(&rule.peer);
            rule.direction == wanted
                && (matches(&rule.peer, peer) || any_port && matches(&rule.peer, host(peer)))
        };
        self.rules
            .iter()
            .find(names)
            .map_or(self.otherwise, |rule| rule.mode)
    }
}

/// `peer` without its port.
fn host(peer: &str) -> &str {
    match peer.rsplit_once(':') {
        Some((host, _)) if has_port(peer) => host,
        _ => peer,
    }
}

/// Colons within brackets are an IPv6 address's.
fn has_port(peer: &str) -> bool {
    peer.rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'))
}

/// Whether `pattern` is `text`, with `*` for any characters and `?` for one. Letters of either case are the same, as in
/// host names. Takes at most the product of both lengths.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while let Some(byte) = text.get(t) {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(one) if *one == b'?' || one.eq_ignore_ascii_case(byte) => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((at, taken)) = star else { return false };
                star = Some((at, taken + 1));
                p = at + 1;
                t = taken + 1;
            }
        }
    }
    pattern.iter().skip(p).all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_pattern_stands_for_whole_names() {
        for (pattern, text, expected) in [
            ("cart", "cart", true),
            ("cart", "cart2", false),
            ("*", "", true),
            ("*.shop.local:80??", "Cart.shop.local:8080", true),
            ("*.shop.local:80??", "cart.shop.local:80", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-b-b-d", false),
            ("", "x", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn the_first_rule_that_matches_wins_and_one_without_a_port_is_for_all_ports() {
        let rule = |direction, peer: &str, mode| EdgeRule {
            direction,
            peer: peer.to_owned(),
            mode,
        };
        let modes = Modes::new(&EdgesConfig {
            rules: vec![
                rule(EdgeDirection::Outbound, "db:5432", EdgeMode::Count),
                rule(EdgeDirection::Outbound, "db", EdgeMode::Log),
                rule(EdgeDirection::Outbound, "[::1]", EdgeMode::Count),
                rule(EdgeDirection::Inbound, "*/web", EdgeMode::Log),
            ],
            ..EdgesConfig::default()
        });
        let of = |direction, peer| modes.of(direction, peer);
        assert_eq!(of(Direction::Outbound, "db:5432"), EdgeMode::Count);
        assert_eq!(of(Direction::Outbound, "db:80"), EdgeMode::Log);
        assert_eq!(of(Direction::Outbound, "db"), EdgeMode::Log);
        assert_eq!(of(Direction::Outbound, "[::1]:80"), EdgeMode::Count);
        assert_eq!(of(Direction::Inbound, "db"), EdgeMode::Span);
        assert_eq!(of(Direction::Inbound, "shop/web"), EdgeMode::Log);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn a_star_in_place_of_any_part_matches(head in "[a-c]{0,4}", part in "[a-c]{0,4}", tail in "[a-c]{0,4}") {
            let (pattern, text) = (format!("{head}*{tail}"), format!("{head}{part}{tail}"));
            prop_assert!(matches(&pattern, &text));
        }
    }
}
