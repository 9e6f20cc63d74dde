//! Shards and ledger, each on a thread of its own.
//!
//! In: the spans of requests, routed to the shard that owns their trace; ticks; questions. Out: answers, kept traces
//! for the keeper, and cuts through everything that a restart can begin from.
//! Left out on purpose: sockets, files, and what a span means. No lock is taken here between a request and its counters.
//!
//! A *mark* cuts the stream: what every shard was given before it is in the snapshot, what came after is not. It travels
//! through the shards to the ledger, which holds back what a shard reports behind its mark until all marks have come
//! (Chandy and Lamport, "Distributed snapshots", 1985).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::ledger::{BaselineChange, EdgeCounts, Ledger};
use crate::read::{Claim, Extracted, Received, Rejection, Spoken};
use crate::shard::{Batch, LinkMessage, Report, Shard, shard_of};
use crate::skew::{InForce, SavedSkews, Skews, Waits};
use crate::span::TraceId;
use crate::table::TableSettings;
use crate::tail::{Decided, Kept, Tail};

/// Bytes of spans that may wait for the shards before senders are told to come back.
const MAX_WAITING: usize = 64 << 20;
/// A shard tells the ledger of its closed traces at the latest when there are so many.
const REPORT_EVERY: usize = 1 << 11;

/// Rounds after which nothing is on its way between shards: what was sent arrives in the first, what that made others
/// send in the second, and what came back in the third.
const SETTLING: usize = 3;

/// A cut through the stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    /// When, nanoseconds since 1970.
    pub(crate) time: u64,
    /// The position in the journal; 0 without one.
    pub(crate) position: u64,
    /// How long halves are waited for behind it.
    pub(crate) waits: Arc<Waits>,
}

/// What a snapshot holds of the pipeline.
#[derive(Debug)]
pub(crate) struct Cut {
    pub(crate) mark: Mark,
    /// The oldest position of which a shard still needs what follows.
    pub(crate) oldest: u64,
    /// [`Ledger::save`].
    pub(crate) ledger: Vec<u8>,
    /// What was learned of late halves.
    pub(crate) skews: SavedSkews,
}

enum ToShard {
    Batch(Batch, Vec<Rejection>, usize),
    Link(LinkMessage),
    Decided(Vec<(TraceId, bool)>),
    Advance(u64),
    Unmute(u64),
    Mark(Mark),
    Waits(Arc<Waits>),
    Finish(u64),
    Ping(SyncSender<()>),
    End,
}

/// What somebody wants to know of the ledger and of tail sampling.
type Question = Box<dyn FnOnce(&mut Ledger, Option<&Tail>) + Send>;
/// What somebody wants to know of late halves.
type WaitsWanted = tokio::sync::oneshot::Sender<Waits>;

enum ToLedger {
    /// A mark is on its way through the shards; what comes straight to the ledger from here on lies behind it.
    Cutting,
    Report(usize, Report, Vec<Rejection>),
    Mark(usize, Mark, u64),
    Claims(Vec<Claim>),
    Languages(Vec<Spoken>),
    Repeated(u64),
    Counts(Vec<EdgeCounts>, u64),
    Baseline(BaselineChange),
    Ask(Question),
    AskWaits(WaitsWanted),
    End,
}

/// What happens at the ledger's end: where cuts and kept traces go.
pub(crate) trait Downstream: Send + 'static {
    /// A trace that the store shall keep, in the order of closing.
    fn keep(&mut self, trace: Kept);
    /// Everything before the cut has been kept.
    fn cut(&mut self, cut: Cut);
}

/// Without a directory nothing is kept.
impl<D: Downstream> Downstream for Option<D> {
    fn keep(&mut self, trace: Kept) {
        if let Some(inner) = self {
            inner.keep(trace);
        }
    }

    fn cut(&mut self, cut: Cut) {
        if let Some(inner) = self {
            inner.cut(cut);
        }
    }
}

/// The way into the pipeline; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Routes {
    shards: Arc<[ShardRoute]>,
    ledger: Sender<ToLedger>,
    waiting: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct ShardRoute {
    inbox: Sender<ToShard>,
    state: Arc<ShardState>,
}

/// What a shard lets others see.
#[derive(Debug, Default)]
struct ShardState {
    full: AtomicBool,
    bytes: AtomicUsize,
    open: AtomicUsize,
    kept: AtomicUsize,
}

/// The trace tables as a whole.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tables {
    pub(crate) open: usize,
    pub(crate) kept: usize,
    pub(crate) bytes: usize,
}

impl Tables {
    /// About how many of the bytes are those of open traces; closed ones make room when it is needed.
    pub(crate) fn open_bytes(&self) -> usize {
        self.bytes / (self.open + self.kept).max(1) * self.open
    }
}

/// Running shards and their ledger.
#[derive(Debug)]
pub(crate) struct Pipeline {
    pub(crate) routes: Routes,
    shards: Vec<JoinHandle<()>>,
    ledger: JoinHandle<()>,
}

/// Neither table nor queue has room; the sender shall come again later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl Pipeline {
    /// Starts `shards` shards and the ledger. While `muted` spans fill the tables and are not counted.
    pub(crate) fn start(
        shards: usize,
        settings: TableSettings,
        ledger: Ledger,
        skews: Skews,
        tail: Option<Tail>,
        downstream: impl Downstream,
        muted: bool,
    ) -> std::io::Result<Self> {
        let (to_ledger, ledger_inbox) = channel();
        let (inboxes, receivers): (Vec<_>, Vec<_>) = (0..shards).map(|_| channel()).unzip();
        let routes = Routes {
            shards: inboxes
                .into_iter()
                .map(|inbox| ShardRoute {
                    inbox,
                    state: Arc::default(),
                })
                .collect(),
            ledger: to_ledger,
            waiting: Arc::default(),
        };
        let mut threads = Vec::with_capacity(shards);
        for (index, inbox) in receivers.into_iter().enumerate() {
            let mut shard = Shard::new(index, shards, settings);
            shard.set_muted(muted);
            let thread = ShardThread {
                index,
                shard,
                routes: routes.clone(),
                rejected: Vec::new(),
            };
            threads.push(named(format!("shard-{index}"), move || thread.run(&inbox))?);
        }
        let thread = LedgerThread {
            ledger,
            skews,
            shards: Arc::clone(&routes.shards),
            tail,
            marks: (0..shards).map(|_| None).collect(),
            held: Vec::new(),
            cutting: false,
            held_direct: Vec::new(),
            downstream,
        };
        let ledger = named("ledger".to_owned(), move || thread.run(&ledger_inbox))?;
        Ok(Self {
            routes,
            shards: threads,
            ledger,
        })
    }

    /// Ends the shards with a last cut; the ledger still answers. `close` closes every open trace first, for where
    /// nothing remembers them.
    pub(crate) fn end_shards(&mut self, mark: &Mark, close: bool) {
        if close {
            self.routes.to_all(|| ToShard::Finish(mark.time));
        }
        self.routes.mark(mark);
        self.routes.to_all(|| ToShard::End);
        for thread in self.shards.drain(..) {
            // A panic there is a bug that the thread's own message names; there is nothing left to save here.
            drop(thread.join());
        }
    }

    /// Ends the ledger; what it keeps downstream goes with it.
    pub(crate) fn end(self) {
        self.routes.to_ledger(ToLedger::End);
        drop(self.ledger.join());
    }
}

fn named(name: String, run: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name).spawn(run)
}

impl Routes {
    /// Whether the spans of a request can be taken.
    ///
    /// # Errors
    /// [`Full`] where a table is at its budget and nothing can be forgotten, or too much waits.
    pub(crate) fn has_room(&self) -> Result<(), Full> {
        let full = self.shards.iter().any(|s| s.state.full.load(Ordering::Relaxed));
        if full || self.waiting.load(Ordering::Relaxed) > MAX_WAITING {
            return Err(Full);
        }
        Ok(())
    }

    /// Hands the spans of a request to their shards.
    pub(crate) fn take(&self, extracted: Extracted, time: u64, position: u64) {
        let Extracted {
            spans,
            rejected,
            workloads,
            claims,
            languages,
        } = extracted;
        self.claim(claims);
        if !languages.is_empty() {
            self.to_ledger(ToLedger::Languages(languages));
        }
        let workloads: Arc<[_]> = workloads.into();
        let mut rejected = Some(rejected).filter(|rejected| !rejected.is_empty());
        for (route, spans) in self.shards.iter().zip(split(spans, self.shards.len())) {
            let rejected = rejected.take().unwrap_or_default();
            if spans.is_empty() && workloads.is_empty() && rejected.is_empty() {
                continue;
            }
            let bytes = spans.len() * size_of::<Received>();
            self.waiting.fetch_add(bytes, Ordering::Relaxed);
            let batch = Batch {
                time,
                position,
                spans,
                workloads: Arc::clone(&workloads),
            };
            route.send(ToShard::Batch(batch, rejected, bytes));
        }
    }

    /// Keeps what a request that was turned away says of the system, for it is said only once.
    pub(crate) fn know(&self, extracted: Extracted) {
        let known = Extracted {
            spans: Vec::new(),
            rejected: Vec::new(),
            ..extracted
        };
        self.take(known, 0, 0);
    }

    /// Counts the spans of a batch that came before.
    pub(crate) fn repeat(&self, extracted: &Extracted) {
        self.to_ledger(ToLedger::Repeated(extracted.spans.len() as u64));
    }

    /// Tells the ledger what an agent counted.
    pub(crate) fn count(&self, edges: Vec<EdgeCounts>, time: u64) {
        self.to_ledger(ToLedger::Counts(edges, time));
    }

    /// Tells the ledger what a person wants of a baseline.
    pub(crate) fn change_baseline(&self, change: BaselineChange) {
        self.to_ledger(ToLedger::Baseline(change));
    }

    /// Tells the ledger where services answer; true whatever becomes of the request that said so.
    fn claim(&self, claims: Vec<Claim>) {
        if !claims.is_empty() {
            self.to_ledger(ToLedger::Claims(claims));
        }
    }

    /// Time has passed.
    pub(crate) fn advance(&self, now: u64) {
        self.to_all(|| ToShard::Advance(now));
    }

    /// From here on spans count.
    pub(crate) fn unmute(&self, now: u64) {
        self.to_all(|| ToShard::Unmute(now));
    }

    /// Cuts the stream here.
    pub(crate) fn mark(&self, mark: &Mark) {
        self.to_ledger(ToLedger::Cutting);
        self.to_all(|| ToShard::Mark(mark.clone()));
    }

    /// From here on halves are waited for so long.
    pub(crate) fn set_waits(&self, waits: &Arc<Waits>) {
        self.to_all(|| ToShard::Waits(Arc::clone(waits)));
    }

    /// How long halves should be waited for, by what was learned. `None` where the ledger has ended.
    pub(crate) async fn wanted_waits(&self) -> Option<Waits> {
        let (answer, answered) = tokio::sync::oneshot::channel();
        self.to_ledger(ToLedger::AskWaits(answer));
        answered.await.ok()
    }

    /// Waits until the shards have taken so much that at most `bytes` are left.
    pub(crate) fn drain_to(&self, bytes: usize) {
        while self.waiting.load(Ordering::Relaxed) > bytes {
            std::thread::park_timeout(Duration::from_millis(1));
        }
    }

    /// Waits until the shards have taken everything and told each other what they had to: a question about a link, its
    /// answer, and nothing more.
    pub(crate) fn settle(&self) {
        for _ in 0..SETTLING {
            let (answer, answered) = sync_channel(self.shards.len());
            self.to_all(|| ToShard::Ping(answer.clone()));
            drop(answer);
            // A shard that has ended answers by being gone.
            while answered.recv().is_ok() {}
        }
    }

    /// What the ledger answers, once it has applied what it was given before. `None` where it has ended.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Ledger) -> T + Send + 'static,
    ) -> Option<T> {
        self.ask_all(move |ledger, _| question(ledger)).await
    }

    /// As [`Routes::ask`], of tail sampling too.
    pub(crate) async fn ask_all<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Ledger, Option<&Tail>) -> T + Send + 'static,
    ) -> Option<T> {
        let (answer, answered) = tokio::sync::oneshot::channel();
        self.to_ledger(ToLedger::Ask(Box::new(move |ledger, tail| {
            // Whoever asked may have gone away meanwhile.
            drop(answer.send(question(ledger, tail)));
        })));
        answered.await.ok()
    }

    /// As [`Routes::ask`], for threads that may wait.
    pub(crate) fn ask_and_wait<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Ledger) -> T + Send + 'static,
    ) -> Option<T> {
        let (answer, answered) = sync_channel(1);
        self.to_ledger(ToLedger::Ask(Box::new(move |ledger, _| {
            drop(answer.send(question(ledger)));
        })));
        answered.recv().ok()
    }

    /// How full the tables are.
    pub(crate) fn tables(&self) -> Tables {
        let sum = |of: fn(&ShardState) -> &AtomicUsize| {
            let each = self.shards.iter().map(|s| of(&s.state).load(Ordering::Relaxed));
            each.sum()
        };
        Tables {
            open: sum(|s| &s.open),
            kept: sum(|s| &s.kept),
            bytes: sum(|s| &s.bytes),
        }
    }

    fn to_all(&self, message: impl Fn() -> ToShard) {
        self.shards.iter().for_each(|route| route.send(message()));
    }

    fn to_ledger(&self, message: ToLedger) {
        // It fails only when the ledger has ended, and then nothing counts any more.
        drop(self.ledger.send(message));
    }
}

impl ShardRoute {
    fn send(&self, message: ToShard) {
        // As above: a shard ends only when everything ends.
        drop(self.inbox.send(message));
    }
}

/// The spans by the shard that owns their trace.
pub(crate) fn split(spans: Vec<Received>, shards: usize) -> Vec<Vec<Received>> {
    if shards <= 1 {
        return vec![spans];
    }
    let share = spans.len() / shards + spans.len() / 8 + 1;
    let mut parts: Vec<Vec<Received>> = (0..shards).map(|_| Vec::with_capacity(share)).collect();
    for received in spans {
        if let Some(part) = parts.get_mut(shard_of(&received.trace, shards)) {
            part.push(received);
        }
    }
    parts
}

struct ShardThread {
    index: usize,
    shard: Shard,
    routes: Routes,
    rejected: Vec<Rejection>,
}

impl ShardThread {
    fn run(mut self, inbox: &Receiver<ToShard>) {
        while let Ok(message) = inbox.recv() {
            match message {
                ToShard::Batch(batch, rejected, bytes) => {
                    self.shard.take(batch);
                    self.rejected.extend(rejected);
                    self.routes.waiting.fetch_sub(bytes, Ordering::Relaxed);
                    if self.shard.pending() >= REPORT_EVERY {
                        self.report();
                    }
                }
                ToShard::Link(message) => self.shard.receive(message),
                ToShard::Decided(decisions) => {
                    for (trace, kept) in decisions {
                        self.shard.decide(&trace, kept);
                    }
                }
                ToShard::Advance(now) => {
                    self.shard.advance(now);
                    self.report();
                }
                ToShard::Unmute(now) => {
                    self.shard.advance(now);
                    self.report();
                    self.shard.set_muted(false);
                }
                ToShard::Finish(now) => {
                    self.shard.finish(now);
                }
                ToShard::Ping(answer) => {
                    self.forward();
                    // Nobody waits any more where the waiting thread is gone.
                    let _ = answer.send(());
                }
                ToShard::End => return,
                ToShard::Mark(mark) => {
                    self.shard.advance(mark.time);
                    self.report();
                    let oldest = self.shard.oldest_position().unwrap_or(mark.position);
                    self.shard.set_waits(Arc::clone(&mark.waits));
                    self.routes.to_ledger(ToLedger::Mark(self.index, mark, oldest));
                }
                ToShard::Waits(waits) => self.shard.set_waits(waits),
            }
            self.forward();
            self.show();
        }
    }

    fn report(&mut self) {
        let report = self.shard.report();
        let rejected = std::mem::take(&mut self.rejected);
        let rejected = if self.shard.is_muted() {
            Vec::new()
        } else {
            rejected
        };
        if !report.is_empty() || !rejected.is_empty() {
            self.routes
                .to_ledger(ToLedger::Report(self.index, report, rejected));
        }
    }

    fn forward(&mut self) {
        for (to, message) in self.shard.messages() {
            if let Some(route) = self.routes.shards.get(to) {
                route.send(ToShard::Link(message));
            }
        }
    }

    fn show(&self) {
        let Some(route) = self.routes.shards.get(self.index) else {
            return;
        };
        let (open, kept) = self.shard.len();
        let state = &route.state;
        state.open.store(open, Ordering::Relaxed);
        state.kept.store(kept, Ordering::Relaxed);
        state.bytes.store(self.shard.bytes(), Ordering::Relaxed);
        state.full.store(self.shard.is_full(), Ordering::Relaxed);
    }
}

struct LedgerThread<D> {
    ledger: Ledger,
    skews: Skews,
    shards: Arc<[ShardRoute]>,
    tail: Option<Tail>,
    /// By shard, the oldest position that it needs, where it is at its mark and ahead of others.
    marks: Vec<Option<u64>>,
    /// What shards that are ahead reported behind their mark.
    held: Vec<(usize, Report, Vec<Rejection>)>,
    /// True from the making of a mark until its cut.
    cutting: bool,
    /// What came past the shards meanwhile.
    held_direct: Vec<Direct>,
    downstream: D,
}

/// What comes to the ledger past the shards.
enum Direct {
    Repeated(u64),
    Counts(Vec<EdgeCounts>, u64),
    Baseline(BaselineChange),
}

impl<D: Downstream> LedgerThread<D> {
    fn run(mut self, inbox: &Receiver<ToLedger>) {
        while let Ok(message) = inbox.recv() {
            match message {
                ToLedger::Cutting => self.cutting = true,
                ToLedger::Report(shard, report, rejected) => self.report(shard, report, rejected),
                ToLedger::Mark(shard, mark, oldest) => self.mark(shard, mark, oldest),
                ToLedger::Claims(claims) => {
                    for Claim { address, service } in claims {
                        self.ledger.claim(&address, service);
                    }
                }
                ToLedger::Languages(languages) => {
                    for Spoken { service, language } in languages {
                        self.ledger.speaks(service, language);
                    }
                }
                ToLedger::Repeated(spans) => self.direct(Direct::Repeated(spans)),
                ToLedger::Counts(edges, time) => self.direct(Direct::Counts(edges, time)),
                ToLedger::Baseline(change) => self.direct(Direct::Baseline(change)),
                ToLedger::Ask(question) => question(&mut self.ledger, self.tail.as_ref()),
                // Whoever asked may have gone away meanwhile.
                ToLedger::AskWaits(answer) => drop(answer.send(self.skews.waits())),
                ToLedger::End => return,
            }
        }
    }

    /// Counts what came past the shards, behind a mark only once it is cut.
    fn direct(&mut self, direct: Direct) {
        if self.cutting {
            self.held_direct.push(direct);
            return;
        }
        match direct {
            Direct::Repeated(spans) => self.ledger.repeated(spans),
            Direct::Counts(edges, time) => {
                for edge in &edges {
                    self.ledger.count_edge(edge, time);
                }
            }
            Direct::Baseline(change) => self.ledger.change_baseline(change),
        }
    }

    fn report(&mut self, shard: usize, report: Report, rejected: Vec<Rejection>) {
        if self.marks.get(shard).is_some_and(Option::is_some) {
            self.held.push((shard, report, rejected));
        } else {
            self.apply(shard, report, &rejected);
        }
    }

    fn apply(&mut self, shard: usize, mut report: Report, rejected: &[Rejection]) {
        for reason in rejected {
            self.ledger.reject(*reason, 1);
        }
        self.skews.note(&report);
        let (evidence, time) = (self.tail.as_ref().map(|_| report.take_evidence()), report.time);
        let judged = self.ledger.take(report);
        let (Some(tail), Some(evidence)) = (&mut self.tail, evidence) else {
            return;
        };
        let Decided { kept, decisions } = tail.decide(evidence, &judged, time);
        for trace in kept {
            self.downstream.keep(trace);
        }
        if let Some(route) = self.shards.get(shard).filter(|_| !decisions.is_empty()) {
            route.send(ToShard::Decided(decisions));
        }
    }

    fn mark(&mut self, shard: usize, mark: Mark, oldest: u64) {
        if let Some(slot) = self.marks.get_mut(shard) {
            *slot = Some(oldest);
        }
        if self.marks.iter().any(Option::is_none) {
            return;
        }
        let oldest = self.marks.iter().flatten().min().copied();
        let oldest = oldest.unwrap_or(mark.position);
        self.marks.fill(None);
        let in_force = InForce {
            position: mark.position,
            time: mark.time,
            waits: Arc::clone(&mark.waits),
        };
        self.skews.change(in_force, oldest);
        let cut = Cut {
            mark,
            oldest,
            ledger: self.ledger.save(),
            skews: self.skews.save(),
        };
        self.downstream.cut(cut);
        self.cutting = false;
        for (shard, report, rejected) in std::mem::take(&mut self.held) {
            self.apply(shard, report, &rejected);
        }
        for direct in std::mem::take(&mut self.held_direct) {
            self.direct(direct);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::Sender;

    use super::*;
    use crate::ledger::{LedgerSettings, MapBudget};

    struct Cuts(Sender<Cut>);

    impl Downstream for Cuts {
        fn keep(&mut self, _: Kept) {}

        fn cut(&mut self, cut: Cut) {
            drop(self.0.send(cut));
        }
    }

    fn settings() -> LedgerSettings {
        LedgerSettings::new(
            baseline::Settings::default(),
            MapBudget::default(),
            map::Services::new(),
        )
    }

    fn duplicates(ledger: &Ledger) -> String {
        let mut encoder = exposition::TextEncoder::default();
        crate::families::write(ledger, &mut crate::scrape::Scrape::new(&mut encoder));
        let text = encoder.finish();
        let line = text.lines().find(|line| line.contains("outcome=\"duplicate\""));
        line.and_then(|line| line.rsplit(' ').next())
            .unwrap_or_default()
            .to_owned()
    }

    #[test]
    fn what_comes_past_the_shards_behind_a_mark_is_not_in_its_snapshot() {
        let (sender, cuts) = channel();
        let (ledger, table) = (Ledger::new(settings()), TableSettings::default());
        let mut pipeline = Pipeline::start(
            2,
            table,
            ledger,
            Skews::new(table.wait, table.max_open),
            None,
            Cuts(sender),
            false,
        )
        .expect("threads are to be had");
        let repeated = |pipeline: &Pipeline, spans| {
            pipeline.routes.to_ledger(ToLedger::Repeated(spans));
        };
        repeated(&pipeline, 3);
        // The shards are held up, so that the mark cannot pass before the second message has.
        let (answer, answered) = sync_channel(0);
        pipeline.routes.to_all(|| ToShard::Ping(answer.clone()));
        let mark = |at| Mark {
            time: at,
            position: at,
            ..Mark::default()
        };
        pipeline.routes.mark(&mark(1));
        repeated(&pipeline, 4);
        drop(answer);
        while answered.recv().is_ok() {}
        let cut = cuts.recv().expect("the mark is cut");
        let saved = Ledger::restore(settings(), &cut.ledger).expect("a snapshot is readable");
        assert_eq!(duplicates(&saved), "3");
        let now = pipeline.routes.ask_and_wait(|ledger| duplicates(ledger));
        assert_eq!(now.as_deref(), Some("7"));
        pipeline.end_shards(&mark(2), false);
        pipeline.end();
    }
}
