//! Series in every format that Prometheus takes.
//!
//! In: a scrape, told to an [`Encoder`]. Out: text, `OpenMetrics` or protobuf for scrapers ([`negotiate`] says which),
//! and remote write 1.0 and 2.0 for receivers ([`remote`]).
//! Left out on purpose: the counting itself, how many series there may be, and their names, which are the collector's
//! and `map::catalogue`'s.

mod lines;
mod model;
mod native;
mod negotiate;
mod openmetrics;
mod protobuf;
pub mod remote;
#[cfg(test)]
mod sample;
mod scrape;
mod text;
mod wire;

pub use model::{Encoder, Exemplar, Histogram, Labels, Sample};
pub use native::{Counts, Exponential, Native};
pub use negotiate::{Format, negotiate};
pub use openmetrics::OpenMetricsEncoder;
pub use protobuf::ProtobufEncoder;
pub use scrape::ScrapeEncoder;
pub use text::TextEncoder;
