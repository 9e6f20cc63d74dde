//! Segments of a journal, written by the layout in the documentation of `journal` and not by its code.
//!
//! In: fields, whether they fit or not. Out: bytes whose checksums fit.
//! Left out on purpose: reading.

use std::sync::Arc;

use journal::sim::SimDisk;
use journal::storage::Storage;
use journal::{Journal, Position, ReadReport, Record, Settings};

const HEADER: usize = 128;

/// A segment being written.
pub struct Segment {
    /// The file's bytes so far.
    pub bytes: Vec<u8>,
    salt: u32,
}

/// A record's fields as they stand on disk.
pub struct Fields<'a> {
    /// Its number.
    pub sequence: u64,
    /// The caller's time.
    pub time: u64,
    /// What the header says, whatever `body` is.
    pub payload_len: u32,
    /// What the header says, whatever `body` is.
    pub key_len: u8,
    /// Payload and key.
    pub body: &'a [u8],
    /// Whether the body's checksum is right.
    pub body_fits: bool,
}

impl Segment {
    /// A segment without records.
    pub fn new(stream: u32, number: u64, first_sequence: u64, salt: u32) -> Self {
        let mut copy = b"tmjrnl\r\n\x01\0\0\0".to_vec();
        copy.extend(stream.to_le_bytes());
        copy.extend(number.to_le_bytes());
        copy.extend(first_sequence.to_le_bytes());
        copy.extend(salt.to_le_bytes());
        copy.resize(HEADER / 2 - 4, 0);
        copy.extend(crc32c::crc32c(&copy).to_le_bytes());
        Self {
            bytes: copy.repeat(2),
            salt,
        }
    }

    /// Appends a record whose header has the right checksum.
    pub fn push(&mut self, fields: &Fields<'_>) {
        let crc = crc32c::crc32c(fields.body) ^ u32::from(!fields.body_fits);
        let mut covered = crc.to_le_bytes().to_vec();
        covered.extend(fields.payload_len.to_le_bytes());
        covered.extend(fields.sequence.to_le_bytes());
        covered.extend(fields.time.to_le_bytes());
        covered.extend([fields.key_len, 0, 0, 0]);
        self.bytes.extend([0xf5, 0xc1, 0xfe, 0xc0]);
        self.bytes
            .extend(crc32c::crc32c_append(self.salt, &covered).to_le_bytes());
        self.bytes.extend(covered);
        self.bytes.extend(fields.body);
    }
}

/// The name of a segment's file.
pub fn name(number: u64) -> String {
    format!("{number:020}.log")
}

/// A disk with these files.
pub fn disk(files: impl IntoIterator<Item = (String, Vec<u8>)>) -> (SimDisk, Arc<dyn Storage>) {
    let disk = SimDisk::new(1);
    let storage = disk.storage();
    for (name, content) in files {
        if storage.create(&name).is_ok() {
            disk.edit(&name, |bytes| *bytes = content);
        }
    }
    (disk, storage)
}

/// Small segments, so that a few records fill several.
pub fn settings() -> Settings {
    Settings {
        segment_bytes: 4 << 10,
        max_bytes: 1 << 40,
        ..Settings::default()
    }
}

/// Every record there is, and what was skipped.
pub fn read(journal: &Journal) -> (Vec<Record>, ReadReport) {
    let mut reader = journal.reader(Position::START);
    let records = reader
        .by_ref()
        .map(|record| record.expect("the disk works"))
        .collect();
    (records, reader.report())
}
