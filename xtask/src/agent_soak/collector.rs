//! A collector that counts.
//!
//! In: OTLP over gRPC. Out: how many spans came, and how many calls the edge counts told of.
//! Left out on purpose: reading any of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use tonic::{Request, Response, Status};

use crate::Failure;
use crate::agent_process::pause;

const LARGEST: usize = 64 << 20;
const PATIENCE: Duration = Duration::from_secs(30);

/// What came so far.
#[derive(Clone)]
pub(crate) struct Collector {
    pub(crate) address: SocketAddr,
    counts: Counts,
}

#[derive(Clone, Default)]
struct Counts {
    spans: Arc<AtomicU64>,
    calls: Arc<AtomicU64>,
}

impl Collector {
    pub(crate) async fn start() -> Result<Self, Failure> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let (address, counts) = (listener.local_addr()?, Counts::default());
        let traces = TraceServiceServer::new(counts.clone()).max_decoding_message_size(LARGEST);
        let metrics = MetricsServiceServer::new(counts.clone()).max_decoding_message_size(LARGEST);
        let server = tonic::transport::Server::builder()
            .add_service(traces)
            .add_service(metrics);
        let incoming = tonic::transport::server::TcpIncoming::from(listener);
        tokio::spawn(server.serve_with_incoming(incoming));
        Ok(Self { address, counts })
    }

    pub(crate) fn spans(&self) -> u64 {
        self.counts.spans.load(Relaxed)
    }

    /// Waits for the next reports until they told of `calls`; of how many they did.
    pub(crate) fn until_calls(&self, calls: u64) -> u64 {
        let until = Instant::now() + PATIENCE;
        loop {
            let told = self.counts.calls.load(Relaxed);
            if told == calls || Instant::now() > until {
                return told;
            }
            pause(Duration::from_millis(100));
        }
    }
}

#[tonic::async_trait]
impl TraceService for Counts {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let resources = request.into_inner().resource_spans;
        let scopes = resources.into_iter().flat_map(|resource| resource.scope_spans);
        let spans: usize = scopes.map(|scope| scope.spans.len()).sum();
        self.spans
            .fetch_add(u64::try_from(spans).unwrap_or(u64::MAX), Relaxed);
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Counts {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        let resources = request.into_inner().resource_metrics;
        let scopes = resources.into_iter().flat_map(|resource| resource.scope_metrics);
        for metric in scopes.flat_map(|scope| scope.metrics) {
            if let Some(Data::ExponentialHistogram(histogram)) = metric.data {
                let calls = histogram.data_points.iter().map(|point| point.count).sum();
                self.calls.fetch_add(calls, Relaxed);
            }
        }
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}
