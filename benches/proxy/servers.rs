//! The servers that are this program itself, each in a process of its own.
//!
//! In: a role. Out: a server on loopback whose addresses are the first line on standard output; it runs until killed.
//! Left out on purpose: anything that a contestant would have to wait for.

use std::io::Write as _;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};

use crate::client::BODY;
use crate::{Failure, sink};

/// What a child process of the benchmark is.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum Role {
    /// The service behind the proxies.
    Upstream,
    /// Our intake, which checks spans, counts and drops them; its second address shows how many came.
    Sink,
}

impl Role {
    /// As the command line has it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Upstream => "upstream",
            Self::Sink => "sink",
        }
    }
}

/// Serves until killed.
pub(crate) fn serve(role: Role) -> Result<(), Failure> {
    // One thread is plenty for either, and fewer wake-ups disturb the others less.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        match role {
            Role::Upstream => {
                say(&format!("{}", listener.local_addr()?))?;
                serve_upstream(listener).await
            }
            Role::Sink => {
                let page = TcpListener::bind("127.0.0.1:0").await?;
                say(&format!("{} {}", listener.local_addr()?, page.local_addr()?))?;
                sink::serve(listener, page).await
            }
        }
    })
}

fn say(line: &str) -> Result<(), Failure> {
    println!("{line}");
    Ok(std::io::stdout().flush()?)
}

async fn serve_upstream(listener: TcpListener) -> Result<(), Failure> {
    let body = Bytes::from(vec![b'x'; BODY]);
    loop {
        let (connection, _) = listener.accept().await?;
        connection.set_nodelay(true)?;
        tokio::spawn(serve_connection(connection, body.clone()));
    }
}

async fn serve_connection(connection: TcpStream, body: Bytes) {
    let service = service_fn(move |request| answer(request, body.clone()));
    // Its client is gone, and knows why.
    let _ = auto::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(connection), service)
        .await;
}

/// The same for every request, unless one came without its body.
async fn answer(request: Request<Incoming>, body: Bytes) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let came = request.into_body().collect().await?.to_bytes().len();
    let mut response = Response::new(Full::new(body));
    if came != BODY {
        *response.status_mut() = StatusCode::BAD_REQUEST;
    }
    Ok(response)
}
