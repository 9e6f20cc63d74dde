//! One module per command: its arguments and how it is wired.

pub(crate) mod agent;
pub(crate) mod backtest;
pub(crate) mod check;
pub(crate) mod collector;
pub(crate) mod demo;
pub(crate) mod diff;
pub(crate) mod generate;
pub(crate) mod map;
pub(crate) mod publish;
pub(crate) mod ready;
pub(crate) mod replay;
pub(crate) mod rot;
pub(crate) mod up;

use crate::Failure;
use crate::telemetry::{self, Telemetry};

/// Runs a command on a runtime of its own, with logs, and sends the last of our own spans at the end.
fn on_runtime<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (result, telemetry): (_, Telemetry) = runtime.block_on(async {
        let telemetry = telemetry::start()?;
        Ok::<_, Failure>((work.await, telemetry))
    })?;
    let _inside = runtime.enter();
    telemetry.stop();
    result
}
