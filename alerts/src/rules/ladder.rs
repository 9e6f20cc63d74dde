//! The ladder of windows: whoever had too few requests in the window is looked at over a longer one as well.
//!
//! In: settings. Out: what a counter rose by over each rung's window, under the label `window`.
//! Where fewer requests were judged than could convict a node if all of them were slow, three windows are looked at too, and
//! where three have too few, twelve. Who was busy over the longer window stays on the first rung: its every blip is evidence
//! there, and so is a fault that was over when the traffic ended.
//! The longer windows are differences of two samples and no `increase`, which would read every sample of an hour at each
//! evaluation. A counter that began anew within the window has no difference there, and votes neither way.
//! Left out on purpose: extrapolation to the window's ends; whole requests were counted.

use config::HumanDuration;
use map::catalogue::JUDGED;

use crate::prometheus::indent;
use crate::settings::AlertSettings;

/// Lengths of the rungs' windows, in windows of the settings.
const RUNGS: [u32; 3] = [1, 3, 12];
/// Nats of a slow request where every request is slow and 5 % were expected to be.
const NATS_OF_A_SLOW_REQUEST: f64 = 3.0;
/// By what counters are summed, over collectors.
const BY: &str = "sum by (id, kind, client, server)";

/// One window, and the latest fifth of it.
pub(super) struct Rung {
    times: u32,
    window: String,
    recent: String,
}

/// All rungs, the shortest window first.
pub(super) fn rungs(settings: &AlertSettings) -> [Rung; 3] {
    RUNGS.map(|times| Rung {
        times,
        window: times_longer(settings.window, times).as_prometheus(),
        recent: times_longer(settings.recent(), times).as_prometheus(),
    })
}

fn times_longer(time: HumanDuration, times: u32) -> HumanDuration {
    HumanDuration(time.get().saturating_mul(times))
}

/// The label matcher of the first rung, on which every entity with requests stands.
pub(super) fn first(settings: &AlertSettings) -> String {
    format!("window=\"{}\"", settings.window.as_prometheus())
}

/// Requests in the window below which the next rung is looked at: not even all of them could convict anybody.
pub(super) fn few(settings: &AlertSettings) -> f64 {
    (settings.evidence_threshold / NATS_OF_A_SLOW_REQUEST).ceil()
}

impl Rung {
    /// What a counter rose by in the window.
    pub(super) fn increase(&self, counter: &str) -> String {
        self.over(counter, &self.window)
    }

    /// What a counter rose by in the latest part of the window.
    fn recently(&self, counter: &str) -> String {
        self.over(counter, &self.recent)
    }

    /// Where the latest part of the window says that it is over: no more than `share` of its requests are slow. On the first
    /// rung a part without requests says nothing; on the longer ones it says so, for the window reaches back to what was.
    pub(super) fn is_over(&self, slow: &str, share: f64) -> String {
        let (slow, judged) = (self.recently(slow), self.recently(JUDGED));
        if self.times == 1 {
            format!("{slow} <= {share} * ({judged} > 0)")
        } else {
            format!("{slow} <= {share} * {judged}")
        }
    }

    fn over(&self, counter: &str, time: &str) -> String {
        if self.times == 1 {
            format!("{BY} (increase({counter}[{time}]))")
        } else {
            format!("{BY} ({counter} - {counter} offset {time} >= 0)")
        }
    }

    /// The expression under the label that says which window it is of.
    pub(super) fn named(&self, expr: &str) -> String {
        format!(
            "label_replace(\n{},\n  \"window\", \"{}\", \"\", \"\"\n)",
            indent(expr),
            self.window
        )
    }
}

/// An expression for each rung, joined.
pub(super) fn joined(settings: &AlertSettings, of: impl Fn(&Rung) -> String) -> String {
    rungs(settings)
        .iter()
        .map(|rung| rung.named(&of(rung)))
        .collect::<Vec<_>>()
        .join("\nor\n")
}

/// Judged requests on every rung that is looked at.
pub(super) fn judged(settings: &AlertSettings) -> String {
    let (rungs, few) = (rungs(settings), few(settings));
    let mut parts = vec![rungs[0].named(&rungs[0].increase(JUDGED))];
    for pair in rungs.windows(2) {
        let (below, rung) = (pair[0].increase(JUDGED), &pair[1]);
        let rare = few * f64::from(rung.times);
        let judged = rung.increase(JUDGED);
        parts.push(rung.named(&format!("{judged} < {rare} unless {below} >= {few}")));
    }
    parts.join("\nor\n")
}
