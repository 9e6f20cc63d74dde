//! The peers that are this program itself, each in a process of its own.
//!
//! In: a role. Out: a server on loopback whose address is the first line on standard output; it runs until killed.
//! Left out on purpose: anything that would make them look worse than they must: both intakes have the same windows.

use std::io::Write as _;
use std::sync::Arc;

use axum::Router;
use axum::serve::ListenerExt as _;
use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use otlp::intake::{Accepted, BatchMeta, Limits, Refusal, TraceSink};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

use crate::Failure;

/// What the service behind the agents answers with, in bytes.
pub(crate) const ANSWER_BYTES: usize = 1024;

/// What a child process of the benchmark is.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum Role {
    /// Our intake, whose sink drops the message: transport and the check of the bytes.
    Drop,
    /// tonic with the ordinary prost codec: decodes and drops.
    Prost,
    /// The service behind the agents.
    Upstream,
}

impl Role {
    /// As the command line has it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Drop => "drop",
            Self::Prost => "prost",
            Self::Upstream => "upstream",
        }
    }
}

/// Serves until killed.
pub(crate) fn serve(role: Role) -> Result<(), Failure> {
    let runtime = match role {
        Role::Drop | Role::Prost => tokio::runtime::Builder::new_multi_thread().enable_all().build()?,
        // One thread is plenty for it, and fewer wake-ups disturb the clients less.
        Role::Upstream => tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?,
    };
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        std::io::stdout().flush()?;
        match role {
            Role::Drop => {
                let forever = std::future::pending();
                otlp::intake::serve_grpc(listener, Dropped, Limits::default(), Arc::new(()), forever).await;
            }
            Role::Prost => serve_prost(listener).await?,
            Role::Upstream => serve_upstream(listener).await?,
        }
        Ok(())
    })
}

#[derive(Clone)]
struct Dropped;

impl TraceSink for Dropped {
    async fn export(&self, _: Bytes, _: BatchMeta) -> Result<Accepted, Refusal> {
        Ok(Accepted::default())
    }
}

#[tonic::async_trait]
impl TraceService for Dropped {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        drop(std::hint::black_box(request.into_inner()));
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

async fn serve_prost(listener: TcpListener) -> Result<(), Failure> {
    let service = TraceServiceServer::new(Dropped).max_decoding_message_size(64 << 20);
    tonic::transport::Server::builder()
        .initial_connection_window_size(16 << 20)
        .initial_stream_window_size(4 << 20)
        .max_frame_size(256 << 10)
        .add_service(service)
        .serve_with_incoming(TcpListenerStream::new(listener))
        .await?;
    Ok(())
}

async fn serve_upstream(listener: TcpListener) -> Result<(), Failure> {
    let body = Bytes::from(vec![b'x'; ANSWER_BYTES]);
    let answer = move || {
        let body = body.clone();
        async move { body }
    };
    let without_delay = listener.tap_io(|connection| {
        let _ = connection.set_nodelay(true);
    });
    axum::serve(without_delay, Router::new().fallback(answer)).await?;
    Ok(())
}
