//! A producer for Redis Streams: pipelined `XADD`, and its replies.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};

use crate::measure::Producer;
use crate::{BODY, Failure};

pub(crate) struct Redis {
    stream: BufReader<TcpStream>,
    message: Vec<u8>,
    unsettled: u64,
}

/// Commands that may wait for their replies.
const WINDOW: u64 = 256;

impl Redis {
    pub(crate) fn connect(to: SocketAddr) -> Result<Self, Failure> {
        let stream = TcpStream::connect(to)?;
        stream.set_nodelay(true)?;
        let words = ["XADD", "orders", "MAXLEN", "1000", "*", "body", &"x".repeat(BODY)];
        let words = words
            .map(|word| format!("${}\r\n{word}\r\n", word.len()))
            .concat();
        Ok(Self {
            stream: BufReader::new(stream),
            message: format!("*7\r\n{words}").into_bytes(),
            unsettled: 0,
        })
    }
}

impl Producer for Redis {
    fn send(&mut self, messages: u64) -> Result<(), Failure> {
        let bytes = self.message.repeat(messages as usize);
        self.stream.get_mut().write_all(&bytes)?;
        self.unsettled += messages;
        if self.unsettled >= WINDOW {
            self.settle()
        } else {
            Ok(())
        }
    }

    fn settle(&mut self) -> Result<(), Failure> {
        let mut line = String::new();
        for _ in 0..std::mem::take(&mut self.unsettled) {
            line.clear();
            self.stream.read_line(&mut line)?;
            if !line.starts_with('$') {
                return Err(format!("redis-server said `{}`", line.trim_end()).into());
            }
            self.stream.read_line(&mut line)?;
        }
        Ok(())
    }
}
