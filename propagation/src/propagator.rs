//! The propagator: reads and writes all configured formats of one carrier.
//!
//! In: a carrier. Out: an [`Extracted`]; or a carrier that holds the given context and correlation id.
//! Left out on purpose: writing into requests whose headers are signed. Only the caller knows that they are.

use crate::baggage::{Baggage, BaggageLoss};
use crate::carrier::{Extract, Inject, Refused, combined, values};
use crate::config::{ConfigError, Format, PropagatorConfig};
use crate::context::SpanContext;
use crate::correlation::CorrelationId;
use crate::extracted::Extracted;
use crate::formats;
use crate::keys;
use crate::skipped::Skipped;

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
        for key in &mut config.correlation_keys {
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
        for format in &self.config.extract {
            let found = formats::read(*format, carrier, &mut out.skipped);
            out.merge(*format, found);
        }
        out.settle();
        out.correlation = self.read_correlation(carrier, &mut out.skipped);
        out.baggage = read_baggage(carrier, &mut out.skipped);
        out
    }

    /// Writes `context` in every configured format and in `mirror` (see [`PropagatorConfig::mirror`]), and
    /// `correlation` under the first correlation key.
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
        mirror: Option<Format>,
    ) -> Result<(), Refused> {
        let mirror = mirror.filter(|format| self.config.mirror && !self.config.inject.contains(format));
        for format in self.config.inject.iter().copied().chain(mirror) {
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
}

fn read_baggage(carrier: &(impl Extract + ?Sized), skipped: &mut Vec<Skipped>) -> Baggage {
    let mut lost = |loss: BaggageLoss| skipped.push(Skipped::BaggageMember(loss));
    Baggage::parse(&combined(carrier, keys::BAGGAGE), &mut lost)
}
