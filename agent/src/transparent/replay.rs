//! A caller's connection of which the beginning was read already.
//!
//! In: a connection and the bytes read from it. Out: both as one stream; and, where the HTTP parser refused them before it
//! answered anything, both back again.
//! Left out on purpose: a second try after the first request. What was answered once stays HTTP. And connections that were
//! cut for another reason, which stay cut.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A stream that begins with bytes that were read before.
#[derive(Debug)]
pub(crate) struct Replay {
    /// Absent only after a trial that failed has it back.
    stream: Option<TcpStream>,
    ahead: Bytes,
    trial: Option<Pending>,
}

#[derive(Debug)]
struct Pending {
    trial: Arc<Trial>,
    taken: BytesMut,
    /// The parser wanted to answer, or the caller said all it had to say.
    decided: bool,
}

/// Whether the bytes of a caller turned out to be a request.
#[derive(Debug, Default)]
pub(crate) struct Trial {
    passed: AtomicBool,
    failed: Mutex<Option<(TcpStream, Bytes)>>,
}

impl Trial {
    /// There is a request: what was read need not be kept any more. Whether it is the first.
    pub(crate) fn pass(&self) -> bool {
        !self.passed.swap(true, Ordering::AcqRel)
    }

    /// The connection and all that was read from it, where there never was a request and nothing was answered.
    pub(crate) fn failed(&self) -> Option<(TcpStream, Bytes)> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Replay {
    pub(crate) fn new(stream: TcpStream, ahead: Bytes) -> Self {
        Self {
            stream: Some(stream),
            ahead,
            trial: None,
        }
    }

    /// The same on trial: until it passes nothing is written, and all that is read is kept.
    pub(crate) fn on_trial(stream: TcpStream, ahead: Bytes, trial: Arc<Trial>) -> Self {
        let taken = BytesMut::from(ahead.as_ref());
        let mut replay = Self::new(stream, ahead);
        replay.trial = Some(Pending {
            trial,
            taken,
            decided: false,
        });
        replay
    }

    /// Ends the trial once it has passed; whether it is still open.
    fn on_probation(&mut self) -> bool {
        let passed = |pending: &Pending| pending.trial.passed.load(Ordering::Acquire);
        if self.trial.as_ref().is_some_and(passed) {
            self.trial = None;
        }
        self.trial.is_some()
    }

    fn stream(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        let stream = self.stream.as_mut().map(Pin::new);
        stream.ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    fn writable(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        if self.on_probation()
            && let Some(pending) = &mut self.trial
        {
            pending.decided = true;
            return Err(io::Error::other("no request was understood"));
        }
        self.stream()
    }
}

impl Drop for Replay {
    fn drop(&mut self) {
        if !self.on_probation() {
            return;
        }
        let (Some(stream), Some(pending)) = (self.stream.take(), self.trial.take()) else {
            return;
        };
        if !pending.decided || pending.taken.is_empty() {
            return;
        }
        let mut failed = pending
            .trial
            .failed
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *failed = Some((stream, pending.taken.freeze()));
    }
}

impl AsyncRead for Replay {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.ahead.is_empty() {
            let length = this.ahead.len().min(buffer.remaining());
            buffer.put_slice(&this.ahead.split_to(length));
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let read = this.stream()?.poll_read(cx, buffer);
        if this.on_probation()
            && let Some(pending) = &mut this.trial
        {
            let came = buffer.filled().get(before..).unwrap_or_default();
            pending.taken.extend_from_slice(came);
            pending.decided |= came.is_empty() && read.is_ready();
        }
        read
    }
}

impl AsyncWrite for Replay {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().writable()?.poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().writable()?.poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().stream()?.poll_flush(cx)
    }

    /// A connection on trial stays open, for it may go on without HTTP.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.on_probation() {
            return Poll::Ready(Ok(()));
        }
        this.stream()?.poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        let address = listener.local_addr().expect("its address");
        let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
        (near.expect("a connection"), far.expect("a connection").0)
    }

    #[tokio::test]
    async fn what_was_read_before_comes_first_and_then_the_rest() {
        let (mut caller, stream) = pair().await;
        caller.write_all(b" world").await.expect("written");
        drop(caller);
        let mut text = String::new();
        let mut replay = Replay::new(stream, Bytes::from_static(b"hello"));
        replay.read_to_string(&mut text).await.expect("read");
        assert_eq!(text, "hello world");
    }

    #[tokio::test]
    async fn a_trial_that_fails_gives_everything_back_unanswered() {
        let (mut caller, stream) = pair().await;
        let trial = Arc::new(Trial::default());
        let mut replay = Replay::on_trial(stream, Bytes::from_static(b"GET /"), trial.clone());
        caller.write_all(b" nonsense").await.expect("written");
        let mut taken = [0; 14];
        replay.read_exact(&mut taken).await.expect("read");
        assert!(replay.write_all(b"HTTP/1.1 400").await.is_err());
        replay.shutdown().await.expect("not shut down");
        drop(replay);
        let (mut stream, bytes) = trial.failed().expect("the connection");
        assert_eq!(bytes.as_ref(), b"GET / nonsense");
        stream.write_all(b"ok").await.expect("still open");
        drop(stream);
        let mut heard = String::new();
        caller.read_to_string(&mut heard).await.expect("read");
        assert_eq!(heard, "ok");
    }

    #[tokio::test]
    async fn a_connection_that_was_cut_on_trial_stays_cut() {
        let (mut caller, stream) = pair().await;
        let trial = Arc::new(Trial::default());
        drop(Replay::on_trial(
            stream,
            Bytes::from_static(b"GET /"),
            trial.clone(),
        ));
        assert!(trial.failed().is_none());
        assert_eq!(caller.read(&mut [0; 1]).await.expect("closed"), 0);
    }

    #[tokio::test]
    async fn a_trial_that_passes_writes_and_keeps_nothing() {
        let (_caller, stream) = pair().await;
        let trial = Arc::new(Trial::default());
        let mut replay = Replay::on_trial(stream, Bytes::from_static(b"GET /"), trial.clone());
        assert!(trial.pass() && !trial.pass());
        replay.write_all(b"HTTP/1.1 200").await.expect("written");
        drop(replay);
        assert!(trial.failed().is_none());
    }
}
