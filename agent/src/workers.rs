//! The threads that requests run on.
//!
//! In: accepted connections. Out: each on one thread for as long as it lasts, with the connections to the other side that
//! its requests need: nothing of a request crosses threads, where a wake-up costs more than the rest of its way.
//! Left out on purpose: everything that is not a request. Spans, reports and the relay run beside, on the runtime that the
//! agent was started on, where they hold up no request.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::num::NonZeroU16;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;

use tokio::net::TcpStream;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tracing::debug;

thread_local! {
    /// Which of the threads this is; 0 on those that are none.
    static NUMBER: Cell<usize> = const { Cell::new(0) };
}

/// Threads with a runtime each. Dropped, they end, and with them what they serve.
#[derive(Debug)]
pub(crate) struct Workers {
    threads: Box<[Worker]>,
    next: AtomicUsize,
}

#[derive(Debug)]
struct Worker {
    handle: Handle,
    /// Dropped, it ends the thread.
    _running: oneshot::Sender<()>,
}

impl Workers {
    /// Starts `count` threads.
    ///
    /// # Errors
    /// The system gives no thread, or no runtime.
    pub(crate) fn start(count: NonZeroU16) -> io::Result<Self> {
        let threads = (0..usize::from(count.get())).map(Worker::start);
        Ok(Self {
            threads: threads.collect::<io::Result<_>>()?,
            next: AtomicUsize::new(0),
        })
    }

    /// Runs `task` with `stream` on the next thread.
    pub(crate) fn spawn<F, T>(&self, stream: TcpStream, task: F)
    where
        F: FnOnce(TcpStream) -> T + Send + 'static,
        T: Future<Output = ()> + Send + 'static,
    {
        let next = self.next.fetch_add(1, Relaxed) % self.threads.len().max(1);
        let Some(worker) = self.threads.get(next) else {
            return;
        };
        // A stream belongs to the runtime that it was made on.
        let moved = stream.into_std();
        worker.handle.spawn(async move {
            match moved.and_then(TcpStream::from_std) {
                Ok(stream) => task(stream).await,
                Err(error) => debug!(%error, "connection not taken over by its thread"),
            }
        });
    }

    /// One of something for each thread.
    pub(crate) fn each<T>(&self, make: impl FnMut() -> T) -> PerWorker<T> {
        PerWorker(std::iter::repeat_with(make).take(self.threads.len()).collect())
    }
}

impl Worker {
    fn start(number: usize) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (running, ended) = oneshot::channel();
        thread::Builder::new()
            .name(format!("requests-{number}"))
            .spawn(move || {
                NUMBER.set(number);
                // Ends when the sender is dropped, which says nothing.
                let _ = runtime.block_on(ended);
            })?;
        Ok(Self {
            handle,
            _running: running,
        })
    }
}

/// One of something for each thread.
#[derive(Debug)]
pub(crate) struct PerWorker<T>(Box<[T]>);

impl<T> PerWorker<T> {
    /// That of this thread.
    ///
    /// # Panics
    /// Never: there is at least one thread, and [`Workers::each`] made one for each.
    pub(crate) fn here(&self) -> &T {
        &self.0[NUMBER.get()]
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;
    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn connections_go_from_thread_to_thread_and_each_thread_finds_its_own() {
        let workers = Workers::start(NonZeroU16::new(2).expect("not 0")).expect("threads");
        let mut count = 0;
        let numbers = std::sync::Arc::new(workers.each(|| {
            count += 1;
            count
        }));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        let address = listener.local_addr().expect("its address");
        let (send, mut seen) = mpsc::unbounded_channel();
        for _ in 0..4 {
            let stream = TcpStream::connect(address).await.expect("a connection");
            let (send, numbers) = (send.clone(), numbers.clone());
            workers.spawn(stream, move |stream| async move {
                let writable = stream.writable().await.is_ok();
                let name = thread::current().name().map(str::to_owned);
                let _ = send.send((name, *numbers.here(), writable));
            });
        }
        let mut all = Vec::new();
        for _ in 0..4 {
            all.push(seen.recv().await.expect("a task that ran"));
        }
        all.sort();
        let expected = [(0, 1), (0, 1), (1, 2), (1, 2)];
        assert_eq!(
            all,
            expected.map(|(thread, own)| (Some(format!("requests-{thread}")), own, true))
        );
    }

    #[tokio::test]
    async fn what_threads_serve_ends_with_them() {
        let workers = Workers::start(NonZeroU16::MIN).expect("a thread");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        let stream = TcpStream::connect(listener.local_addr().expect("its address"))
            .await
            .expect("a connection");
        let (alive, ended) = oneshot::channel::<()>();
        workers.spawn(stream, move |_stream| async move {
            let _alive = alive;
            std::future::pending::<()>().await;
        });
        drop(workers);
        assert!(ended.await.is_err(), "the task was dropped");
    }
}
