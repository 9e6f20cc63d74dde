//! What a restart begins with: one file that holds the ledger and says from where the journal is read again.
//!
//! In: a cut through the stream. Out: the file, replaced atomically and synced, and the same read back.
//! Left out on purpose: what the ledger's bytes mean.
//!
//! Form: one line of JSON, then the ledger's bytes. The line holds their length and checksum.

use std::fs::File;
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::skew::SavedSkews;

/// The file in `data_dir`.
pub const FILE: &str = "snapshot";
const VERSION: u32 = 1;
/// Longer first lines are not ours.
const MAX_HEADER: u64 = 64 << 20;

/// What the file says beside the ledger.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// Of the form; another one is not read.
    pub version: u32,
    /// Whose state it is, where several collectors share the work.
    pub shard: u32,
    /// The cut's time, nanoseconds since 1970.
    pub time: u64,
    /// Records of the journal before this position are in the ledger.
    pub position: u64,
    /// Records from this position on belong to traces that were not forgotten yet.
    pub oldest: u64,
    /// Segments of the trace store that hold every trace kept before the cut.
    pub segments: Vec<String>,
    /// Ids of the latest batches of agents.
    pub batches: Vec<String>,
    /// What was learned of late halves, and the waits in force from `oldest` on.
    #[serde(default)]
    pub skews: SavedSkews,
    /// How long the ledger is.
    pub ledger_bytes: u64,
    /// Its checksum.
    pub ledger_crc32c: u32,
}

/// A snapshot that was read.
#[derive(Debug)]
pub struct Snapshot {
    /// What it says beside the ledger.
    pub header: Header,
    /// The ledger as it was saved.
    pub ledger: Vec<u8>,
}

/// The snapshot cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The system would not read or write it.
    #[error("cannot use the snapshot `{path}`")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It is not whole, or not ours.
    #[error("the snapshot `{path}` is damaged: {fault}; move it away to begin with an empty map")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        fault: &'static str,
    },
    /// Another version wrote it.
    #[error(
        "the snapshot `{path}` has format {found}, and this version reads {VERSION}: start the version that wrote it, or move it away to begin with an empty map"
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
}

/// Reads the snapshot of `dir`; `None` where there is none.
///
/// # Errors
/// [`SnapshotError`] where there is one that cannot be used. Nobody should lose a map to a silent fresh start.
pub fn read(dir: &Path) -> Result<Option<Snapshot>, SnapshotError> {
    let path = dir.join(FILE);
    let mut file = match File::open(&path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(SnapshotError::Io { path, source }),
    };
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(|source| SnapshotError::Io {
        path: path.clone(),
        source,
    })?;
    let damaged = |fault| SnapshotError::Damaged {
        path: path.clone(),
        fault,
    };
    let end = bytes
        .iter()
        .take(MAX_HEADER as usize)
        .position(|byte| *byte == b'\n')
        .ok_or_else(|| damaged("it has no first line"))?;
    let ledger = bytes.split_off(end + 1);
    let header: Header =
        serde_json::from_slice(&bytes).map_err(|_| damaged("its first line is not readable"))?;
    if header.version != VERSION {
        return Err(SnapshotError::Version {
            path,
            found: header.version,
        });
    }
    if header.ledger_bytes != ledger.len() as u64 || header.ledger_crc32c != crc32c::crc32c(&ledger) {
        return Err(damaged("its checksum does not fit"));
    }
    Ok(Some(Snapshot { header, ledger }))
}

/// Replaces the snapshot of `dir`; when this returns it survives the loss of power.
///
/// # Errors
/// [`SnapshotError::Io`] where the system does not write it; what was there stays.
pub fn write(dir: &Path, mut header: Header, ledger: &[u8]) -> Result<(), SnapshotError> {
    header.version = VERSION;
    header.ledger_bytes = ledger.len() as u64;
    header.ledger_crc32c = crc32c::crc32c(ledger);
    let path = dir.join(FILE);
    let temporary = dir.join("snapshot.new");
    let done = (|| {
        let mut file = File::create(&temporary)?;
        serde_json::to_writer(&mut file, &header)?;
        file.write_all(b"\n")?;
        file.write_all(ledger)?;
        file.sync_all()?;
        std::fs::rename(&temporary, &path)?;
        File::open(dir)?.sync_all()
    })();
    done.map_err(|source| SnapshotError::Io { path, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(dir: &Path) -> Header {
        let header = Header {
            position: 7,
            segments: vec!["a".to_owned()],
            ..Header::default()
        };
        write(dir, header.clone(), b"ledger\nof two lines").unwrap();
        header
    }

    #[test]
    fn a_snapshot_is_read_back_and_none_is_none() {
        let dir = tempfile::tempdir().unwrap();
        assert!(read(dir.path()).unwrap().is_none());
        let header = written(dir.path());
        let found = read(dir.path()).unwrap().unwrap();
        assert_eq!(
            (found.header.position, &found.header.segments),
            (7, &header.segments)
        );
        assert_eq!(found.ledger, b"ledger\nof two lines");
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_told() {
        let dir = tempfile::tempdir().unwrap();
        written(dir.path());
        let whole = std::fs::read(dir.path().join(FILE)).unwrap();
        for cut in 0..whole.len() {
            std::fs::write(dir.path().join(FILE), &whole[..cut]).unwrap();
            assert!(read(dir.path()).is_err(), "cut at {cut}");
        }
        let ledger_at = whole.len() - b"ledger\nof two lines".len();
        for at in ledger_at..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 4;
            std::fs::write(dir.path().join(FILE), &flipped).unwrap();
            let told = read(dir.path()).unwrap_err().to_string();
            assert!(told.contains("checksum"), "{told}");
        }
    }

    #[test]
    fn another_version_is_named() {
        let dir = tempfile::tempdir().unwrap();
        written(dir.path());
        let text = std::fs::read_to_string(dir.path().join(FILE)).unwrap();
        std::fs::write(
            dir.path().join(FILE),
            text.replace("\"version\":1", "\"version\":9"),
        )
        .unwrap();
        let told = read(dir.path()).unwrap_err().to_string();
        assert!(told.contains("format 9"), "{told}");
    }
}
