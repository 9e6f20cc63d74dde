//! A producer for MQTT 5: `PUBLISH` with quality of service 1, and its acknowledgements.

use std::io::{BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use crate::measure::Producer;
use crate::{BODY, Failure};

pub(crate) struct Mqtt {
    stream: BufReader<TcpStream>,
    next: u16,
    unsettled: u64,
}

/// Mosquitto takes 20 at a time unless told otherwise.
const WINDOW: u64 = 20;

impl Mqtt {
    pub(crate) fn connect(to: SocketAddr) -> Result<Self, Failure> {
        let stream = TcpStream::connect(to)?;
        stream.set_nodelay(true)?;
        let mut mqtt = Self {
            stream: BufReader::new(stream),
            next: 0,
            unsettled: 0,
        };
        // A clean start, no keep-alive, no properties, no name.
        let connect = [0x10, 13, 0, 4, b'M', b'Q', b'T', b'T', 5, 2, 0, 0, 0, 0, 0];
        mqtt.stream.get_mut().write_all(&connect)?;
        mqtt.packet(0x20)?;
        Ok(mqtt)
    }

    fn packet(&mut self, kind: u8) -> Result<(), Failure> {
        let mut head = [0; 2];
        self.stream.read_exact(&mut head)?;
        let mut rest = vec![0; usize::from(head[1])];
        self.stream.read_exact(&mut rest)?;
        if head[0] == kind {
            Ok(())
        } else {
            Err(format!("mosquitto said {head:?} {rest:?}").into())
        }
    }
}

impl Producer for Mqtt {
    fn send(&mut self, messages: u64) -> Result<(), Failure> {
        for _ in 0..messages {
            self.next = self.next % 60_000 + 1;
            let length = 2 + 6 + 2 + 1 + BODY;
            let head = [0x32, (length & 0x7f | 0x80) as u8, (length >> 7) as u8, 0, 6];
            let packet = [
                &head[..],
                b"orders",
                &self.next.to_be_bytes(),
                &[0],
                &[b'x'; BODY],
            ]
            .concat();
            self.stream.get_mut().write_all(&packet)?;
            self.unsettled += 1;
            if self.unsettled >= WINDOW {
                self.settle()?;
            }
        }
        Ok(())
    }

    fn settle(&mut self) -> Result<(), Failure> {
        for _ in 0..std::mem::take(&mut self.unsettled) {
            self.packet(0x40)?;
        }
        Ok(())
    }
}
