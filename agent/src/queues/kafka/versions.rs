//! The requests that are read, and in which versions; what is newer is not offered to clients.
//!
//! In: an `ApiVersions` response. Out: the same bytes with the newest versions lowered to those that are read.
//! Source: the message schemas of Apache Kafka 4.1, KIP-511 for `ApiVersions` itself.
//! Left out on purpose: requests that carry neither messages nor addresses.

use super::wire::Reader;

pub(super) const PRODUCE: i16 = 0;
pub(super) const FETCH: i16 = 1;
pub(super) const METADATA: i16 = 3;
pub(super) const FIND_COORDINATOR: i16 = 10;
pub(super) const SASL_HANDSHAKE: i16 = 17;
pub(super) const API_VERSIONS: i16 = 18;
pub(super) const DESCRIBE_CLUSTER: i16 = 60;
/// Messages for share groups (KIP-932), which are not read.
pub(super) const SHARE_FETCH: i16 = 78;

/// `UNSUPPORTED_VERSION`: the answer is then of version 0, whatever was asked for.
const UNSUPPORTED_VERSION: i16 = 35;

/// A request that is read.
struct Read {
    key: i16,
    /// From here on lengths are varints.
    flexible: i16,
    newest: i16,
}

/// Later Produce and Fetch requests name topics by ids, which nothing on the same connection need explain.
const READ: [Read; 5] = [
    Read {
        key: PRODUCE,
        flexible: 9,
        newest: 12,
    },
    Read {
        key: FETCH,
        flexible: 12,
        newest: 12,
    },
    Read {
        key: METADATA,
        flexible: 9,
        newest: 13,
    },
    Read {
        key: FIND_COORDINATOR,
        flexible: 3,
        newest: 6,
    },
    Read {
        key: DESCRIBE_CLUSTER,
        flexible: 0,
        newest: 2,
    },
];

fn of(key: i16) -> Option<&'static Read> {
    READ.iter().find(|read| read.key == key)
}

/// Whether requests of this kind are read, but not in this version.
pub(super) fn is_unread(key: i16, version: i16) -> bool {
    key == SHARE_FETCH || of(key).is_some_and(|read| version > read.newest)
}

/// Whether requests of this kind are read, and in this version.
pub(super) fn is_read(key: i16, version: i16) -> bool {
    of(key).is_some_and(|read| version <= read.newest)
}

/// Whether request and response are in the form of KIP-482.
pub(super) fn is_flexible(key: i16, version: i16) -> bool {
    of(key).is_some_and(|read| version >= read.flexible)
}

/// Lowers in `frame`, an `ApiVersions` response of `version`, what is newer than what is read. `None` where it is not one.
pub(super) fn lower(frame: &mut [u8], version: i16) -> Option<()> {
    let places = newer(frame, version)?;
    for (at, newest) in places {
        frame.get_mut(at..at + 2)?.copy_from_slice(&newest.to_be_bytes());
    }
    Some(())
}

/// Where a newest version stands that is newer than what is read, and what is read.
fn newer(frame: &[u8], version: i16) -> Option<Vec<(usize, i16)>> {
    // The header has no tagged fields in any version: who asks does not know yet what the broker speaks.
    let mut reader = Reader::new(frame, false);
    reader.take(8)?;
    let error = reader.i16()?;
    let flexible = version >= 3 && error != UNSUPPORTED_VERSION;
    let start = reader.at();
    let mut reader = Reader::new(reader.rest(), flexible);
    let mut places = Vec::new();
    for _ in 0..reader.length()? {
        let (key, oldest) = (reader.i16()?, reader.i16()?);
        let at = start + reader.at();
        let newest = reader.i16()?;
        reader.tags()?;
        places.extend(
            of(key)
                .filter(|read| (oldest..newest).contains(&read.newest))
                .map(|read| (at, read.newest)),
        );
    }
    Some(places)
}
