//! `tracemap ready`: whether an agent or a collector is ready, as an exit code.
//!
//! In: its address. Out: 0 where `/readyz` answers 200, 1 where it says something else or nothing.
//! Left out on purpose: waiting. Who runs health checks repeats them.

use std::process::ExitCode;
use std::time::Duration;

use http::{Method, StatusCode};

use super::publish::http::{Address, Server};
use crate::Failure;

/// Arguments of `tracemap ready`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Page of a collector, or administration port of an agent
    #[arg(default_value = "http://127.0.0.1:7070")]
    url: String,
}

/// Asks once.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    super::on_runtime(ready(&args.url))
}

async fn ready(url: &str) -> Result<ExitCode, Failure> {
    let server = Server::new(Address {
        url: url.to_owned(),
        patience: Duration::ZERO,
        ..Address::default()
    })?;
    let said = match server.ask(Method::GET, "/readyz", None).await {
        Ok(answer) if answer.status == StatusCode::OK => return Ok(ExitCode::SUCCESS),
        Ok(answer) => format!("{} {}", answer.status, answer.shown()),
        Err(error) => error.to_string(),
    };
    println!("not ready: {said}");
    Ok(ExitCode::from(1))
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::routing::get;

    use super::*;

    async fn check(answer: StatusCode, expected: u8) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new().route("/readyz", get(async move || answer));
        let served = tokio::spawn(async move { axum::serve(listener, app).await });
        assert_eq!(ready(&url).await.unwrap(), ExitCode::from(expected));
        served.abort();
    }

    #[tokio::test]
    async fn only_what_says_that_it_is_ready_is() {
        check(StatusCode::OK, 0).await;
        check(StatusCode::SERVICE_UNAVAILABLE, 1).await;
        check(StatusCode::NOT_FOUND, 1).await;
        assert_eq!(
            ready("http://127.0.0.1:1").await.unwrap(),
            ExitCode::from(1),
            "nobody answers"
        );
    }
}
