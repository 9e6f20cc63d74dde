//! The propagator: reads and writes all configured formats of one carrier.
//!
//! In: a carrier. Out: an [`Extracted`]; or a carrier that holds the given context and correlation id.
//! Left out on purpose: writing into requests whose headers are signed. Only the caller knows that they are.

use crate::baggage::{Baggage, BaggageLoss};
use crate::carrier::{Extract, Inject, Refused, combined, values};
use crate::config::{ConfigError, PropagatorConfig};
use crate::context::{SpanContext, Traits};
use crate::correlation::{CorrelationId, trace_id_from_uuid};
use crate::extracted::Extracted;
use crate::format::{Format, FormatSet};
use crate::formats;
use crate::found::TraceStart;
use crate::keys;
use crate::skipped::Skipped;
use crate::skywalking::SkyWalking;

/// Reads and writes trace context, correlation id and baggage. Cheap to share; holds no state of any request.
#[derive(Debug, Clone, Default)]
pub struct Propagator {
    config: PropagatorConfig,
}

impl Propagator {
    /// A propagator with this configuration. Correlation keys are compared and written in lower case.
    ///
    /// # Errors
    /// Every problem of the configuration at once.
    pub fn new(mut config: PropagatorConfig) -> Result<Self, Vec<ConfigError>> {
        for key in config
            .correlation_keys
            .iter_mut()
            .chain(&mut config.trace_id_keys)
        {
            key.make_ascii_lowercase();
        }
        let problems = config.problems();
        if problems.is_empty() {
            Ok(Self { config })
        } else {
            Err(problems)
        }
    }

    /// Reads everything the carrier holds for us. Nothing in it can fail the call; see
    /// [`Extracted::skipped`].
    ///
    /// The first format that names a valid context wins. A lower one may name the same trace; if it names
    /// another, that is reported as [`Skipped::ConflictingTraceId`].
    pub fn extract(&self, carrier: &(impl Extract + ?Sized)) -> Extracted {
        let mut out = Extracted::default();
        let present = Present::on(carrier);
        for format in &self.config.extract {
            if present.formats.contains(*format) {
                let found = formats::read(*format, carrier, &mut out.skipped);
                out.merge(*format, found);
            }
        }
        out.settle();
        out.correlation = self.read_correlation(carrier, &mut out.skipped);
        if out.correlation.is_none() && !self.config.correlation_keys.is_empty() {
            out.correlation = out.skywalking.as_ref().and_then(SkyWalking::correlation);
        }
        if out.context.is_none() && out.start.is_none() {
            out.start = self.read_request_id(carrier, &mut out.skipped);
        }
        if present.baggage {
            out.baggage = self.read_baggage(carrier, &mut out.skipped);
        }
        out
    }

    /// Writes `context` in every configured format, in those it came in and in those of `mirror` (see
    /// [`PropagatorConfig::mirror`]), and `correlation` under the first correlation key.
    ///
    /// What the carrier held in those formats is replaced, several values included; all else stays, baggage
    /// too.
    ///
    /// # Errors
    /// The carrier refused a value. The format it belongs to is then missing from the carrier, never half
    /// old.
    pub fn inject(
        &self,
        carrier: &mut (impl Inject + ?Sized),
        context: &SpanContext,
        correlation: &CorrelationId,
        mirror: impl IntoIterator<Item = Format>,
    ) -> Result<(), Refused> {
        let mirror = mirror.into_iter().collect::<FormatSet>().union(context.formats);
        let wanted = |format: &Format| {
            self.config.mirror && format.is_written() && !self.config.inject.contains(format)
        };
        for format in self
            .config
            .inject
            .iter()
            .copied()
            .chain(mirror.iter().filter(wanted))
        {
            formats::write(format, carrier, context)?;
        }
        match self.config.correlation_keys.first() {
            Some(key) => carrier.set(key, correlation.as_str()),
            None => Ok(()),
        }
    }

    /// Writes `baggage` in place of the carrier's: to restore it on a call whose application dropped it.
    ///
    /// # Errors
    /// The carrier refused it.
    pub fn inject_baggage(
        &self,
        carrier: &mut (impl Inject + ?Sized),
        baggage: &Baggage,
    ) -> Result<(), Refused> {
        carrier.remove(keys::BAGGAGE);
        if baggage.is_empty() {
            Ok(())
        } else {
            carrier.set(keys::BAGGAGE, &baggage.to_string())
        }
    }

    fn read_correlation(
        &self,
        carrier: &(impl Extract + ?Sized),
        skipped: &mut Vec<Skipped>,
    ) -> Option<CorrelationId> {
        for key in &self.config.correlation_keys {
            let found = values(carrier, key);
            if found.count > 1 {
                skipped.push(Skipped::CorrelationDuplicated { count: found.count });
            }
            match found.first.map(CorrelationId::parse) {
                Some(Ok(id)) => return Some(id),
                Some(Err(error)) => skipped.push(Skipped::CorrelationInvalid(error)),
                None => {}
            }
        }
        None
    }

    fn read_request_id(
        &self,
        carrier: &(impl Extract + ?Sized),
        skipped: &mut Vec<Skipped>,
    ) -> Option<TraceStart> {
        for key in &self.config.trace_id_keys {
            let Some(value) = values(carrier, key).first else {
                continue;
            };
            if let Some(trace_id) = trace_id_from_uuid(value) {
                return Some(TraceStart {
                    trace_id,
                    random: true,
                    format: None,
                    traits: Traits::default(),
                });
            }
            skipped.push(Skipped::RequestIdNotRandom { key: key.clone() });
        }
        None
    }

    fn read_baggage(&self, carrier: &(impl Extract + ?Sized), skipped: &mut Vec<Skipped>) -> Baggage {
        let mut lost = |loss: BaggageLoss| skipped.push(Skipped::BaggageMember(loss));
        let mut baggage = Baggage::parse(&combined(carrier, keys::BAGGAGE), &mut lost);
        if self.config.extract.contains(&Format::Jaeger) {
            let mut lost = |loss: BaggageLoss| skipped.push(Skipped::JaegerBaggage(loss));
            carrier.each(&mut |key, value| {
                if let Some(key) = jaeger_baggage_key(key) {
                    baggage.add_jaeger(key, value, &mut lost);
                }
            });
        }
        baggage
    }
}

/// What of ours a carrier holds at all: most requests hold one format or none, and one look at all keys is cheaper than
/// asking for each.
#[derive(Default)]
struct Present {
    formats: FormatSet,
    baggage: bool,
}

impl Present {
    fn on(carrier: &(impl Extract + ?Sized)) -> Self {
        let mut present = Self::default();
        carrier.each(&mut |key, _| {
            if let Some(format) = Format::of_key(key) {
                present.formats.insert(format);
            }
            present.baggage |= key.eq_ignore_ascii_case(keys::BAGGAGE) || jaeger_baggage_key(key).is_some();
        });
        present
    }
}

/// The member's key in the name of an `uberctx-` header.
fn jaeger_baggage_key(key: &str) -> Option<&str> {
    let (start, rest) = key.split_at_checked(keys::JAEGER_BAGGAGE_PREFIX.len())?;
    start
        .eq_ignore_ascii_case(keys::JAEGER_BAGGAGE_PREFIX)
        .then_some(rest)
}
