//! The file layer: what a journal asks of a disk, and the real one.
//!
//! In: names, bytes, offsets. Out: bytes and errors, as the operating system gives them.
//! Left out on purpose: retries and meaning. The simulated disk of `sim` stands behind the same traits.

use std::any::Any;
use std::fmt::Debug;
use std::fs;
use std::io::{self, IoSlice, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A flat directory of files.
pub trait Storage: Send + Sync + Debug {
    /// Names of all files.
    fn list(&self) -> io::Result<Vec<String>>;
    /// A new empty file; an error where the name exists. Its name is durable after [`Storage::sync_dir`].
    fn create(&self, name: &str) -> io::Result<Arc<dyn File>>;
    /// An existing file.
    fn open(&self, name: &str) -> io::Result<Arc<dyn File>>;
    /// Removes the name. Open handles keep reading.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes creations and removals durable.
    fn sync_dir(&self) -> io::Result<()>;
    /// Reserves the directory for one owner until the guard is dropped.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] where somebody else has it.
    fn lock(&self) -> io::Result<Box<dyn Any + Send + Sync>>;
    /// What an operator calls this place.
    fn place(&self) -> String;
}

/// One open file.
pub trait File: Send + Sync + Debug {
    /// Writes at the end; returns how many bytes, which may be fewer than given.
    fn append(&self, parts: &[IoSlice<'_>]) -> io::Result<usize>;
    /// Makes content and length durable. After an error nothing written since the last success counts as durable, and
    /// a later success says nothing about it.
    fn sync(&self) -> io::Result<()>;
    /// Reads from `offset`; returns how many bytes, 0 at the end.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Cuts the file to `length` bytes.
    fn truncate(&self, length: u64) -> io::Result<()>;
    /// Its length in bytes.
    fn length(&self) -> io::Result<u64>;
}

/// A directory of the file system.
#[derive(Clone, Debug)]
pub struct Directory {
    path: PathBuf,
}

impl Directory {
    /// The directory at `path`, created with its parents where it does not exist.
    ///
    /// # Errors
    /// Where it cannot be created.
    pub fn new(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        if !path.try_exists()? {
            fs::create_dir_all(&path)?;
            let parent = path
                .parent()
                .filter(|p| !p.as_os_str().is_empty())
                .unwrap_or(Path::new("."));
            fs::File::open(parent)?.sync_all()?;
        }
        Ok(Self { path })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Storage for Directory {
    fn list(&self) -> io::Result<Vec<String>> {
        let names = fs::read_dir(&self.path)?.map(|entry| Ok(entry?.file_name().into_string().ok()));
        names.filter_map(Result::transpose).collect()
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let file = fs::File::options()
            .read(true)
            .append(true)
            .create_new(true)
            .open(self.path.join(name))?;
        Ok(Arc::new(file))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(
            fs::File::options()
                .read(true)
                .append(true)
                .open(self.path.join(name))?,
        ))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn sync_dir(&self) -> io::Result<()> {
        fs::File::open(&self.path)?.sync_all()
    }

    fn lock(&self) -> io::Result<Box<dyn Any + Send + Sync>> {
        let file = fs::File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(self.path.join("lock"))?;
        file.try_lock()?;
        Ok(Box::new(file))
    }

    fn place(&self) -> String {
        self.path.display().to_string()
    }
}

impl File for fs::File {
    fn append(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut file = self;
        file.write_vectored(parts)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, buffer, offset)
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}

/// Fills `buffer` from `offset` as far as the file reaches; returns how many bytes.
pub(crate) fn read_full(file: &dyn File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset + filled as u64) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Writes all of `parts` at the end; returns how many bytes went out, and what stopped it before the last.
pub(crate) fn write_full(file: &dyn File, mut parts: &mut [IoSlice<'_>]) -> (u64, io::Result<()>) {
    let mut written = 0;
    IoSlice::advance_slices(&mut parts, 0);
    while !parts.is_empty() {
        match file.append(parts) {
            Ok(0) => return (written, Err(io::ErrorKind::WriteZero.into())),
            Ok(n) => {
                written += n as u64;
                IoSlice::advance_slices(&mut parts, n);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (written, Err(error)),
        }
    }
    (written, Ok(()))
}
