//! HTTP/2 without TLS, as gRPC speaks it.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::{Body, Frame};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::support::*;

/// A body whose frames the test sends one by one.
struct Sent(mpsc::UnboundedReceiver<Frame<Bytes>>);

impl Body for Sent {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|frame| frame.map(Ok))
    }
}

/// A body of frames that are all there.
pub(crate) struct Frames(pub(crate) VecDeque<Frame<Bytes>>);

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(Ok))
    }
}

fn trailers(status: &'static str) -> Frame<Bytes> {
    Frame::trailers(HeaderMap::from_iter([(
        "grpc-status".parse().expect("a name"),
        HeaderValue::from_static(status),
    )]))
}

pub(crate) async fn call<B>(address: SocketAddr, request: Request<B>) -> Response<Incoming>
where
    B: Body + Unpin + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let stream = TcpStream::connect(address).await.expect("a connection");
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.expect("a handshake");
    tokio::spawn(connection);
    soon("the response", sender.send_request(request))
        .await
        .expect("a response")
}

pub(crate) fn grpc(uri: &str) -> http::request::Builder {
    Request::post(uri)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
}

/// A gRPC service that sends each message back as it comes, then its status; says on what authority it was asked.
pub(crate) async fn echo(status: &'static str) -> SocketAddr {
    let answer = move |request: axum::extract::Request| async move {
        assert_eq!(request.version(), http::Version::HTTP_2);
        assert_eq!(
            request.headers().get("te").map(HeaderValue::as_bytes),
            Some(&b"trailers"[..])
        );
        let authority = request
            .uri()
            .authority()
            .map(ToString::to_string)
            .unwrap_or_default();
        let peer = request
            .extensions()
            .get::<axum::extract::ConnectInfo<SocketAddr>>()
            .map(|peer| peer.0.to_string());
        let traceparent = request.headers().get("traceparent").cloned();
        let (frames, body) = mpsc::unbounded_channel();
        let mut came = request.into_body();
        tokio::spawn(async move {
            while let Some(Ok(frame)) = came.frame().await {
                let _ = frames.send(frame);
            }
            let _ = frames.send(trailers(status));
        });
        let mut response = Response::new(axum::body::Body::new(Sent(body)));
        response
            .headers_mut()
            .insert("content-type", HeaderValue::from_static("application/grpc"));
        response
            .headers_mut()
            .insert("x-authority", authority.parse().expect("a value"));
        response
            .headers_mut()
            .insert("x-peer", peer.unwrap_or_default().parse().expect("a value"));
        if let Some(traceparent) = traceparent {
            response.headers_mut().insert("x-traceparent", traceparent);
        }
        response
    };
    service(axum::Router::new().fallback(answer)).await
}

#[tokio::test]
async fn a_grpc_stream_passes_both_ways_message_by_message_with_its_trailers() {
    let collector = Collector::start().await;
    let agent = sidecar(echo("5").await, Some(collector.endpoint())).await;
    let (frames, body) = mpsc::unbounded_channel();
    let request = grpc("http://cart.shop:50051/shop.Cart/Watch")
        .body(Sent(body))
        .expect("a request");
    frames
        .send(Frame::data(Bytes::from_static(b"one")))
        .expect("sent");
    let mut response = call(agent.inbound_addrs[0], request).await;
    assert_eq!(
        response.headers().get("x-authority").map(HeaderValue::as_bytes),
        Some(&b"cart.shop:50051"[..])
    );
    let mut next = async || {
        soon("a frame", response.body_mut().frame())
            .await
            .expect("a frame")
            .expect("no error")
    };
    assert_eq!(next().await.into_data().ok().as_deref(), Some(&b"one"[..]));
    frames
        .send(Frame::data(Bytes::from_static(b"two")))
        .expect("sent");
    assert_eq!(next().await.into_data().ok().as_deref(), Some(&b"two"[..]));
    assert!(collector.all().is_empty(), "the stream is still open");
    drop(frames);
    let trailers = next().await.into_trailers().expect("trailers");
    assert_eq!(
        trailers.get("grpc-status").map(HeaderValue::as_bytes),
        Some(&b"5"[..])
    );
    let seen = collector.server_span().await;
    assert_eq!(seen.span.name, "shop.Cart/Watch");
    assert_eq!(seen.get("rpc.response.status_code"), Some("NOT_FOUND"));
    assert_eq!(seen.get("rpc.method"), Some("shop.Cart/Watch"));
    assert_eq!(seen.get("network.protocol.version"), Some("2"));
    assert_eq!(seen.get("server.port"), Some("50051"));
    assert_eq!(seen.status(), 0, "NOT_FOUND is the caller's mistake");
}

#[tokio::test]
async fn a_grpc_failure_that_is_the_servers_own_is_an_error_although_http_says_200() {
    let collector = Collector::start().await;
    let agent = sidecar(echo("14").await, Some(collector.endpoint())).await;
    let body = Frames([Frame::data(Bytes::from_static(b"x"))].into());
    let request = grpc("http://cart/shop.Cart/Get").body(body).expect("a request");
    let response = call(agent.inbound_addrs[0], request).await;
    let collected = response.into_body().collect().await.expect("a body");
    assert!(collected.trailers().is_some());
    let seen = collector.server_span().await;
    assert_eq!((seen.status(), seen.get("error.type")), (2, Some("UNAVAILABLE")));
    assert_eq!(seen.get("http.response.status_code"), Some("200"));
}

#[tokio::test]
async fn an_http2_call_goes_out_as_http2_to_the_target_it_names() {
    let collector = Collector::start().await;
    let target = echo("0").await;
    let agent = sidecar(nobody().await, Some(collector.endpoint())).await;
    let uri = format!("http://{target}/shop.Stock/Take");
    let request = grpc(&uri).body(Frames(VecDeque::new())).expect("a request");
    let response = call(agent.outbound_addrs[0], request).await;
    assert_eq!(
        response.headers().get("x-authority").map(HeaderValue::as_bytes),
        Some(target.to_string().as_bytes())
    );
    let traceparent = response.headers().get("x-traceparent").cloned().expect("context");
    response.into_body().collect().await.expect("a body");
    let seen = collector.client_span().await;
    assert_eq!(
        traceparent.as_bytes(),
        format!("00-{}-{}-03", seen.trace_id(), seen.span_id()).as_bytes()
    );
    assert_eq!(
        (seen.get("rpc.response.status_code"), seen.status()),
        (Some("OK"), 0)
    );
    assert_eq!(seen.get("url.full"), Some(uri.as_str()));
}

#[tokio::test]
async fn many_streams_at_once_share_one_connection_to_the_service() {
    let agent = sidecar(echo("0").await, None).await;
    let calls: Vec<_> = (0..20)
        .map(|n| {
            let body = Frames([Frame::data(Bytes::from(n.to_string()))].into());
            let request = grpc("http://cart/shop.Cart/Get").body(body).expect("a request");
            let inbound = agent.inbound_addrs[0];
            tokio::spawn(async move {
                let response = call(inbound, request).await;
                let peer = response.headers().get("x-peer").cloned();
                (
                    peer,
                    response.into_body().collect().await.expect("a body").to_bytes(),
                )
            })
        })
        .collect();
    let mut peers = std::collections::BTreeSet::new();
    for (n, call) in calls.into_iter().enumerate() {
        let (peer, body) = soon("the call", call).await.expect("a task");
        assert_eq!(body, Bytes::from(n.to_string()));
        peers.insert(peer.map(|peer| peer.as_bytes().to_vec()));
    }
    assert_eq!(peers.len(), 1, "one connection, so one peer");
    until_metric(
        &agent,
        "tracemap_agent_requests_total{direction=\"inbound\",outcome=\"success\"}",
        20.0,
    )
    .await;
}
