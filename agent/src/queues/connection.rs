//! One connection of a client, and the one to the broker that it is for.
//!
//! In: both streams, and the protocol between them. Out: what each says, at the other, as far as the other takes it.
//! Left out on purpose: time limits. Client and broker have their own, and they reach through.

use std::future::{Future as _, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};

use super::splice::{Courier, NotUnderstood, Splice};

/// How much is read at once, at most. What stands in one read may be told of as one, and brokers read as much.
const READ: usize = 64 << 10;
/// What goes on is often longer than what came, by as much as is added to messages of some hundred bytes.
const ADDED: usize = READ / 4;
/// How often one side is read before the other is written to: what comes in pieces goes on in one.
const READS: usize = 4;
/// Nothing more is read for a side that so many bytes wait for.
const WAITING: usize = 64 << 10;
/// The largest piece that a protocol may wait for; one that is larger passes unseen.
const MAX_PIECE: usize = 64 << 20;

/// One side.
struct Side<S> {
    io: S,
    /// What it said and nobody took yet.
    said: BytesMut,
    /// What goes to it.
    to_it: BytesMut,
    /// It will say no more.
    ended: bool,
    /// It was told that nothing more comes.
    told: bool,
}

/// What the protocol makes of what is said; `None` from where it does not understand it.
pub(super) struct Between<M> {
    pub(super) splice: Option<Box<dyn Splice>>,
    pub(super) messages: M,
}

/// Passes what is said both ways until both sides have ended.
///
/// # Errors
/// A side broke off.
pub(super) async fn pass<C, B, M>(
    client: C,
    broker: B,
    between: &mut Between<M>,
    mut blind: impl FnMut(NotUnderstood),
) -> io::Result<()>
where
    C: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
    M: Courier,
{
    let (mut client, mut broker) = (Side::new(client), Side::new(broker));
    poll_fn(|cx| {
        loop {
            let mut moved = read(cx, &mut client, &mut broker, |side, other| {
                between.take(true, (&mut side.said, &mut other.to_it), &mut blind);
            })?;
            moved |= read(cx, &mut broker, &mut client, |side, other| {
                between.take(false, (&mut side.said, &mut other.to_it), &mut blind);
            })?;
            moved |= broker.write(cx, client.ended)?;
            moved |= client.write(cx, broker.ended)?;
            if client.told && broker.told {
                return Poll::Ready(Ok(()));
            }
            if !moved {
                client.rests();
                broker.rests();
                return Poll::Pending;
            }
        }
    })
    .await
}

/// Reads what `side` says, as long as `other` takes it, and [`READS`] times at most; whether anything came.
fn read<A: AsyncRead + Unpin, B>(
    cx: &mut Context<'_>,
    side: &mut Side<A>,
    other: &mut Side<B>,
    mut take: impl FnMut(&mut Side<A>, &mut Side<B>),
) -> io::Result<bool> {
    let mut moved = false;
    for _ in 0..READS {
        if side.ended || other.to_it.len() >= WAITING {
            break;
        }
        let Poll::Ready(read) = side.poll_read(cx) else {
            break;
        };
        moved = true;
        let (read, room) = read?;
        if read == 0 {
            side.ended = true;
            // A piece that never became whole.
            other.to_it.unsplit(side.said.split());
        } else {
            take(side, other);
        }
        // Less than there was room for: there is no more.
        if read < room {
            break;
        }
    }
    Ok(moved)
}

impl<M: Courier> Between<M> {
    fn take(
        &mut self,
        from_client: bool,
        (said, out): (&mut BytesMut, &mut BytesMut),
        blind: &mut impl FnMut(NotUnderstood),
    ) {
        if let Some(splice) = &mut self.splice {
            out.reserve(said.len().min(READ) + ADDED);
            let messages = &mut self.messages;
            let taken = if from_client {
                splice.client_said(said, out, messages)
            } else {
                splice.broker_said(said, out, messages)
            };
            let taken = taken.and_then(|()| {
                let held = said.len() <= MAX_PIECE;
                held.then_some(()).ok_or(NotUnderstood::Unknown)
            });
            let Err(why) = taken else { return };
            blind(why);
            self.splice = None;
            self.messages.goes_blind();
        }
        out.unsplit(said.split());
    }
}

impl<S> Side<S> {
    fn new(io: S) -> Self {
        Self {
            io,
            said: BytesMut::new(),
            to_it: BytesMut::new(),
            ended: false,
            told: false,
        }
    }

    /// Most connections rest, and hold no memory then beyond what waits on them.
    fn rests(&mut self) {
        for buffer in [&mut self.said, &mut self.to_it] {
            if buffer.is_empty() {
                *buffer = BytesMut::new();
            } else if buffer.len() < buffer.capacity() / 8 {
                *buffer = BytesMut::from(&**buffer);
            }
        }
    }
}

impl<S: AsyncRead + Unpin> Side<S> {
    /// How many bytes came, and for how many there was room.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(usize, usize)>> {
        self.said.reserve(READ);
        let room = self.said.capacity() - self.said.len();
        // It has no state of its own, so it may be asked anew each time.
        let read = ready!(pin!(self.io.read_buf(&mut self.said)).poll(cx))?;
        Poll::Ready(Ok((read, room)))
    }
}

impl<S: AsyncWrite + Unpin> Side<S> {
    /// Writes what waits, and tells it the end once nothing does and the other side has `ended`; whether anything went.
    fn write(&mut self, cx: &mut Context<'_>, ended: bool) -> io::Result<bool> {
        let mut moved = false;
        while !self.to_it.is_empty() {
            match Pin::new(&mut self.io).poll_write(cx, &self.to_it) {
                Poll::Pending => return Ok(moved),
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(written) => self.to_it.advance(written?),
            }
            moved = true;
        }
        if Pin::new(&mut self.io).poll_flush(cx)?.is_pending() {
            return Ok(moved);
        }
        if ended && !self.told && Pin::new(&mut self.io).poll_shutdown(cx)?.is_ready() {
            self.told = true;
            moved = true;
        }
        Ok(moved)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::super::splice::testing::Notes;
    use super::*;

    /// Lines pass doubled; one that begins with `!` is not understood.
    struct Doubling;

    impl Splice for Doubling {
        fn client_said(
            &mut self,
            input: &mut BytesMut,
            out: &mut BytesMut,
            _: &mut dyn Courier,
        ) -> Result<(), NotUnderstood> {
            while let Some(end) = input.iter().position(|byte| *byte == b'\n') {
                if input.starts_with(b"!") {
                    return Err(NotUnderstood::Malformed);
                }
                let line = input.split_to(end + 1);
                out.extend_from_slice(&line.repeat(2));
            }
            Ok(())
        }

        fn broker_said(
            &mut self,
            input: &mut BytesMut,
            out: &mut BytesMut,
            courier: &mut dyn Courier,
        ) -> Result<(), NotUnderstood> {
            self.client_said(input, out, courier)
        }
    }

    /// What client and broker hear when they say this and end, each in pieces of `step`, through pipes that hold `room` bytes.
    async fn told(client: &[u8], broker: &[u8], step: usize, room: usize) -> (Vec<u8>, Vec<u8>, Vec<String>) {
        let ((near, ours), (theirs, far)) = (duplex(room), duplex(room));
        let mut between = Between {
            splice: Some(Box::new(Doubling)),
            messages: Notes::default(),
        };
        let speak = |stream: tokio::io::DuplexStream, bytes: Vec<u8>| async move {
            let (mut read, mut write) = tokio::io::split(stream);
            let saying = async {
                for piece in bytes.chunks(step.max(1)) {
                    write.write_all(piece).await.expect("still open");
                }
                write.shutdown().await.expect("still open");
            };
            let mut heard = Vec::new();
            let hearing = async { read.read_to_end(&mut heard).await.map(drop) };
            let ((), hearing) = tokio::join!(saying, hearing);
            hearing.expect("an end in good order");
            heard
        };
        let mut blind = Vec::new();
        let passing = pass(ours, theirs, &mut between, |why| blind.push(why.to_string()));
        let (passed, to_client, to_broker) =
            tokio::join!(passing, speak(near, client.to_vec()), speak(far, broker.to_vec()));
        passed.expect("both ended in good order");
        blind.extend(between.messages.lines);
        (to_client, to_broker, blind)
    }

    #[tokio::test]
    async fn each_side_hears_the_other_to_its_end_and_an_unfinished_piece_passes_as_it_is() {
        let (client, broker, blind) = told(b"one\ntwo\nthr", b"yes\n", 3, 4).await;
        assert_eq!(broker, b"one\none\ntwo\ntwo\nthr");
        assert_eq!(client, b"yes\nyes\n");
        assert!(blind.is_empty(), "{blind:?}");
    }

    #[tokio::test]
    async fn from_what_is_not_understood_on_everything_passes_both_ways_and_it_is_told_once() {
        let (client, broker, blind) = told(b"one\n!two\nthree\n!four\n", b"", 64, 64).await;
        assert_eq!(broker, b"one\none\n!two\nthree\n!four\n");
        assert_eq!(client, b"");
        assert_eq!(blind, ["what was said is not this protocol", "blind"]);
    }

    #[test]
    fn a_side_that_rests_holds_no_more_than_waits_on_it() {
        let mut side = Side::new(());
        side.said.reserve(READ);
        side.to_it.reserve(READ);
        side.to_it.extend_from_slice(b"waits");
        side.rests();
        assert_eq!((side.said.capacity(), &side.to_it[..]), (0, b"waits".as_slice()));
        assert!(side.to_it.capacity() < 64, "{} bytes", side.to_it.capacity());
    }

    proptest! {
        #[test]
        fn nothing_is_lost_however_it_comes(
            lines in prop::collection::vec("[a-z]{0,200}\n", 0..40),
            answers in prop::collection::vec("[a-z]{0,200}\n", 0..40),
            step in 1..300_usize,
            room in 1..300_usize,
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
            let (said, answered) = (lines.concat(), answers.concat());
            let (client, broker, _) = runtime.block_on(told(said.as_bytes(), answered.as_bytes(), step, room));
            let doubled = |lines: &[String]| lines.iter().map(|line| line.repeat(2)).collect::<String>();
            prop_assert_eq!(broker, doubled(&lines).into_bytes());
            prop_assert_eq!(client, doubled(&answers).into_bytes());
        }
    }
}
