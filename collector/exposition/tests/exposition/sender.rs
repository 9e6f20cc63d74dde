//! How the sender takes what receivers answer.

use std::time::Duration;

use exposition::remote::{DropReason, OutOfOrder, RemoteWriteSettings, RemoteWriteVersion, Sender};

use crate::receiver::{Receiver, Reply};
use crate::scene::{self, Service};

const NOW: i64 = 1_700_000_000_000;
/// Samples of [`batch`]: a counter and a histogram.
const SAMPLES: u64 = 31;
/// Longest wait for any one state.
const PATIENCE: Duration = Duration::from_mins(1);

fn settings(url: &str, version: RemoteWriteVersion) -> RemoteWriteSettings {
    RemoteWriteSettings {
        url: Some(url.to_owned()),
        version,
        ..RemoteWriteSettings::default()
    }
}

async fn start(script: &[Reply], version: RemoteWriteVersion) -> (Sender, Receiver) {
    let receiver = Receiver::start(script).await;
    let (sender, _) = Sender::spawn(settings(&receiver.url, version)).expect("the settings are right");
    (sender, receiver)
}

fn offer(sender: &Sender, unix_ms: i64) {
    let mut batch = sender.batch(unix_ms);
    scene::write(&[Service::new("cart", 1.0, [1; 16], unix_ms)], &mut batch);
    sender.offer(batch).expect("batches come in order");
}

#[tokio::test]
async fn a_fault_of_the_receiver_is_tried_again_with_the_same_bytes() {
    let script = [
        Reply::Status(503),
        Reply::After(429, "0"),
        Reply::Status(500),
        Reply::Status(204),
    ];
    let (sender, mut receiver) = start(&script, RemoteWriteVersion::V1).await;
    offer(&sender, NOW);
    let first = receiver.next().await;
    for _ in 0..3 {
        assert_eq!(receiver.next().await.body, first.body);
    }
    let stats = sender.queue_is_empty().await;
    assert_eq!((stats.retried_requests, stats.sent_requests), (3, 1));
    assert_eq!(
        (stats.sent_samples, stats.dropped_total(), stats.queued_bytes),
        (SAMPLES, 0, 0)
    );
    assert_eq!((stats.newest_sent_ms, stats.queued_batches), (NOW as u64, 0));
}

#[tokio::test]
async fn what_the_receiver_refuses_is_dropped_counted_and_not_in_the_way_of_the_next() {
    for (status, reason) in [
        (400, DropReason::Refused),
        (404, DropReason::Refused),
        (403, DropReason::Unauthorized),
        (415, DropReason::Unsupported),
    ] {
        let (sender, mut receiver) = start(
            &[Reply::Status(status), Reply::Status(204)],
            RemoteWriteVersion::V1,
        )
        .await;
        offer(&sender, NOW);
        offer(&sender, NOW + 1);
        for i in 0..2 {
            let request = receiver.next().await.v1();
            assert_eq!(
                request.timeseries[0].samples[0].timestamp,
                NOW + i,
                "in the order of time"
            );
        }
        let stats = sender.queue_is_empty().await;
        assert_eq!(
            (stats.dropped(reason), stats.dropped_total()),
            (SAMPLES, SAMPLES),
            "{status}"
        );
        assert_eq!(
            (stats.sent_samples, stats.retried_requests),
            (SAMPLES, 0),
            "{status}"
        );
    }
}

#[tokio::test]
async fn a_receiver_that_does_not_know_the_new_version_gets_the_same_samples_in_the_old_one() {
    // What 1.0 answers to a type it does not know: 415 or 400, or nothing odd at all and nothing is stored.
    for first in [Reply::Status(415), Reply::Status(400), Reply::Status(204)] {
        let (sender, mut receiver) = start(&[first, Reply::Status(204)], RemoteWriteVersion::Auto).await;
        offer(&sender, NOW);
        let new = receiver.next().await.v2();
        let old = receiver.next().await.v1();
        assert_eq!(new.timeseries.len(), old.timeseries.len(), "{first:?}");
        offer(&sender, NOW + 1);
        receiver.next().await.v1();
        let stats = sender.queue_is_empty().await;
        assert_eq!(
            (stats.sent_samples, stats.dropped_total()),
            (2 * SAMPLES, 0),
            "{first:?}"
        );
    }
}

#[tokio::test]
async fn a_bad_request_in_both_versions_says_nothing_about_the_version() {
    let script = [Reply::Status(400), Reply::Status(400), Reply::Wrote { less: 0 }];
    let (sender, mut receiver) = start(&script, RemoteWriteVersion::Auto).await;
    offer(&sender, NOW);
    offer(&sender, NOW + 1);
    assert!(receiver.next().await.is_v2());
    assert!(!receiver.next().await.is_v2());
    assert!(
        receiver.next().await.is_v2(),
        "the next batch is tried in the new version again"
    );
    let stats = sender.queue_is_empty().await;
    assert_eq!(
        (stats.sent_samples, stats.dropped(DropReason::Refused)),
        (SAMPLES, SAMPLES)
    );
}

#[tokio::test]
async fn a_receiver_of_the_new_version_keeps_it_and_what_it_did_not_write_is_counted() {
    let script = [
        Reply::Wrote { less: 0 },
        Reply::Wrote { less: 4 },
        Reply::Status(400),
        Reply::Wrote { less: 0 },
    ];
    let (sender, mut receiver) = start(&script, RemoteWriteVersion::Auto).await;
    for i in 0..4 {
        offer(&sender, NOW + i);
        assert!(receiver.next().await.is_v2(), "request {i}");
    }
    let stats = sender.queue_is_empty().await;
    assert_eq!(stats.sent_samples, 3 * SAMPLES - 4);
    assert_eq!(
        (
            stats.dropped(DropReason::Unconfirmed),
            stats.dropped(DropReason::Refused)
        ),
        (4, SAMPLES)
    );
}

#[tokio::test]
async fn where_only_the_new_version_is_wanted_an_unconfirmed_write_is_a_loss() {
    let (sender, mut receiver) = start(&[Reply::Status(204)], RemoteWriteVersion::V2).await;
    offer(&sender, NOW);
    assert!(receiver.next().await.is_v2());
    let stats = sender.queue_is_empty().await;
    assert_eq!(
        (stats.sent_samples, stats.dropped(DropReason::Unconfirmed)),
        (0, SAMPLES)
    );
    assert_eq!(stats.newest_sent_ms, 0, "nothing is known to have arrived");
}

#[tokio::test]
async fn a_batch_that_is_not_newer_is_refused() {
    let (sender, _receiver) = start(&[Reply::Status(204)], RemoteWriteVersion::V1).await;
    offer(&sender, NOW);
    for unix_ms in [NOW, NOW - 1] {
        let refused = sender.offer(sender.batch(unix_ms));
        let last_ms = NOW;
        assert_eq!(refused, Err(OutOfOrder { unix_ms, last_ms }));
    }
}

#[tokio::test]
async fn the_oldest_scrapes_go_where_memory_is_short() {
    let mut receiver = Receiver::start(&[Reply::Never]).await;
    let mut settings = settings(&receiver.url, RemoteWriteVersion::V1);
    settings.max_memory = config::ByteSize(0);
    let (sender, _) = Sender::spawn(settings).expect("the settings are right");
    offer(&sender, NOW);
    receiver.next().await;
    for i in 1..=3 {
        offer(&sender, NOW + i);
    }
    assert_eq!(
        sender.stats().dropped(DropReason::QueueFull),
        2 * SAMPLES,
        "the latest waits, one is under way"
    );
    let stats = sender.stats();
    assert_eq!(stats.queued_batches, 2);
    assert!(stats.queued_bytes > 0);
}

#[tokio::test]
async fn a_shutdown_delivers_what_it_can_and_counts_the_rest() {
    let (sender, mut receiver) = start(&[Reply::Status(204)], RemoteWriteVersion::V1).await;
    offer(&sender, NOW);
    offer(&sender, NOW + 1);
    let reader = sender.stats_reader();
    assert_eq!(sender.shutdown(PATIENCE).await, Ok(()));
    receiver.next().await;
    receiver.next().await;
    let stats = reader.stats();
    assert_eq!((stats.newest_sent_ms, stats.queued_batches), (NOW as u64 + 1, 0));

    for stuck in [Reply::Never, Reply::After(503, "300")] {
        let (sender, mut receiver) = start(&[stuck], RemoteWriteVersion::V1).await;
        offer(&sender, NOW);
        offer(&sender, NOW + 1);
        receiver.next().await;
        let missing = sender
            .shutdown(Duration::ZERO)
            .await
            .expect_err("nothing was taken");
        assert_eq!(missing.samples, 2 * SAMPLES, "{stuck:?}");
    }
}

#[tokio::test]
async fn a_receiver_that_comes_late_gets_what_waited() {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let address = listener.local_addr().expect("a bound listener has an address");
    drop(listener);
    let (sender, _) = Sender::spawn(settings(&format!("http://{address}/"), RemoteWriteVersion::V1))
        .expect("the settings are right");
    offer(&sender, NOW);
    crate::peer::until("a try", PATIENCE, async || {
        (sender.stats().retried_requests > 0).then_some(())
    })
    .await;
    let mut receiver = Receiver::listen(address, &[Reply::Status(204)]).await;
    assert_eq!(receiver.next().await.v1().timeseries.len() as u64, SAMPLES);
}

trait Settled {
    /// The counts once every batch was answered.
    async fn queue_is_empty(&self) -> exposition::remote::RemoteWriteStats;
}

impl Settled for Sender {
    async fn queue_is_empty(&self) -> exposition::remote::RemoteWriteStats {
        crate::peer::until("an empty queue", PATIENCE, async || {
            let stats = self.stats();
            (stats.queued_bytes == 0).then_some(stats)
        })
        .await
    }
}
