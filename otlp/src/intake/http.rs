//! OTLP/HTTP: `POST /v1/traces` and, where somebody takes metrics or logs, `POST /v1/metrics` and `POST /v1/logs`.
//!
//! In: protobuf or JSON, plain, gzip or zstd, over HTTP/1.1 or HTTP/2. Out: bytes to the sink; answers in the
//! content type of the request, errors as `google.rpc.Status`.
//! Left out on purpose: cross-origin headers (browsers send through a proxy that adds them) and other signals.

use super::answer::{self, Answered};
use super::door::{Door, Doors, Turned, read_away};
use super::inflate::{Compression, InflateError, inflate};
use super::{
    BATCH_ID, BatchMeta, Behind, IntakeObserver, Limits, Outcome, Signal, Sinks, TraceSink, Transport,
};
use crate::access::Client;
use crate::json;
use crate::serve::{Bounds, Peer, serve};
use crate::tls::Listening;
use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::response::Response;
use axum::routing::post;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use std::error::Error;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use tonic::Status;

const PROTOBUF: HeaderValue = HeaderValue::from_static("application/x-protobuf");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Serves OTLP/HTTP on `listener` until `shutdown` is ready; then answers what is in work and returns.
///
/// Failures of one connection are that connection's.
pub async fn serve_http<S: TraceSink>(
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
    serve_http_of(listener, vec![one], limits, observer, shutdown).await;
}

/// The same for several tenants, as [`serve_grpc_of`](super::serve_grpc_of).
pub async fn serve_http_of<S: TraceSink>(
    listener: impl Into<Listening>,
    tenants: Vec<Behind<S>>,
    limits: Limits,
    observer: Arc<dyn IntakeObserver>,
    shutdown: impl Future<Output = ()>,
) {
    let listening = listener.into();
    let door = Doors::new(tenants, limits, observer, listening.access.clone());
    serve(listening, router(door), Bounds::default(), shutdown).await;
}

fn router<S: TraceSink>(door: Doors<S>) -> Router {
    served(&door)
        .into_iter()
        .fold(Router::new(), |router, signal| {
            let export = move |state, peer, request| export_signal::<S>(signal, state, peer, request);
            router.route(signal.http_path(), post(export))
        })
        .method_not_allowed_fallback(wrong_method::<S>)
        .fallback(wrong_path::<S>)
        .with_state(door)
}

/// What somebody takes.
fn served<S: TraceSink>(door: &Doors<S>) -> Vec<Signal> {
    let served = Signal::ALL.into_iter();
    served.filter(|signal| door.serves(*signal)).collect()
}

async fn wrong_method<S: TraceSink>(State(door): State<Doors<S>>, request: Request) -> Response {
    let (method, path) = (request.method(), request.uri().path());
    let text = format!("method {method} is not served on `{path}`, POST is");
    let mut response = unsupported(&door, &request, StatusCode::METHOD_NOT_ALLOWED, text);
    response
        .headers_mut()
        .insert(header::ALLOW, HeaderValue::from_static("POST"));
    response
}

async fn wrong_path<S: TraceSink>(State(door): State<Doors<S>>, request: Request) -> Response {
    let paths: Vec<_> = served(&door)
        .into_iter()
        .map(|signal| format!("`{}`", signal.http_path()))
        .collect();
    let served = match paths.split_last() {
        Some((last, [])) => format!("{last} is"),
        Some((last, others)) => format!("{} and {last} are", others.join(", ")),
        None => "nothing is".to_owned(),
    };
    let text = format!("path `{}` is not served, {served}", request.uri().path());
    unsupported(&door, &request, StatusCode::NOT_FOUND, text)
}

async fn export_signal<S: TraceSink>(
    signal: Signal,
    State(door): State<Doors<S>>,
    ConnectInfo(Peer(peer)): ConnectInfo<Peer>,
    request: Request,
) -> Response {
    let Some(format) = Format::of(request.headers()) else {
        let text = "the content type must be `application/x-protobuf` or `application/json`".to_owned();
        return unsupported(&door, &request, StatusCode::UNSUPPORTED_MEDIA_TYPE, text);
    };
    export(&door, signal, format, peer, request).await
}

async fn export<S: TraceSink>(
    doors: &Doors<S>,
    signal: Signal,
    format: Format,
    peer: SocketAddr,
    request: Request,
) -> Response {
    let Some(compression) = compression(request.headers()) else {
        let text = "the content encoding must be `identity`, `gzip` or `zstd`".to_owned();
        let mut response = unsupported(doors, &request, StatusCode::UNSUPPORTED_MEDIA_TYPE, text);
        response
            .headers_mut()
            .insert(header::ACCEPT_ENCODING, HeaderValue::from_static("zstd, gzip"));
        return response;
    };
    let batch = BatchMeta {
        batch_id: request
            .headers()
            .get(BATCH_ID)
            .and_then(|id| id.to_str().ok())
            .map(str::to_owned),
        peer: Some(peer),
        transport: format.transport(),
    };
    let (head, body) = request.into_parts();
    let (client, door) = match doors.admit(&head, batch.peer) {
        Ok(admitted) => admitted,
        Err(Turned { outcome, status }) => {
            doors.turned_away(signal, batch.transport, outcome);
            read_away(body).await;
            return refused(answer::http_code(&status), format, &status);
        }
    };
    let asked = Asked {
        signal,
        format,
        compression,
        client,
    };
    match answer_request(doors, door, asked, batch, body).await {
        Ok(answered) => respond(StatusCode::OK, format, format.response(&answered)),
        Err(status) => refused(answer::http_code(&status), format, &status),
    }
}

/// What the head of a request said.
struct Asked {
    signal: Signal,
    format: Format,
    compression: Compression,
    client: Client,
}

async fn answer_request<S: TraceSink>(
    doors: &Doors<S>,
    door: &Door<S>,
    Asked {
        signal,
        format,
        compression,
        client,
    }: Asked,
    batch: BatchMeta,
    body: Body,
) -> Result<Answered, Status> {
    let read = async {
        let place = door.enter()?;
        let body = collect(body, &doors.limits).await?;
        doors.spent(&client, body.len());
        let limit = doors.limits.max_request_bytes;
        Ok((place, protobuf(signal, format, compression, body, limit).await?))
    };
    match read.await {
        Ok((_place, body)) => door.take(signal, body, batch).await,
        Err(Turned { outcome, status }) => {
            door.turned_away(signal, batch.transport, outcome);
            Err(status)
        }
    }
}

async fn collect(body: Body, limits: &Limits) -> Result<Bytes, Turned> {
    let bytes = Limited::new(body, limits.max_request_bytes).collect();
    match tokio::time::timeout(limits.read_timeout, bytes).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if is_too_long(&*error) => Err(Turned::too_large(limits.max_request_bytes)),
        Ok(Err(error)) => Err(Turned::broken(&error)),
        Err(_) => Err(Turned::too_slow(limits.read_timeout)),
    }
}

fn is_too_long(error: &(dyn Error + 'static)) -> bool {
    std::iter::successors(Some(error), |&error| error.source()).any(<dyn Error>::is::<LengthLimitError>)
}

/// The request as protobuf. Work on megabytes leaves the runtime's threads to others.
async fn protobuf(
    signal: Signal,
    format: Format,
    compression: Compression,
    body: Bytes,
    limit: usize,
) -> Result<Bytes, Turned> {
    if (format, compression) == (Format::Protobuf, Compression::Identity) {
        return Ok(body);
    }
    let convert = move || {
        let plain = inflate(compression, body, limit).map_err(|error| match error {
            InflateError::TooLarge => Turned::too_large(limit),
            InflateError::Broken(error) => {
                Turned::malformed(&format!("the body cannot be decompressed: {error}"))
            }
        })?;
        match format {
            Format::Protobuf => Ok(plain),
            Format::Json => from_json(signal, &plain).map_err(|error| {
                let text = format!("the body is not OTLP/JSON: {error}");
                Turned::malformed_at(error.path(), &error.to_string(), &text)
            }),
        }
    };
    match tokio::task::spawn_blocking(convert).await {
        Ok(converted) => converted,
        Err(error) => Err(Turned::broken(&error)),
    }
}

fn from_json(signal: Signal, text: &[u8]) -> Result<Bytes, json::JsonError> {
    match signal {
        Signal::Traces => json::trace_request_to_protobuf(text),
        Signal::Metrics => json::metrics_request_to_protobuf(text),
        Signal::Logs => json::logs_request_to_protobuf(text),
    }
}

/// How a request is written, and so its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Protobuf,
    Json,
}

impl Format {
    fn of(headers: &HeaderMap) -> Option<Self> {
        let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
        let media_type = value.split(';').next()?.trim();
        if media_type.eq_ignore_ascii_case("application/x-protobuf") {
            return Some(Self::Protobuf);
        }
        media_type
            .eq_ignore_ascii_case("application/json")
            .then_some(Self::Json)
    }

    fn transport(self) -> Transport {
        match self {
            Self::Protobuf => Transport::HttpProtobuf,
            Self::Json => Transport::HttpJson,
        }
    }

    fn content_type(self) -> HeaderValue {
        match self {
            Self::Protobuf => PROTOBUF,
            Self::Json => JSON,
        }
    }

    fn response(self, answered: &Answered) -> Bytes {
        match self {
            Self::Protobuf => answer::response_protobuf(answered),
            Self::Json => answer::response_json(answered),
        }
    }

    fn status(self, status: &Status) -> Bytes {
        match self {
            Self::Protobuf => answer::status_protobuf(status),
            Self::Json => answer::status_json(status),
        }
    }
}

fn compression(headers: &HeaderMap) -> Option<Compression> {
    match headers.get(header::CONTENT_ENCODING) {
        Some(name) => Compression::named(name.to_str().ok()?),
        None => Some(Compression::Identity),
    }
}

/// Counts and answers what is not served. A request in no content type of ours gets JSON, which people can read.
fn unsupported<S: TraceSink>(door: &Doors<S>, request: &Request, code: StatusCode, text: String) -> Response {
    let format = Format::of(request.headers()).unwrap_or(Format::Json);
    let path = request.uri().path();
    let known = Signal::ALL.into_iter().find(|signal| signal.http_path() == path);
    let signal = known.unwrap_or(Signal::Traces);
    door.turned_away(signal, format.transport(), Outcome::Unsupported);
    refused(code, format, &Status::unimplemented(text))
}

fn refused(code: StatusCode, format: Format, status: &Status) -> Response {
    let mut response = respond(code, format, format.status(status));
    if code == StatusCode::UNAUTHORIZED {
        response
            .headers_mut()
            .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if let Some(delay) = answer::retry_after(status) {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, answer::retry_after_seconds(delay).into());
    }
    response
}

fn respond(code: StatusCode, format: Format, body: Bytes) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = code;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, format.content_type());
    response
}
