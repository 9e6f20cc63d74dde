//! Sampling strategies for the SDKs on this node, as Jaeger's clients ask for them.
//!
//! In: `GET /sampling?service=NAME`, as Jaeger's agent and collector answered it at port 5778. Out: the share that the agent
//! itself records of new traces of that workload, so that whoever begins a trace decides alike.
//! Left out on purpose: strategies by operation, gRPC, and names of services with percent-encoding in them: such a name
//! gets the share of the configuration.
//! Source: Jaeger documentation, "APIs", remote sampling configuration; `sampling.proto` as JSON.

use std::net::SocketAddr;
use std::sync::Arc;

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use serde::Serialize;

use crate::body::ProxyBody;
use crate::config::AgentConfig;
use crate::forward::text;
use crate::sampling::Sampler;
use crate::serve::Handler;
use crate::workload::Workload;

/// Answers what to sample.
pub(crate) struct SamplingServer {
    workloads: Vec<Arc<Workload>>,
    otherwise: Sampler,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Strategy {
    strategy_type: &'static str,
    probabilistic_sampling: Probabilistic,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Probabilistic {
    sampling_rate: f64,
}

impl SamplingServer {
    pub(crate) fn new(config: &AgentConfig, workloads: &[Arc<Workload>]) -> Self {
        Self {
            workloads: workloads.to_vec(),
            otherwise: Sampler::new(&config.sampling),
        }
    }

    fn strategy(&self, service: &str) -> String {
        let known = self.workloads.iter().find(|workload| workload.service == service);
        let sampler = known.map_or(self.otherwise, |workload| workload.share.get());
        let strategy = Strategy {
            strategy_type: "PROBABILISTIC",
            probabilistic_sampling: Probabilistic {
                sampling_rate: sampler.share(),
            },
        };
        // Two fields of plain values always have a text.
        serde_json::to_string(&strategy).unwrap_or_default()
    }
}

impl Handler for SamplingServer {
    async fn handle(self: Arc<Self>, request: Request<Incoming>, _: SocketAddr) -> Response<ProxyBody> {
        if ![Method::GET, Method::HEAD].contains(request.method()) {
            return text(
                StatusCode::METHOD_NOT_ALLOWED,
                "only GET and HEAD are answered here\n",
            );
        }
        if !["/", "/sampling", "/api/sampling"].contains(&request.uri().path()) {
            return text(StatusCode::NOT_FOUND, "here is `/sampling?service=NAME`\n");
        }
        let query = request.uri().query().unwrap_or_default();
        let mut named = query
            .split('&')
            .filter_map(|pair| pair.strip_prefix("service=").filter(|name| !name.is_empty()));
        let (Some(service), None) = (named.next(), named.next()) else {
            return text(
                StatusCode::BAD_REQUEST,
                "`service` must be given once, such as `/sampling?service=cart`\n",
            );
        };
        let mut response = Response::new(ProxyBody::text(self.strategy(service)));
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}
