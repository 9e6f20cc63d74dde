//! One try to hand a request over, by gRPC or by HTTP.
//!
//! In: the bytes of a request, its batch's id. Out: the bytes of the answer, or what the failure asks for.
//! Left out on purpose: trying again, counting, redirects (an answer 3xx is a refusal), and what a failed answer says beside
//! status and `Retry-After`.
//! Source: OTLP specification 1.x, "OTLP/gRPC" and "OTLP/HTTP".

use std::error::Error;
use std::io::Read as _;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Uri};
use http_body_util::{BodyExt as _, Collected, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tonic::client::Grpc;
use tonic::codec::CompressionEncoding;
use tonic::metadata::MetadataMap;
use tonic::transport::Channel;
use tonic::{Request, Status};

use super::headers::Headers;
use super::retry::{self, Failure};
use super::settings::{self, ExportSettingsError};
use super::{BATCH_ID, Compression, ExportProtocol, ExportSettings};
use crate::codec::RawCodec;
use crate::tls::{HttpsConnector, Protocols};

/// Most of an answer that is read; it holds a message for people at best.
const LONGEST_ANSWER: usize = 64 << 10;
/// How long a connection may be idle: below what most servers and load balancers allow.
const IDLE: Duration = Duration::from_secs(30);
const ZSTD_LEVEL: i32 = 3;
const PROTOBUF: HeaderValue = HeaderValue::from_static("application/x-protobuf");
const AGENT: HeaderValue = HeaderValue::from_static(concat!("tracemap/", env!("CARGO_PKG_VERSION")));

/// The way to one collector. Clones share connections.
#[derive(Clone)]
pub(super) struct Wire {
    way: Way,
    compression: Compression,
    headers: Headers,
}

#[derive(Clone)]
enum Way {
    Grpc {
        channel: Channel,
        path: PathAndQuery,
    },
    Http {
        client: Box<Client<HttpsConnector, Full<Bytes>>>,
        uri: Arc<Uri>,
    },
}

/// Why a try failed.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) asks: Failure,
    /// For the log.
    pub(super) said: String,
}

impl Wire {
    pub(super) fn new(settings: &ExportSettings) -> Result<Self, ExportSettingsError> {
        let uri = settings::checked(settings)?;
        let tls = settings.tls.clone();
        let way = match settings.protocol {
            ExportProtocol::Grpc => Way::Grpc {
                channel: settings::endpoint(uri)
                    .connect_with_connector_lazy(HttpsConnector::new(tls, Protocols::Http2)),
                path: PathAndQuery::from_static(settings.signal.grpc_path()),
            },
            ExportProtocol::Http => Way::Http {
                client: Box::new(
                    Client::builder(TokioExecutor::new())
                        .pool_timer(TokioTimer::new())
                        .pool_idle_timeout(IDLE)
                        .build(HttpsConnector::new(tls, Protocols::Http1)),
                ),
                uri: Arc::new(settings::signal_uri(&uri, settings)?),
            },
        };
        Ok(Self {
            way,
            compression: settings.compression,
            headers: Headers::new(&settings.headers)?,
        })
    }

    /// Whether requests can be compressed.
    pub(super) fn compresses(&self) -> bool {
        self.compression != Compression::None
    }

    /// The bytes of the answer to `body`, compressed unless `plain`.
    pub(super) async fn attempt(&self, body: Bytes, id: &HeaderValue, plain: bool) -> Result<Bytes, Failed> {
        let mut headers = self.headers.at(Instant::now()).await;
        headers.insert(BATCH_ID, id.clone());
        let compression = if plain {
            Compression::None
        } else {
            self.compression
        };
        match &self.way {
            Way::Grpc { channel, path } => {
                let answer = call(channel.clone(), path.clone(), body, headers, compression).await;
                answer.map_err(|status| Failed {
                    asks: retry::judge(&status),
                    said: told(&status),
                })
            }
            Way::Http { client, uri } => post(client, uri, body, headers, compression).await,
        }
    }
}

async fn call(
    channel: Channel,
    path: PathAndQuery,
    body: Bytes,
    headers: HeaderMap,
    compression: Compression,
) -> Result<Bytes, Status> {
    let mut client = Grpc::new(channel);
    client = match compression {
        Compression::None => client,
        Compression::Gzip => client.send_compressed(CompressionEncoding::Gzip),
        Compression::Zstd => client.send_compressed(CompressionEncoding::Zstd),
    };
    client
        .ready()
        .await
        .map_err(|error| Status::from_error(error.into()))?;
    let mut request = Request::new(body);
    *request.metadata_mut() = MetadataMap::from_headers(headers);
    let answer = client.unary(request, path, RawCodec).await?;
    Ok(answer.into_inner())
}

async fn post(
    client: &Client<HttpsConnector, Full<Bytes>>,
    uri: &Uri,
    body: Bytes,
    mut headers: HeaderMap,
    compression: Compression,
) -> Result<Bytes, Failed> {
    let body = compressed(body, compression, &mut headers);
    headers.insert(CONTENT_TYPE, PROTOBUF);
    headers.entry(USER_AGENT).or_insert(AGENT);
    let mut request = http::Request::new(Full::new(body));
    (*request.method_mut(), *request.uri_mut()) = (Method::POST, uri.clone());
    *request.headers_mut() = headers;
    let response = client.request(request).await.map_err(|error| Failed {
        asks: Failure::Retry(Duration::ZERO),
        said: told(&error),
    })?;
    let (head, answer) = response.into_parts();
    let answer = Limited::new(answer, LONGEST_ANSWER).collect().await;
    if head.status.is_success() {
        // The status is the acknowledgement, whatever became of the rest.
        return Ok(answer.map_or_else(|_| Bytes::new(), Collected::to_bytes));
    }
    let after = head
        .headers
        .get(RETRY_AFTER)
        .and_then(|after| after.to_str().ok());
    Err(Failed {
        asks: retry::judge_http(head.status, after, SystemTime::now()),
        said: format!("the collector answered {}", head.status),
    })
}

/// The body as it travels; where it cannot be compressed it goes as it is.
fn compressed(body: Bytes, compression: Compression, headers: &mut HeaderMap) -> Bytes {
    let (packed, name) = match compression {
        Compression::None => return body,
        Compression::Gzip => (gzip(&body), HeaderValue::from_static("gzip")),
        Compression::Zstd => (
            zstd::bulk::compress(&body, ZSTD_LEVEL),
            HeaderValue::from_static("zstd"),
        ),
    };
    let Ok(packed) = packed else {
        return body;
    };
    headers.insert(CONTENT_ENCODING, name);
    packed.into()
}

fn gzip(body: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut packed = Vec::with_capacity(body.len() / 4);
    flate2::read::GzEncoder::new(body, flate2::Compression::fast()).read_to_end(&mut packed)?;
    Ok(packed)
}

fn told(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
