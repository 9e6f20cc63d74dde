//! The way back: what the other side answered, as the agent passes it on.
//!
//! In: a response or an error, and the exchange it belongs to. Out: the response for whoever asked.
//! Left out on purpose: retries. A request is sent once; only whoever asked knows whether twice is harmless.

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{StatusCode, Version};
use hyper::Response;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use tokio::sync::watch;
use tracing::debug;

use crate::BoxError;
use crate::body::ProxyBody;
use crate::connect::{self, Lent, Stream};
use crate::exchange::{Exchange, Failure};
use crate::expect::Expectation;
use crate::hop;
use crate::tunnel;

/// Said of a body that would have to be decoded to be passed on.
pub(crate) const UNKNOWN_CODING: &str = "tracemap-agent: a request's body may be `Transfer-Encoding: chunked`, once, or have a `Content-Length`\n";

/// What must outlive the request's head.
pub(crate) struct Pending {
    pub(crate) exchange: Exchange,
    pub(crate) expectation: Option<Expectation>,
    /// The caller's side of an upgrade it asked for.
    pub(crate) upgrade: Option<OnUpgrade>,
    pub(crate) version: Version,
    /// The connection that the response comes on, where it can be used again.
    pub(crate) lent: Option<Lent>,
    pub(crate) stop: watch::Receiver<bool>,
}

impl Pending {
    /// The answer to whoever asked.
    pub(crate) fn answer(self, result: Result<Response<Incoming>, BoxError>) -> Response<ProxyBody> {
        match result {
            Ok(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS => self.switched(response),
            Ok(response) if !hop::framing_is_known(response.headers()) => {
                self.failed(&"the other side used a transfer coding that nobody asked for".into())
            }
            Ok(response) => self.passed(response),
            Err(error) => self.failed(&error),
        }
    }

    fn passed(mut self, mut response: Response<Incoming>) -> Response<ProxyBody> {
        if let Some(expectation) = &self.expectation {
            expectation.answered();
        }
        hop::strip(response.headers_mut());
        self.exchange.response(response.status(), response.headers());
        *response.version_mut() = self.version;
        let stream = response.extensions_mut().remove::<Stream>();
        response.map(|body| ProxyBody::passed(body, self.exchange, self.expectation, (stream, self.lent)))
    }

    /// The span ends with the handshake: a connection that lives for a day is no slow request.
    fn switched(mut self, mut response: Response<Incoming>) -> Response<ProxyBody> {
        let Some(caller) = self.upgrade.take() else {
            return self.failed(&"the other side switched protocols although nobody asked it to".into());
        };
        let service = hyper::upgrade::on(&mut response);
        let protocol = hop::strip(response.headers_mut());
        hop::restore_http1(response.headers_mut(), protocol);
        self.exchange.response(response.status(), response.headers());
        self.exchange.end(Ok(()));
        tokio::spawn(tunnel::join(caller, service, self.stop));
        response.map(|_| ProxyBody::text(""))
    }

    fn failed(mut self, error: &BoxError) -> Response<ProxyBody> {
        let failure = connect::failure(error.as_ref());
        debug!(failure = failure.as_str(), error = %chain(error.as_ref()), "request not answered");
        let status = status_of(failure);
        self.exchange.answered_ourselves(status);
        self.exchange.end(Err(failure));
        let reason = chain(error.as_ref());
        text(
            status,
            &format!(
                "tracemap-agent: the other side did not answer ({}): {reason}\n",
                failure.as_str()
            ),
        )
    }
}

/// A response of the agent's own.
pub(crate) fn text(status: StatusCode, line: &str) -> Response<ProxyBody> {
    let mut response = Response::new(ProxyBody::text(line.to_owned()));
    *response.status_mut() = status;
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}

/// The status with which the agent says that the other side failed.
pub(crate) fn status_of(failure: Failure) -> StatusCode {
    match failure {
        Failure::Loop => StatusCode::LOOP_DETECTED,
        Failure::Denied => StatusCode::FORBIDDEN,
        Failure::ConnectTimeout => StatusCode::GATEWAY_TIMEOUT,
        // Whoever asked is gone, or sent a body that cannot be read and is told so.
        Failure::ClientDisconnected => StatusCode::BAD_REQUEST,
        _ => StatusCode::BAD_GATEWAY,
    }
}

/// An error with its causes, on one line.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let texts: Vec<_> = causes
        .map(|cause| cause.to_string().replace(['\r', '\n'], " "))
        .collect();
    texts.join(": ")
}
