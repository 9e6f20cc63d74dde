//! `Expect: 100-continue` from end to end: a body is asked for only when the service asks for it.
//!
//! In: a request body, and what the service answers before it. Out: the same body, held back until then.
//! Left out on purpose: HTTP/2, where bodies are held back by flow control.
//! Source: RFC 9110, section 10.1.1.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http::header::EXPECT;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::sync::watch;

use crate::BoxError;

/// How long a service may ignore the expectation, as old ones do, before it gets the body anyway.
const PATIENCE: Duration = Duration::from_secs(1);

/// A request body on its way to the service.
pub(crate) struct RequestBody {
    body: Incoming,
    gate: Option<Gate>,
}

/// Opens once the body is wanted.
type Gate = Pin<Box<dyn Future<Output = Result<(), NotWanted>> + Send>>;

/// The service answered without asking for the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("answered without asking for the request's body")]
pub(crate) struct NotWanted;

/// The caller broke off while it sent the body.
#[derive(Debug, thiserror::Error)]
#[error("the caller broke off while it sent the request's body")]
pub(crate) struct CallerGone(#[source] hyper::Error);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Awaited,
    Continue,
    Final,
}

/// Keeps the expectation of a body open; when dropped without a `100 Continue`, the body ends in [`NotWanted`].
#[derive(Debug, Clone)]
pub(crate) struct Expectation(watch::Sender<Answer>);

impl Expectation {
    /// Says that the final response is there. The body is given up only when this is dropped, after the response's own
    /// body: giving up closes the connection that both share.
    pub(crate) fn answered(&self) {
        self.0.send_if_modified(|answer| {
            let awaited = *answer == Answer::Awaited;
            if awaited {
                *answer = Answer::Final;
            }
            awaited
        });
    }
}

impl RequestBody {
    /// A body that goes as it comes.
    pub(crate) fn plain(body: Incoming) -> Self {
        Self { body, gate: None }
    }
}

/// Makes the request's body wait for the service, if the caller waits for it.
pub(crate) fn hold_back(
    request: hyper::Request<Incoming>,
) -> (hyper::Request<RequestBody>, Option<Expectation>) {
    let expects = |value: &http::HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"100-continue");
    if !request.headers().get(EXPECT).is_some_and(expects) || request.body().is_end_stream() {
        return (request.map(RequestBody::plain), None);
    }
    let (answer, answered) = watch::channel(Answer::Awaited);
    let gate: Gate = Box::pin(until_wanted(answered, PATIENCE));
    let mut request = request.map(|body| RequestBody {
        body,
        gate: Some(gate),
    });
    let informed = answer.clone();
    hyper::ext::on_informational(&mut request, move |response| {
        if response.status() == StatusCode::CONTINUE {
            informed.send_replace(Answer::Continue);
        }
    });
    (request, Some(Expectation(answer)))
}

async fn until_wanted(mut answered: watch::Receiver<Answer>, patience: Duration) -> Result<(), NotWanted> {
    let first = tokio::time::timeout(patience, answered.wait_for(|answer| *answer != Answer::Awaited)).await;
    match first.map(|answer| answer.map(|answer| *answer)) {
        Err(_too_long) => return Ok(()),
        Ok(Ok(Answer::Continue)) => return Ok(()),
        Ok(Ok(_) | Err(_)) => {}
    }
    while answered.changed().await.is_ok() {}
    Err(NotWanted)
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(gate) = &mut self.gate {
            let wanted = ready!(gate.as_mut().poll(cx));
            self.gate = None;
            if let Err(not_wanted) = wanted {
                return Poll::Ready(Some(Err(not_wanted.into())));
            }
        }
        Pin::new(&mut self.body)
            .poll_frame(cx)
            .map_err(|error| CallerGone(error).into())
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_service_that_ignores_the_expectation_gets_the_body_after_a_while() {
        let (_answer, answered) = watch::channel(Answer::Awaited);
        assert_eq!(until_wanted(answered, Duration::ZERO).await, Ok(()));
    }

    #[tokio::test]
    async fn after_a_final_answer_the_body_is_given_up_only_when_the_response_is_done() {
        let (answer, answered) = watch::channel(Answer::Awaited);
        let expectation = Expectation(answer);
        expectation.answered();
        let mut gate = Box::pin(until_wanted(answered, Duration::ZERO));
        let now = std::future::poll_fn(|cx| Poll::Ready(gate.as_mut().poll(cx))).await;
        assert_eq!(
            now,
            Poll::Pending,
            "no timer opens the gate once the answer is there"
        );
        drop(expectation);
        assert_eq!(gate.await, Err(NotWanted));
    }

    #[tokio::test]
    async fn a_continue_opens_the_gate_and_a_later_final_answer_does_not_close_it() {
        let (answer, answered) = watch::channel(Answer::Awaited);
        let expectation = Expectation(answer.clone());
        answer.send_replace(Answer::Continue);
        expectation.answered();
        assert_eq!(until_wanted(answered, PATIENCE).await, Ok(()));
    }
}
