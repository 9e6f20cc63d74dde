//! The shares of new traces to record, as a Jaeger collector sets them for a service and its operations.
//!
//! In: answers of `GET /sampling?service=NAME`, every so often. Out: a workload's [`Share`], changed while it is in use.
//! Left out on purpose: rate limits, see `sampling/strategy.rs`. Where nothing can be learnt, the last shares stay.
//! Source: Jaeger documentation, "APIs", remote sampling configuration; `sampling.proto` as JSON.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::BoxError;
use crate::config::RemoteSamplingConfig;
use crate::sampling::{Share, Strategy};
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
            Ok(strategy) => {
                followed.metrics.remote_sampling(PollOutcome::Applied);
                if followed.share.set(&strategy) {
                    let (ratio, operations) = (strategy.share, strategy.operations.len());
                    info!(%service, ratio, operations, "share of new traces set from afar");
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

/// A byte of a text in a query, percent-encoded where it must be.
pub(crate) fn query_byte(byte: u8) -> String {
    if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
        char::from(byte).to_string()
    } else {
        format!("%{byte:02X}")
    }
}

async fn ask(uri: Uri) -> Result<Strategy, BoxError> {
    // A connection of its own each time: the next question is a minute away.
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let response = client.request(Request::get(uri).body(Empty::new())?).await?;
    if response.status() != StatusCode::OK {
        return Err(format!("the answer has status {}", response.status().as_u16()).into());
    }
    let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await?;
    Strategy::from_json(&body.to_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_services_name_is_text_in_the_query() {
        let uri = address("http://jaeger:5778/", "cart & co").expect("an address");
        assert_eq!(
            uri.to_string(),
            "http://jaeger:5778/sampling?service=cart%20%26%20co"
        );
    }
}
