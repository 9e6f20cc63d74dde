//! What a broker says of itself.
//!
//! In: an `INFO` line. Out: what of it concerns messages; the line with the addresses of its cluster as clients find them
//! through the agent.
//! Left out on purpose: addresses for web sockets, which are not proxied.

use std::io::Write as _;
use std::ops::Range;

use bytes::{BufMut as _, BytesMut};
use memchr::memmem;
use serde::Deserialize;

use super::super::splice::Courier;

/// The addresses that clients connect to when they lose their connection.
const ADDRESSES: &[u8] = br#""connect_urls""#;

/// What concerns messages.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Info {
    pub(super) headers: bool,
    max_payload: i64,
}

impl Info {
    /// Bytes of header block and payload; below 0 there is no bound.
    pub(super) fn max_payload(&self) -> usize {
        usize::try_from(self.max_payload).unwrap_or(usize::MAX)
    }
}

/// Writes an `INFO` line.
pub(super) fn write(line: &[u8], out: &mut BytesMut, courier: &mut dyn Courier) {
    let list = addresses(line).and_then(|list| {
        Some((
            line.get(..list.start)?,
            line.get(list.clone())?,
            line.get(list.end..)?,
        ))
    });
    let Some((before, list, after)) = list else {
        out.extend_from_slice(line);
        return;
    };
    out.extend_from_slice(before);
    for (number, part) in list.split(|byte| *byte == b'"').enumerate() {
        if number > 0 {
            out.put_u8(b'"');
        }
        let address = (number % 2 == 1).then(|| host_and_port(part)).flatten();
        match address.and_then(|(host, port)| courier.way_to(host, port)) {
            // Writing into memory does not fail.
            Some((host, port)) if host.contains(':') => {
                let _ = write!((&mut *out).writer(), "[{host}]:{port}");
            }
            Some((host, port)) => {
                let _ = write!((&mut *out).writer(), "{host}:{port}");
            }
            None => out.extend_from_slice(part),
        }
    }
    out.extend_from_slice(after);
}

/// What stands within the brackets behind the key; `None` where it is not a list of plain strings.
fn addresses(line: &[u8]) -> Option<Range<usize>> {
    let key = memmem::find(line, ADDRESSES)?;
    let behind = key + ADDRESSES.len();
    let rest = line.get(behind..)?;
    let open = rest.iter().position(|byte| *byte == b'[')?;
    let between = rest.get(..open)?;
    if between.trim_ascii() != b":" {
        return None;
    }
    let start = behind + open + 1;
    let mut quoted = false;
    for (at, byte) in line.iter().enumerate().skip(start) {
        match byte {
            b'"' => quoted = !quoted,
            b'\\' => return None,
            b']' if !quoted => return Some(start..at),
            _ => {}
        }
    }
    None
}

fn host_and_port(address: &[u8]) -> Option<(&str, u16)> {
    let (host, port) = std::str::from_utf8(address).ok()?.rsplit_once(':')?;
    Some((host.trim_matches(['[', ']']), port.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::super::super::splice::testing::Notes;
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: &str) {
        let mut notes = Notes::default();
        notes.port_shift = Some(1);
        let mut out = BytesMut::new();
        write(line.as_bytes(), &mut out, &mut notes);
        assert_eq!(String::from_utf8_lossy(&out), expected);
    }

    #[test]
    fn clients_find_the_cluster_through_the_agent() {
        check(
            r#"INFO {"a":["10.0.0.9:1"],"connect_urls" : ["10.0.0.1:4222", "[fd00::1]:4223","nonsense"],"b":"c:1"}"#,
            r#"INFO {"a":["10.0.0.9:1"],"connect_urls" : ["127.0.0.1:4223", "127.0.0.1:4224","nonsense"],"b":"c:1"}"#,
        );
    }

    #[test]
    fn what_is_no_list_of_addresses_stays() {
        for line in [
            r#"INFO {"connect_urls":[]}"#,
            r#"INFO {"connect_urls":null,"x":["a:1"]}"#,
            r#"INFO {"connect_urls":["a\":1"]}"#,
            r#"INFO {"connect_urls":["a:1""#,
            r#"INFO {"x":"\"connect_urls\"","y":["a:1"]}"#,
            "INFO {}",
        ] {
            check(line, line);
        }
    }

    #[test]
    fn the_bound_on_messages_may_be_none() {
        let info: Info = serde_json::from_str(r#"{"max_payload":-1}"#).expect("json");
        assert_eq!(info.max_payload(), usize::MAX);
    }
}
