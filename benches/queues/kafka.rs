//! A producer for Kafka: `Produce` version 7 with batches of 100 records, or of one where one message is asked for, made once,
//! acknowledged by the leader.

use std::io::{BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;

use crate::measure::Producer;
use crate::{BODY, Failure};

pub(crate) struct Kafka {
    stream: BufReader<TcpStream>,
    /// With [`RECORDS`], and with one.
    request: Vec<u8>,
    single: Vec<u8>,
    unsettled: u64,
}

const RECORDS: u64 = 100;
/// Batches under way.
const WINDOW: u64 = 5;
const TOPIC: &str = "orders";

/// One node that is broker and controller, with few threads and a small heap.
pub(crate) fn broker(jars: &Path, dir: &Path, port: u16, controller: u16) -> Result<Command, Failure> {
    let config = dir.join("server.properties");
    let text = format!(
        "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@127.0.0.1:{controller}\n\
         listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
         controller.listener.names=CONTROLLER\nlog.dirs={}\noffsets.topic.replication.factor=1\n\
         transaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\nlog.retention.bytes=268435456\n\
         log.segment.bytes=67108864\nnum.partitions=1\n",
        dir.join("data").display()
    );
    std::fs::write(&config, text)?;
    let classes = format!("{}/*", jars.canonicalize()?.display());
    let java = |class: &str, heap: &str, args: &[&str]| {
        let mut command = Command::new("java");
        command
            .args([heap, "-XX:+UseSerialGC", "-cp", &classes, class])
            .args(args);
        command
    };
    let config = config.display().to_string();
    let format = ["format", "-t", "4L6g3nShT-eMCtK--X86sw", "-c", &config];
    let formatted = java("kafka.tools.StorageTool", "-Xmx128m", &format).output()?;
    if !formatted.status.success() {
        return Err(String::from_utf8_lossy(&formatted.stderr).into_owned().into());
    }
    Ok(java("kafka.Kafka", "-Xmx512m", &[&config]))
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn signed(value: usize, out: &mut Vec<u8>) {
    varint((value as u64) << 1, out);
}

/// A record batch of version 2 with records that bear no headers.
fn batch(count: u64, lz4: bool) -> Result<Vec<u8>, Failure> {
    let mut records = Vec::new();
    for offset in 0..count as usize {
        let mut record = vec![0, 0];
        signed(offset, &mut record);
        // No key.
        record.push(1);
        signed(BODY, &mut record);
        record.resize(record.len() + BODY, b'x');
        record.push(0);
        signed(record.len(), &mut records);
        records.extend_from_slice(&record);
    }
    if lz4 {
        let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
        encoder.write_all(&records)?;
        records = encoder.finish()?;
    }
    let mut checked = Vec::new();
    checked.extend_from_slice(&(if lz4 { 3_u16 } else { 0 }).to_be_bytes());
    checked.extend_from_slice(&(count as u32 - 1).to_be_bytes());
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)?
        .as_millis() as u64;
    checked.extend_from_slice(&[now.to_be_bytes(), now.to_be_bytes()].concat());
    // No idempotence: producer id, epoch and sequence are -1.
    checked.extend_from_slice(&[0xff; 14]);
    checked.extend_from_slice(&(count as u32).to_be_bytes());
    checked.extend_from_slice(&records);
    let mut out = vec![0; 8];
    out.extend_from_slice(&(checked.len() as u32 + 9).to_be_bytes());
    out.extend_from_slice(&[0xff, 0xff, 0xff, 0xff, 2]);
    out.extend_from_slice(&crc32c::crc32c(&checked).to_be_bytes());
    out.extend_from_slice(&checked);
    Ok(out)
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes()[..], text.as_bytes()].concat()
}

fn request(api: u16, version: u16, body: &[u8]) -> Vec<u8> {
    let head = [
        &api.to_be_bytes()[..],
        &version.to_be_bytes(),
        &[0, 0, 0, 1],
        &text("bench"),
    ]
    .concat();
    [&((head.len() + body.len()) as u32).to_be_bytes()[..], &head, body].concat()
}

/// A batch for the only partition.
fn produce(batch: &[u8]) -> Vec<u8> {
    let records = [&(batch.len() as u32).to_be_bytes()[..], batch].concat();
    let one = 1_u32.to_be_bytes();
    let head = [
        &0xffff_u16.to_be_bytes()[..],
        &1_u16.to_be_bytes(),
        &30_000_u32.to_be_bytes(),
    ]
    .concat();
    let topic = [&one[..], &text(TOPIC), &one, &0_u32.to_be_bytes(), &records].concat();
    request(0, 7, &[head, topic].concat())
}

impl Kafka {
    pub(crate) fn connect(to: SocketAddr, lz4: bool) -> Result<Self, Failure> {
        let stream = TcpStream::connect(to)?;
        stream.set_nodelay(true)?;
        let mut kafka = Self {
            stream: BufReader::new(stream),
            request: produce(&batch(RECORDS, lz4)?),
            single: produce(&batch(1, lz4)?),
            unsettled: 0,
        };
        kafka.wait_for_the_topic()?;
        Ok(kafka)
    }

    /// Asking for it makes it, a moment later.
    #[expect(
        clippy::disallowed_methods,
        reason = "the state is another process's, and it can only be asked again"
    )]
    fn wait_for_the_topic(&mut self) -> Result<(), Failure> {
        for _ in 0..200 {
            let names = [&1_u32.to_be_bytes()[..], &text(TOPIC), &[1]].concat();
            self.stream.get_mut().write_all(&request(3, 4, &names))?;
            let metadata = self.response()?;
            // Whether the topic has a partition: its name is followed by "internal" and the number of them.
            let at = metadata
                .windows(TOPIC.len())
                .rposition(|window| window == TOPIC.as_bytes());
            let partitions = at.and_then(|at| metadata.get(at + TOPIC.len() + 1..at + TOPIC.len() + 5));
            if partitions == Some(&[0, 0, 0, 1]) {
                self.stream.get_mut().write_all(&self.request.clone())?;
                let error = error_of(&self.response()?);
                if error == 0 {
                    return Ok(());
                }
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        Err("the topic never came".into())
    }

    fn response(&mut self) -> Result<Vec<u8>, Failure> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let mut response = vec![0; u32::from_be_bytes(length) as usize];
        self.stream.read_exact(&mut response)?;
        Ok(response)
    }

    fn one_settled(&mut self) -> Result<(), Failure> {
        let response = self.response()?;
        let error = error_of(&response);
        self.unsettled -= 1;
        if error == 0 {
            Ok(())
        } else {
            Err(format!("Kafka refused a batch: error {error}").into())
        }
    }
}

/// Of the only partition: behind the correlation id, two counts, the topic and the partition.
fn error_of(response: &[u8]) -> i16 {
    let at = 4 + 4 + 2 + TOPIC.len() + 4 + 4;
    response
        .get(at..at + 2)
        .map_or(-1, |error| i16::from_be_bytes([error[0], error[1]]))
}

impl Producer for Kafka {
    fn send(&mut self, messages: u64) -> Result<(), Failure> {
        for _ in 0..messages / RECORDS {
            let stream = self.stream.get_mut();
            stream.write_all(&self.request)?;
            self.unsettled += 1;
            if self.unsettled >= WINDOW {
                self.one_settled()?;
            }
        }
        Ok(())
    }

    fn settle(&mut self) -> Result<(), Failure> {
        while self.unsettled > 0 {
            self.one_settled()?;
        }
        Ok(())
    }

    fn at_once(&self) -> u64 {
        RECORDS
    }

    fn send_one(&mut self) -> Result<(), Failure> {
        self.stream.get_mut().write_all(&self.single)?;
        self.unsettled += 1;
        Ok(())
    }
}
