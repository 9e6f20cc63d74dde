//! The formats of trace context, and sets of them.
//!
//! In: names as an operator writes them, keys as a carrier holds them. Out: a [`Format`].
//! Left out on purpose: what the formats look like; each has a file of its own.

use std::fmt;
use std::str::FromStr;

use crate::keys;

/// A format of trace context. Named as in `OTEL_PROPAGATORS` where it has a name there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Format {
    /// `tracecontext`: W3C `traceparent` and `tracestate`.
    TraceContext,
    /// `grpc-trace-bin`: `OpenCensus`' binary context in gRPC metadata.
    GrpcTraceBin,
    /// `b3`: one header.
    B3,
    /// `b3multi`: `x-b3-…` headers.
    B3Multi,
    /// `datadog`: `x-datadog-…` headers.
    Datadog,
    /// `jaeger`: `uber-trace-id`, and baggage in `uberctx-…`.
    Jaeger,
    /// `xray`: AWS `x-amzn-trace-id`.
    XRay,
    /// `gcp`: Google `x-cloud-trace-context`.
    Gcp,
    /// `sw8`: Apache `SkyWalking`. Read, never written: its ids are free text.
    Sw8,
}

/// A name that is no format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "format `{name}` is unknown: write `tracecontext`, `grpc-trace-bin`, `b3`, `b3multi`, `datadog`, `jaeger`, `xray`, `gcp` or `sw8`"
)]
pub struct UnknownFormat {
    /// The name as written.
    pub name: String,
}

/// A set of formats.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct FormatSet(u16);

impl Format {
    /// Every format, in the order in which they are read by default. It begins with what says most: W3C has flags
    /// and vendors' members, and the last has no ids that W3C could continue.
    pub const ALL: [Self; 9] = [
        Self::TraceContext,
        Self::GrpcTraceBin,
        Self::B3,
        Self::B3Multi,
        Self::Datadog,
        Self::Jaeger,
        Self::XRay,
        Self::Gcp,
        Self::Sw8,
    ];

    /// The name in configuration and in `OTEL_PROPAGATORS`.
    pub fn name(self) -> &'static str {
        match self {
            Self::TraceContext => "tracecontext",
            Self::GrpcTraceBin => "grpc-trace-bin",
            Self::B3 => "b3",
            Self::B3Multi => "b3multi",
            Self::Datadog => "datadog",
            Self::Jaeger => "jaeger",
            Self::XRay => "xray",
            Self::Gcp => "gcp",
            Self::Sw8 => "sw8",
        }
    }

    /// Whether a context can be written in it. `sw8` is only read.
    pub fn is_written(self) -> bool {
        self != Self::Sw8
    }

    /// The keys that belong to it alone, in lower case. Jaeger's baggage has a prefix,
    /// [`keys::JAEGER_BAGGAGE_PREFIX`], besides.
    pub fn keys(self) -> &'static [&'static str] {
        match self {
            Self::TraceContext => &[keys::TRACEPARENT, keys::TRACESTATE],
            Self::GrpcTraceBin => &[keys::GRPC_TRACE_BIN],
            Self::B3 => &[keys::B3],
            Self::B3Multi => &[
                keys::B3_TRACE_ID,
                keys::B3_SPAN_ID,
                keys::B3_PARENT_SPAN_ID,
                keys::B3_SAMPLED,
                keys::B3_FLAGS,
            ],
            Self::Datadog => &[
                keys::DATADOG_TRACE_ID,
                keys::DATADOG_PARENT_ID,
                keys::DATADOG_PRIORITY,
                keys::DATADOG_ORIGIN,
                keys::DATADOG_TAGS,
            ],
            Self::Jaeger => &[keys::JAEGER],
            Self::XRay => &[keys::XRAY],
            Self::Gcp => &[keys::GCP],
            Self::Sw8 => &[keys::SW8, keys::SW8_EXTENSION, keys::SW8_CORRELATION],
        }
    }

    /// The format that `key` belongs to, whatever its ASCII case.
    pub(crate) fn of_key(key: &str) -> Option<Self> {
        // Most headers of a request are none of ours: the first letter tells.
        let candidates: &[Self] = match key.as_bytes().first()?.to_ascii_lowercase() {
            b't' => &[Self::TraceContext],
            b'g' => &[Self::GrpcTraceBin],
            b'b' => &[Self::B3],
            b'u' => &[Self::Jaeger],
            b's' => &[Self::Sw8],
            b'x' => &[Self::B3Multi, Self::Datadog, Self::XRay, Self::Gcp],
            _ => return None,
        };
        let owns = |format: &&Self| format.keys().iter().any(|own| own.eq_ignore_ascii_case(key));
        candidates.iter().find(owns).copied()
    }

    fn bit(self) -> u16 {
        1 << self as u16
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, UnknownFormat> {
        Self::ALL
            .into_iter()
            .find(|format| format.name() == name)
            .ok_or_else(|| UnknownFormat {
                name: name.to_owned(),
            })
    }
}

impl FormatSet {
    /// No format.
    pub const EMPTY: Self = Self(0);

    /// Adds `format`.
    pub fn insert(&mut self, format: Format) {
        self.0 |= format.bit();
    }

    /// Whether `format` is in it.
    pub fn contains(self, format: Format) -> bool {
        self.0 & format.bit() != 0
    }

    /// Whether no format is in it.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Its formats in the order of [`Format::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Format> {
        Format::ALL
            .into_iter()
            .filter(move |format| self.contains(*format))
    }

    /// The formats of either.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl From<Format> for FormatSet {
    fn from(format: Format) -> Self {
        Self(format.bit())
    }
}

impl FromIterator<Format> for FormatSet {
    fn from_iter<I: IntoIterator<Item = Format>>(formats: I) -> Self {
        let mut set = Self::EMPTY;
        formats.into_iter().for_each(|format| set.insert(format));
        set
    }
}

impl fmt::Debug for FormatSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}
