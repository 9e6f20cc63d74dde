//! Which format a scraper gets.
//!
//! In: its `Accept` header. Out: a [`Format`] and the `Content-Type` to answer with.
//! Left out on purpose: 406. A scraper that asks for something else gets the plain text, which every tool reads.
//! Source: RFC 9110 §12.5.1; Prometheus, "Content negotiation" and `scrape_protocols`.

/// A format of a scrape.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// The text format 0.0.4: no exemplars, no native histograms.
    #[default]
    Text,
    /// `OpenMetrics` 1.0: exemplars, no native histograms.
    OpenMetrics,
    /// Delimited `io.prometheus.client.MetricFamily`: all there is.
    Protobuf,
}

impl Format {
    /// The header that its bytes travel with.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Protobuf => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
            }
        }
    }
}

/// The format that `accept` likes best; of equals the one that says more. Text where it names none of ours.
///
/// A range that names a version or an encoding we do not write is passed over; one with an unreadable `q` too. Any
/// bytes may be in it.
pub fn negotiate(accept: &str) -> Format {
    let wanted = accept.split(',').filter_map(range);
    let best = wanted.max_by(|(a, qa), (b, qb)| qa.total_cmp(qb).then(richness(*a).cmp(&richness(*b))));
    best.map_or(Format::Text, |(format, _)| format)
}

fn richness(format: Format) -> u8 {
    match format {
        Format::Text => 0,
        Format::OpenMetrics => 1,
        Format::Protobuf => 2,
    }
}

/// A media range of ours and its quality above 0.
fn range(text: &str) -> Option<(Format, f64)> {
    let mut parts = text.split(';').map(str::trim);
    let format = media_type(parts.next()?)?;
    let mut quality = 1.0;
    let mut delimited = false;
    for parameter in parts {
        let (name, value) = parameter.split_once('=')?;
        let (name, value) = (name.trim(), value.trim().trim_matches('"'));
        match (name.to_ascii_lowercase().as_str(), format) {
            ("q", _) => quality = value.parse().ok().filter(|q| (0.0..=1.0).contains(q))?,
            ("version", Format::OpenMetrics) if value != "1.0.0" => return None,
            // What we write is the same in 1.0.0, but must then be labelled so; a fallback to 0.0.4 is always offered.
            ("version", Format::Text) if value != "0.0.4" => return None,
            ("proto", Format::Protobuf) if value != "io.prometheus.client.MetricFamily" => return None,
            ("encoding", Format::Protobuf) if value == "delimited" => delimited = true,
            ("encoding", Format::Protobuf) => return None,
            _ => {}
        }
    }
    (quality > 0.0 && (format != Format::Protobuf || delimited)).then_some((format, quality))
}

fn media_type(name: &str) -> Option<Format> {
    match name.to_ascii_lowercase().as_str() {
        "text/plain" | "text/*" | "*/*" => Some(Format::Text),
        "application/openmetrics-text" => Some(Format::OpenMetrics),
        "application/vnd.google.protobuf" => Some(Format::Protobuf),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Prometheus sends, by version and setting.
    const PROMETHEUS: [(&str, &str, Format); 6] = [
        (
            "2.42",
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
             text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            Format::OpenMetrics,
        ),
        (
            "2.42 with native histograms",
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,\
             application/openmetrics-text;version=1.0.0;q=0.8,application/openmetrics-text;version=0.0.1;q=0.75,\
             text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            Format::Protobuf,
        ),
        (
            "2.53",
            "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,\
             text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            Format::OpenMetrics,
        ),
        (
            "2.53 with native histograms",
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.5,\
             application/openmetrics-text;version=1.0.0;q=0.4,application/openmetrics-text;version=0.0.1;q=0.3,\
             text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
            Format::Protobuf,
        ),
        (
            "3",
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
             application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
             text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            Format::OpenMetrics,
        ),
        (
            "3 with native histograms",
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;\
             escaping=allow-utf-8;q=0.7,application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
             application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
             text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            Format::Protobuf,
        ),
    ];

    #[test]
    fn every_prometheus_gets_the_richest_format_it_asks_for() {
        for (version, accept, format) in PROMETHEUS {
            assert_eq!(negotiate(accept), format, "Prometheus {version}");
        }
    }

    #[test]
    fn browsers_and_curl_get_text() {
        for accept in [
            "",
            "*/*",
            "text/html,application/xhtml+xml,*/*;q=0.8",
            "text/*",
            "image/png",
        ] {
            assert_eq!(negotiate(accept), Format::Text, "`{accept}`");
        }
    }

    #[test]
    fn quality_decides_before_richness_and_zero_means_never() {
        for (accept, format) in [
            (
                "application/openmetrics-text;version=1.0.0;q=0.1,text/plain;q=0.2",
                Format::Text,
            ),
            (
                "text/plain,application/openmetrics-text;version=1.0.0",
                Format::OpenMetrics,
            ),
            (
                "application/openmetrics-text;version=1.0.0;q=0,text/plain;q=0.001",
                Format::Text,
            ),
            (
                "APPLICATION/OpenMetrics-Text; Version=\"1.0.0\" ; Q=1.0",
                Format::OpenMetrics,
            ),
        ] {
            assert_eq!(negotiate(accept), format, "`{accept}`");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_header_is_answered(accept in ".*") {
            negotiate(&accept);
            negotiate(&format!("application/vnd.google.protobuf;{accept}"));
        }
    }

    #[test]
    fn what_we_do_not_write_is_passed_over() {
        for accept in [
            "application/openmetrics-text;version=0.0.1",
            "application/openmetrics-text;version=1.0.0;q=much",
            "application/openmetrics-text;version=1.0.0;q=-1",
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=text",
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily",
            "application/vnd.google.protobuf;proto=other.Message;encoding=delimited",
            ";;;,,=,\u{0};q=ä",
        ] {
            assert_eq!(negotiate(accept), Format::Text, "`{accept}`");
        }
    }
}
