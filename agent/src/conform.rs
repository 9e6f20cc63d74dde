//! Whether a service carries context on, asked of the running service from outside.
//!
//! In: a URL whose service makes a call that can be led here, or a collector that knows its traces. Out: a [`Report`]: case by
//! case what the service passed on, and the hop at which a trace ends.
//! Left out on purpose: services that cannot be made to call anybody, where no collector knows them either; and TLS on the way
//! to the service.

mod callback;
mod cases;
mod hops;
mod judge;
mod report;

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use crate::BoxError;
use callback::Callback;
use cases::{Case, Ids};
use hops::{Answer, Way};
use judge::{Fault, Judge};

pub use report::{Report, Verdict};

/// Stands for the address that the service should call.
const PLACE: &str = "{callback}";
/// Longest answer that is read, in bytes.
const MAX_ANSWER: usize = 16 << 20;
/// How often a collector is asked for a trace that it does not have yet.
const ASK_EVERY: Duration = Duration::from_millis(200);

/// How to ask a service.
#[derive(Debug, Clone, clap::Args)]
pub struct ConformArgs {
    /// The service, such as `http://cart:8080/fetch?url={callback}`; `{callback}` is where it must call to
    pub url: String,
    /// A header of each request, `NAME: VALUE`, which may hold `{callback}`; repeatable
    #[arg(long = "header", value_name = "NAME: VALUE")]
    pub headers: Vec<String>,
    /// The body of each request, which may hold `{callback}`
    #[arg(long)]
    pub body: Option<String>,
    /// The method of each request. Default: GET, with a body POST
    #[arg(long)]
    pub method: Option<Method>,
    /// Where to wait for the service's call; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// How the service reaches that, such as `http://test.default.svc:9000`. Default: the address of `--listen`
    #[arg(long)]
    pub callback: Option<String>,
    /// The collector's query API, such as `http://collector:7070`, which then says where a trace ended
    #[arg(long)]
    pub collector: Option<String>,
    /// How long to wait for an answer, for the call, and for the collector, each
    #[arg(long, default_value = "10s")]
    pub timeout: ::config::HumanDuration,
    /// Print JSON in place of a table
    #[arg(long)]
    pub json: bool,
}

/// Why a service could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ConformError {
    /// Nothing would be seen of what the service passes on.
    #[error(
        "neither `{{callback}}` nor `--collector` says how to see what the service passes on: write such as \
         `http://cart:8080/fetch?url={{callback}}`, or `--header 'x-target: {{callback}}'`"
    )]
    NothingToSee,
    /// Not a request that can be sent.
    #[error("`{value}` cannot be sent: {reason}")]
    Request {
        /// What cannot be sent, as written.
        value: String,
        /// What would be right.
        reason: String,
    },
    /// The callback's address cannot be had.
    #[error("cannot wait for the service's call at `{address}`")]
    Listen {
        /// The address as written.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The service does not answer.
    #[error("`{url}` does not answer")]
    NoAnswer {
        /// As it was asked.
        url: String,
        /// What the system said.
        #[source]
        source: BoxError,
    },
    /// The service answers, and calls nobody here.
    #[error(
        "`{url}` answers {status} and makes no call to `{callback}`: is that where the service can reach this host?"
    )]
    NoCall {
        /// As it was asked.
        url: String,
        /// Its answer.
        status: StatusCode,
        /// Where the call was awaited.
        callback: String,
    },
}

/// Asks the service in every case.
///
/// # Errors
/// The service cannot be asked, or makes no call in the first case.
pub async fn conform(args: &ConformArgs) -> Result<Report, ConformError> {
    Asking::new(args).await?.all().await
}

struct Asking<'a> {
    args: &'a ConformArgs,
    client: Client<HttpConnector, Full<Bytes>>,
    judge: Judge,
    callback: Option<Callback>,
    base: String,
}

/// What a service did.
struct Done {
    status: StatusCode,
    call: Option<HeaderMap>,
}

impl<'a> Asking<'a> {
    async fn new(args: &'a ConformArgs) -> Result<Self, ConformError> {
        let templates = args.headers.iter().chain([&args.url]).chain(&args.body);
        let calls = templates.into_iter().any(|template| template.contains(PLACE));
        if !calls && args.collector.is_none() {
            return Err(ConformError::NothingToSee);
        }
        let listen = Callback::listen(args.listen).await;
        let callback = listen.map_err(|source| ConformError::Listen {
            address: args.listen,
            source,
        })?;
        let here = || format!("http://{}", callback.address);
        let base = args.callback.clone().unwrap_or_else(here);
        Ok(Self {
            args,
            client: Client::builder(TokioExecutor::new()).build_http(),
            judge: Judge::new(),
            base: base.trim_end_matches('/').to_owned(),
            callback: Some(callback).filter(|_| calls),
        })
    }

    async fn all(&self) -> Result<Report, ConformError> {
        let mut report = Report {
            cases: Vec::new(),
            way: None,
        };
        for case in cases::all() {
            if self.callback.is_none() && !seen_without_call(&case) {
                continue;
            }
            let ids = Ids::new();
            let first = report.cases.is_empty();
            let done = self.ask(&case, &ids).await;
            let verdict = match (done, first) {
                (Ok(done), _) if self.callback.is_none() => {
                    let (fault, way) = self.by_collector(&ids, done.status).await;
                    report.way = report.way.take().or(way);
                    fault
                }
                (Ok(done), true) if done.call.is_none() => return Err(self.no_call(&ids, done.status)),
                (Ok(done), _) => {
                    let fault = self.by_call(&case, &ids, &done);
                    if first {
                        report.way = self.way(&ids, fault.is_none()).await;
                    }
                    fault
                }
                (Err(error), true) => return Err(error),
                (Err(error), false) => Some(Fault {
                    arrived: error.to_string(),
                    right: "an answer: headers that are not understood are none".to_owned(),
                }),
            };
            report.cases.push(verdict_of(&case, verdict));
        }
        Ok(report)
    }

    async fn ask(&self, case: &Case, ids: &Ids) -> Result<Done, ConformError> {
        let request = self.request(case, ids)?;
        let url = request.uri().to_string();
        let patience = self.args.timeout.0;
        let asked = tokio::time::timeout(patience, async {
            let response = self.client.request(request).await?;
            let status = response.status();
            // The call may follow from the body's end only.
            let _ = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
            Ok::<_, BoxError>(status)
        });
        let answered = asked.await.unwrap_or_else(|late| Err(late.into()));
        let status = answered.map_err(|source| ConformError::NoAnswer { url, source })?;
        let call = match &self.callback {
            Some(callback) => callback.call(&ids.span, patience).await,
            None => None,
        };
        Ok(Done { status, call })
    }

    fn request(&self, case: &Case, ids: &Ids) -> Result<Request<Full<Bytes>>, ConformError> {
        let callback = self.callback_url(ids);
        let url = self.args.url.replace(PLACE, &encoded(&callback));
        let wrong = |value: &str, reason: &str| ConformError::Request {
            value: value.to_owned(),
            reason: reason.to_owned(),
        };
        let uri: Uri = url
            .parse()
            .ok()
            .filter(|uri: &Uri| uri.scheme_str() == Some("http") && uri.authority().is_some())
            .ok_or_else(|| wrong(&url, "write `http://host:port/path`"))?;
        let body = self.args.body.as_ref().map(|body| body.replace(PLACE, &callback));
        let otherwise = if body.is_some() { Method::POST } else { Method::GET };
        let mut request = Request::new(Full::from(body.unwrap_or_default()));
        *request.method_mut() = self.args.method.clone().unwrap_or(otherwise);
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        for header in &self.args.headers {
            let pair = header.split_once(':').and_then(|(name, value)| {
                let value = value.trim().replace(PLACE, &callback);
                Some((
                    HeaderName::try_from(name.trim()).ok()?,
                    HeaderValue::try_from(value).ok()?,
                ))
            });
            let (name, value) = pair.ok_or_else(|| wrong(header, "write `NAME: VALUE`"))?;
            headers.append(name, value);
        }
        for (name, value) in case.headers(ids) {
            headers.append(name, value);
        }
        Ok(request)
    }

    fn callback_url(&self, ids: &Ids) -> String {
        format!("{}{}", self.base, Callback::path(&ids.span))
    }

    fn no_call(&self, ids: &Ids, status: StatusCode) -> ConformError {
        ConformError::NoCall {
            url: self.args.url.clone(),
            status,
            callback: self.callback_url(ids),
        }
    }

    fn by_call(&self, case: &Case, ids: &Ids, done: &Done) -> Option<Fault> {
        match &done.call {
            Some(call) => self.judge.judge(case, ids, call),
            None => Some(Fault {
                arrived: format!("no call, and the answer {}", done.status),
                right: "the call that follows without these headers too".to_owned(),
            }),
        }
    }

    /// Without a call to look at: whether the collector has the trace, and where it ends.
    async fn by_collector(&self, ids: &Ids, status: StatusCode) -> (Option<Fault>, Option<String>) {
        let way = self.find(ids).await;
        let told = match &way {
            Ok(Some(way)) => format!("the trace goes through {}", way.services.join(" → ")),
            Ok(None) => "the collector has no span of the trace".to_owned(),
            Err(error) => format!("the collector cannot be asked: {error}"),
        };
        let fault = (!matches!(way, Ok(Some(_)))).then(|| Fault {
            arrived: format!("answer {status}; {told}"),
            right: format!("spans in trace `{}`", ids.trace),
        });
        (fault, Some(told))
    }

    /// Where the trace ended, as far as a collector knows.
    async fn way(&self, ids: &Ids, carried: bool) -> Option<String> {
        self.args.collector.as_ref()?;
        Some(match self.find(ids).await {
            Ok(Some(way)) => way.told(carried),
            Ok(None) if carried => {
                "the collector has no span of the trace, so nobody on its way reports there, or it was not kept".to_owned()
            }
            Ok(None) => "the collector has no span of the trace: it ends before the first service that reports".to_owned(),
            Err(error) => format!("the collector cannot be asked: {error}"),
        })
    }

    /// The way of a trace once the collector has as much of it twice in a row; `None` where it has nothing in time.
    async fn find(&self, ids: &Ids) -> Result<Option<Way>, BoxError> {
        let Some(collector) = &self.args.collector else {
            return Ok(None);
        };
        let base = collector.trim_end_matches('/');
        let uri: Uri = format!("{base}/jaeger/api/traces/{}", ids.trace).parse()?;
        let end = tokio::time::Instant::now() + self.args.timeout.0;
        let mut last = Answer::default();
        loop {
            let now = self.trace(uri.clone()).await?;
            let rests = now.spans() > 0 && now.spans() == last.spans();
            if rests || tokio::time::Instant::now() >= end {
                return Ok(now.way());
            }
            last = now;
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    async fn trace(&self, uri: Uri) -> Result<Answer, BoxError> {
        let asked = self.client.request(Request::get(uri).body(Full::default())?);
        let response = tokio::time::timeout(self.args.timeout.0, asked).await??;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await?;
        match status {
            StatusCode::OK => Ok(serde_json::from_slice(&body.to_bytes())?),
            StatusCode::NOT_FOUND => Ok(Answer::default()),
            status => Err(format!("it answers {status}").into()),
        }
    }
}

/// Whether a trace at a collector can decide the case.
fn seen_without_call(case: &Case) -> bool {
    matches!(case.expected.as_slice(), [cases::Expected::Trace])
}

fn verdict_of(case: &Case, fault: Option<Fault>) -> Verdict {
    let passed = fault.is_none();
    let (arrived, right) = fault.map(|fault| (fault.arrived, fault.right)).unzip();
    Verdict {
        name: case.name,
        says: case.says,
        passed,
        arrived,
        right,
    }
}

/// As part of a query or a path.
fn encoded(text: &str) -> String {
    let byte = |byte: u8| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            char::from(byte).to_string()
        } else {
            format!("%{byte:02X}")
        }
    };
    text.bytes().map(byte).collect()
}
