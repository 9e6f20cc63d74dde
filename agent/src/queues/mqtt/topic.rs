//! What a topic is called as a destination.
//!
//! In: a topic name. Out: the same with a wildcard for each level that looks like an identifier, so that all devices of a
//! kind are one destination.
//! Left out on purpose: levels that are names of something, however many there are.

use super::super::destination::is_id;

/// The longest destination, in bytes.
const MAX_DESTINATION: usize = 256;

/// Writes the destination of `topic` in place of `into`: `+` for a level of digits only, a UUID, or 16 and more hexadecimal
/// digits; `#` for all levels that would make it too long.
pub(super) fn destination(topic: &str, into: &mut String) {
    into.clear();
    for (place, level) in topic.split('/').enumerate() {
        if place > 0 {
            into.push('/');
        }
        let level = if is_id(level.as_bytes()) { "+" } else { level };
        // With room for what stands for the rest.
        if into.len() + level.len() + 2 > MAX_DESTINATION {
            into.push('#');
            return;
        }
        into.push_str(level);
    }
}
