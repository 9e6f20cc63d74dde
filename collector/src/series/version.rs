//! Requests of a service by its version, so that the new one can be compared with the one before.
//!
//! In: requests with the version that answered. Out: a few sums for each of the newest versions.
//! Left out on purpose: histograms. A version has sums only, because each is one series more for every version of every
//! service; baselines, which judge a version, are elsewhere.

use serde::{Deserialize, Serialize};

use super::Request;
use crate::names::Version;

/// So many versions of a service have series; where another comes, the one that was quiet for longest ends.
const MOST: usize = 4;
/// What a service is called that does not say its version.
const UNKNOWN: &str = "unknown";

/// The newest versions of one service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Versions(Vec<VersionSeries>);

/// What one version of a service did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "Saved", into = "Saved")]
pub struct VersionSeries {
    version: Version,
    /// Requests.
    pub requests: f64,
    /// Failed requests.
    pub failed: f64,
    /// Own seconds of all requests.
    pub own: f64,
    /// When the first was counted, nanoseconds since 1970.
    pub first: u64,
    /// When the latest was counted, nanoseconds since 1970.
    last: u64,
}

impl VersionSeries {
    /// The label `version`.
    pub fn name(&self) -> &'static str {
        self.version.as_str().unwrap_or(UNKNOWN)
    }
}

impl Versions {
    /// Counts a request that `version` answered.
    #[inline]
    pub fn count(&mut self, version: Version, request: &Request<'_>) {
        let at = self.0.iter().position(|series| series.version == version);
        let at = at.unwrap_or_else(|| self.begin(version, request.now));
        let Some(series) = self.0.get_mut(at) else {
            return;
        };
        series.requests += request.weight;
        series.failed += if request.failed { request.weight } else { 0.0 };
        series.own += request.own.map_or(0.0, |own| own.seconds() * request.weight);
        series.last = series.last.max(request.now);
    }

    /// Room for a version that was not counted before.
    #[cold]
    fn begin(&mut self, version: Version, now: u64) -> usize {
        if self.0.len() >= MOST {
            let quiet = self.0.iter().enumerate().min_by_key(|(_, series)| series.last);
            if let Some((at, _)) = quiet {
                self.0.remove(at);
            }
        }
        self.0.push(VersionSeries {
            version,
            requests: 0.0,
            failed: 0.0,
            own: 0.0,
            first: now,
            last: now,
        });
        self.0.len() - 1
    }

    /// In the order of first sight.
    pub fn iter(&self) -> impl Iterator<Item = &VersionSeries> {
        self.0.iter()
    }

    /// True where no request was counted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// As it is saved: numbers of versions are this process's own.
#[derive(Serialize, Deserialize)]
struct Saved {
    version: Option<String>,
    requests: f64,
    failed: f64,
    own: f64,
    first: u64,
    last: u64,
}

impl From<VersionSeries> for Saved {
    fn from(series: VersionSeries) -> Self {
        Self {
            version: series.version.as_str().map(str::to_owned),
            requests: series.requests,
            failed: series.failed,
            own: series.own,
            first: series.first,
            last: series.last,
        }
    }
}

impl From<Saved> for VersionSeries {
    fn from(saved: Saved) -> Self {
        Self {
            version: saved.version.as_deref().map_or(Version::NONE, Version::named),
            requests: saved.requests,
            failed: saved.failed,
            own: saved.own,
            first: saved.first,
            last: saved.last,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::series::Observed;
    use crate::span::TraceId;

    fn count(versions: &mut Versions, version: &str, now: u64) {
        let trace: TraceId = [1; 16];
        let request = Request {
            trace: &trace,
            now,
            weight: 2.0,
            failed: version == "bad",
            own_failed: false,
            own: Some(Observed::of(0.5)),
            total: None,
            critical: 0.0,
            counted_elsewhere: false,
        };
        let version = if version.is_empty() {
            Version::NONE
        } else {
            Version::named(version)
        };
        versions.count(version, &request);
    }

    fn told(versions: &Versions) -> Vec<String> {
        let line =
            |s: &VersionSeries| format!("{} {} {} {} {}", s.name(), s.requests, s.failed, s.own, s.first);
        versions.iter().map(line).collect()
    }

    #[test]
    fn each_version_has_its_own_sums_and_a_service_without_one_is_unknown() {
        let mut versions = Versions::default();
        assert!(versions.is_empty());
        for (version, now) in [("", 1), ("bad", 2), ("bad", 3)] {
            count(&mut versions, version, now);
        }
        assert_eq!(told(&versions), ["unknown 2 0 1 1", "bad 4 4 2 2"]);
    }

    #[test]
    fn the_version_that_was_quiet_for_longest_makes_room_for_a_new_one() {
        let mut versions = Versions::default();
        for (now, version) in ["v1", "v2", "v3", "v4", "v1", "v5"].into_iter().enumerate() {
            count(&mut versions, version, now as u64);
        }
        let names: Vec<_> = versions.iter().map(VersionSeries::name).collect();
        assert_eq!(names, ["v1", "v3", "v4", "v5"]);
    }

    #[test]
    fn versions_that_were_saved_go_on_where_they_were() {
        let mut versions = Versions::default();
        count(&mut versions, "", 1);
        count(&mut versions, "v-saved", 2);
        let saved = serde_json::to_string(&versions).unwrap();
        let restored: Versions = serde_json::from_str(&saved).unwrap();
        assert_eq!(restored, versions);
    }
}
