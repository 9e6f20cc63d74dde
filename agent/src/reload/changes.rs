//! A file whose content changes.
//!
//! In: a path. Out: word of each content that is new and came to rest.
//! Left out on purpose: the file system's own notices. Kubernetes swaps a symbolic link two levels up, editors rename a new
//! file over the old one, and some mounts notify nobody; reading a few kilobytes a second sees through all of these.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval};

/// How often the file is read.
pub(crate) const EVERY: Duration = Duration::from_secs(1);

/// A file that is read again and again.
pub(crate) struct Changes {
    path: PathBuf,
    /// Of the content that was told last.
    told: Option<Content>,
    /// Of a content that was seen once. A file that is being written is not read in halves.
    moving: Option<Content>,
    ticks: Interval,
}

impl Changes {
    /// Of the file at `path`, whose content was `known`.
    pub(crate) fn of(path: PathBuf, known: Option<Content>, every: Duration) -> Self {
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            path,
            told: known,
            moving: None,
            ticks,
        }
    }

    /// Waits for a content that differs from the one before and was found twice in a row. A file that cannot be read has
    /// not changed: it is between two names.
    pub(crate) async fn next(&mut self) {
        loop {
            self.ticks.tick().await;
            let now = tokio::fs::read(&self.path).await.ok();
            if self.settled(now.map(|content| Content::of(&content))) {
                return;
            }
        }
    }

    /// The content as it is now was told.
    pub(crate) async fn told(&mut self) {
        if let Ok(content) = tokio::fs::read(&self.path).await {
            self.told = Some(Content::of(&content));
        }
    }

    fn settled(&mut self, now: Option<Content>) -> bool {
        let Some(now) = now.filter(|now| self.told != Some(*now)) else {
            self.moving = None;
            return false;
        };
        if self.moving.replace(now) != Some(now) {
            return false;
        }
        (self.told, self.moving) = (Some(now), None);
        true
    }
}

/// What is remembered of a content: enough to tell it from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Content(u64);

impl Content {
    fn of(content: &[u8]) -> Self {
        let mut hasher = DefaultHasher::new();
        content.hash(&mut hasher);
        Self(hasher.finish())
    }

    /// Of the file as it is now; none where it cannot be read.
    pub(crate) fn now(path: &Path) -> Option<Self> {
        std::fs::read(path).ok().map(|content| Self::of(&content))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_content_is_told_once_it_was_found_twice_and_only_if_it_is_new() {
        let mut changes = Changes {
            path: PathBuf::new(),
            told: Some(Content(1)),
            moving: None,
            ticks: interval(EVERY),
        };
        let seen = [
            (Some(1), false),
            (Some(2), false),
            (Some(3), false),
            (None, false),
            (Some(3), false),
            (Some(3), true),
            (Some(3), false),
            (Some(2), false),
            (Some(3), false),
            (Some(2), false),
            (Some(2), true),
        ];
        for (step, (content, told)) in seen.into_iter().enumerate() {
            assert_eq!(changes.settled(content.map(Content)), told, "step {step}");
        }
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_file_behind_a_link_that_is_swapped_has_changed() {
        let dir = tempfile::tempdir().expect("a directory");
        let at = |name: &str| dir.path().join(name);
        for (name, content) in [("one", "a: 1"), ("two", "a: 2")] {
            std::fs::create_dir(at(name)).expect("a directory");
            std::fs::write(at(name).join("agent.yaml"), content).expect("a file");
        }
        // As Kubernetes lays out a ConfigMap: the file is a link into `..data`, itself a link that is renamed over.
        std::os::unix::fs::symlink(at("one"), at("..data")).expect("a link");
        std::os::unix::fs::symlink("..data/agent.yaml", at("agent.yaml")).expect("a link");
        let known = Content::now(&at("agent.yaml"));
        let mut changes = Changes::of(at("agent.yaml"), known, Duration::from_millis(1));
        std::os::unix::fs::symlink(at("two"), at("..data_tmp")).expect("a link");
        std::fs::rename(at("..data_tmp"), at("..data")).expect("renamed");
        changes.next().await;
        std::fs::write(at("new"), "a: 3").expect("a file");
        std::fs::rename(at("new"), at("agent.yaml")).expect("renamed");
        changes.next().await;
        assert_eq!(changes.told, Some(Content::of(b"a: 3")));
    }
}
