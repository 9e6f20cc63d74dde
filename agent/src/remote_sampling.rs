//! The share of new traces to record, as a Jaeger collector sets it for a service.
//!
//! In: answers of `GET /sampling?service=NAME`, every so often. Out: a workload's [`Share`], changed while it is in use.
//! Left out on purpose: strategies by operation beyond their default, and rate limits: a share that moves with the load
//! cannot be scaled up again. Where nothing can be learnt, the last share stays.
//! Source: Jaeger documentation, "APIs", remote sampling configuration; `sampling.proto` as JSON.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::BoxError;
use crate::config::RemoteSamplingConfig;
use crate::sampling::{Sampler, Share};
use crate::telemetry::{Metrics, PollOutcome};

/// Longest answer that is read, in bytes.
const MAX_ANSWER: usize = 256 * 1024;
/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A service whose share is asked for.
pub(crate) struct Followed {
    pub(crate) service: String,
    pub(crate) share: Arc<Share>,
    pub(crate) metrics: Arc<Metrics>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Strategy {
    probabilistic_sampling: Option<Probabilistic>,
    operation_sampling: Option<ByOperation>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Probabilistic {
    sampling_rate: f64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ByOperation {
    default_sampling_probability: f64,
}

/// Asks at once, then every [`RemoteSamplingConfig::interval`], until `stop`.
pub(crate) async fn follow(
    config: RemoteSamplingConfig,
    followed: Followed,
    mut stop: watch::Receiver<bool>,
) {
    let Ok(uri) = address(&config.endpoint, &followed.service) else {
        // Checked before: `AgentConfig::check_with` asks for an address.
        return;
    };
    let mut ticks = tokio::time::interval(config.interval.0);
    let mut failing = false;
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            _ = ticks.tick() => {}
        }
        let asked = tokio::time::timeout(TIMEOUT, ask(uri.clone()));
        let answer = asked.await.unwrap_or_else(|late| Err(late.into()));
        let service = &followed.service;
        match answer {
            Ok(ratio) => {
                followed.metrics.remote_sampling(PollOutcome::Applied);
                if followed.share.set(Sampler::ratio(ratio)) {
                    info!(%service, ratio, "share of new traces set from afar");
                }
                failing = false;
            }
            Err(error) => {
                followed.metrics.remote_sampling(PollOutcome::Failed);
                if !std::mem::replace(&mut failing, true) {
                    warn!(%service, %error, "no sampling strategy learnt: the last share stays");
                }
            }
        }
    }
}

fn address(endpoint: &str, service: &str) -> Result<Uri, http::uri::InvalidUri> {
    let query: String = service.bytes().map(query_byte).collect();
    let base = endpoint.trim_end_matches('/');
    format!("{base}/sampling?service={query}").parse()
}

fn query_byte(byte: u8) -> String {
    if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
        char::from(byte).to_string()
    } else {
        format!("%{byte:02X}")
    }
}

async fn ask(uri: Uri) -> Result<f64, BoxError> {
    // A connection of its own each time: the next question is a minute away.
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let response = client.request(Request::get(uri).body(Empty::new())?).await?;
    if response.status() != StatusCode::OK {
        return Err(format!("the answer has status {}", response.status().as_u16()).into());
    }
    let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await?;
    share(&body.to_bytes())
}

/// The share that an answer sets, 0 to 1.
fn share(answer: &[u8]) -> Result<f64, BoxError> {
    let strategy: Strategy = serde_json::from_slice(answer)?;
    let by_operation = strategy.operation_sampling;
    let ratio = by_operation
        .map(|of| of.default_sampling_probability)
        .or_else(|| Some(strategy.probabilistic_sampling?.sampling_rate));
    match ratio {
        Some(ratio) if (0.0..=1.0).contains(&ratio) => Ok(ratio),
        Some(ratio) => Err(format!("the share is {ratio}, but it must be between 0 and 1").into()),
        None => Err("the strategy has no share".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_sets_a_share_or_says_why_not() {
        let said = |text: &str| share(text.as_bytes()).map_err(|error| error.to_string());
        let rate = "{\"strategyType\":\"PROBABILISTIC\",\"probabilisticSampling\":{\"samplingRate\":0.25}}";
        assert_eq!(said(rate), Ok(0.25));
        let by_operation = "{\"probabilisticSampling\":{\"samplingRate\":1},\"operationSampling\":\
                            {\"defaultSamplingProbability\":0.5,\"perOperationStrategies\":[]}}";
        assert_eq!(said(by_operation), Ok(0.5));
        for (answer, expected) in [
            (
                "{\"rateLimitingSampling\":{\"maxTracesPerSecond\":5}}",
                "the strategy has no share",
            ),
            (
                "{\"probabilisticSampling\":{\"samplingRate\":25}}",
                "the share is 25, but it must be between 0 and 1",
            ),
        ] {
            assert_eq!(said(answer), Err(expected.to_owned()));
        }
        assert!(said("<html>").is_err());
    }

    #[test]
    fn a_services_name_is_text_in_the_query() {
        let uri = address("http://jaeger:5778/", "cart & co").expect("an address");
        assert_eq!(
            uri.to_string(),
            "http://jaeger:5778/sampling?service=cart%20%26%20co"
        );
    }
}
