//! Connections by address, for the libraries' clients.
//!
//! In: `http://host:port` and `https://host:port`. Out: a TCP connection, with TLS where the address says so.
//! Left out on purpose: time limits beyond that of an address that does not answer, which the clients have.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use http::uri::Scheme;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service;

use super::{ClientStream, ClientTls, MaybeTls, Protocols};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Connects to `http://` addresses, and to `https://` ones where it has a [`ClientTls`].
#[derive(Debug, Clone)]
pub struct HttpsConnector {
    http: HttpConnector,
    tls: Option<ClientTls>,
    protocols: Protocols,
}

/// TLS is asked of a connector that has none.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` wants TLS, which is not set up here")]
pub(crate) struct NoTls(Uri);

impl HttpsConnector {
    /// Offers `protocols` where there is TLS.
    pub fn new(tls: Option<ClientTls>, protocols: Protocols) -> Self {
        let mut http = HttpConnector::new();
        http.set_nodelay(true);
        http.enforce_http(false);
        Self { http, tls, protocols }
    }

    /// How long an address may take to answer; what follows, TLS included, is not in it.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.http.set_connect_timeout(Some(timeout));
        self
    }

    async fn connect(mut self, uri: Uri) -> Result<TokioIo<MaybeTls<ClientStream>>, BoxError> {
        std::future::poll_fn(|cx| self.http.poll_ready(cx)).await?;
        let tcp: TcpStream = self.http.call(uri.clone()).await?.into_inner();
        if uri.scheme() != Some(&Scheme::HTTPS) {
            return Ok(TokioIo::new(MaybeTls::Plain(tcp)));
        }
        let tls = self.tls.ok_or_else(|| NoTls(uri.clone()))?;
        let connected = tls
            .connect(uri.host().unwrap_or_default(), self.protocols, tcp)
            .await?;
        Ok(TokioIo::new(MaybeTls::Tls(Box::new(connected))))
    }
}

impl Service<Uri> for HttpsConnector {
    type Response = TokioIo<MaybeTls<ClientStream>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}
