//! Clients of Redis, made with redis-rs: entries added in pipelines, and read from where the reader was.
//!
//! In: messages of the ledger. Out: which entries have an id, and what was read.
//! Left out on purpose: consumer groups, whose pending entries a reader would have to claim itself.

use std::net::SocketAddr;

use redis::aio::MultiplexedConnection;
use redis::streams::{StreamReadOptions, StreamReadReply};
use redis::{AsyncCommands as _, AsyncConnectionConfig, Client};

use super::ledger::Ledger;
use super::{AGAIN_AFTER, ANSWER_WITHIN, DESTINATION, LOOK_EVERY, in_time, publisher};
use crate::Failure;

const FIELD: &str = "payload";
/// Entries read at once.
const AT_ONCE: usize = 50;

/// A connection until it breaks.
pub(crate) struct Publisher {
    connection: MultiplexedConnection,
}

async fn connected(to: SocketAddr) -> Result<MultiplexedConnection, Failure> {
    let client = Client::open(format!("redis://{to}/?protocol=resp3"))?;
    let config = AsyncConnectionConfig::new().set_response_timeout(Some(ANSWER_WITHIN));
    Ok(client
        .get_multiplexed_async_connection_with_config(&config)
        .await?)
}

impl publisher::Publisher for Publisher {
    const REPEATS_ARE_KNOWN: bool = false;

    async fn connect(to: SocketAddr) -> Result<Self, Failure> {
        let connection = connected(to).await?;
        Ok(Self { connection })
    }

    async fn send(&mut self, numbers: &[u64], ledger: &Ledger) -> Result<(), Failure> {
        let mut pipeline = redis::pipe();
        for number in numbers {
            pipeline.xadd(DESTINATION, "*", &[(FIELD, ledger.payload(*number))]);
        }
        let ids: Vec<String> = pipeline.query_async(&mut self.connection).await?;
        for (number, _) in numbers.iter().zip(ids) {
            ledger.acknowledged(*number);
        }
        Ok(())
    }
}

/// Reads on from the last entry until the ledger is over.
pub(crate) async fn consume(from: SocketAddr, ledger: &Ledger) -> Result<(), Failure> {
    let mut last = "0".to_owned();
    while !ledger.is_over() {
        if until_it_breaks(from, &mut last, ledger).await.is_err() {
            tokio::time::sleep(AGAIN_AFTER).await;
        }
    }
    Ok(())
}

async fn until_it_breaks(from: SocketAddr, last: &mut String, ledger: &Ledger) -> Result<(), Failure> {
    let mut connection = in_time(connected(from)).await?;
    let millis = usize::try_from(LOOK_EVERY.as_millis()).unwrap_or(usize::MAX);
    let options = StreamReadOptions::default().block(millis).count(AT_ONCE);
    while !ledger.is_over() {
        let (asked, streams) = ([last.clone()], [DESTINATION]);
        let read = connection.xread_options(&streams, &asked, &options);
        let read: Option<StreamReadReply> = in_time(read).await?;
        let streams = read.map(|read| read.keys).unwrap_or_default();
        for entry in streams.into_iter().flat_map(|stream| stream.ids) {
            let payload: Vec<u8> = entry.get(FIELD).unwrap_or_default();
            ledger.came(&payload, false);
            *last = entry.id;
        }
        if *last != asked[0] {
            // Redis holds all of a stream in memory.
            let mut trim = redis::cmd("XTRIM");
            trim.arg(DESTINATION).arg("MINID").arg(last.as_str());
            let _: u64 = in_time(trim.query_async(&mut connection)).await?;
        }
    }
    Ok(())
}
