//! Finding out what a redirected caller speaks, without keeping a far side waiting that wants to speak first.
//!
//! In: the caller's connection, and how to reach where it was going. Out: what it speaks and what was read of it.
//! Left out on purpose: what happens then.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::dial::Dial;
use super::protocol::{self, Protocol};
use crate::BoxError;

/// Enough for most request lines; more is made where more comes.
const FIRST_READ: usize = 1 << 10;

/// What a connection turned out to be.
#[derive(Debug)]
pub(crate) struct Met {
    pub(crate) speaks: Speaks,
    /// What was read from the caller.
    pub(crate) ahead: Bytes,
    /// The connection onward, where the caller took long enough for there to be one.
    pub(crate) far: Option<TcpStream>,
}

/// Who spoke first, and what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speaks {
    /// The caller.
    Caller(Protocol),
    /// The far side, before the caller had begun.
    Far,
    /// Nobody; the caller is gone.
    Nobody,
}

/// Waits until it is known what is spoken on a connection from `caller` to `to`.
///
/// # Errors
/// `to` cannot be reached.
pub(crate) async fn meet(
    caller: &mut TcpStream,
    to: SocketAddr,
    dial: &Dial,
    patience: Duration,
) -> Result<Met, BoxError> {
    let mut ahead = BytesMut::with_capacity(FIRST_READ);
    let mut far: Option<TcpStream> = None;
    let mut deadline = Some(Instant::now() + patience);
    let speaks = loop {
        tokio::select! {
            read = caller.read_buf(&mut ahead) => match read {
                Ok(0) if !ahead.is_empty() => break Speaks::Caller(Protocol::Other),
                Ok(0) if far.is_some() => break Speaks::Far,
                Ok(0) | Err(_) => break Speaks::Nobody,
                Ok(_) => {
                    if let Some(protocol) = protocol::recognise(&ahead) {
                        break Speaks::Caller(protocol);
                    }
                    deadline.get_or_insert(Instant::now() + patience);
                }
            },
            () = until(deadline) => {
                if !ahead.is_empty() {
                    break Speaks::Caller(protocol::settle(&ahead));
                }
                deadline = None;
                far = Some(dial.connect(to).await?);
            }
            () = spoke(far.as_ref()), if ahead.is_empty() => break Speaks::Far,
        }
    };
    let ahead = ahead.freeze();
    Ok(Met { speaks, ahead, far })
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Completes when the far side said something, or ended.
async fn spoke(far: Option<&TcpStream>) {
    match far {
        Some(far) => drop(far.peek(&mut [0]).await),
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    use super::*;

    async fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        let address = listener.local_addr().expect("its address");
        (listener, address)
    }

    /// A caller's end, and the agent's.
    async fn caller() -> (TcpStream, TcpStream) {
        let (listener, address) = listener().await;
        let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
        (near.expect("a connection"), far.expect("a connection").0)
    }

    fn dial() -> Dial {
        Dial::new(None, Arc::default(), Arc::new([]))
    }

    #[tokio::test]
    async fn a_caller_that_speaks_first_is_heard_without_a_connection_onward() {
        let (mut caller, mut ours) = caller().await;
        caller.write_all(b"GET / HTTP/1.1\r\n").await.expect("written");
        let nowhere = ([127, 0, 0, 1], 1).into();
        let met = meet(&mut ours, nowhere, &dial(), Duration::from_mins(1))
            .await
            .expect("met");
        assert_eq!(
            (met.speaks, met.ahead.as_ref()),
            (Speaks::Caller(Protocol::Http1), &b"GET / HTTP/1.1\r\n"[..])
        );
        assert!(met.far.is_none());
    }

    #[tokio::test]
    async fn a_server_that_speaks_first_is_heard_and_nothing_of_it_is_lost() {
        let (_caller, mut ours) = caller().await;
        let (server, address) = listener().await;
        tokio::spawn(async move {
            let (mut stream, _) = server.accept().await.expect("a connection");
            stream.write_all(b"220 ready\r\n").await.expect("written");
            stream
        });
        let met = meet(&mut ours, address, &dial(), Duration::ZERO)
            .await
            .expect("met");
        assert_eq!(met.speaks, Speaks::Far);
        let mut said = [0; 11];
        met.far
            .expect("a connection")
            .read_exact(&mut said)
            .await
            .expect("read");
        assert_eq!(&said, b"220 ready\r\n");
    }

    #[tokio::test]
    async fn a_caller_that_is_silent_for_long_is_still_heard_as_what_it_speaks() {
        let (mut caller, mut ours) = caller().await;
        let (server, address) = listener().await;
        let dial = dial();
        let (met, _silent) = tokio::join!(meet(&mut ours, address, &dial, Duration::ZERO), async {
            // The agent went onward, so its patience had ended.
            let silent = server.accept().await.expect("a connection");
            caller
                .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
                .await
                .expect("written");
            silent
        });
        let met = met.expect("met");
        assert_eq!(met.speaks, Speaks::Caller(Protocol::Http2));
        assert!(met.far.is_some());
    }

    #[tokio::test]
    async fn a_caller_that_leaves_without_a_word_was_nobody() {
        let (caller, mut ours) = caller().await;
        drop(caller);
        let nowhere = ([127, 0, 0, 1], 1).into();
        let met = meet(&mut ours, nowhere, &dial(), Duration::from_mins(1))
            .await
            .expect("met");
        assert_eq!(met.speaks, Speaks::Nobody);
    }
}
