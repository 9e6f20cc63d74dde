//! HTTP/2 frame by frame, with headers that no library would send.
//!
//! In: names and values of any bytes. Out: frames on a socket, and those that come back.
//! Left out on purpose: compression; every header is a literal (RFC 7541, section 6.2.3).

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::soon;

pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// A frame as it came.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) payload: Vec<u8>,
}

/// A connection after its preface and empty settings.
pub(crate) async fn dial(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        .await
        .expect("written");
    stream
        .write_all(&frame(SETTINGS, 0, 0, &[]))
        .await
        .expect("written");
    stream
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len())
        .expect("a short payload")
        .to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Headers as literals that are never indexed.
pub(crate) fn literals(headers: &[(&str, &str)]) -> Vec<u8> {
    let text = |text: &str| {
        let length = u8::try_from(text.len()).ok().filter(|length| *length < 127);
        [&[length.expect("a short text")], text.as_bytes()].concat()
    };
    let literal = |(name, value): &(&str, &str)| [vec![0x10], text(name), text(value)].concat();
    headers.iter().flat_map(literal).collect()
}

/// The next frame; `None` at the end.
pub(crate) async fn next(stream: &mut TcpStream) -> Option<Frame> {
    let mut head = [0; 9];
    soon("a frame", stream.read_exact(&mut head)).await.ok()?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let mut payload = vec![0; length as usize];
    soon("its payload", stream.read_exact(&mut payload)).await.ok()?;
    Some(Frame {
        kind: head[3],
        payload,
    })
}
