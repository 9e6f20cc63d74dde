//! Collectors that fail, each in its way.
//!
//! In: which way. Out: what the agent's section `export` says, and the failing thing for as long as this is kept.
//! Left out on purpose: a collector that works; `agent-soak` has one.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;

use crate::{Failure, output};

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nobody listens there.
    Gone,
    /// It takes connections and says nothing.
    Hangs,
    /// It closes each connection after a second.
    Breaks,
    /// Its name has no address.
    NoName,
    /// It is gone, and the disk of the buffer is full.
    FullDisk,
}

impl Fault {
    pub(crate) const ALL: [Self; 5] = [
        Self::Gone,
        Self::Hangs,
        Self::Breaks,
        Self::NoName,
        Self::FullDisk,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Gone => "is gone",
            Self::Hangs => "takes connections and says nothing",
            Self::Breaks => "closes each connection after a second",
            Self::NoName => "has a name without an address",
            Self::FullDisk => "is gone, and the buffer's disk is full",
        }
    }
}

/// A fault that stands.
pub(crate) struct Standing {
    endpoint: String,
    disk: Option<SmallDisk>,
}

/// A file system of 512 KiB; unmounted when dropped.
struct SmallDisk(TempDir);

impl Standing {
    /// Must be called within a runtime, in which the collector then lives.
    pub(crate) async fn with(fault: Fault) -> Result<Self, Failure> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        match fault {
            Fault::Gone | Fault::FullDisk => drop(listener),
            Fault::NoName => {}
            Fault::Hangs => {
                tokio::spawn(hang(listener, Duration::from_hours(1)));
            }
            Fault::Breaks => {
                tokio::spawn(hang(listener, Duration::from_secs(1)));
            }
        }
        let disk = (fault == Fault::FullDisk).then(SmallDisk::mount).transpose()?;
        let endpoint = if fault == Fault::NoName {
            "http://collector.invalid:4317".to_owned()
        } else {
            endpoint
        };
        Ok(Self { endpoint, disk })
    }

    /// The key `export`, so that little fits into the buffer.
    pub(crate) fn export(&self) -> String {
        let buffer = match &self.disk {
            // It says that there is room for more than there is.
            Some(disk) => format!(
                "{{ path: '{}', max_size: 64MiB, memory: 1MiB }}",
                disk.path().join("b").display()
            ),
            None => "{ max_size: 1MiB }".to_owned(),
        };
        format!(
            "  export: {{ endpoint: '{}', timeout: 1s, buffer: {buffer} }}\n",
            self.endpoint
        )
    }
}

async fn hang(listener: TcpListener, until: Duration) {
    while let Ok((mut stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            let mut all = Vec::new();
            // What it sends is taken, so that the agent waits for the answer and not for room.
            let _ = tokio::time::timeout(until, stream.read_to_end(&mut all)).await;
        });
    }
}

impl SmallDisk {
    fn mount() -> Result<Self, Failure> {
        let dir = tempfile::tempdir()?;
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", "size=512k", "tmpfs"])
            .arg(dir.path());
        output(&mut mount).map_err(|error| format!("a small disk can be mounted by root only: {error}"))?;
        Ok(Self(dir))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}
