//! Bounds on what callers may take: connections, slow headers, idle time, open files.
//!
//! In: `agent.limits`, and what happens on each connection. Out: connections that are cut, each counted with its reason,
//! and a wait before the next is accepted.
//! Left out on purpose: bounds on a request that is under way, however slow; that is for the service and its caller.

use std::pin::Pin;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Response, StatusCode, Version};
use http_body::{Body, Frame, SizeHint};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::Notify;

use crate::config::LimitsConfig;
use crate::telemetry::{Cut, Metrics};

mod watched;

pub(crate) use watched::Watched;

/// Files that are not connections: listeners, the buffer, the collector, names.
const RESERVED_FILES: u64 = 64;
/// How often it is looked for connections that are over a bound, at the slowest.
const SWEEP: Duration = Duration::from_secs(1);
/// How long to wait for a connection to become idle where none can be cut.
const RETRY: Duration = Duration::from_millis(20);

const FRESH: u8 = 0;
const IDLE: u8 = 1;
const HEAD: u8 = 2;
const TUNNEL: u8 = 3;

/// Who may come in, for all listeners of an agent together.
pub(crate) struct Admission {
    bounds: Mutex<Bounds>,
    metrics: Arc<Metrics>,
    clock: Arc<Clock>,
    open: AtomicUsize,
    /// Accepted, and not yet among the open ones.
    arriving: AtomicUsize,
    seats: Mutex<Vec<Arc<Seat>>>,
    freed: Notify,
    /// The agent is about to end.
    leaving: AtomicBool,
}

/// `None` is no bound.
#[derive(Clone, Copy)]
struct Bounds {
    connections: usize,
    header: Option<Duration>,
    idle: Option<Duration>,
}

/// Milliseconds since the agent began, as of the last look; read on every request, so it costs no system call.
#[derive(Default)]
struct Clock(AtomicU64);

/// What a connection is at.
struct Seat {
    clock: Arc<Clock>,
    /// Requests under way.
    busy: AtomicU32,
    /// When its phase began.
    since: AtomicU64,
    phase: AtomicU8,
    http2: AtomicBool,
    /// Something came or went since the last look.
    stirred: AtomicBool,
    /// Something was written that may not be on its way yet.
    unflushed: AtomicBool,
    /// Whoever speaks on it ends, and it does not.
    stays_open: AtomicBool,
    /// Its connection has ended, or was told to.
    over: AtomicBool,
    /// Its connection has ended.
    gone: AtomicBool,
    told: Notify,
}

/// A connection; where its listener has bounds, it counts until its last clone is dropped.
#[derive(Clone)]
pub(crate) struct Guest(Option<Arc<Counted>>);

struct Counted {
    admission: Arc<Admission>,
    seat: Arc<Seat>,
}

/// A request under way on a connection, which is therefore not idle.
pub(crate) struct Busy(Option<Arc<Seat>>);

impl Admission {
    /// Opens, and looks after the guests for as long as this is kept.
    pub(crate) fn open(config: &LimitsConfig, metrics: Arc<Metrics>) -> Arc<Self> {
        let admission = Arc::new(Self {
            bounds: Mutex::new(Bounds::of(config)),
            metrics,
            clock: Arc::default(),
            open: AtomicUsize::new(0),
            arriving: AtomicUsize::new(0),
            seats: Mutex::default(),
            freed: Notify::new(),
            leaving: AtomicBool::new(false),
        });
        tokio::spawn(look_after(Arc::downgrade(&admission)));
        admission
    }

    /// From now on `config` holds, for connections that are open too.
    pub(crate) fn renew(&self, config: &LimitsConfig) {
        *self.bounds.lock().unwrap_or_else(PoisonError::into_inner) = Bounds::of(config);
    }

    /// From now on callers hear with each answer that their connection ends with it, so that none speaks into the end that
    /// follows.
    pub(crate) fn leave(&self) {
        self.leaving.store(true, Relaxed);
    }

    fn bounds(&self) -> Bounds {
        *self.bounds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until one more connection may come in. The one that has been idle longest makes room.
    pub(crate) async fn room(&self) {
        while self.open.load(Relaxed) + self.arriving.load(Relaxed) >= self.bounds().connections {
            self.make_room();
            // One that is busy now may be idle next time, which nobody tells.
            let _ = tokio::time::timeout(RETRY, self.freed.notified()).await;
        }
    }

    /// The system gave no connection, most likely for want of files.
    pub(crate) fn not_accepted(&self) {
        self.metrics.connection_cut(Cut::AcceptFailed);
        self.make_room();
    }

    /// A connection was accepted; it enters once its task runs.
    pub(crate) fn arrives(&self) {
        self.arriving.fetch_add(1, Relaxed);
    }

    /// Lets a connection in.
    fn enter(self: &Arc<Self>) -> Guest {
        let seat = Arc::new(Seat {
            clock: self.clock.clone(),
            busy: AtomicU32::new(0),
            since: AtomicU64::new(self.clock.now()),
            phase: AtomicU8::new(FRESH),
            http2: AtomicBool::new(false),
            stirred: AtomicBool::new(false),
            unflushed: AtomicBool::new(false),
            stays_open: AtomicBool::new(false),
            over: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            told: Notify::new(),
        });
        self.seats().push(seat.clone());
        self.open.fetch_add(1, Relaxed);
        // One that speaks TLS enters twice, for its handshake and for its requests.
        let entered = |arriving: usize| arriving.checked_sub(1);
        let _ = self.arriving.fetch_update(Relaxed, Relaxed, entered);
        self.metrics.connections(1);
        Guest(Some(Arc::new(Counted {
            admission: self.clone(),
            seat,
        })))
    }

    /// The one that has been idle longest goes, unless somebody goes already.
    pub(crate) fn make_room(&self) {
        let seats = self.seats();
        // Who was told to go a moment ago frees a place too.
        if seats.iter().any(|seat| seat.leaves()) {
            return;
        }
        let idle = seats.iter().filter(|seat| seat.idles());
        if let Some(seat) = idle.min_by_key(|seat| seat.since.load(Relaxed)) {
            seat.cut(&self.metrics, Cut::TooManyConnections);
        }
    }

    fn sweep(&self) {
        let (now, bounds) = (self.clock.now(), self.bounds());
        let over = |since: u64, bound: Option<Duration>| {
            bound.is_some_and(|bound| u128::from(now.saturating_sub(since)) >= bound.as_millis())
        };
        self.seats().retain(|seat| {
            if seat.idles() {
                let since = seat.since.load(Relaxed);
                let head = seat.phase.load(Relaxed) == HEAD;
                if head && over(since, bounds.header) {
                    seat.cut(&self.metrics, Cut::HeaderTimeout);
                } else if !head && over(since, bounds.idle) {
                    seat.cut(&self.metrics, Cut::IdleTimeout);
                }
            }
            !seat.gone.load(Relaxed)
        });
    }

    fn seats(&self) -> MutexGuard<'_, Vec<Arc<Seat>>> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn look_after(admission: Weak<Admission>) {
    let began = Instant::now();
    while let Some(bounds) = admission.upgrade().map(|admission| admission.bounds()) {
        tokio::time::sleep(bounds.look_every()).await;
        let Some(admission) = admission.upgrade() else {
            return;
        };
        let now = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        admission.clock.0.store(now, Relaxed);
        admission.sweep();
    }
}

impl Bounds {
    fn of(config: &LimitsConfig) -> Self {
        let bound = |duration: Duration| (!duration.is_zero()).then_some(duration);
        Self {
            connections: config
                .max_connections
                .map_or_else(connections_for_files, |max| max as usize),
            header: bound(config.header_timeout.0),
            idle: bound(config.idle_timeout.0),
        }
    }

    fn look_every(self) -> Duration {
        let shortest = self.header.into_iter().chain(self.idle).min();
        shortest.map_or(SWEEP, |bound| (bound / 8).clamp(Duration::from_millis(5), SWEEP))
    }
}

impl Clock {
    fn now(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl Seat {
    /// Bytes came. Between requests they begin the next one's head.
    fn came(&self, bytes: &[u8]) {
        self.stirred.store(true, Relaxed);
        if self.busy.load(Relaxed) > 0 || self.http2.load(Relaxed) {
            return;
        }
        let phase = self.phase.load(Relaxed);
        if phase == FRESH && bytes.starts_with(b"PRI") {
            self.http2.store(true, Relaxed);
        } else if phase == FRESH || phase == IDLE {
            self.since.store(self.clock.now(), Relaxed);
            self.phase.store(HEAD, Relaxed);
        }
    }

    /// Nobody waits for an answer on it.
    fn idles(&self) -> bool {
        let quiet = self.busy.load(Relaxed) == 0 && self.phase.load(Relaxed) != TUNNEL;
        quiet && !self.over.load(Relaxed)
    }

    /// It was told to go, and has not gone yet.
    fn leaves(&self) -> bool {
        self.over.load(Relaxed) && !self.gone.load(Relaxed)
    }

    fn cut(&self, metrics: &Metrics, why: Cut) {
        if !self.over.swap(true, Relaxed) {
            metrics.connection_cut(why);
            self.told.notify_one();
        }
    }
}

impl Guest {
    /// A connection of a listener with these bounds.
    pub(crate) fn of(admission: Option<&Arc<Admission>>) -> Self {
        admission.map_or(Self(None), Admission::enter)
    }

    /// A request begins.
    pub(crate) fn begin(&self, version: Version) -> Busy {
        let seat = self.0.as_ref().map(|guest| guest.seat.clone());
        if let Some(seat) = &seat {
            seat.busy.fetch_add(1, Relaxed);
            if version == Version::HTTP_2 {
                seat.http2.store(true, Relaxed);
            }
        }
        Busy(seat)
    }

    /// Whether the agent is about to end.
    pub(crate) fn is_leaving(&self) -> bool {
        self.0
            .as_ref()
            .is_some_and(|guest| guest.admission.leaving.load(Relaxed))
    }

    /// Its bytes pass unseen from now on, so nobody can say that it is idle.
    pub(crate) fn passes_unseen(&self) {
        if let Some(guest) = &self.0 {
            guest.seat.phase.store(TUNNEL, Relaxed);
        }
    }

    /// Completes when the connection is to be cut.
    pub(crate) async fn told_to_go(&self) {
        match &self.0 {
            Some(guest) => guest.seat.told.notified().await,
            None => std::future::pending().await,
        }
    }

    /// The connection ended with an error; counted where the caller is to blame.
    pub(crate) fn broke_off(&self, error: &hyper::Error) {
        if let (Some(guest), Some(why)) = (&self.0, blame(error)) {
            guest.admission.metrics.connection_cut(why);
        }
    }

    /// Whether nothing came or went since this was asked last, between requests and with every answer on its way.
    pub(crate) fn seems_to_rest(&self) -> bool {
        self.0.as_ref().is_some_and(|guest| {
            let seat = &guest.seat;
            let stirred = seat.stirred.swap(false, Relaxed) || seat.unflushed.load(Relaxed);
            !stirred && seat.busy.load(Relaxed) == 0 && seat.phase.load(Relaxed) == IDLE
        })
    }

    /// While `stays` holds, an end of what is spoken on the connection is not its end.
    pub(crate) fn stays_open(&self, stays: bool) {
        if let Some(guest) = &self.0 {
            guest.seat.stays_open.store(stays, Relaxed);
        }
    }

    fn is_to_stay_open(&self) -> bool {
        let stays = |guest: &Arc<Counted>| guest.seat.stays_open.load(Relaxed);
        self.0.as_ref().is_some_and(stays)
    }

    fn came(&self, bytes: &[u8]) {
        if let Some(guest) = &self.0 {
            guest.seat.came(bytes);
        }
    }

    fn writes(&self) {
        if let Some(guest) = &self.0 {
            guest.seat.stirred.store(true, Relaxed);
            guest.seat.unflushed.store(true, Relaxed);
        }
    }

    fn flushed(&self) {
        if let Some(guest) = &self.0 {
            guest.seat.unflushed.store(false, Relaxed);
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.seat.gone.store(true, Relaxed);
        self.seat.over.store(true, Relaxed);
        self.admission.open.fetch_sub(1, Relaxed);
        self.admission.metrics.connections(-1);
        self.admission.freed.notify_one();
    }
}

impl Busy {
    /// `response` with a body that keeps the connection busy to its end.
    pub(crate) fn until<B>(self, asked: &Method, response: Response<B>) -> Response<Lasting<B>> {
        let switched = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        let tunnel = switched || *asked == Method::CONNECT && response.status().is_success();
        if let Some(seat) = self.0.as_ref().filter(|_| tunnel) {
            seat.phase.store(TUNNEL, Relaxed);
        }
        response.map(|body| Lasting { body, _busy: self })
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let Some(seat) = &self.0 else { return };
        if seat.phase.load(Relaxed) != TUNNEL {
            seat.since.store(seat.clock.now(), Relaxed);
            seat.phase.store(IDLE, Relaxed);
        }
        seat.busy.fetch_sub(1, Relaxed);
    }
}

/// A body, and the request that ends with it.
pub(crate) struct Lasting<B> {
    body: B,
    _busy: Busy,
}

impl<B: Body<Data = Bytes> + Unpin> Body for Lasting<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// What the caller did wrong, where it was that.
fn blame(error: &(dyn std::error::Error + 'static)) -> Option<Cut> {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.into_iter().find_map(|cause| {
        if let Some(error) = cause.downcast_ref::<hyper::Error>() {
            return match (error.is_parse_too_large(), error.is_parse()) {
                (true, _) => Some(Cut::HeadersTooLarge),
                (false, true) => Some(Cut::Malformed),
                (false, false) => None,
            };
        }
        let error = cause.downcast_ref::<h2::Error>()?;
        match error.reason()? {
            h2::Reason::ENHANCE_YOUR_CALM => Some(Cut::Http2Flood),
            h2::Reason::PROTOCOL_ERROR
            | h2::Reason::FLOW_CONTROL_ERROR
            | h2::Reason::FRAME_SIZE_ERROR
            | h2::Reason::COMPRESSION_ERROR => Some(Cut::Malformed),
            _ => None,
        }
    })
}

/// Raises the bound on open files as far as the system lets us. Nothing here uses `select`, which is what the lower bound
/// is for.
pub(crate) fn raise_open_files() {
    let files = getrlimit(Resource::Nofile);
    // Without it there is room for fewer connections, which `connections_for_files` sees.
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: files.maximum,
            maximum: files.maximum,
        },
    );
}

fn connections_for_files() -> usize {
    let room = |files: u64| usize::try_from(files.saturating_sub(RESERVED_FILES) / 2).unwrap_or(usize::MAX);
    getrlimit(Resource::Nofile)
        .current
        .map_or(usize::MAX, |files| room(files).max(16))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(connections: u32) -> Arc<Admission> {
        let config = LimitsConfig {
            max_connections: Some(connections),
            header_timeout: ::config::HumanDuration::from_secs(60),
            idle_timeout: ::config::HumanDuration::from_secs(3600),
        };
        Admission::open(&config, Arc::new(Metrics::new().expect("metrics")))
    }

    fn later(admission: &Admission, seconds: u64) {
        admission.clock.0.store(seconds * 1000, Relaxed);
        admission.sweep();
    }

    fn told(guest: &Guest) -> bool {
        let counted = guest.0.as_ref().expect("a bounded one");
        counted.seat.over.load(Relaxed)
    }

    #[tokio::test]
    async fn a_head_that_takes_too_long_is_cut_and_one_that_is_whole_is_not() {
        let admission = admission(9);
        let (slow, whole) = (admission.enter(), admission.enter());
        slow.came(b"GET / HT");
        whole.came(b"GET / HT");
        later(&admission, 59);
        assert!(!told(&slow));
        let request = whole.begin(Version::HTTP_11);
        later(&admission, 3700);
        assert!(told(&slow) && !told(&whole), "a request may take for ever");
        drop(request);
        later(&admission, 3800);
        assert!(!told(&whole), "idle since its request ended");
        later(&admission, 7300);
        assert!(told(&whole));
    }

    #[tokio::test]
    async fn pings_on_an_http2_connection_are_no_slow_head_and_a_tunnel_is_never_idle() {
        let admission = admission(9);
        let (http2, tunnel) = (admission.enter(), admission.enter());
        http2.came(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        http2.came(b"a ping");
        let connect = tunnel.begin(Version::HTTP_11);
        drop(connect.until(&Method::CONNECT, Response::new(())));
        tunnel.came(b"whatever");
        later(&admission, 3599);
        assert!(!told(&http2) && !told(&tunnel));
        later(&admission, 9999);
        assert!(told(&http2) && !told(&tunnel));
    }

    #[tokio::test]
    async fn at_the_bound_the_one_that_is_idle_longest_makes_room() {
        let admission = admission(3);
        let [busy, oldest, newest] = std::array::from_fn(|_| admission.enter());
        let _request = busy.begin(Version::HTTP_11);
        later(&admission, 5);
        drop(newest.begin(Version::HTTP_11));
        let waiting = tokio::spawn({
            let admission = admission.clone();
            async move { admission.room().await }
        });
        oldest.told_to_go().await;
        tokio::time::sleep(RETRY * 3).await;
        assert!(
            !told(&busy) && !told(&newest),
            "one goes for one that comes, however long it takes"
        );
        drop(oldest);
        waiting.await.expect("there is room");
    }
}
