//! A caller's connection, of which is known when something came.
//!
//! In: any stream. Out: the same stream.
//! Left out on purpose: what came.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Guest;

/// How much of a connection is read while nobody else holds memory for it.
const FIRST_READ: usize = 4096;

/// A stream, and the guest that hears of what is read from it and stays as long as it.
pub(crate) struct Watched<T> {
    io: T,
    guest: Guest,
    /// What was read and nobody asked for yet.
    ahead: Bytes,
    answered: bool,
    /// The far side will say nothing more.
    ended: bool,
}

impl<T: AsyncRead + Unpin> Watched<T> {
    pub(crate) fn new(io: T, guest: Guest) -> Self {
        Self {
            io,
            guest,
            ahead: Bytes::new(),
            answered: false,
            ended: false,
        }
    }

    /// Waits, holding no memory, until as much came as is `enough`, or the end; says how much there is. It comes first
    /// with the next reads.
    pub(crate) async fn fill(&mut self, enough: impl Fn(&[u8]) -> bool) -> io::Result<usize> {
        while !self.ended && (self.ahead.is_empty() || !enough(&self.ahead)) {
            let more = poll_fn(|cx| {
                let mut space = [0; FIRST_READ];
                let mut buffer = ReadBuf::new(&mut space);
                ready!(self.poll_stream(cx, &mut buffer))?;
                Poll::Ready(Ok::<_, io::Error>(Bytes::copy_from_slice(buffer.filled())))
            });
            let more = more.await?;
            self.ahead = if self.ahead.is_empty() {
                more
            } else {
                let mut both = BytesMut::from(self.ahead.as_ref());
                both.extend_from_slice(&more);
                both.freeze()
            };
        }
        Ok(self.ahead.len())
    }

    fn poll_stream(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(cx, buffer);
        match buffer.filled().get(before..) {
            Some(came @ [_, ..]) => self.guest.came(came),
            _ => self.ended |= matches!(polled, Poll::Ready(Ok(()))) && buffer.remaining() > 0,
        }
        polled
    }
}

impl<T> Watched<T> {
    /// What was read and nobody asked for yet.
    pub(crate) fn ahead(&self) -> &[u8] {
        &self.ahead
    }

    /// Goes on after a rest; `unread` was read before it.
    pub(crate) fn wake(&mut self, unread: Bytes) {
        debug_assert!(self.ahead.is_empty(), "whoever rests has read all of it");
        self.ahead = unread;
    }

    /// Whether something was answered, and the caller may still be there to hear it.
    pub(crate) fn may_be_heard(&self) -> bool {
        self.answered && !self.ended
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Watched<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.ahead.is_empty() {
            return this.poll_stream(cx, buf);
        }
        let length = this.ahead.len().min(buf.remaining());
        buf.put_slice(this.ahead.get(..length).unwrap_or_default());
        this.ahead.advance(length);
        if this.ahead.is_empty() {
            // An empty slice would keep all of it.
            this.ahead = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> Watched<T> {
    fn wrote(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.answered |= matches!(written, Poll::Ready(Ok(_)));
        self.guest.writes();
        written
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Watched<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, buf);
        self.wrote(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.wrote(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.io).poll_flush(cx))?;
        self.guest.flushed();
        Poll::Ready(Ok(()))
    }

    /// A connection that only rests stays open.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.guest.is_to_stay_open() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
