//! Sampling strategies for the SDKs on this node, as Jaeger's clients ask for them.
//!
//! In: `GET /sampling?service=NAME`, as Jaeger's agent and collector answered it at port 5778, and the same question over
//! gRPC. Out: the shares that the agent itself records of new traces of that workload, so that whoever begins a trace decides
//! alike.
//! Left out on purpose: names of services with percent-encoding in the query: such a name gets the share of the
//! configuration. Compressed questions over gRPC, which hold one name.
//! Source: Jaeger documentation, "APIs", remote sampling configuration; `api_v2/sampling.proto` and its JSON.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, HeaderName, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use otlp::access::{Access, Denied};

use crate::body::ProxyBody;
use crate::config::AgentConfig;
use crate::forward::text;
use crate::sampling::{Sampler, Strategy, asked};
use crate::serve::Handler;
use crate::workload::Workload;

/// The one method of the service.
const GRPC_PATH: &str = "/jaeger.api_v2.SamplingManager/GetSamplingStrategy";
/// Longest question over gRPC, in bytes.
const MAX_QUESTION: usize = 16 << 10;
/// How long what is not answered is read.
const READ_AWAY: Duration = Duration::from_secs(1);
/// Before each gRPC message: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// Answers what to sample.
pub(crate) struct SamplingServer {
    access: Access,
    workloads: Vec<Arc<Workload>>,
    otherwise: Sampler,
}

/// Why a question over gRPC has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum GrpcError {
    Unimplemented,
    InvalidArgument,
}

impl SamplingServer {
    pub(crate) fn new(config: &AgentConfig, workloads: &[Arc<Workload>], access: Access) -> Self {
        Self {
            access,
            workloads: workloads.to_vec(),
            otherwise: Sampler::new(&config.sampling),
        }
    }

    fn strategy(&self, service: &str) -> Strategy {
        let known = self.workloads.iter().find(|workload| workload.service == service);
        known.map_or_else(
            || Strategy::of(self.otherwise.share()),
            |workload| workload.share.strategy(),
        )
    }

    fn over_http(&self, request: &Request<Incoming>) -> Response<ProxyBody> {
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
        let mut response = Response::new(ProxyBody::text(self.strategy(service).json()));
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }

    async fn over_grpc(&self, request: Request<Incoming>) -> Response<ProxyBody> {
        let answer = match self.grpc_answer(request).await {
            Ok(message) => ProxyBody::trailed(framed(&message), status("0")),
            Err(GrpcError::InvalidArgument) => ProxyBody::trailed(Vec::new(), status("3")),
            Err(GrpcError::Unimplemented) => ProxyBody::trailed(Vec::new(), status("12")),
        };
        grpc(answer)
    }

    async fn grpc_answer(&self, request: Request<Incoming>) -> Result<Vec<u8>, GrpcError> {
        if request.uri().path() != GRPC_PATH {
            return Err(GrpcError::Unimplemented);
        }
        let body = Limited::new(request.into_body(), MAX_QUESTION + PREFIX);
        let body = body.collect().await.map_err(|_| GrpcError::InvalidArgument)?;
        let service = question(&body.to_bytes())?;
        Ok(self.strategy(&service).protobuf())
    }
}

/// The service that one framed message asks for.
fn question(body: &[u8]) -> Result<String, GrpcError> {
    let (prefix, message) = body.split_at_checked(PREFIX).ok_or(GrpcError::InvalidArgument)?;
    let (compressed, length) = prefix.split_first().ok_or(GrpcError::InvalidArgument)?;
    if *compressed != 0 {
        return Err(GrpcError::Unimplemented);
    }
    let length = <[u8; 4]>::try_from(length).map(u32::from_be_bytes);
    if length.ok() != u32::try_from(message.len()).ok() {
        return Err(GrpcError::InvalidArgument);
    }
    asked(message).map_err(|_| GrpcError::InvalidArgument)
}

fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let mut framed = vec![0];
    framed.extend(length.to_be_bytes());
    framed.extend(message);
    framed
}

fn status(code: &'static str) -> HeaderMap {
    let name = HeaderName::from_static("grpc-status");
    HeaderMap::from_iter([(name, HeaderValue::from_static(code))])
}

/// `UNAUTHENTICATED`, `RESOURCE_EXHAUSTED` or `PERMISSION_DENIED`.
fn refused(denied: Denied) -> HeaderMap {
    status(match denied {
        Denied::NoToken | Denied::WrongToken => "16",
        Denied::TooMuch { .. } => "8",
        Denied::ReadOnly | Denied::ForeignHost | Denied::NoTenant | Denied::WrongTenant => "7",
    })
}

fn grpc(answer: ProxyBody) -> Response<ProxyBody> {
    let mut response = Response::new(answer);
    let format = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(CONTENT_TYPE, format);
    response
}

fn is_grpc(request: &Request<Incoming>) -> bool {
    let kind = request.headers().get(CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

impl Handler for SamplingServer {
    async fn handle(self: Arc<Self>, request: Request<Incoming>, peer: SocketAddr) -> Response<ProxyBody> {
        let (headers, uri) = (request.headers(), request.uri());
        let admitted = self.access.admit_by(headers, uri, Some(peer.ip()));
        match (admitted, is_grpc(&request)) {
            (Ok(_), true) => self.over_grpc(request).await,
            (Ok(_), false) => self.over_http(&request),
            (Err(denied), true) => {
                // An answer that overtakes its question reaches some clients as a broken stream.
                let question = Limited::new(request.into_body(), MAX_QUESTION).collect();
                let _ = tokio::time::timeout(READ_AWAY, question).await;
                // An answer without a message has its status in the head (gRPC over HTTP/2, "Trailers-Only").
                let mut response = grpc(ProxyBody::text(String::new()));
                response.headers_mut().extend(refused(denied));
                response
            }
            (Err(denied), false) => {
                let mut response = text(denied.status(), &format!("{denied}\n"));
                response.headers_mut().extend(denied.headers());
                response
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_framed_question_names_its_service_or_says_why_it_has_no_answer() {
        for (body, expected) in [
            (b"\0\0\0\0\x06\x0a\x04cart".as_slice(), Ok("cart")),
            (b"\0\0\0\0\0", Ok("")),
            (b"\x01\0\0\0\x06\x0a\x04cart", Err(GrpcError::Unimplemented)),
            (b"\0\0\0\0\x07\x0a\x04cart", Err(GrpcError::InvalidArgument)),
            (b"\0\xff\xff\xff\xff", Err(GrpcError::InvalidArgument)),
            (b"\0\0\0\0\x02\x0a\x7f", Err(GrpcError::InvalidArgument)),
            (b"\0\0", Err(GrpcError::InvalidArgument)),
            (b"", Err(GrpcError::InvalidArgument)),
        ] {
            assert_eq!(question(body), expected.map(str::to_owned), "{body:?}");
        }
        assert_eq!(question(&framed(b"\x0a\x04cart")), Ok("cart".to_owned()));
    }
}
