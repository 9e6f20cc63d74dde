//! A shop whose traffic grows tenfold under a budget of spans: a collector that plans, an agent that follows, services and clients.
//!
//! In: rates, a budget, times. Out: spans a second as the collector took them, calls as the services answered them, calls as the map
//! counted them, and what the agent said it followed.
//! Left out on purpose: judging; the proof and the test each say what is right.
//!
//! `web` asks `cart` once, and `cart` asks `cache` several times, which no agent stands before. All go through agents, each hop with
//! the context that came. `web` runs twice, each behind an agent of its own; three of four users come to the first.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper::header::{HOST, HeaderMap, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

/// What went wrong, in words.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Longest wait for any one state.
const PATIENCE: Duration = Duration::from_secs(40);
/// Headers that a service passes on.
const CONTEXT: [&str; 3] = ["traceparent", "tracestate", "x-correlation-id"];

/// What is run.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// A built `tracemap`.
    pub(crate) tracemap: PathBuf,
    /// Requests of users a second at first.
    pub(crate) rate: f64,
    /// By how much it grows.
    pub(crate) factor: f64,
    /// Calls of `cart` to `cache` for each request.
    pub(crate) cache_calls: u32,
    /// Spans a second that are allowed.
    pub(crate) budget: f64,
    /// `generate.plan.interval` and `agent.plan.interval`.
    pub(crate) intervals: [Duration; 2],
    /// `collector.pairing.wait`.
    pub(crate) wait: Duration,
    /// How long the rate stays at first, grows, and stays then.
    pub(crate) phases: [Duration; 3],
    /// Mode of `cart`'s calls to `cache` that somebody pins.
    pub(crate) pin: Option<&'static str>,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Seconds since the beginning, and spans that the collector had taken by then.
    pub(crate) spans: Vec<(f64, f64)>,
    /// Requests that each service answered, by the edge that they came over.
    pub(crate) answered: BTreeMap<&'static str, u64>,
    /// Requests that the map counted, likewise.
    pub(crate) counted: BTreeMap<String, f64>,
    /// Requests that failed, and of users that came later than a second.
    pub(crate) failed: u64,
    /// `/api/v1/agents` at the end.
    pub(crate) agents: String,
    /// `/api/v1/plan.yaml` at the end.
    pub(crate) plan: String,
    /// Of the whole run, without a plan: spans of a request times requests.
    pub(crate) offered: f64,
}

impl Outcome {
    /// Spans a second between two times.
    pub(crate) fn rate(&self, from: f64, to: f64) -> f64 {
        let at = |time: f64| {
            let near = self
                .spans
                .iter()
                .min_by(|a, b| (a.0 - time).abs().total_cmp(&(b.0 - time).abs()));
            near.copied().unwrap_or_default()
        };
        let ((began, before), (ended, after)) = (at(from), at(to));
        (after - before) / (ended - began).max(f64::MIN_POSITIVE)
    }
}

/// Where the collector and `cart`'s agent listen.
#[derive(Clone, Copy, Debug)]
struct Ports {
    grpc: u16,
    http: u16,
    page: u16,
    cart_in: u16,
    cart_out: u16,
    /// Of the agents, each before one `web`.
    agents: [AgentPorts; 2],
}

#[derive(Clone, Copy, Debug)]
struct AgentPorts {
    admin: u16,
    otlp: [u16; 2],
    web_in: u16,
    web_out: u16,
}

impl AgentPorts {
    fn free() -> Result<Self, Failure> {
        Ok(Self {
            admin: free_port()?,
            otlp: [free_port()?, free_port()?],
            web_in: free_port()?,
            web_out: free_port()?,
        })
    }
}

/// Runs it.
pub(crate) fn run(plan: &Plan) -> Result<Outcome, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(growing(plan))
}

async fn growing(plan: &Plan) -> Result<Outcome, Failure> {
    let dir = tempfile::tempdir()?;
    let ports = Ports {
        grpc: free_port()?,
        http: free_port()?,
        page: free_port()?,
        cart_in: free_port()?,
        cart_out: free_port()?,
        agents: [AgentPorts::free()?, AgentPorts::free()?],
    };
    let counts = Arc::new(Counts::default());
    let shop = Shop::open(plan, ports, counts.clone()).await?;
    let collector = start(plan, dir.path(), "collector", &collector_yaml(plan, ports))?;
    ready(ports.page, &collector).await?;
    let mut agents = Vec::new();
    for (at, of) in ports.agents.into_iter().enumerate() {
        let agent = start(plan, dir.path(), "agent", &agent_yaml(plan, ports, &shop, at))?;
        ready(of.admin, &agent).await?;
        agents.push(agent);
    }
    let began = Instant::now();
    let doors = ports.agents.map(|of| of.web_in);
    let users = tokio::spawn(users(plan.clone(), doors, counts.clone(), began));
    let mut outcome = Outcome::default();
    while !users.is_finished() {
        tokio::time::sleep(Duration::from_millis(500)).await;
        outcome
            .spans
            .push((began.elapsed().as_secs_f64(), taken(ports.page).await?));
    }
    users.await?;
    outcome.answered = counts.answered();
    outcome.failed = counts.failed.load(Relaxed);
    let per_request = f64::from(3 + plan.cache_calls);
    outcome.offered = per_request * outcome.answered.get("web").copied().unwrap_or_default() as f64;
    outcome.counted = settled(ports.page, &outcome.answered).await?;
    outcome.agents = page(ports.page, "/api/v1/agents").await?;
    outcome.plan = page(ports.page, "/api/v1/plan.yaml").await?;
    drop((agents, collector));
    Ok(outcome)
}

fn collector_yaml(plan: &Plan, ports: Ports) -> String {
    let Ports { grpc, http, page, .. } = ports;
    let pin = plan.pin.map_or_else(String::new, |mode| {
        format!("services: {{ cart: {{ plan: {{ edges: {{ cache: {mode} }} }} }} }}\n")
    });
    format!(
        "collector:\n  otlp: {{ grpc: '127.0.0.1:{grpc}', http: '127.0.0.1:{http}' }}\n  web: {{ listen: '127.0.0.1:{page}' }}\n  \
         pairing: {{ wait: {}ms }}\ngenerate:\n  plan: {{ budget: {{ spans_per_second: {} }}, interval: {}ms, min_traces: 1, min_judged: 1 }}\n{pin}",
        plan.wait.as_millis(),
        plan.budget,
        plan.intervals[0].as_millis(),
    )
}

/// The first stands before `cart` too.
fn agent_yaml(plan: &Plan, ports: Ports, shop: &Shop, at: usize) -> String {
    let Ports {
        grpc,
        page,
        cart_in,
        cart_out,
        agents,
        ..
    } = ports;
    let AgentPorts {
        admin,
        otlp,
        web_in,
        web_out,
    } = agents[at];
    let (web, cart) = (shop.webs[at], shop.cart);
    let mut yaml = format!(
        "agent:\n  otlp: {{ grpc: '127.0.0.1:{}', http: '127.0.0.1:{}' }}\n  admin: {{ listen: '127.0.0.1:{admin}' }}\n  \
         plan: {{ url: 'http://127.0.0.1:{page}/api/v1/plan', interval: {}ms }}\n  sampling: {{ listen: '127.0.0.1:0', grpc: '127.0.0.1:0' }}\n  \
         export: {{ endpoint: 'http://127.0.0.1:{grpc}' }}\n  workloads:\n  - service: web\n    inbound: [{{ listen: '127.0.0.1:{web_in}', \
         upstream: 'http://{web}' }}]\n    outbound: {{ listen: '127.0.0.1:{web_out}' }}\n",
        otlp[0],
        otlp[1],
        plan.intervals[1].as_millis(),
    );
    if at == 0 {
        let _ = writeln!(
            yaml,
            "  - service: cart\n    inbound: [{{ listen: '127.0.0.1:{cart_in}', upstream: 'http://{cart}' }}]\n    \
             outbound: {{ listen: '127.0.0.1:{cart_out}' }}"
        );
    }
    yaml
}

/// A process that ends with this, and what it wrote.
struct Running(Child, PathBuf);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(plan: &Plan, dir: &Path, what: &str, config: &str) -> Result<Running, Failure> {
    let dir = tempfile::tempdir_in(dir)?.keep();
    let file = dir.join("config.yaml");
    std::fs::write(&file, config)?;
    let written = dir.join("log");
    let log = std::fs::File::create(&written)?;
    let child = Command::new(&plan.tracemap)
        .arg(what)
        .arg("--config")
        .arg(&file)
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()?;
    Ok(Running(child, written))
}

fn free_port() -> Result<u16, Failure> {
    Ok(std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port())
}

/// The services, and where they are.
struct Shop {
    webs: [SocketAddr; 2],
    cart: SocketAddr,
}

impl Shop {
    async fn open(plan: &Plan, ports: Ports, counts: Arc<Counts>) -> Result<Self, Failure> {
        let cache = serve("cache", counts.clone(), Vec::new()).await?;
        let to_cache = Calls {
            over: at(ports.cart_out),
            to: format!("http://localhost:{}/get", cache.port()),
            times: plan.cache_calls,
            pool: Arc::default(),
        };
        let cart = serve("cart", counts.clone(), vec![to_cache]).await?;
        let to_cart = |over: AgentPorts| Calls {
            over: at(over.web_out),
            to: format!("http://127.0.0.1:{}/cart", ports.cart_in),
            times: 1,
            pool: Arc::default(),
        };
        let [one, other] = ports.agents;
        let webs = [
            serve("web", counts.clone(), vec![to_cart(one)]).await?,
            serve("web", counts, vec![to_cart(other)]).await?,
        ];
        Ok(Self { webs, cart })
    }
}

fn at(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// Whom a service calls for each request that it gets.
#[derive(Clone)]
struct Calls {
    /// The proxy.
    over: SocketAddr,
    to: String,
    times: u32,
    pool: Pool,
}

async fn serve(name: &'static str, counts: Arc<Counts>, calls: Vec<Calls>) -> Result<SocketAddr, Failure> {
    let listener = TcpListener::bind(at(0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            let (counts, calls) = (counts.clone(), calls.clone());
            let service = service_fn(move |request| {
                let (counts, calls) = (counts.clone(), calls.clone());
                async move { Ok::<_, Infallible>(answer(name, &request, &counts, &calls).await) }
            });
            let connection =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::spawn(connection);
        }
    });
    Ok(address)
}

async fn answer(
    name: &'static str,
    request: &Request<Incoming>,
    counts: &Counts,
    calls: &[Calls],
) -> Response<Full<Bytes>> {
    counts.answer(name);
    for call in calls {
        for _ in 0..call.times {
            if ask(&call.pool, call.over, &call.to, Some(request.headers()))
                .await
                .is_err()
            {
                counts.failed.fetch_add(1, Relaxed);
            }
        }
    }
    Response::new(Full::from("ok"))
}

/// Requests by the service that answered them.
#[derive(Debug, Default)]
struct Counts {
    answered: Mutex<BTreeMap<&'static str, u64>>,
    failed: AtomicU64,
}

impl Counts {
    fn answer(&self, name: &'static str) {
        let mut answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        *answered.entry(name).or_default() += 1;
    }

    fn answered(&self) -> BTreeMap<&'static str, u64> {
        self.answered
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// Open connections that nobody uses now.
type Pool = Arc<Mutex<Vec<SendRequest<Empty<Bytes>>>>>;

async fn ask(pool: &Pool, over: SocketAddr, to: &str, context: Option<&HeaderMap>) -> Result<(), Failure> {
    let kept = pool.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let mut sender = match kept {
        Some(sender) if sender.is_ready() => sender,
        _ => connect(over).await?,
    };
    let uri: Uri = to.parse()?;
    let mut request = Request::new(Empty::new());
    if let Some(authority) = uri.authority() {
        request
            .headers_mut()
            .insert(HOST, HeaderValue::from_str(authority.as_str())?);
    }
    *request.uri_mut() = uri;
    for (name, headers) in CONTEXT.iter().filter_map(|name| Some((*name, context?))) {
        if let Some(value) = headers.get(name) {
            request.headers_mut().insert(name, value.clone());
        }
    }
    let response = sender.send_request(request).await?;
    let status = response.status();
    response.into_body().collect().await?;
    pool.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
    if status.is_success() {
        Ok(())
    } else {
        Err(format!("`{to}` answers {status}").into())
    }
}

async fn connect(to: SocketAddr) -> Result<SendRequest<Empty<Bytes>>, Failure> {
    let stream = TcpStream::connect(to).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

/// Requests of users at the rate of the plan, each at its time whether those before were answered or not.
async fn users(plan: Plan, doors: [u16; 2], counts: Arc<Counts>, began: Instant) {
    let pools = [Pool::default(), Pool::default()];
    let [before, growing, _] = plan.phases.map(|phase| phase.as_secs_f64());
    let end = plan.phases.iter().sum::<Duration>();
    let mut due = 0.0;
    let mut asked = tokio::task::JoinSet::new();
    for number in 0_u64.. {
        if began.elapsed() >= end {
            break;
        }
        let door = usize::from(number % 4 == 3);
        let port = doors[door];
        let grown = ((due - before) / growing.max(f64::MIN_POSITIVE)).clamp(0.0, 1.0);
        due += 1.0 / (plan.rate * (1.0 + (plan.factor - 1.0) * grown));
        tokio::time::sleep_until((began + Duration::from_secs_f64(due)).into()).await;
        let (pool, counts) = (pools[door].clone(), counts.clone());
        let to = format!("http://127.0.0.1:{port}/home");
        asked.spawn(async move {
            if ask(&pool, at(port), &to, None).await.is_err() {
                counts.failed.fetch_add(1, Relaxed);
            }
        });
        while asked.try_join_next().is_some() {}
    }
    while asked.join_next().await.is_some() {}
}

/// Until it answers that it is ready.
async fn ready(port: u16, process: &Running) -> Result<(), Failure> {
    let until = Instant::now() + PATIENCE;
    while page(port, "/readyz").await.is_err() {
        if Instant::now() > until {
            let log = std::fs::read_to_string(&process.1).unwrap_or_default();
            return Err(format!("nothing is ready on port {port} after {PATIENCE:?}:\n{log}").into());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

async fn page(port: u16, path: &str) -> Result<String, Failure> {
    let mut sender = connect(at(port)).await?;
    let mut request = Request::new(Empty::new());
    *request.uri_mut() = path.parse()?;
    request
        .headers_mut()
        .insert(HOST, HeaderValue::from_str(&format!("localhost:{port}"))?);
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    if !status.is_success() {
        return Err(format!("`{path}` answers {status}").into());
    }
    Ok(String::from_utf8_lossy(&body).into_owned())
}

/// Spans that the collector has taken.
async fn taken(port: u16) -> Result<f64, Failure> {
    let metrics = page(port, "/metrics").await?;
    let of = |line: &str| {
        let rest = line.strip_prefix("tracemap_collector_spans_total{outcome=\"mapped")?;
        rest.rsplit(' ').next()?.parse::<f64>().ok()
    };
    Ok(metrics.lines().filter_map(of).sum())
}

/// What the map counts, once it counts as much as was answered or does not change any more.
async fn settled(
    port: u16,
    answered: &BTreeMap<&'static str, u64>,
) -> Result<BTreeMap<String, f64>, Failure> {
    let until = Instant::now() + Duration::from_secs(40);
    loop {
        let counted = counted(port).await?;
        let all = ["cart", "cache"].iter().all(|name| {
            let answered = answered.get(name).copied().unwrap_or_default() as f64;
            counted
                .get(*name)
                .is_some_and(|counted| (counted - answered).abs() < 0.5)
        });
        if all || Instant::now() > until {
            return Ok(counted);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Requests of the map's edges by callee; what is no service of the shop is `cache`.
async fn counted(port: u16) -> Result<BTreeMap<String, f64>, Failure> {
    let csv = page(port, "/api/v1/map?format=csv").await?;
    let mut counted: BTreeMap<String, f64> = BTreeMap::new();
    for line in csv.lines().skip(1) {
        let cells: Vec<&str> = line.split(',').collect();
        let [_, callee, _, requests, ..] = cells[..] else {
            continue;
        };
        let name = if ["web", "cart"].contains(&callee) {
            callee
        } else {
            "cache"
        };
        *counted.entry(name.to_owned()).or_default() += requests.parse::<f64>().unwrap_or_default();
    }
    Ok(counted)
}

/// Of so many seconds each window of [`windows`] is.
const WINDOW: f64 = 10.0;

/// Spans a second in windows of ten seconds: when each begins, and how much of the budget they are.
pub(crate) fn windows(plan: &Plan, outcome: &Outcome) -> Vec<(f64, f64)> {
    let end: f64 = plan.phases.iter().map(Duration::as_secs_f64).sum();
    let begin = (0..).map(|n| WINDOW * f64::from(n));
    begin
        .take_while(|from| from + WINDOW <= end + 0.1)
        .map(|from| (from, outcome.rate(from, from + WINDOW) / plan.budget))
        .collect()
}

/// The same as rows of a table.
pub(crate) fn told(plan: &Plan, outcome: &Outcome) -> String {
    let mut text = String::new();
    for (from, of_budget) in windows(plan, outcome) {
        let (to, rate) = (from + WINDOW, of_budget * plan.budget);
        let _ = writeln!(
            text,
            "| {from:.0} to {to:.0} s | {rate:.0} | {:.0} % |",
            100.0 * of_budget
        );
    }
    text
}
