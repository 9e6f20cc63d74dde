//! The bodies of the agent's responses.
//!
//! In: the other side's body with the exchange it belongs to, or a line of the agent's own. Out: the same bytes, frame by
//! frame, and the exchange's end at theirs.
//! Left out on purpose: buffering.

use std::convert::Infallible;
use std::future::Ready;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::WithTrailers;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;

use crate::BoxError;
use crate::connect::{Lent, Stream};
use crate::exchange::{Exchange, Failure};
use crate::expect::Expectation;

/// The body of a response of the agent.
pub(crate) enum ProxyBody {
    /// The agent's own words.
    Text(Full<Bytes>),
    /// The agent's own words and what follows them.
    Trailed(Box<Trailed>),
    /// The other side's, as it comes.
    Passed(Box<PassedBody>),
}

/// A body that is there whole, with trailers.
pub(crate) type Trailed = WithTrailers<Full<Bytes>, Ready<Option<Result<HeaderMap, Infallible>>>>;

/// The other side's body; its end is the exchange's.
pub(crate) struct PassedBody {
    body: Incoming,
    exchange: Exchange,
    /// Given up only after the body, see [`Expectation::answered`].
    _expectation: Option<Expectation>,
    /// Its place on a shared connection, taken to its end.
    _stream: Option<Stream>,
    /// Its connection, given back at its end.
    lent: Option<Lent>,
}

impl ProxyBody {
    /// A line of the agent's own; an empty text is an empty body.
    pub(crate) fn text(text: impl Into<Bytes>) -> Self {
        Self::Text(Full::new(text.into()))
    }

    /// Words of the agent's own, and trailers.
    pub(crate) fn trailed(words: Vec<u8>, trailers: HeaderMap) -> Self {
        let trailers = std::future::ready(Some(Ok(trailers)));
        Self::Trailed(Box::new(Full::new(Bytes::from(words)).with_trailers(trailers)))
    }

    /// `body` as it comes. Where it is empty, the exchange ends here.
    pub(crate) fn passed(
        body: Incoming,
        mut exchange: Exchange,
        expectation: Option<Expectation>,
        (stream, lent): (Option<Stream>, Option<Lent>),
    ) -> Self {
        // A body that the service may not have asked for ends its connection.
        let mut lent = lent.filter(|_| expectation.is_none());
        if body.is_end_stream() {
            exchange.end(Ok(()));
            if let Some(lent) = lent.take() {
                lent.rest();
            }
        }
        Self::Passed(Box::new(PassedBody {
            body,
            exchange,
            _expectation: expectation,
            _stream: stream,
            lent,
        }))
    }
}

impl PassedBody {
    fn seen(&mut self, frame: Option<&Result<Frame<Bytes>, hyper::Error>>) {
        match frame {
            Some(Ok(frame)) => {
                if let Some(trailers) = frame.trailers_ref() {
                    self.exchange.trailers(trailers);
                }
                // Nothing follows trailers, and who sends them on does not ask again.
                if frame.is_trailers() || self.body.is_end_stream() {
                    self.over();
                }
            }
            Some(Err(_)) => self.exchange.end(Err(Failure::UpstreamClosed)),
            None => self.over(),
        }
    }

    fn over(&mut self) {
        self.exchange.end(Ok(()));
        if let Some(lent) = self.lent.take() {
            lent.rest();
        }
    }
}

impl Body for ProxyBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Self::Text(text) => Pin::new(text).poll_frame(cx).map_err(Into::into),
            Self::Trailed(words) => Pin::new(words).poll_frame(cx).map_err(Into::into),
            Self::Passed(passed) => {
                let frame = Pin::new(&mut passed.body).poll_frame(cx);
                if let Poll::Ready(frame) = &frame {
                    passed.seen(frame.as_ref());
                }
                frame.map_err(Into::into)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Text(text) => text.is_end_stream(),
            Self::Trailed(words) => words.is_end_stream(),
            Self::Passed(passed) => passed.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Text(text) => text.size_hint(),
            Self::Trailed(words) => words.size_hint(),
            Self::Passed(passed) => passed.body.size_hint(),
        }
    }
}
