//! Small segments of the trace store become large ones, on a thread of their own.
//!
//! In: after each snapshot its time and the segments that it names. Out: fewer segments.
//! Left out on purpose: what is merged with what (`store`). One step may take as long as the disk does, which is why
//! neither the keeper nor anybody who asks waits for it.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::JoinHandle;

use store::{SegmentName, TraceStore};
use tracing::warn;

/// A snapshot that survives the loss of power.
#[derive(Debug)]
pub(crate) struct Named {
    /// Its time, nanoseconds since 1970.
    pub(crate) time: u64,
    /// The segments that a restart finds in it.
    pub(crate) segments: Vec<SegmentName>,
}

/// The thread; it ends when this is dropped, after the step that it is at.
#[derive(Debug)]
pub(crate) struct Merger {
    inbox: Option<Sender<Named>>,
    thread: Option<JoinHandle<()>>,
}

impl Merger {
    /// Starts it.
    pub(crate) fn start(store: Arc<TraceStore>) -> std::io::Result<Self> {
        let (sender, inbox) = channel();
        let thread = std::thread::Builder::new()
            .name("store-merge".to_owned())
            .spawn(move || run(&store, &inbox))?;
        Ok(Self {
            inbox: Some(sender),
            thread: Some(thread),
        })
    }

    /// A snapshot was written.
    pub(crate) fn tell(&self, named: Named) {
        if let Some(inbox) = &self.inbox {
            // It fails only where the thread died, which its own message says.
            drop(inbox.send(named));
        }
    }
}

impl Drop for Merger {
    fn drop(&mut self) {
        self.inbox = None;
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn run(store: &TraceStore, inbox: &Receiver<Named>) {
    while let Ok(mut named) = inbox.recv() {
        loop {
            match inbox.try_recv() {
                Ok(newer) => named = newer,
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => return,
            }
            match store.maintain(named.time, Some(&named.segments)) {
                Ok(done) if done.more => {}
                Ok(_) => break,
                Err(error) => {
                    let cause = std::error::Error::source(&error).map(ToString::to_string);
                    let cause = cause.unwrap_or_default();
                    warn!(%error, cause, "segments of the trace store not merged; trying again after the next snapshot");
                    break;
                }
            }
        }
    }
}
