//! One request, and what was answered.
//!
//! In: the body of a version. Out: a verdict, with what the receiver said.
//! Left out on purpose: trying again, see `sender`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, USER_AGENT};
use http::{HeaderName, HeaderValue, Request, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use otlp::tls::{ClientTls, HttpsConnector, Protocols};

use super::body::Dialect;
use super::retry::{Verdict, judge};
use super::settings::{RemoteWriteError, RemoteWriteSettings};

/// As much of an answer's body is read and logged.
const LONGEST_COMPLAINT: usize = 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) verdict: Verdict,
    /// The status; 0 where there was none.
    pub(super) status: u16,
    /// What the receiver said, or what went wrong.
    pub(super) said: String,
}

impl Answer {
    fn none(said: String) -> Self {
        Self {
            verdict: Verdict::Retry(Duration::ZERO),
            status: 0,
            said,
        }
    }
}

#[derive(Debug)]
pub(super) struct Poster {
    client: Client<HttpsConnector, Full<Bytes>>,
    uri: Uri,
    headers: Vec<(HeaderName, HeaderValue)>,
    token_file: Option<PathBuf>,
    timeout: Duration,
}

impl Poster {
    pub(super) fn new(settings: &RemoteWriteSettings) -> Result<Self, RemoteWriteError> {
        let (uri, headers) = settings.target()?;
        let tls = if uri.scheme_str() == Some("https") {
            let files = settings.tls.clone().unwrap_or_default().files();
            // A handshake that fails is told with the request that wanted it.
            let tls = ClientTls::new(files, Arc::new(()));
            Some(tls.map_err(|error| RemoteWriteError::Tls {
                part: error.part(),
                said: error.chain(),
            })?)
        } else {
            None
        };
        let connector = HttpsConnector::new(tls, Protocols::Http1).connect_timeout(CONNECT_TIMEOUT);
        Ok(Self {
            client: Client::builder(TokioExecutor::new()).build(connector),
            uri,
            headers,
            token_file: settings.bearer_token_file.clone(),
            timeout: settings.timeout.get(),
        })
    }

    /// Sends a compressed body once.
    pub(super) async fn post(&self, dialect: Dialect, body: Bytes) -> Answer {
        let request = match self.request(dialect, body).await {
            Ok(request) => request,
            Err(error) => return Answer::none(error),
        };
        match tokio::time::timeout(self.timeout, self.exchange(request)).await {
            Ok(answer) => answer,
            Err(_) => Answer::none(format!("no answer within {:?}", self.timeout)),
        }
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Answer {
        let answer = match self.client.request(request).await {
            Ok(answer) => answer,
            Err(error) => return Answer::none(chain(&error)),
        };
        let (head, body) = answer.into_parts();
        // A body that cannot be read changes nothing about what the status said.
        let said = Limited::new(body, LONGEST_COMPLAINT).collect().await;
        let said = said.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        Answer {
            verdict: judge(head.status, &head.headers),
            status: head.status.as_u16(),
            said: String::from_utf8_lossy(&said).trim().to_owned(),
        }
    }

    async fn request(&self, dialect: Dialect, body: Bytes) -> Result<Request<Full<Bytes>>, String> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = self.uri.clone();
        let own = [
            (CONTENT_ENCODING, "snappy"),
            (CONTENT_TYPE, dialect.content_type()),
            (USER_AGENT, concat!("tracemap/", env!("CARGO_PKG_VERSION"))),
            (
                HeaderName::from_static("x-prometheus-remote-write-version"),
                dialect.version(),
            ),
        ];
        let own = own.map(|(name, value)| (name, HeaderValue::from_static(value)));
        request.headers_mut().extend(own);
        request.headers_mut().extend(self.headers.iter().cloned());
        if let Some(path) = &self.token_file {
            request.headers_mut().insert(AUTHORIZATION, bearer(path).await?);
        }
        Ok(request)
    }
}

/// The header with the token in `path`.
async fn bearer(path: &Path) -> Result<HeaderValue, String> {
    let file = path.display();
    let token = tokio::fs::read_to_string(path).await;
    let token = token.map_err(|error| format!("cannot read `bearer_token_file` `{file}`: {error}"))?;
    let value = HeaderValue::try_from(format!("Bearer {}", token.trim()));
    let mut value = value
        .map_err(|_| format!("`bearer_token_file` `{file}` holds more than one line of visible ASCII"))?;
    value.set_sensitive(true);
    Ok(value)
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
