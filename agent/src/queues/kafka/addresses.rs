//! Addresses of brokers in what a broker says, by which clients would leave the agent.
//!
//! In: responses to Metadata, `FindCoordinator` and `DescribeCluster`, and the tagged field `NodeEndpoints` (KIP-951).
//! Out: what to put in the place of each address that is found through the agent.
//! Left out on purpose: everything behind the addresses.

use std::ops::Range;

use super::versions::{DESCRIBE_CLUSTER, FIND_COORDINATOR, METADATA, is_flexible};
use super::wire::{Edit, Reader, put_uvarint};
use crate::queues::splice::Courier;

/// What to change in `frame`, a response to a request of this kind. `None` where it is not one.
pub(super) fn edits(frame: &[u8], key: i16, version: i16, courier: &mut dyn Courier) -> Option<Vec<Edit>> {
    let mut reader = Reader::response(frame, is_flexible(key, version))?;
    let mut edits = Vec::new();
    match key {
        METADATA => metadata(&mut reader, version, courier, &mut edits)?,
        FIND_COORDINATOR if version < 4 => coordinator(&mut reader, version, courier, &mut edits)?,
        FIND_COORDINATOR => coordinators(&mut reader, courier, &mut edits)?,
        DESCRIBE_CLUSTER => cluster(&mut reader, version, courier, &mut edits)?,
        _ => {}
    }
    Some(edits)
}

fn metadata(
    reader: &mut Reader<'_>,
    version: i16,
    courier: &mut dyn Courier,
    edits: &mut Vec<Edit>,
) -> Option<()> {
    if version >= 3 {
        reader.i32()?;
    }
    for _ in 0..reader.length()? {
        reader.i32()?;
        address(reader, courier, edits)?;
        if version >= 1 {
            reader.string()?;
        }
        reader.tags()?;
    }
    Some(())
}

fn coordinator(
    reader: &mut Reader<'_>,
    version: i16,
    courier: &mut dyn Courier,
    edits: &mut Vec<Edit>,
) -> Option<()> {
    if version >= 1 {
        reader.i32()?;
    }
    reader.i16()?;
    if version >= 1 {
        reader.string()?;
    }
    reader.i32()?;
    address(reader, courier, edits)
}

fn coordinators(reader: &mut Reader<'_>, courier: &mut dyn Courier, edits: &mut Vec<Edit>) -> Option<()> {
    reader.i32()?;
    for _ in 0..reader.length()? {
        reader.string()?;
        reader.i32()?;
        address(reader, courier, edits)?;
        reader.i16()?;
        reader.string()?;
        reader.tags()?;
    }
    Some(())
}

fn cluster(
    reader: &mut Reader<'_>,
    version: i16,
    courier: &mut dyn Courier,
    edits: &mut Vec<Edit>,
) -> Option<()> {
    reader.i32()?;
    reader.i16()?;
    reader.string()?;
    if version >= 1 {
        reader.i8()?;
    }
    reader.string()?;
    reader.i32()?;
    for _ in 0..reader.length()? {
        reader.i32()?;
        address(reader, courier, edits)?;
        reader.string()?;
        if version >= 2 {
            reader.i8()?;
        }
        reader.tags()?;
    }
    Some(())
}

/// A tagged field `NodeEndpoints` at `field`, whose length comes right before it; its new length first.
pub(super) fn endpoints(frame: &[u8], field: Range<usize>, courier: &mut dyn Courier) -> Option<Vec<Edit>> {
    let mut reader = Reader::new(frame.get(..field.end)?, true);
    reader.take(field.start)?;
    let mut edits = Vec::new();
    for _ in 0..reader.length()? {
        reader.i32()?;
        address(&mut reader, courier, &mut edits)?;
        reader.string()?;
        reader.tags()?;
    }
    let growth: i64 = edits.iter().map(Edit::growth).sum();
    let length = u32::try_from(field.len() as i64 + growth).ok()?;
    if growth != 0 {
        let at = field.start.checked_sub(uvarint_len(frame, field.start))?..field.start;
        let mut with = Vec::new();
        put_uvarint(&mut with, length);
        edits.insert(0, Edit { at, with });
    }
    Some(edits)
}

/// How many bytes the varint has that ends before `end`: those before its last say that it goes on. A varint behind another
/// cannot be mistaken for part of it, since the last byte of that one says that it ends.
fn uvarint_len(frame: &[u8], end: usize) -> usize {
    let before = frame.get(..end.saturating_sub(1)).unwrap_or_default();
    1 + before.iter().rev().take_while(|byte| **byte >= 0x80).count()
}

/// Host and port. What is no address, such as that of a coordinator that is not there, is left alone.
fn address(reader: &mut Reader<'_>, courier: &mut dyn Courier, edits: &mut Vec<Edit>) -> Option<()> {
    let start = reader.at();
    let (host, port) = (reader.string()?, reader.i32()?);
    let at = start..reader.at();
    let (Ok(host), Ok(port @ 1..)) = (std::str::from_utf8(host), u16::try_from(port)) else {
        return Some(());
    };
    if !host.is_empty()
        && let Some((host, port)) = courier.way_to(host, port)
    {
        let mut with = Vec::with_capacity(host.len() + 8);
        if reader.is_flexible() {
            put_uvarint(&mut with, host.len() as u32 + 1);
        } else {
            with.extend_from_slice(&(host.len() as i16).to_be_bytes());
        }
        with.extend_from_slice(host.as_bytes());
        with.extend_from_slice(&i32::from(port).to_be_bytes());
        edits.push(Edit { at, with });
    }
    Some(())
}
