//! What follows its files while it serves: TLS configurations, and tokens.
//!
//! In: files, looked at every two seconds. Out: what was last made of them without error.
//! Left out on purpose: watches of the file system. Where secrets are mounted the files are links to links that are swapped;
//! what they lead to is read and compared, a few kilobytes each time. The host's own authorities are read once.

use std::error::Error;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Duration;

use tracing::{error, info};

use crate::tls::Reload;

const LOOK_EVERY: Duration = Duration::from_secs(2);
/// A fault is believed when it is seen so often in a row: a certificate and its key are seldom replaced in one moment.
const SURE: u32 = 2;

/// What something is made of.
pub(crate) trait Files: Send + Sync + 'static {
    type Made: Clone + Send + Sync;
    type Text: Hash;
    type Error: Error + 'static;
    /// What the files are called in the log.
    const NAME: &'static str;

    fn read(&self) -> Result<Vec<Self::Text>, Self::Error>;

    fn make(&self, texts: &[Self::Text]) -> Result<Self::Made, Self::Error>;
}

/// Is told of every change that was taken up, and of those that could not be.
pub(crate) type Told = Arc<dyn Fn(Reload) + Send + Sync>;

/// An error with its causes, on one line.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let texts: Vec<_> = std::iter::successors(Some(error), |&error| error.source())
        .map(ToString::to_string)
        .collect();
    texts.join(": ")
}

/// What was made, as of now.
pub(crate) struct Followed<M>(Arc<RwLock<M>>);

impl<M> Clone for Followed<M> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<M: Clone + Send + Sync + 'static> Followed<M> {
    /// Makes it now, and anew whenever its files change, on the current tokio runtime, until the last clone is gone.
    pub(crate) fn new<F: Files<Made = M>>(files: F, told: Told) -> Result<Self, F::Error> {
        let texts = files.read()?;
        let made = Self(Arc::new(RwLock::new(files.make(&texts)?)));
        if !texts.is_empty() {
            let follower = Follower::new(files, &texts, Arc::downgrade(&made.0), told);
            tokio::spawn(follower.run());
        }
        Ok(made)
    }

    pub(crate) fn now(&self) -> M {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

struct Follower<F: Files> {
    files: F,
    current: Weak<RwLock<F::Made>>,
    told: Told,
    hasher: RandomState,
    /// Of the texts that are in use; texts themselves are not kept, for one is a key.
    known: u64,
    fault: Option<Fault>,
}

struct Fault {
    text: String,
    seen: u32,
}

impl<F: Files> Follower<F> {
    fn new(files: F, texts: &[F::Text], current: Weak<RwLock<F::Made>>, told: Told) -> Self {
        let hasher = RandomState::new();
        Self {
            known: hasher.hash_one(texts),
            hasher,
            files,
            current,
            told,
            fault: None,
        }
    }

    async fn run(mut self) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let looked = tokio::task::spawn_blocking(move || {
                let goes_on = self.look();
                (self, goes_on)
            });
            match looked.await {
                Ok((follower, true)) => self = follower,
                _ => return,
            }
        }
    }

    /// Whether anybody still uses what is made.
    fn look(&mut self) -> bool {
        let Some(current) = self.current.upgrade() else {
            return false;
        };
        match self.changed() {
            Ok(None) => self.fault = None,
            Ok(Some((hash, made))) => {
                *current.write().unwrap_or_else(PoisonError::into_inner) = made;
                (self.known, self.fault) = (hash, None);
                (self.told)(Reload::Reloaded);
                info!("changed {} files are in use", F::NAME);
            }
            Err(fault) => self.failed(chain(&fault)),
        }
        true
    }

    fn changed(&self) -> Result<Option<(u64, F::Made)>, F::Error> {
        let texts = self.files.read()?;
        let hash = self.hasher.hash_one(&texts);
        if hash == self.known {
            return Ok(None);
        }
        Ok(Some((hash, self.files.make(&texts)?)))
    }

    fn failed(&mut self, text: String) {
        let seen = match &self.fault {
            Some(fault) if fault.text == text => fault.seen.saturating_add(1),
            _ => 1,
        };
        if seen == SURE {
            (self.told)(Reload::Failed);
            error!(
                error = text,
                "changed {} files cannot be used: those before them stay in use",
                F::NAME
            );
        }
        self.fault = Some(Fault { text, seen });
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::PathBuf;
    use std::sync::Mutex;

    use super::*;

    /// The text of a file as its own product; `bad` cannot be used.
    struct Plain(PathBuf);

    impl Files for Plain {
        type Made = u64;
        type Text = String;
        type Error = io::Error;
        const NAME: &'static str = "test";

        fn read(&self) -> Result<Vec<String>, io::Error> {
            Ok(vec![std::fs::read_to_string(&self.0)?])
        }

        fn make(&self, texts: &[String]) -> Result<u64, io::Error> {
            texts[0].parse().map_err(io::Error::other)
        }
    }

    #[test]
    fn a_change_is_taken_and_a_fault_that_lasts_is_told_once_while_the_old_stays() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("file");
        let write = |text: &str| std::fs::write(&path, text).expect("a file");
        write("1");
        let files = Plain(path.clone());
        let texts = files.read().expect("texts");
        let current = Arc::new(RwLock::new(1));
        let told = Arc::new(Mutex::new(Vec::new()));
        let telling = told.clone();
        let tell: Told = Arc::new(move |reload| telling.lock().expect("no panic before").push(reload));
        let mut follower = Follower::new(files, &texts, Arc::downgrade(&current), tell);
        let mut step = |text: &str| {
            write(text);
            assert!(follower.look());
            (
                *current.read().expect("no panic"),
                told.lock().expect("no panic").clone(),
            )
        };
        assert_eq!(step("1"), (1, vec![]));
        assert_eq!(step("2"), (2, vec![Reload::Reloaded]));
        assert_eq!(step("bad"), (2, vec![Reload::Reloaded]), "perhaps half written");
        let failed = vec![Reload::Reloaded, Reload::Failed];
        assert_eq!(step("bad"), (2, failed.clone()));
        assert_eq!(step("bad"), (2, failed.clone()), "told once");
        assert_eq!(step("2"), (2, failed.clone()));
        assert_eq!(step("3"), (3, [failed, vec![Reload::Reloaded]].concat()));
        drop(current);
        assert!(!follower.look(), "nobody is left to follow for");
    }
}
