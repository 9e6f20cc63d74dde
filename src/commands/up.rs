//! `tracemap up`: collector and agent in one process, with the demo shop if asked for.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::ExitCode;

use agent::config::{InboundConfig, OutboundConfig, WorkloadConfig};
use agent::listen::ListenAddr;
use agent::{Agent, AgentConfig, ConfigSource, Running};
use collector::rim::{Collector, stop_signal};
use collector::settings::{LearnSettings, SamplingSettings};
use config::HumanDuration;
use tokio::sync::oneshot;

use crate::Failure;
use crate::demo::{DEFAULT_CONTROL, Proxies, Shop, ShopHandle, ShopSettings, ShopWorkload};
use crate::settings::{Settings, Uses};

/// Where map, counters and baselines lie unless told otherwise.
const DATA_DIR: &str = "./tracemap-data";

/// How long the demo's operations are watched before they are judged, unless another time is configured.
const DEMO_LEARN: HumanDuration = HumanDuration::from_secs(60);
/// How often the demo's agent sends its counts at least.
const DEMO_COUNTS: HumanDuration = HumanDuration::from_secs(1);

/// Arguments of `tracemap up`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The configuration file. Default: the environment alone
    #[arg(long)]
    config: Option<PathBuf>,
    /// Where map, counters and baselines are kept. Default: `collector.data_dir`, else ./tracemap-data
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// The directory that is kept generated as the map changes. Default: `generate.out`, else none
    #[arg(long)]
    out: Option<PathBuf>,
    /// Also run a small shop of real services with steady traffic
    #[arg(long)]
    demo: bool,
    /// Users' requests per second in the demo shop
    #[arg(long, default_value_t = 20.0, requires = "demo")]
    demo_rate: f64,
    /// Beside the demo shop, spans of an office in which everything is wrong that `tracemap check` finds
    #[arg(long, requires = "demo")]
    demo_flaws: bool,
    /// Where the demo shop takes orders about faults; port 0 takes a free one
    #[arg(long, default_value_t = DEFAULT_CONTROL, requires = "demo")]
    demo_control: std::net::SocketAddr,
}

/// Runs until asked to stop.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let path = args.config.clone();
    let file = ConfigSource::new(args.config.clone(), move || {
        Settings::read(path.as_deref(), Uses::Everything).map(|settings| settings.agent)
    });
    let mut settings = Settings::read(args.config.as_deref(), Uses::Everything)?;
    if let Some(dir) = &args.data_dir {
        settings.collector.data_dir = Some(dir.clone());
    }
    settings.collector.data_dir.get_or_insert_with(|| DATA_DIR.into());
    if let Some(out) = &args.out {
        settings.generate.out = Some(out.clone());
    }
    if settings.collector.sampling == SamplingSettings::default() {
        // On a laptop every trace is worth a look, and there is room for it.
        settings.collector.sampling = SamplingSettings::keep_all();
    }
    if args.demo && settings.collector.baseline.learn == LearnSettings::default().learn {
        // Whoever tries the demo wants to see a page within minutes.
        settings.collector.baseline.learn = DEMO_LEARN;
    }
    super::on_runtime(up(args, settings, file))?;
    Ok(ExitCode::SUCCESS)
}

async fn up(args: &Args, mut settings: Settings, file: ConfigSource) -> Result<(), Failure> {
    let collector = Collector::bind(&settings.collector, &settings.generate, settings.services).await?;
    let endpoint = format!("http://{}", collector.grpc_addr()?);
    let page = collector.web_addr()?;
    // Where another collector is named the shop's own spans go there too, or each would have half of the map.
    let sent_to = settings
        .agent
        .export
        .endpoint
        .get_or_insert_with(|| endpoint.clone());
    let sent_to = sent_to.clone();
    let shop = if args.demo {
        Some(Shop::bind(shop_settings(args)).await?)
    } else {
        None
    };
    let offered = shop.as_ref().map(Shop::workloads).unwrap_or_default();
    let mut running = start_agent(settings.agent, &offered).await?;

    let (stop_shop, shop_stops) = oneshot::channel::<()>();
    let shop = shop.zip(running.as_ref()).map(|(shop, running)| {
        shop.start(&proxies(&offered, running), &sent_to, async move {
            drop(shop_stops.await);
        })
    });
    tell(page, &endpoint, &settings.generate, shop.as_ref());

    let (stop_collector, collector_stops) = oneshot::channel::<()>();
    let collector = tokio::spawn(collector.run(async move { drop(collector_stops.await) }));
    match &mut running {
        Some(running) => {
            let source = file.adapted(move |mut config| {
                config.export.endpoint.get_or_insert_with(|| endpoint.clone());
                with_shop(config, &offered)
            });
            running.follow(Some(source), stop_signal()).await;
        }
        None => stop_signal().await,
    }
    // In the direction of the spans, so that each part can still hand over to the next.
    drop(stop_shop);
    if let Some(shop) = shop {
        shop.stopped().await;
    }
    if let Some(running) = running {
        running.stop().await;
    }
    drop(stop_collector);
    collector.await?;
    Ok(())
}

fn shop_settings(args: &Args) -> ShopSettings {
    ShopSettings {
        control: args.demo_control,
        requests_per_second: args.demo_rate,
        flaws: args.demo_flaws,
        ..ShopSettings::default()
    }
}

/// The agent with the configured workloads and the shop's; none where there is nothing to stand before.
async fn start_agent(config: AgentConfig, shop: &[ShopWorkload]) -> Result<Option<Running>, Failure> {
    if !shop.is_empty() && config.flat_workload().is_some() {
        return Err("the flat keys of `agent` describe one workload, and `--demo` adds more: list yours under `agent.workloads`".into());
    }
    let config = with_shop(config, shop);
    let has_relay = config.otlp.grpc.is_some() || config.otlp.http.is_some();
    if config.workloads.is_empty() && config.flat_workload().is_none() && !has_relay {
        return Ok(None);
    }
    Ok(Some(Agent::start(config).await?))
}

/// The agent's configuration with the shop's workloads, if there is one.
fn with_shop(mut config: AgentConfig, shop: &[ShopWorkload]) -> AgentConfig {
    if !shop.is_empty() {
        // The shop's come first, so that their addresses are the first that the agent tells.
        config.workloads = shop.iter().map(workload).chain(config.workloads).collect();
        // Whoever looks at the demo should not wait for the picture.
        config.edges.interval = config.edges.interval.min(DEMO_COUNTS);
    }
    config
}

fn workload(offered: &ShopWorkload) -> WorkloadConfig {
    let any_port = || ListenAddr(std::net::SocketAddr::from(([127, 0, 0, 1], 0)));
    WorkloadConfig {
        service: Some(offered.service.to_owned()),
        routes: offered.routes.iter().map(|route| (*route).to_owned()).collect(),
        inbound: vec![InboundConfig {
            listen: any_port(),
            upstream: format!("http://{}", offered.upstream),
            ..InboundConfig::default()
        }],
        outbound: Some(OutboundConfig {
            listen: any_port(),
            ..OutboundConfig::default()
        }),
        ..WorkloadConfig::default()
    }
}

fn proxies(offered: &[ShopWorkload], running: &Running) -> HashMap<&'static str, Proxies> {
    let addresses = running.inbound_addrs.iter().zip(&running.outbound_addrs);
    let pair = |(workload, (&inbound, &outbound)): (&ShopWorkload, _)| {
        (workload.service, Proxies { inbound, outbound })
    };
    offered.iter().zip(addresses).map(pair).collect()
}

fn tell(
    page: std::net::SocketAddr,
    endpoint: &str,
    generate: &collector::settings::GenerateSettings,
    shop: Option<&ShopHandle>,
) {
    println!("map        http://{page}/");
    println!("OTLP/gRPC  {endpoint}");
    if let Some(out) = &generate.out {
        println!("generated  {}", out.display());
    }
    if let Some(shop) = shop {
        let control = shop.control();
        let at = if control == DEFAULT_CONTROL {
            String::new()
        } else {
            format!(" --control {control}")
        };
        println!("try        tracemap demo{at} slow payment 400ms   (or: fail payment 50%, heal)");
    }
}
