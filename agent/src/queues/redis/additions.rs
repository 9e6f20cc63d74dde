//! Entries on their way into a stream.
//!
//! In: an `XADD` that is there whole. Out: the same, with more fields where context is added; word of the entry.
//! Left out on purpose: options and ids, which stay where they are.

use std::io::Write as _;

use bytes::{BufMut as _, BytesMut};

use super::super::destination::template;
use super::super::splice::{Carried, Courier, End, Sending, Skip, Token};
use super::Redis;
use super::command::Arguments;
use super::commands::{MAX_TAKEN, Scan};
use super::expected::Expected;

impl Redis {
    /// Passes a whole `XADD`.
    pub(super) fn add(
        &mut self,
        scan: &Scan,
        arguments: &Arguments<'_>,
        out: &mut BytesMut,
        courier: &mut dyn Courier,
    ) -> usize {
        let whole = arguments.input.get(..scan.at).unwrap_or_default();
        let Some(fields) = arguments.fields() else {
            courier.skipped(Skip::UnknownFrame);
            self.answers.expect_other();
            out.extend_from_slice(whole);
            return scan.at;
        };
        let key = arguments.get(1);
        let sent = courier.sends(&Sending {
            destination: &template(key, b':'),
            operation: "xadd",
            carried: Carried::Raw(&fields),
            size: Some(fields.size()),
            more: &|_| {},
        });
        let added = if sent.add.is_empty() {
            Ok(())
        } else {
            add_fields(scan, arguments, &sent.add, out, courier)
        };
        match added {
            Ok(()) if !sent.add.is_empty() => {}
            added => {
                out.extend_from_slice(whole);
                if let (Err(()), Some(token)) = (added, sent.token) {
                    courier.not_added(token, 1);
                }
            }
        }
        match sent.token {
            Some(token) => self.expect_id(token, key, courier),
            None => self.answers.expect_other(),
        }
        scan.at
    }

    fn expect_id(&mut self, token: Token, key: &[u8], courier: &mut dyn Courier) {
        let stream = key.into();
        if !self.answers.expect(Expected::Add { token, stream }) {
            courier.settle(token, End::default());
        }
    }
}

/// Writes the command with `add` as its last fields; `Err`, and nothing is written, where that may not be.
fn add_fields(
    scan: &Scan,
    arguments: &Arguments<'_>,
    add: &[(String, Vec<u8>)],
    out: &mut BytesMut,
    courier: &mut dyn Courier,
) -> Result<(), ()> {
    // The application sees it, so it must have been asked for.
    if !courier.may_change(&String::from_utf8_lossy(arguments.get(1))) {
        return Err(());
    }
    let count = scan.count + 2 * add.len() as i64;
    if count > MAX_TAKEN {
        courier.skipped(Skip::TooLarge);
        return Err(());
    }
    // Writing into memory does not fail.
    let _ = write!((&mut *out).writer(), "*{count}\r\n");
    out.extend_from_slice(arguments.input.get(scan.head..scan.at).unwrap_or_default());
    for part in add.iter().flat_map(|(key, value)| [key.as_bytes(), value]) {
        let _ = write!((&mut *out).writer(), "${}\r\n", part.len());
        out.extend_from_slice(part);
        out.extend_from_slice(b"\r\n");
    }
    Ok(())
}
