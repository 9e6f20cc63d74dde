//! The whole shop on its sockets, behind proxies that pass everything on.
//!
//! In: a user's requests and planted faults. Out: what the proxies saw and what the OTLP server received.
//! Left out on purpose: the agents. What they make of this traffic is tested where they are.

mod opening;
mod pages;
mod planted;
mod proxy;
pub(super) mod receiver;
mod spans;

use std::time::Duration;

use ::http::{HeaderMap, HeaderValue, Method, StatusCode};
use bytes::Bytes;
use config::HumanDuration;
use serde_json::Value;
use tokio::sync::oneshot;

use self::proxy::{Log, Seen};
use self::receiver::{Received, Receiver};
use super::command::DemoError;
use super::http::Client;
use super::services::{PAYMENT, WEB};
use super::*;

/// A shop without users and without errors of its own, behind pass-through proxies.
struct Running {
    handle: ShopHandle,
    workloads: Vec<ShopWorkload>,
    proxies: HashMap<&'static str, Proxies>,
    log: Log,
    receiver: Receiver,
    client: Client,
    stop: oneshot::Sender<()>,
}

impl Running {
    async fn start() -> Self {
        Self::with_users(0.0).await
    }

    async fn with_users(requests_per_second: f64) -> Self {
        let settings = ShopSettings {
            control: any_port(),
            requests_per_second,
            error_rate: 0.0,
            flaws: false,
        };
        let shop = Shop::bind(settings).await.unwrap();
        let workloads = shop.workloads();
        let (proxies, log) = proxy::start(&workloads).await;
        let (receiver, endpoint) = Receiver::start().await;
        let (stop, stopped) = oneshot::channel::<()>();
        let handle = shop.start(&proxies, &endpoint, async { drop(stopped.await) });
        Self {
            handle,
            workloads,
            proxies,
            log,
            receiver,
            client: Client::new(None),
            stop,
        }
    }

    /// A user's request to the front.
    async fn visit(&self, method: &str, path: &str, headers: HeaderMap) -> (StatusCode, Value) {
        self.ask(self.proxies[WEB].inbound, method, path, headers, "")
            .await
    }

    async fn ask(
        &self,
        server: SocketAddr,
        method: &str,
        path: &str,
        headers: HeaderMap,
        body: &'static str,
    ) -> (StatusCode, Value) {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let answered = self
            .client
            .send(method, server, path, headers, Bytes::from_static(body.as_bytes()))
            .await;
        let (status, body) = answered.unwrap();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    /// Asks the payment service itself, past its proxies.
    async fn pay(&self) -> (StatusCode, Duration) {
        let payment = self
            .workloads
            .iter()
            .find(|workload| workload.service == PAYMENT)
            .unwrap();
        let begun = std::time::Instant::now();
        let (status, _) = self
            .ask(payment.upstream, "POST", "/charges", HeaderMap::new(), "")
            .await;
        (status, begun.elapsed())
    }

    async fn act(&self, action: DemoAction) -> Result<String, DemoError> {
        command(self.handle.control(), action).await
    }

    async fn slow(&self, service: &str, milliseconds: u64) -> Result<String, DemoError> {
        let duration = HumanDuration::from_millis(milliseconds);
        self.act(DemoAction::Slow {
            service: service.to_owned(),
            duration,
        })
        .await
    }

    async fn fail(&self, service: &str, share: &str) -> Result<String, DemoError> {
        self.act(DemoAction::Fail {
            service: service.to_owned(),
            share: share.parse().unwrap(),
        })
        .await
    }

    async fn heal(&self, service: Option<&str>) -> Result<String, DemoError> {
        self.act(DemoAction::Heal {
            service: service.map(str::to_owned),
        })
        .await
    }

    fn seen(&self) -> Vec<Seen> {
        self.log.lock().unwrap().clone()
    }

    /// Stops the shop, which sends its last spans, and returns all of them.
    async fn spans(self, count: usize) -> Vec<Received> {
        self.stop.send(()).unwrap();
        self.handle.stopped().await;
        self.receiver.spans(count).await
    }
}

fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(*name, HeaderValue::from_static(value));
    }
    headers
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a str> {
    headers
        .get_all(name)
        .iter()
        .map(|value| value.to_str().unwrap())
        .collect()
}
