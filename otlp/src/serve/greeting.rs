//! A connection whose first bytes have to come soon.
//!
//! In: a connection and a patience. Out: the same, which fails where its caller has not begun to speak by then.
//! The libraries time heads of requests, but begin with that when they know which protocol it is, and the first bytes say that.
//! Left out on purpose: time limits for all that follows.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// Bytes that tell HTTP/2 from HTTP/1.1: the preface of RFC 9113, section 3.4.
const GREETING: usize = 24;

pub(super) struct Greeting<T> {
    io: T,
    /// Until so many bytes more are there, and until when.
    wait: Option<(usize, Pin<Box<Sleep>>)>,
}

impl<T> Greeting<T> {
    pub(super) fn new(io: T, patience: Duration) -> Self {
        let sleep = Box::pin(tokio::time::sleep(patience));
        Self {
            io,
            wait: Some((GREETING, sleep)),
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Greeting<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.io).poll_read(cx, buf);
        let Some((left, sleep)) = &mut self.wait else {
            return read;
        };
        *left = left.saturating_sub(buf.filled().len() - before);
        if *left == 0 {
            self.wait = None;
        } else if read.is_pending() && sleep.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        read
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Greeting<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
