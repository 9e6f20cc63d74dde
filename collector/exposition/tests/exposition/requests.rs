//! What stands in requests of remote write, of either version.

use std::collections::BTreeMap;

use exposition::remote::{Batch, RemoteWriteHistograms, RemoteWriteSettings, RemoteWriteVersion, Sender};
use map::catalogue as names;

use crate::messages::{Histogram, Sample, v1, v2};
use crate::receiver::{Receiver, Reply};
use crate::scene::{self, Service, family};

const NOW: i64 = 1_700_000_000_000;
const STALE: u64 = 0x7FF0_0000_0000_0002;

/// A series of either version, its symbols looked up.
#[derive(Debug)]
struct Series {
    /// `name{label="value"}`.
    name: String,
    samples: Vec<Sample>,
    histograms: Vec<Histogram>,
    exemplars: Vec<(String, f64, i64)>,
}

fn named<'a>(labels: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let labels: Vec<(&str, &str)> = labels.collect();
    assert!(
        labels.windows(2).all(|pair| pair[0].0 < pair[1].0),
        "labels are not sorted: {labels:?}"
    );
    let text = labels.iter().map(|(name, value)| format!("{name}={value}"));
    text.collect::<Vec<_>>().join(" ")
}

fn of_v1(request: &v1::WriteRequest) -> Vec<Series> {
    let series = request.timeseries.iter().map(|series| Series {
        name: named(
            series
                .labels
                .iter()
                .map(|label| (label.name.as_str(), label.value.as_str())),
        ),
        samples: series.samples.clone(),
        histograms: series.histograms.clone(),
        exemplars: series
            .exemplars
            .iter()
            .map(|e| {
                (
                    named(e.labels.iter().map(|l| (l.name.as_str(), l.value.as_str()))),
                    e.value,
                    e.timestamp,
                )
            })
            .collect(),
    });
    series.collect()
}

fn of_v2(request: &v2::Request) -> Vec<Series> {
    let symbols = &request.symbols;
    assert_eq!(symbols[0], "", "the first symbol is empty");
    let unique: std::collections::BTreeSet<&String> = symbols.iter().collect();
    assert_eq!(unique.len(), symbols.len(), "every symbol is there once");
    let text = |reference: u32| symbols[reference as usize].as_str();
    let labels = |refs: &[u32]| {
        assert_eq!(refs.len() % 2, 0);
        named(refs.chunks(2).map(|pair| (text(pair[0]), text(pair[1]))))
    };
    let series = request.timeseries.iter().map(|series| Series {
        name: labels(&series.labels_refs),
        samples: series.samples.clone(),
        histograms: series.histograms.clone(),
        exemplars: series
            .exemplars
            .iter()
            .map(|e| (labels(&e.labels_refs), e.value, e.timestamp))
            .collect(),
    });
    series.collect()
}

/// A sender to `receiver`, which answers as a receiver of the version does.
async fn sender(version: RemoteWriteVersion, settings: RemoteWriteSettings) -> (Sender, Receiver) {
    let reply = if version == RemoteWriteVersion::V1 {
        Reply::Status(204)
    } else {
        Reply::Wrote { less: 0 }
    };
    let receiver = Receiver::start(&[reply]).await;
    let settings = RemoteWriteSettings {
        url: Some(receiver.url.clone()),
        version,
        ..settings
    };
    (
        Sender::spawn(settings).expect("the settings are right").0,
        receiver,
    )
}

fn offer(sender: &Sender, unix_ms: i64, tell: impl FnOnce(&mut Batch)) {
    let mut batch = sender.batch(unix_ms);
    tell(&mut batch);
    sender.offer(batch).expect("batches come in order");
}

async fn all(
    histograms: RemoteWriteHistograms,
    version: RemoteWriteVersion,
    services: &[Service],
) -> Vec<Series> {
    let settings = RemoteWriteSettings {
        histograms,
        external_labels: BTreeMap::from(
            [
                ("Zone", "b"),
                ("id", "ignored"),
                ("server", "other"),
                ("none", ""),
                ("zone", "a"),
            ]
            .map(|(n, v)| (n.to_owned(), v.to_owned())),
        ),
        ..RemoteWriteSettings::default()
    };
    let (sender, mut receiver) = sender(version, settings).await;
    offer(&sender, NOW, |batch| scene::write(services, batch));
    let taken = receiver.next().await;
    if version == RemoteWriteVersion::V1 {
        of_v1(&taken.v1())
    } else {
        of_v2(&taken.v2())
    }
}

fn cart(weight: f64) -> Service {
    Service::new("cart", weight, [0xA5; 16], NOW - 500)
}

const VERSIONS: [RemoteWriteVersion; 2] = [RemoteWriteVersion::V1, RemoteWriteVersion::V2];

#[tokio::test]
async fn classic_histograms_become_a_series_for_each_bucket_with_sorted_labels() {
    for version in VERSIONS {
        let series = all(RemoteWriteHistograms::Classic, version, &[cart(1.0)]).await;
        assert_eq!(series.len(), 1 + 28 + 2);
        assert_eq!(
            series[0].name,
            "Zone=b __name__=tracemap_requests_total id=cart kind=service server=other zone=a",
            "external labels are added and do not replace; empty ones are none"
        );
        assert_eq!(
            series[0]
                .samples
                .iter()
                .map(|s| (s.value, s.timestamp))
                .collect::<Vec<_>>(),
            [(1000.0, NOW)]
        );
        let bucket = series
            .iter()
            .find(|series| series.name.contains("le=0.256"))
            .expect("a bucket");
        assert_eq!(
            bucket.name,
            "Zone=b __name__=tracemap_own_seconds_bucket id=cart kind=service le=0.256 server=other zone=a"
        );
        assert_eq!(bucket.samples[0].value.to_bits(), 256.0_f64.to_bits());
        let trace = format!("trace_id={}", "a5".repeat(16));
        assert_eq!(bucket.exemplars, [(trace, 0.25, NOW - 500)]);
        assert_eq!(
            series
                .iter()
                .filter(|series| !series.exemplars.is_empty())
                .count(),
            1
        );
        let last: Vec<f64> = series[28..]
            .iter()
            .map(|series| series.samples[0].value)
            .collect();
        assert!(
            series[28].name.contains("le=+Inf") && series[29].name.contains("_sum"),
            "{series:?}"
        );
        assert_eq!((last[0], last[2]), (1000.0, 1000.0));
        assert!((last[1] - 500.5).abs() < 1e-9);
        let start = if version == RemoteWriteVersion::V1 {
            0
        } else {
            1_600_000_000_000
        };
        assert_eq!(bucket.samples[0].start_timestamp, start);
    }
}

#[tokio::test]
async fn native_histograms_are_one_series_whole_or_weighted() {
    for version in VERSIONS {
        for (weight, count) in [(1.0, 1000_u32), (2.5, 2500)] {
            let series = all(RemoteWriteHistograms::Native, version, &[cart(weight)]).await;
            assert_eq!(series.len(), 2);
            let [histogram] = series[1].histograms.as_slice() else {
                panic!("{series:?}")
            };
            assert_eq!(series[1].exemplars.len(), 1);
            assert_eq!((histogram.schema, histogram.timestamp), (4, NOW));
            let spanned: u32 = histogram.positive_spans.iter().map(|span| span.length).sum();
            if count == 1000 {
                assert_eq!(
                    (histogram.count_int, histogram.zero_count_int),
                    (Some(1000), Some(0))
                );
                assert_eq!(histogram.positive_deltas.len(), spanned as usize);
            } else {
                assert_eq!(
                    (histogram.count_float, histogram.zero_count_float),
                    (Some(f64::from(count)), Some(0.0))
                );
                assert_eq!(histogram.positive_counts.len(), spanned as usize);
                let sum: f64 = histogram.positive_counts.iter().sum();
                assert!((sum - f64::from(count)).abs() < 1e-9, "{sum}");
            }
        }
    }
}

#[tokio::test]
async fn both_kinds_go_together_where_that_is_asked_for() {
    for version in VERSIONS {
        let series = all(RemoteWriteHistograms::Both, version, &[cart(1.0)]).await;
        assert_eq!(
            series
                .iter()
                .filter(|series| !series.histograms.is_empty())
                .count(),
            1
        );
        assert_eq!(series.len(), 1 + 28 + 2 + 1);
    }
}

#[tokio::test]
async fn a_family_is_described_once_with_its_unit() {
    let (sender, mut receiver) = sender(RemoteWriteVersion::V1, RemoteWriteSettings::default()).await;
    offer(&sender, NOW, |batch| {
        scene::write(&[cart(1.0), Service::new("pay", 1.0, [1; 16], NOW)], batch);
    });
    let described = receiver.next().await.v1().metadata;
    let described: Vec<_> = described
        .iter()
        .map(|m| (m.metric_family_name.as_str(), m.kind, m.unit.as_str()))
        .collect();
    assert_eq!(
        described,
        [(names::REQUESTS, 1, ""), (names::OWN_SECONDS, 3, "seconds")]
    );

    let (sender, mut receiver) = self::sender(RemoteWriteVersion::V2, RemoteWriteSettings::default()).await;
    offer(&sender, NOW, |batch| scene::write(&[cart(1.0)], batch));
    let request = receiver.next().await.v2();
    let metadata = request.timeseries[1]
        .metadata
        .expect("metadata stands with each series");
    let text = |reference: u32| request.symbols[reference as usize].as_str();
    assert_eq!(metadata.kind, 3);
    assert_eq!(
        (text(metadata.help_ref), text(metadata.unit_ref)),
        (family(names::OWN_SECONDS).help, "seconds")
    );
}

#[tokio::test]
async fn exemplars_that_an_earlier_batch_had_are_not_sent_for_ever() {
    let (sender, mut receiver) = sender(RemoteWriteVersion::V1, RemoteWriteSettings::default()).await;
    for (unix_ms, exemplars) in [(NOW, 1), (NOW + 59_000, 1), (NOW + 60_000, 0)] {
        offer(&sender, unix_ms, |batch| scene::write(&[cart(1.0)], batch));
        let request = receiver.next().await.v1();
        assert_eq!(
            request
                .timeseries
                .iter()
                .map(|s| s.exemplars.len())
                .sum::<usize>(),
            exemplars,
            "{unix_ms}"
        );
    }
}

#[tokio::test]
async fn a_large_scrape_is_split_and_no_series_is_lost_or_sent_twice() {
    for version in VERSIONS {
        let settings = RemoteWriteSettings {
            max_samples_per_request: 40,
            ..RemoteWriteSettings::default()
        };
        let (sender, mut receiver) = sender(version, settings).await;
        let services = ["a", "b", "c", "d", "e"].map(|id| Service::new(id, 1.0, [1; 16], NOW));
        offer(&sender, NOW, |batch| scene::write(&services, batch));
        let mut seen = std::collections::BTreeSet::new();
        while seen.len() < 5 * 31 {
            let taken = receiver.next().await;
            let series = if version == RemoteWriteVersion::V1 {
                of_v1(&taken.v1())
            } else {
                of_v2(&taken.v2())
            };
            assert!(series.len() < 40 + 30, "{} series", series.len());
            for series in series {
                assert!(seen.insert(series.name.clone()), "{} twice", series.name);
            }
        }
        sender
            .shutdown(std::time::Duration::from_mins(1))
            .await
            .expect("all was answered");
        assert!(receiver.is_quiet());
    }
}

#[tokio::test]
async fn a_series_that_ended_is_marked_once_in_every_form_it_had() {
    for version in VERSIONS {
        let settings = RemoteWriteSettings {
            histograms: RemoteWriteHistograms::Both,
            ..RemoteWriteSettings::default()
        };
        let (sender, mut receiver) = sender(version, settings).await;
        let (cart, pay) = (cart(1.0), Service::new("pay", 1.0, [1; 16], NOW));
        let both = [cart.clone(), pay];
        for (i, services) in [(0, &both[..]), (1, &both[..1]), (2, &both[..1]), (3, &both[..])] {
            offer(&sender, NOW + i, |batch| scene::write(services, batch));
            let taken = receiver.next().await;
            let series = if version == RemoteWriteVersion::V1 {
                of_v1(&taken.v1())
            } else {
                of_v2(&taken.v2())
            };
            let is_stale = |series: &&Series| {
                let sample = series
                    .samples
                    .iter()
                    .any(|sample| sample.value.to_bits() == STALE);
                sample
                    || series
                        .histograms
                        .iter()
                        .any(|histogram| histogram.sum.to_bits() == STALE)
            };
            let stale: Vec<&Series> = series.iter().filter(is_stale).collect();
            assert_eq!(stale.len(), if i == 1 { 32 } else { 0 }, "batch {i}");
            assert!(
                stale.iter().all(|series| series.name.contains("id=pay")),
                "batch {i}"
            );
            assert!(
                stale.iter().all(|series| series.exemplars.is_empty()),
                "batch {i}"
            );
            assert_eq!(series.len(), 32 * services.len() + stale.len(), "batch {i}");
        }
        sender
            .shutdown(std::time::Duration::from_mins(1))
            .await
            .expect("all was answered");
    }
}

#[tokio::test]
async fn the_headers_are_those_of_the_version() {
    for (version, number) in [
        (RemoteWriteVersion::V1, "0.1.0"),
        (RemoteWriteVersion::V2, "2.0.0"),
    ] {
        let token = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(token.path(), "first\n").expect("the file is ours");
        let settings = RemoteWriteSettings {
            bearer_token_file: Some(token.path().to_owned()),
            headers: exposition::remote::Headers(BTreeMap::from([(
                "X-Scope-OrgID".to_owned(),
                "team".to_owned(),
            )])),
            ..RemoteWriteSettings::default()
        };
        let (sender, mut receiver) = sender(version, settings).await;
        for (i, expected) in [(0, "Bearer first"), (1, "Bearer second")] {
            offer(&sender, NOW + i, |batch| scene::write(&[cart(1.0)], batch));
            let taken = receiver.next().await;
            assert_eq!(
                taken.header("authorization"),
                expected,
                "a new token is read without a restart"
            );
            assert_eq!(taken.header("x-prometheus-remote-write-version"), number);
            assert_eq!(taken.header("content-encoding"), "snappy");
            assert_eq!(taken.header("x-scope-orgid"), "team");
            assert!(taken.header("user-agent").starts_with("tracemap/"));
            std::fs::write(token.path(), "second").expect("the file is ours");
        }
    }
}
