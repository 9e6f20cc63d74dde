//! A producer for `RabbitMQ`: `basic.publish` with publisher confirms, to a queue that keeps the newest thousand messages.

use std::io::{BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;

use crate::brokers::with;
use crate::measure::Producer;
use crate::{BODY, Failure};

pub(crate) struct Amqp {
    stream: BufReader<TcpStream>,
    message: Vec<u8>,
    sent: u64,
    confirmed: u64,
}

/// Messages that may be unconfirmed.
const WINDOW: u64 = 256;

/// `rabbitmq-server` without plugins, in a directory of its own.
pub(crate) fn broker(dir: &Path, port: u16, distribution: u16, mapper: u16) -> Command {
    // The program behind Debian's script, which would become another user, and not pass on a kill.
    let mut command = with("/usr/lib/rabbitmq/bin/rabbitmq-server", &[]);
    command.envs([
        ("RABBITMQ_ALLOW_INPUT", "true".to_owned()),
        ("RABBITMQ_SERVER_START_ARGS", "-noinput".to_owned()),
        ("RABBITMQ_LOGS", "-".to_owned()),
        ("RABBITMQ_NODENAME", format!("bench{port}@localhost")),
        ("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1".to_owned()),
        ("RABBITMQ_NODE_PORT", port.to_string()),
        ("RABBITMQ_DIST_PORT", distribution.to_string()),
        ("ERL_EPMD_PORT", mapper.to_string()),
        ("ERL_EPMD_ADDRESS", "127.0.0.1".to_owned()),
        ("LANG", "C.UTF-8".to_owned()),
        ("HOME", dir.display().to_string()),
    ]);
    for (name, of) in [
        ("MNESIA_BASE", "data"),
        ("LOG_BASE", "logs"),
        ("GENERATED_CONFIG_DIR", "made"),
        ("ENABLED_PLUGINS_FILE", "plugins"),
        ("CONFIG_FILE", "none"),
        ("ADVANCED_CONFIG_FILE", "none"),
        ("CONF_ENV_FILE", "none"),
    ] {
        command.env(format!("RABBITMQ_{name}"), dir.join(of));
    }
    command
}

fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let head = [
        &[kind][..],
        &channel.to_be_bytes(),
        &(payload.len() as u32).to_be_bytes(),
    ]
    .concat();
    [&head[..], payload, &[0xce]].concat()
}

fn method(channel: u16, class: u16, id: u16, arguments: &[u8]) -> Vec<u8> {
    frame(
        1,
        channel,
        &[&class.to_be_bytes()[..], &id.to_be_bytes(), arguments].concat(),
    )
}

fn short(text: &str) -> Vec<u8> {
    [&[text.len() as u8][..], text.as_bytes()].concat()
}

fn long(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_be_bytes()[..], bytes].concat()
}

impl Amqp {
    pub(crate) fn connect(to: SocketAddr) -> Result<Self, Failure> {
        let stream = TcpStream::connect(to)?;
        stream.set_nodelay(true)?;
        let publish = [&[0, 0][..], &short(""), &short("bench"), &[0]].concat();
        let content = [&[0, 60, 0, 0][..], &(BODY as u64).to_be_bytes(), &[0, 0]].concat();
        let message = [
            method(1, 60, 40, &publish),
            frame(2, 1, &content),
            frame(3, 1, &[b'x'; BODY]),
        ]
        .concat();
        let mut amqp = Self {
            stream: BufReader::new(stream),
            message,
            sent: 0,
            confirmed: 0,
        };
        amqp.say(b"AMQP\0\0\x09\x01", (10, 10))?;
        let start_ok = [long(&[]), short("PLAIN"), long(b"\0guest\0guest"), short("en_US")].concat();
        amqp.say(&method(0, 10, 11, &start_ok), (10, 30))?;
        let tune_ok = [
            &2047_u16.to_be_bytes()[..],
            &131_072_u32.to_be_bytes(),
            &0_u16.to_be_bytes(),
        ]
        .concat();
        let open = [short("/"), short(""), vec![0]].concat();
        amqp.say(
            &[method(0, 10, 31, &tune_ok), method(0, 10, 40, &open)].concat(),
            (10, 41),
        )?;
        amqp.say(&method(1, 20, 10, &short("")), (20, 11))?;
        let bound = [short("x-max-length"), vec![b'I'], 1000_u32.to_be_bytes().to_vec()].concat();
        let declare = [&[0, 0][..], &short("bench"), &[0], &long(&bound)].concat();
        amqp.say(&method(1, 50, 10, &declare), (50, 11))?;
        amqp.say(&method(1, 85, 10, &[0]), (85, 11))?;
        Ok(amqp)
    }

    /// Says something, and hears the method that must answer it.
    fn say(&mut self, bytes: &[u8], answer: (u16, u16)) -> Result<(), Failure> {
        self.stream.get_mut().write_all(bytes)?;
        let told = self.hear()?;
        let (class, id) = (
            u16::from_be_bytes([told[0], told[1]]),
            u16::from_be_bytes([told[2], told[3]]),
        );
        if (class, id) == answer {
            return Ok(());
        }
        Err(format!(
            "rabbitmq-server said {class}.{id}: {}",
            String::from_utf8_lossy(&told)
        )
        .into())
    }

    /// The next method.
    fn hear(&mut self) -> Result<Vec<u8>, Failure> {
        loop {
            let mut head = [0; 7];
            self.stream.read_exact(&mut head)?;
            let length = u32::from_be_bytes([head[3], head[4], head[5], head[6]]) as usize;
            let mut payload = vec![0; length + 1];
            self.stream.read_exact(&mut payload)?;
            if head[0] == 1 && length >= 4 {
                return Ok(payload);
            }
        }
    }

    fn confirm(&mut self) -> Result<(), Failure> {
        let told = self.hear()?;
        let tag: [u8; 8] = told
            .get(4..12)
            .and_then(|tag| tag.try_into().ok())
            .unwrap_or_default();
        if told[..4] != [0, 60, 0, 80] {
            return Err(format!("rabbitmq-server said {:?}", &told[..4]).into());
        }
        let multiple = told.get(12).is_some_and(|bits| bits & 1 == 1);
        // Single ones may come out of order, and each stands for one.
        self.confirmed = if multiple {
            self.confirmed.max(u64::from_be_bytes(tag))
        } else {
            self.confirmed + 1
        };
        Ok(())
    }
}

impl Producer for Amqp {
    fn send(&mut self, messages: u64) -> Result<(), Failure> {
        let bytes = self.message.repeat(messages as usize);
        self.stream.get_mut().write_all(&bytes)?;
        self.sent += messages;
        while self.sent - self.confirmed.min(self.sent) > WINDOW {
            self.confirm()?;
        }
        Ok(())
    }

    fn settle(&mut self) -> Result<(), Failure> {
        while self.confirmed < self.sent {
            self.confirm()?;
        }
        Ok(())
    }
}
