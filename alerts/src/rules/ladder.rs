//! The ladder of windows: whoever had too few requests in the window is looked at over a longer one as well.
//!
//! In: settings. Out: what a counter rose by over each rung's window, under the label `window`.
//! Where fewer requests were judged than could convict a node if a third of them were slow, three windows are looked at too, and
//! where not even all of those could, twelve. Who was busy over the longer window stays on the first rung: its every blip is evidence
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
/// Nats of a request of which enough to convict a node keep the next rung unseen, where 5 % were expected to be slow: a third of
/// all is slow; or every one, for the last rung, since the longest memory outlives a fault the longest.
const NATS_OF_A_REQUEST: [f64; 2] = [0.4, 3.0];
/// By what counters of entities are summed, over collectors.
const BY: &str = "id, kind, client, server";

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

/// How long an entry point with few requests may look bad after what made it so is over, but for the rarest.
pub(super) fn aftermath(settings: &AlertSettings) -> String {
    times_longer(settings.window, RUNGS[1]).as_prometheus()
}

/// Requests in a rung's window below which the next rung is looked at.
fn few(settings: &AlertSettings) -> [f64; 2] {
    NATS_OF_A_REQUEST.map(|nats| (settings.evidence_threshold / nats).ceil())
}

impl Rung {
    /// What a counter rose by in the window.
    pub(super) fn increase(&self, counter: &str) -> String {
        self.increase_by(BY, counter)
    }

    /// What a counter rose by in the window, over series that have the same of these labels.
    pub(super) fn increase_by(&self, labels: &str, counter: &str) -> String {
        self.over(labels, counter, &self.window)
    }

    /// What a counter rose by in the latest part of the window.
    fn recently(&self, counter: &str) -> String {
        self.over(BY, counter, &self.recent)
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

    fn over(&self, labels: &str, counter: &str, time: &str) -> String {
        if self.times == 1 {
            format!("sum by ({labels}) (increase({counter}[{time}]))")
        } else {
            format!("sum by ({labels}) ({counter} - {counter} offset {time} >= 0)")
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

/// What this series, which says on each rung what is over, says now, and on the longer rungs said within their windows.
pub(super) fn joined_over(settings: &AlertSettings, series: &str) -> String {
    let said = |rung: &Rung| {
        let window = &rung.window;
        match rung.times {
            1 => format!("{series}{{window=\"{window}\"}}"),
            _ => format!("max_over_time({series}{{window=\"{window}\"}}[{window}])"),
        }
    };
    rungs(settings).each_ref().map(said).join("\nor\n")
}

/// Judged requests on every rung that is looked at.
pub(super) fn judged(settings: &AlertSettings) -> String {
    let rungs = rungs(settings);
    let mut parts = vec![rungs[0].named(&rungs[0].increase(JUDGED))];
    for (pair, few) in rungs.windows(2).zip(few(settings)) {
        let (below, rung) = (pair[0].increase(JUDGED), &pair[1]);
        let rare = few * f64::from(rung.times);
        let judged = rung.increase(JUDGED);
        parts.push(rung.named(&format!("{judged} < {rare} unless {below} >= {few}")));
    }
    parts.join("\nor\n")
}
