//! A scrape in whichever format was agreed on.
//!
//! In: a [`Format`], and the scrape. Out: the bytes of the answer.
//! Left out on purpose: compression and the answer itself, which are the web server's.

use map::catalogue::Series;

use crate::model::{Encoder, Histogram, Labels, Sample};
use crate::negotiate::Format;
use crate::openmetrics::OpenMetricsEncoder;
use crate::protobuf::ProtobufEncoder;
use crate::text::TextEncoder;

/// An encoder for any of the formats.
#[derive(Debug)]
pub enum ScrapeEncoder {
    /// See [`TextEncoder`].
    Text(TextEncoder),
    /// See [`OpenMetricsEncoder`].
    OpenMetrics(OpenMetricsEncoder),
    /// See [`ProtobufEncoder`].
    Protobuf(ProtobufEncoder),
}

impl ScrapeEncoder {
    /// Begins a scrape; without `_created` samples.
    pub fn new(format: Format) -> Self {
        match format {
            Format::Text => Self::Text(TextEncoder::default()),
            Format::OpenMetrics => Self::OpenMetrics(OpenMetricsEncoder::default()),
            Format::Protobuf => Self::Protobuf(ProtobufEncoder::default()),
        }
    }

    /// The body of the answer; its type is [`Format::content_type`].
    pub fn finish(self) -> Vec<u8> {
        match self {
            Self::Text(text) => text.finish().into_bytes(),
            Self::OpenMetrics(text) => text.finish().into_bytes(),
            Self::Protobuf(messages) => messages.finish(),
        }
    }

    fn inner(&mut self) -> &mut dyn Encoder {
        match self {
            Self::Text(inner) => inner,
            Self::OpenMetrics(inner) => inner,
            Self::Protobuf(inner) => inner,
        }
    }
}

impl Encoder for ScrapeEncoder {
    fn family(&mut self, series: &'static Series) {
        self.inner().family(series);
    }

    fn sample(&mut self, labels: Labels<'_>, sample: Sample) {
        self.inner().sample(labels, sample);
    }

    fn histogram(&mut self, labels: Labels<'_>, histogram: &Histogram<'_>) {
        self.inner().histogram(labels, histogram);
    }
}
