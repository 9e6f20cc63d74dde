//! A publisher that sends a few messages, waits for their acknowledgements, and connects anew where its connection broke.
//!
//! In: a protocol's way to connect and to send. Out: every message of the ledger sent until it is acknowledged.
//! Left out on purpose: Kafka and MQTT, whose clients keep what is not acknowledged themselves.

use std::net::SocketAddr;

use super::ledger::Ledger;
use super::{AGAIN_AFTER, in_time};
use crate::Failure;

/// Messages under way at once.
const WINDOW: usize = 16;

/// A protocol's client.
pub(crate) trait Publisher: Sized {
    /// Whether the broker knows a message that it has already when it is sent again.
    const REPEATS_ARE_KNOWN: bool;

    async fn connect(to: SocketAddr) -> Result<Self, Failure>;

    /// Sends messages and tells the ledger of those that are acknowledged.
    ///
    /// # Errors
    /// The connection is of no more use.
    async fn send(&mut self, numbers: &[u64], ledger: &Ledger) -> Result<(), Failure>;
}

/// Publishes until the ledger wants no more.
pub(crate) async fn publish<P: Publisher>(to: SocketAddr, ledger: &Ledger) -> Result<(), Failure> {
    let mut open = Vec::new();
    while !ledger.is_over() {
        let Ok(mut client) = in_time(P::connect(to)).await else {
            tokio::time::sleep(AGAIN_AFTER).await;
            continue;
        };
        if all_were_sent(&mut client, &mut open, ledger).await {
            return Ok(());
        }
    }
    Err(format!("{} messages were never acknowledged", open.len()).into())
}

/// Whether there are no more; otherwise the connection broke, and `open` are not acknowledged.
async fn all_were_sent<P: Publisher>(client: &mut P, open: &mut Vec<u64>, ledger: &Ledger) -> bool {
    loop {
        if open.is_empty() {
            match ledger.due(WINDOW) {
                Some(numbers) => *open = numbers,
                None => return true,
            }
        } else {
            for number in open.iter() {
                ledger.repeated(*number, P::REPEATS_ARE_KNOWN);
            }
        }
        if open.is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            continue;
        }
        let sent = in_time(client.send(open, ledger)).await;
        open.retain(|number| !ledger.is_acknowledged(*number));
        if sent.is_err() || ledger.is_over() {
            return false;
        }
    }
}
