//! `tracemap demo`: disturbs the shop of a running `tracemap up --demo`.

use std::net::SocketAddr;
use std::process::ExitCode;

use crate::Failure;
use crate::demo::{DEFAULT_CONTROL, DemoAction, command};

/// Arguments of `tracemap demo`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where the shop takes orders about faults
    #[arg(long, global = true, default_value_t = DEFAULT_CONTROL)]
    control: SocketAddr,
    #[command(subcommand)]
    action: DemoAction,
}

/// Changes one service and says what is so now.
pub(crate) fn run(args: Args) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    println!("{}", runtime.block_on(command(args.control, args.action))?);
    Ok(ExitCode::SUCCESS)
}
