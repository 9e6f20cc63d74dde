//! A producer for NATS: `PUB` with headers agreed on, and `PING` to hear that the server has taken it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};

use crate::measure::Producer;
use crate::{BODY, Failure};

pub(crate) struct Nats {
    stream: BufReader<TcpStream>,
    message: Vec<u8>,
    unsettled: u64,
}

/// Messages between two questions.
const WINDOW: u64 = 256;

impl Nats {
    pub(crate) fn connect(to: SocketAddr) -> Result<Self, Failure> {
        let stream = TcpStream::connect(to)?;
        stream.set_nodelay(true)?;
        let mut nats = Self {
            stream: BufReader::new(stream),
            message: [
                format!("PUB orders {BODY}\r\n").as_bytes(),
                &[b'x'; BODY],
                b"\r\n",
            ]
            .concat(),
            unsettled: 0,
        };
        nats.line()?;
        nats.write(b"CONNECT {\"verbose\":false,\"headers\":true}\r\n")?;
        nats.settle()?;
        Ok(nats)
    }

    fn line(&mut self) -> Result<String, Failure> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        Ok(line)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        Ok(self.stream.get_mut().write_all(bytes)?)
    }
}

impl Producer for Nats {
    fn send(&mut self, messages: u64) -> Result<(), Failure> {
        let bytes = self.message.repeat(messages as usize);
        self.write(&bytes)?;
        self.unsettled += messages;
        if self.unsettled >= WINDOW {
            self.settle()
        } else {
            Ok(())
        }
    }

    fn settle(&mut self) -> Result<(), Failure> {
        self.write(b"PING\r\n")?;
        self.unsettled = 0;
        loop {
            match self.line()?.trim_end() {
                "PONG" => return Ok(()),
                "PING" => self.write(b"PONG\r\n")?,
                told if told.starts_with("INFO") => {}
                told => return Err(format!("nats-server said `{told}`").into()),
            }
        }
    }
}
