//! Bytes both ways, unseen: upgraded connections and `CONNECT`.
//!
//! In: two ends. Out: what one sends, at the other, until both have ended or the agent stops.
//! Left out on purpose: spans of what passes inside.

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};
use tokio::sync::watch;
use tracing::debug;

/// Joins two upgraded connections.
pub(crate) async fn join(caller: OnUpgrade, service: OnUpgrade, stop: watch::Receiver<bool>) {
    match tokio::try_join!(caller, service) {
        Ok((caller, service)) => pass(TokioIo::new(caller), TokioIo::new(service), stop).await,
        Err(error) => debug!(%error, "upgrade not completed"),
    }
}

/// Joins the caller's upgraded connection to one that the agent made.
pub(crate) async fn connect(
    caller: OnUpgrade,
    far: impl AsyncRead + AsyncWrite + Unpin,
    stop: watch::Receiver<bool>,
) {
    match caller.await {
        Ok(caller) => pass(TokioIo::new(caller), far, stop).await,
        Err(error) => debug!(%error, "tunnel not opened"),
    }
}

/// Passes bytes both ways, and each way's end, until both have ended or `stop`.
pub(crate) async fn pass(
    mut near: impl AsyncRead + AsyncWrite + Unpin,
    mut far: impl AsyncRead + AsyncWrite + Unpin,
    mut stop: watch::Receiver<bool>,
) {
    tokio::select! {
        passed = copy_bidirectional(&mut near, &mut far) => {
            if let Err(error) = passed {
                debug!(%error, "tunnel broke off");
            }
        }
        _ = stop.wait_for(|stop| *stop) => {}
    }
}
