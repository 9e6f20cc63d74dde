//! Segments with checksums that fit and numbers that do not: a journal opens or says why not, gives records in order, and
//! takes new ones behind them.
//!
//! In: fields of segments and records, or bytes. Out: a panic where the journal panics, gives records out of order, gives
//! one that it cannot read again, or loses one that it took.
//! Left out on purpose: which records are whole, which `journal_bent` has.

#![no_main]

use arbitrary::Arbitrary;
use fuzz::log::{Fields, Segment, disk, name, read, settings};
use journal::{Journal, NewRecord, OpenError, Position};

#[derive(Debug, Arbitrary)]
enum Number {
    Small(u8),
    Extreme(u8),
    Any(u64),
}

impl Number {
    fn get(&self) -> u64 {
        const EXTREMES: [u64; 8] = [
            0,
            1 << 31,
            (1 << 62) - 1,
            1 << 62,
            (1 << 63) - 1,
            1 << 63,
            u64::MAX - 1,
            u64::MAX,
        ];
        match self {
            Self::Small(number) => u64::from(*number),
            Self::Extreme(which) => EXTREMES[usize::from(*which) % EXTREMES.len()],
            Self::Any(number) => *number,
        }
    }
}

#[derive(Debug, Arbitrary)]
struct Forged<'a> {
    /// What the record's number is beyond the one before; absent where it is `sequence`.
    step: Option<u8>,
    sequence: Number,
    time: u64,
    payload_len: Option<u32>,
    key_len: Option<u8>,
    body: &'a [u8],
    body_fits: bool,
}

#[derive(Debug, Arbitrary)]
enum Content<'a> {
    Bytes(&'a [u8]),
    Segment {
        stream: bool,
        own_number: Option<u64>,
        first_sequence: Number,
        salt: u8,
        records: Vec<Forged<'a>>,
        garbage: &'a [u8],
    },
}

#[derive(Debug, Arbitrary)]
struct Case<'a> {
    files: Vec<(Number, Content<'a>)>,
    read_at: Vec<(u8, u16)>,
    truncate: Option<Number>,
}

fn content(number: u64, content: &Content<'_>) -> Vec<u8> {
    let (stream, own_number, first, salt, records, garbage) = match content {
        Content::Bytes(bytes) => return bytes.to_vec(),
        Content::Segment {
            stream,
            own_number,
            first_sequence,
            salt,
            records,
            garbage,
        } => (stream, own_number, first_sequence.get(), salt, records, garbage),
    };
    let mut segment = Segment::new(
        u32::from(*stream),
        own_number.unwrap_or(number),
        first,
        u32::from(*salt),
    );
    let mut sequence = first;
    for forged in records.iter().take(20) {
        let own = forged.step.map_or_else(
            || forged.sequence.get(),
            |step| sequence.wrapping_add(step.into()),
        );
        segment.push(&Fields {
            sequence: own,
            time: forged.time,
            payload_len: forged.payload_len.unwrap_or(forged.body.len() as u32),
            key_len: forged.key_len.unwrap_or(0),
            body: forged.body,
            body_fits: forged.body_fits,
        });
        sequence = own.wrapping_add(1);
    }
    segment.bytes.extend(*garbage);
    segment.bytes
}

libfuzzer_sys::fuzz_target!(|case: Case<'_>| {
    let files = case.files.iter().take(6).map(|(number, bytes)| {
        let number = number.get();
        (name(number), content(number, bytes))
    });
    let (_disk, storage) = disk(files);
    let journal = match Journal::open(storage.clone(), settings()) {
        Ok((journal, _)) => journal,
        Err(error @ (OpenError::Exhausted { .. } | OpenError::Version { .. } | OpenError::Stream { .. })) => {
            return drop(error.to_string());
        }
        Err(error) => panic!("{error}"),
    };
    let (before, _) = read(&journal);
    assert!(before.is_sorted_by(|a, b| a.sequence < b.sequence && a.position < b.position));
    for record in &before {
        assert_eq!(
            journal.read_at(record.position).expect("it was just read"),
            *record
        );
    }
    for (segment, offset) in &case.read_at {
        let position = Position {
            segment: (*segment).into(),
            offset: (*offset).into(),
        };
        if let Ok(record) = journal.read_at(position) {
            drop(journal.read_range(position, 0, record.payload.len()));
        }
        drop(journal.read_range(position, (*offset).into(), (*segment).into()));
        journal.reader(position).take(30).for_each(drop);
    }

    let appended: Vec<_> = (0..2)
        .map(|_| {
            journal
                .append_wait(NewRecord::default())
                .expect("the disk has room")
        })
        .collect();
    drop(journal);
    let journal = match Journal::open(storage, settings()) {
        Ok((journal, _)) => journal,
        // It was the last number that may be opened.
        Err(OpenError::Exhausted { number, .. }) if number - 2 < 1 << 62 => return,
        Err(error) => panic!("it opened before: {error}"),
    };
    let (after, _) = read(&journal);
    assert_eq!(after.len(), before.len() + 2);
    let last: Vec<_> = after[before.len()..]
        .iter()
        .map(|record| record.position)
        .collect();
    assert_eq!(last, [appended[0].position, appended[1].position]);
    if let Some(segment) = &case.truncate {
        let position = Position {
            segment: segment.get(),
            offset: 0,
        };
        journal.truncate_before(position).expect("the disk works");
        assert!(read(&journal).0.is_sorted_by(|a, b| a.sequence < b.sequence));
    }
});
