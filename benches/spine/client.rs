//! A client of the service behind the agents: HTTP/1.1, directly or through proxies.
//!
//! In: where to. Out: one answer to one request, each with a sampled parent of its own.
//! Left out on purpose: a library, whose time would be in every latency.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::peers::ANSWER_BYTES;
use crate::{Failure, openloop};

/// One answer in time must not take longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where requests go: to `connect`, and from there, if that is a proxy, to `target`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    pub(crate) connect: SocketAddr,
    pub(crate) target: SocketAddr,
}

/// One connection, kept alive.
pub(crate) struct Client {
    way: Way,
    write: TcpStream,
    read: BufReader<TcpStream>,
}

impl Client {
    pub(crate) fn connect(way: Way) -> Result<Self, Failure> {
        let write = TcpStream::connect(way.connect)?;
        write.set_nodelay(true)?;
        write.set_read_timeout(Some(PATIENCE))?;
        let read = BufReader::new(write.try_clone()?);
        Ok(Self { way, write, read })
    }
}

impl openloop::Client for Client {
    fn request(&mut self, trace: u64) -> Result<(), Failure> {
        let Way { connect, target } = self.way;
        let origin = if connect == target {
            String::new()
        } else {
            format!("http://{target}")
        };
        let head = format!(
            "GET {origin}/items/{} HTTP/1.1\r\nHost: {target}\r\nuser-agent: spine\r\n\
             traceparent: 00-{:032x}-{:016x}-01\r\n\r\n",
            trace % 1000,
            u128::from(trace) + 1,
            trace + 1
        );
        self.write.write_all(head.as_bytes())?;
        let mut line = String::new();
        self.read.read_line(&mut line)?;
        if line.split(' ').nth(1) != Some("200") {
            return Err(format!("the answer was `{}`, not 200", line.trim_end()).into());
        }
        let mut length = 0;
        while line != "\r\n" {
            line.clear();
            if self.read.read_line(&mut line)? == 0 {
                return Err("the connection ended within an answer".into());
            }
            let header = line
                .split_once(':')
                .filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
            length = header
                .and_then(|(_, value)| value.trim().parse().ok())
                .unwrap_or(length);
        }
        let mut body = [0; ANSWER_BYTES];
        if length != body.len() {
            return Err(format!("the answer has {length} bytes, not {ANSWER_BYTES}").into());
        }
        Ok(self.read.read_exact(&mut body)?)
    }
}
