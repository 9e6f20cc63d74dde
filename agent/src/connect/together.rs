//! Headers and the body that is there already, in one write.
//!
//! In: the bytes of an HTTP/2 connection to a service. Out: the same bytes, where a few of them wait until the tasks that are
//! due have run once. A request's body cannot be queued before its headers opened the stream, and the task that sends it
//! is woken by that; so without this each request with a body would be two writes, and two wakes of the service.
//! Left out on purpose: waiting by the clock. Nothing waits longer than one turn of the runtime.

use std::io::{IoSlice, Result};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper::rt::{Read, ReadBufCursor, Write};

/// Bytes that may wait; headers of a request are seldom more, and copying so few costs less than a write.
const FEW: usize = 1024;
/// Pieces in one write; those beyond it come with the next.
const PIECES: usize = 16;

/// A connection whose first few bytes of each turn wait for those that follow.
pub(super) struct Together<T> {
    inner: T,
    held: Vec<u8>,
    /// The turn that what is held waits for was asked for.
    asked: bool,
}

impl<T> Together<T> {
    pub(super) fn new(inner: T) -> Self {
        Self {
            inner,
            held: Vec::new(),
            asked: false,
        }
    }
}

impl<T: Write + Unpin> Together<T> {
    /// Writes what is held.
    fn poll_held(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        while !self.held.is_empty() {
            let written = ready!(Pin::new(&mut self.inner).poll_write(cx, &self.held))?;
            self.wrote(written)?;
        }
        Poll::Ready(Ok(()))
    }

    /// Takes from what is held as much as was written; what is left of `written`.
    fn wrote(&mut self, written: usize) -> Result<usize> {
        if written == 0 {
            return Err(std::io::ErrorKind::WriteZero.into());
        }
        let of_held = written.min(self.held.len());
        self.held.drain(..of_held);
        self.asked &= !self.held.is_empty();
        Ok(written - of_held)
    }
}

impl<T: Read + Unpin> Read for Together<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<T: Write + Unpin> Write for Together<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let this = &mut *self;
        let length: usize = bufs.iter().map(|buf| buf.len()).sum();
        if this.held.is_empty() && length <= FEW {
            for buf in bufs {
                this.held.extend_from_slice(buf);
            }
            return Poll::Ready(Ok(length));
        }
        while !this.held.is_empty() {
            let mut all = [IoSlice::new(&[]); PIECES];
            let pieces = std::iter::once(this.held.as_slice()).chain(bufs.iter().map(|buf| &**buf));
            for (slot, piece) in all.iter_mut().zip(pieces) {
                *slot = IoSlice::new(piece);
            }
            let written = ready!(Pin::new(&mut this.inner).poll_write_vectored(cx, &all))?;
            let of_these = this.wrote(written)?;
            if of_these > 0 || length == 0 && this.held.is_empty() {
                return Poll::Ready(Ok(of_these));
            }
        }
        Pin::new(&mut this.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if !self.held.is_empty() && !self.asked {
            self.asked = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        ready!(self.poll_held(cx))?;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        ready!(self.poll_held(cx))?;
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use std::sync::atomic::Ordering::Relaxed;
    use std::task::{Wake, Waker};

    use proptest::prelude::*;

    use super::*;

    /// Notes each write; takes at most `room` bytes of one, and every other is not ready.
    struct Wire {
        writes: Vec<Vec<u8>>,
        room: usize,
        busy: bool,
        often_busy: bool,
    }

    impl Wire {
        fn new(room: usize, often_busy: bool) -> Self {
            Self {
                writes: Vec::new(),
                room,
                busy: false,
                often_busy,
            }
        }
    }

    impl Write for Wire {
        fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<Result<usize>> {
            self.poll_write_vectored(cx, &[IoSlice::new(buf)])
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            bufs: &[IoSlice<'_>],
        ) -> Poll<Result<usize>> {
            self.busy = self.often_busy && !self.busy;
            if self.busy {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let mut all: Vec<u8> = bufs.iter().flat_map(|buf| buf.iter().copied()).collect();
            all.truncate(self.room);
            let length = all.len();
            self.writes.push(all);
            Poll::Ready(Ok(length))
        }

        fn is_write_vectored(&self) -> bool {
            true
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    fn write(to: &mut Together<Wire>, bytes: &[u8], cx: &mut Context<'_>) {
        let mut rest = bytes;
        while !rest.is_empty() {
            if let Poll::Ready(written) = Pin::new(&mut *to).poll_write(cx, rest) {
                rest = &rest[written.expect("taken")..];
            }
        }
    }

    #[test]
    fn what_follows_within_a_turn_goes_in_the_same_write() {
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(wakes.clone());
        let mut cx = Context::from_waker(&waker);
        let mut wire = Together::new(Wire::new(usize::MAX, false));
        write(&mut wire, b"headers", &mut cx);
        assert!(Pin::new(&mut wire).poll_flush(&mut cx).is_pending());
        assert_eq!((wakes.0.load(Relaxed), wire.inner.writes.len()), (1, 0));
        write(&mut wire, &[b'x'; 3], &mut cx);
        assert!(Pin::new(&mut wire).poll_flush(&mut cx).is_ready());
        assert_eq!(wire.inner.writes, [b"headersxxx"]);
    }

    #[test]
    fn what_nothing_follows_goes_at_the_next_turn() {
        let mut cx = Context::from_waker(Waker::noop());
        let mut wire = Together::new(Wire::new(usize::MAX, false));
        for round in 1..4 {
            write(&mut wire, b"headers", &mut cx);
            assert!(Pin::new(&mut wire).poll_flush(&mut cx).is_pending());
            assert!(Pin::new(&mut wire).poll_flush(&mut cx).is_ready());
            assert_eq!(wire.inner.writes.len(), round);
        }
    }

    #[test]
    fn nothing_held_is_lost_at_the_end() {
        let mut cx = Context::from_waker(Waker::noop());
        let mut wire = Together::new(Wire::new(2, false));
        write(&mut wire, b"goodbye", &mut cx);
        assert!(Pin::new(&mut wire).poll_shutdown(&mut cx).is_ready());
        assert_eq!(wire.inner.writes.concat(), b"goodbye");
    }

    proptest! {
        #[test]
        fn bytes_arrive_in_their_order_however_they_are_written(
            pieces in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..1500), any::<bool>()), 0..12),
            room in 1_usize..700,
            often_busy in any::<bool>(),
        ) {
            let mut cx = Context::from_waker(Waker::noop());
            let mut wire = Together::new(Wire::new(room, often_busy));
            for (bytes, flush) in &pieces {
                write(&mut wire, bytes, &mut cx);
                while *flush && Pin::new(&mut wire).poll_flush(&mut cx).is_pending() {}
            }
            while Pin::new(&mut wire).poll_shutdown(&mut cx).is_pending() {}
            let sent: Vec<u8> = pieces.into_iter().flat_map(|(bytes, _)| bytes).collect();
            prop_assert_eq!(wire.inner.writes.concat(), sent);
        }
    }
}
