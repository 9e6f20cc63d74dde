//! OTLP/gRPC: `Export` of `opentelemetry.proto.collector.trace.v1.TraceService` and, where somebody takes metrics or logs, of
//! `…metrics.v1.MetricsService` and `…logs.v1.LogsService`.
//!
//! In: HTTP/2, with TLS or without, messages plain, gzip or zstd. Out: bytes to the sink, gRPC answers.
//! Left out on purpose: protobuf decoding, reflection, health (the collector's web listener has it).

use super::answer;
use super::door::{Door, Doors, Turned, read_away};
use super::{
    BATCH_ID, BatchMeta, Behind, IntakeObserver, Limits, Outcome, Signal, Sinks, TraceSink, Transport,
};
use crate::codec::RawCodec;
use crate::serve::{Bounds, Peer, serve};
use crate::tls::Listening;
use axum::extract::ConnectInfo;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Collected, LengthLimitError, Limited};
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use tonic::codec::CompressionEncoding;
use tonic::codegen::Service;
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::service::Routes;
use tonic::{Code, Request, Response, Status};

/// Compressed flag and length before a gRPC message.
const MESSAGE_HEADER: usize = 5;

/// Serves OTLP/gRPC on `listener` until `shutdown` is ready; then answers what is in work and returns.
///
/// Failures of one connection are that connection's.
pub async fn serve_grpc<S: TraceSink>(
    listener: impl Into<Listening>,
    sinks: impl Into<Sinks<S>>,
    limits: Limits,
    observer: Arc<dyn IntakeObserver>,
    shutdown: impl Future<Output = ()>,
) {
    let one = Behind {
        sinks: sinks.into(),
        max_requests: limits.max_requests,
        observer: observer.clone(),
    };
    serve_grpc_of(listener, vec![one], limits, observer, shutdown).await;
}

/// The same for several tenants, told apart by the listener's [`Access`](crate::access::Access). `observer` is told of
/// requests that were turned away before it was known whose they are.
pub async fn serve_grpc_of<S: TraceSink>(
    listener: impl Into<Listening>,
    tenants: Vec<Behind<S>>,
    limits: Limits,
    observer: Arc<dyn IntakeObserver>,
    shutdown: impl Future<Output = ()>,
) {
    let listening = listener.into();
    let door = Doors::new(tenants, limits, observer, listening.access.clone());
    let mut services = Routes::builder();
    if door.serves(Signal::Metrics) {
        services.add_service(OtlpService::<S, METRICS>(door.clone()));
    }
    if door.serves(Signal::Logs) {
        services.add_service(OtlpService::<S, LOGS>(door.clone()));
    }
    services.add_service(OtlpService::<S, TRACES>(door));
    let router = services.routes().prepare().into_axum_router();
    let bounds = Bounds {
        http2_only: true,
        ..Bounds::default()
    };
    serve(listening, router, bounds, shutdown).await;
}

/// Indices in [`Signal::ALL`], by which the services are different types: tonic knows a service by its type's name.
const TRACES: usize = 0;
const METRICS: usize = 1;
const LOGS: usize = 2;

struct OtlpService<S, const SIGNAL: usize>(Doors<S>);

impl<S, const SIGNAL: usize> Clone for OtlpService<S, SIGNAL> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S, const SIGNAL: usize> NamedService for OtlpService<S, SIGNAL> {
    const NAME: &'static str = match SIGNAL {
        TRACES => "opentelemetry.proto.collector.trace.v1.TraceService",
        METRICS => "opentelemetry.proto.collector.metrics.v1.MetricsService",
        _ => "opentelemetry.proto.collector.logs.v1.LogsService",
    };
}

type HttpRequest = http::Request<tonic::body::Body>;
type HttpResponse = http::Response<tonic::body::Body>;
type Answering = Pin<Box<dyn Future<Output = Result<HttpResponse, Infallible>> + Send>>;

impl<S: TraceSink, const SIGNAL: usize> Service<HttpRequest> for OtlpService<S, SIGNAL> {
    type Response = HttpResponse;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: HttpRequest) -> Answering {
        let (door, signal) = (self.0.clone(), Signal::ALL[SIGNAL]);
        Box::pin(async move { Ok(answer_call(door, signal, request).await) })
    }
}

async fn answer_call<S: TraceSink>(doors: Doors<S>, signal: Signal, request: HttpRequest) -> HttpResponse {
    let served = signal.grpc_path();
    let nobodys = |turned: Turned| {
        doors.turned_away(signal, Transport::Grpc, turned.outcome);
        turned.status.into_http()
    };
    if request.uri().path() != served {
        let text = format!("`{}` is not served, `{served}` is", request.uri().path());
        return nobodys(Turned {
            outcome: Outcome::Unsupported,
            status: Status::unimplemented(text),
        });
    }
    let (head, body) = request.into_parts();
    let (client, door) = match doors.admit(&head, peer(&head.extensions)) {
        Ok(admitted) => admitted,
        Err(turned) => {
            read_away(body).await;
            return nobodys(turned);
        }
    };
    let read = async {
        let place = door.enter()?;
        let (body, bytes) = collect(body, &doors.limits).await?;
        doors.spent(&client, bytes);
        Ok((place, http::Request::from_parts(head, body)))
    };
    match read.await {
        Ok((_place, request)) => export(door.clone(), &doors.limits, signal, request).await,
        Err(turned) => {
            let turned: Turned = turned;
            door.turned_away(signal, Transport::Grpc, turned.outcome);
            turned.status.into_http()
        }
    }
}

/// The bytes of the call, which are at most one message of the allowed length, and how many they are.
async fn collect(body: tonic::body::Body, limits: &Limits) -> Result<(Collected<Bytes>, usize), Turned> {
    let mut bytes = 0;
    let body = body.map_frame(|frame| {
        bytes += frame.data_ref().map_or(0, Bytes::len);
        frame
    });
    let collecting = Limited::new(body, limits.max_request_bytes.saturating_add(MESSAGE_HEADER)).collect();
    match tokio::time::timeout(limits.read_timeout, collecting).await {
        Ok(Ok(collected)) => Ok((collected, bytes)),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Turned::too_large(limits.max_request_bytes)),
        Ok(Err(error)) => Err(Turned::broken(&error)),
        Err(_) => Err(Turned::too_slow(limits.read_timeout)),
    }
}

async fn export<S: TraceSink>(
    door: Door<S>,
    limits: &Limits,
    signal: Signal,
    request: http::Request<Collected<Bytes>>,
) -> HttpResponse {
    let reached = Arc::new(AtomicBool::new(false));
    let response = Grpc::new(RawCodec)
        .accept_compressed(CompressionEncoding::Zstd)
        .accept_compressed(CompressionEncoding::Gzip)
        .max_decoding_message_size(limits.max_request_bytes)
        .unary(
            Export {
                door: door.clone(),
                signal,
                reached: reached.clone(),
            },
            request,
        )
        .await;
    if reached.load(Ordering::Relaxed) {
        return response;
    }
    let turned = unreadable(response, limits.max_request_bytes);
    door.turned_away(signal, Transport::Grpc, turned.0);
    turned.1
}

/// What tonic says of a message that it could not read, as OTLP has it: neither a broken nor an oversized message
/// may come back, so neither may get a code that asks for a retry.
fn unreadable(response: HttpResponse, limit: usize) -> (Outcome, HttpResponse) {
    let Some(status) = Status::from_header_map(response.headers()) else {
        return (Outcome::Malformed, response);
    };
    match status.code() {
        Code::Unimplemented => (Outcome::Unsupported, response),
        Code::OutOfRange | Code::ResourceExhausted => {
            (Outcome::TooLarge, Turned::too_large(limit).status.into_http())
        }
        _ => (
            Outcome::Malformed,
            Turned::malformed(status.message()).status.into_http(),
        ),
    }
}

/// The method itself, once tonic has taken the message apart.
struct Export<S> {
    door: Door<S>,
    signal: Signal,
    reached: Arc<AtomicBool>,
}

impl<S: TraceSink> UnaryService<Bytes> for Export<S> {
    type Response = Bytes;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Bytes>, Status>> + Send>>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        self.reached.store(true, Ordering::Relaxed);
        let (door, signal) = (self.door.clone(), self.signal);
        Box::pin(async move {
            let batch = BatchMeta {
                batch_id: request
                    .metadata()
                    .get(BATCH_ID)
                    .and_then(|id| id.to_str().ok())
                    .map(str::to_owned),
                peer: of(&request),
                transport: Transport::Grpc,
            };
            let answered = door.take(signal, request.into_inner(), batch).await?;
            Ok(Response::new(answer::response_protobuf(&answered)))
        })
    }
}

fn of(request: &Request<Bytes>) -> Option<SocketAddr> {
    let ConnectInfo(Peer(peer)) = request.extensions().get()?;
    Some(*peer)
}

fn peer(extensions: &http::Extensions) -> Option<SocketAddr> {
    let ConnectInfo(Peer(peer)) = extensions.get()?;
    Some(*peer)
}
