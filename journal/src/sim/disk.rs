//! The simulated disk: names, files and faults behind [`Storage`].
//!
//! In: operations and faults. Out: answers.
//! Left out on purpose: directories, and everything that the journal does not use.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, ErrorKind, IoSlice};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::file::{Inode, Spared};
use super::rng::Rng;
use crate::storage::{File, Storage};

/// A disk in memory. Clones are the same disk. Storages and files that were opened before a cut answer with errors.
#[derive(Clone)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

struct State {
    rng: Rng,
    /// How often power was cut.
    life: u64,
    /// Without power until [`SimDisk::cut`] ends this life.
    dead: bool,
    inodes: BTreeMap<u64, Inode>,
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    next_inode: u64,
    locked: bool,
    faults: Faults,
}

#[derive(Default)]
struct Faults {
    operations_left: Option<u64>,
    capacity: Option<u64>,
    writes: u32,
    syncs: u32,
    truncations: u32,
    reads: u32,
    short_writes: bool,
}

impl SimDisk {
    /// An empty disk whose choices follow from `seed`.
    pub fn new(seed: u64) -> Self {
        let state = State {
            rng: Rng::new(seed),
            life: 0,
            dead: false,
            inodes: BTreeMap::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            next_inode: 0,
            locked: false,
            faults: Faults::default(),
        };
        Self {
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// The disk as a process that starts now sees it.
    pub fn storage(&self) -> Arc<dyn Storage> {
        Arc::new(SimStorage {
            disk: self.clone(),
            life: self.lock().life,
        })
    }

    /// Cuts the power and brings it back: what was not synced is gone, or is there in part, torn where it pleases the
    /// seed. Injected faults end.
    pub fn cut(&self) {
        let mut guard = self.lock();
        let state = &mut *guard;
        let spared = match state.rng.below(3) {
            0 => Spared::Nothing,
            1 => Spared::Prefix(state.rng.below(256)),
            _ => Spared::Sectors,
        };
        for inode in state.inodes.values_mut() {
            inode.cut(spared, &mut state.rng);
        }
        state.cut_names(spared);
        state.life += 1;
        (state.dead, state.locked, state.faults) = (false, false, Faults::default());
    }

    /// After `operations` more operations every one fails, as if the power were gone. [`SimDisk::cut`] ends it.
    pub fn die_after(&self, operations: u64) {
        self.lock().faults.operations_left = Some(operations);
    }

    /// The disk is full at so many bytes; `None`: never.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.lock().faults.capacity = bytes;
    }

    /// The next `count` writes fail with an input/output error after a part of them.
    pub fn fail_writes(&self, count: u32) {
        self.lock().faults.writes = count;
    }

    /// The next `count` syncs of files fail, and what they should have written is never written.
    pub fn fail_syncs(&self, count: u32) {
        self.lock().faults.syncs = count;
    }

    /// The next `count` truncations fail.
    pub fn fail_truncations(&self, count: u32) {
        self.lock().faults.truncations = count;
    }

    /// The next `count` reads fail.
    pub fn fail_reads(&self, count: u32) {
        self.lock().faults.reads = count;
    }

    /// Whether writes may write less than they were given.
    pub fn set_short_writes(&self, short: bool) {
        self.lock().faults.short_writes = short;
    }

    /// Names of all files.
    pub fn names(&self) -> Vec<String> {
        self.lock().names.keys().cloned().collect()
    }

    /// Content of a file; empty where there is none.
    pub fn content(&self, name: &str) -> Vec<u8> {
        let state = self.lock();
        let inode = state.names.get(name).and_then(|number| state.inodes.get(number));
        inode.map(|inode| inode.content.clone()).unwrap_or_default()
    }

    /// Changes a file behind everybody's back: bits flip, blocks are lost. Does nothing where there is no such file.
    pub fn edit(&self, name: &str, edit: impl FnOnce(&mut Vec<u8>)) {
        let mut guard = self.lock();
        let state = &mut *guard;
        if let Some(inode) = state
            .names
            .get(name)
            .and_then(|number| state.inodes.get_mut(number))
        {
            inode.edit(edit);
        }
    }

    /// Whether the power is gone.
    pub(super) fn is_dead(&self) -> bool {
        self.lock().dead
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state for one operation of a process that started in `life`.
    fn operate(&self, life: u64) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.lock();
        if let Some(left) = &mut state.faults.operations_left {
            *left = left.saturating_sub(1);
            state.dead |= state.faults.operations_left == Some(0);
        }
        if state.dead || state.life != life {
            return Err(io::Error::other("the simulated disk has no power"));
        }
        Ok(state)
    }
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimDisk").finish_non_exhaustive()
    }
}

impl State {
    /// Names that were not synced come or go as the cut pleases.
    fn cut_names(&mut self, spared: Spared) {
        let changed: Vec<String> = {
            let all = self.names.keys().chain(self.durable_names.keys());
            all.filter(|name| self.names.get(*name) != self.durable_names.get(*name))
                .cloned()
                .collect()
        };
        for name in changed {
            if matches!(spared, Spared::Nothing) || self.rng.one_in(2) {
                continue;
            }
            match self.names.get(&name) {
                Some(inode) => self.durable_names.insert(name, *inode),
                None => self.durable_names.remove(&name),
            };
        }
        self.names.clone_from(&self.durable_names);
        self.inodes
            .retain(|number, _| self.names.values().any(|named| named == number));
    }

    fn inode(&mut self, number: u64) -> io::Result<&mut Inode> {
        self.inodes
            .get_mut(&number)
            .ok_or_else(|| ErrorKind::NotFound.into())
    }

    /// How many of `len` bytes a write gets to write, and the error after them.
    fn admit(&mut self, len: usize) -> (usize, Option<io::Error>) {
        if take_one(&mut self.faults.writes) {
            return (
                self.rng.below(len as u64 + 1) as usize,
                Some(io::Error::other("injected write error")),
            );
        }
        let used: usize = self
            .names
            .values()
            .filter_map(|n| self.inodes.get(n))
            .map(|i| i.content.len())
            .sum();
        let room = self
            .faults
            .capacity
            .map_or(u64::MAX, |capacity| capacity.saturating_sub(used as u64));
        let count = len.min(usize::try_from(room).unwrap_or(usize::MAX));
        if count == 0 && len > 0 {
            return (0, Some(ErrorKind::StorageFull.into()));
        }
        if self.faults.short_writes {
            return (1 + self.rng.below(count as u64) as usize, None);
        }
        (count, None)
    }
}

/// Uses up one of the injected faults.
fn take_one(faults: &mut u32) -> bool {
    let any = *faults > 0;
    *faults = faults.saturating_sub(1);
    any
}

fn injected(faults: &mut u32, what: &str) -> io::Result<()> {
    if take_one(faults) {
        Err(io::Error::other(format!("injected {what} error")))
    } else {
        Ok(())
    }
}

#[derive(Debug)]
struct SimStorage {
    disk: SimDisk,
    life: u64,
}

impl SimStorage {
    fn file(&self, inode: u64) -> Arc<dyn File> {
        Arc::new(SimFile {
            disk: self.disk.clone(),
            life: self.life,
            inode,
        })
    }
}

impl Storage for SimStorage {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.disk.operate(self.life)?.names.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let mut state = self.disk.operate(self.life)?;
        if state.names.contains_key(name) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        state.next_inode += 1;
        let inode = state.next_inode;
        state.inodes.insert(inode, Inode::default());
        state.names.insert(name.to_owned(), inode);
        Ok(self.file(inode))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let state = self.disk.operate(self.life)?;
        let inode = state.names.get(name).ok_or(ErrorKind::NotFound)?;
        Ok(self.file(*inode))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let removed = self.disk.operate(self.life)?.names.remove(name);
        removed.map(drop).ok_or_else(|| ErrorKind::NotFound.into())
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut state = self.disk.operate(self.life)?;
        state.durable_names = state.names.clone();
        Ok(())
    }

    fn lock(&self) -> io::Result<Box<dyn Any + Send + Sync>> {
        let mut state = self.disk.operate(self.life)?;
        if std::mem::replace(&mut state.locked, true) {
            return Err(ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(SimLock {
            disk: self.disk.clone(),
            life: self.life,
        }))
    }

    fn place(&self) -> String {
        "simulated disk".to_owned()
    }
}

struct SimLock {
    disk: SimDisk,
    life: u64,
}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut state = self.disk.lock();
        if state.life == self.life {
            state.locked = false;
        }
    }
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    life: u64,
    inode: u64,
}

impl File for SimFile {
    fn append(&self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut state = self.disk.operate(self.life)?;
        let bytes: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
        let (count, error) = state.admit(bytes.len());
        state.inode(self.inode)?.append(&bytes[..count]);
        error.map_or(Ok(count), Err)
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.operate(self.life)?;
        let failed = injected(&mut state.faults.syncs, "sync");
        let inode = state.inode(self.inode)?;
        if failed.is_ok() {
            inode.sync();
        } else {
            inode.fail_sync();
        }
        failed
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.disk.operate(self.life)?;
        injected(&mut state.faults.reads, "read")?;
        let content = &state.inode(self.inode)?.content;
        let from = content.len().min(usize::try_from(offset).unwrap_or(usize::MAX));
        let count = buffer.len().min(content.len() - from);
        buffer[..count].copy_from_slice(&content[from..from + count]);
        Ok(count)
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        let mut state = self.disk.operate(self.life)?;
        injected(&mut state.faults.truncations, "truncate")?;
        state.inode(self.inode)?.truncate(length as usize);
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.disk.operate(self.life)?.inode(self.inode)?.content.len() as u64)
    }
}
