//! What a scrape costs, in numbers that noise cannot move.

use exposition::{Encoder, Format, ScrapeEncoder};

use crate::scene::{self, Service};

/// Bytes and allocations of a scrape of so many edges.
fn scrape(format: Format, edges: usize) -> (usize, u64) {
    let service = Service::new("checkout -> payment", 2.5, [7; 16], 1_700_000_000_000);
    let services = vec![service; edges];
    let mut bytes = 0;
    let spent = allocation_counter::measure(|| {
        let mut out = ScrapeEncoder::new(format);
        scene::write(&services, &mut out as &mut dyn Encoder);
        bytes = out.finish().len();
    });
    (bytes, spent.count_total)
}

#[test]
fn a_scrape_allocates_for_its_buffer_and_not_for_its_series() {
    for format in [Format::Text, Format::OpenMetrics, Format::Protobuf] {
        let (_, few) = scrape(format, 100);
        let (_, many) = scrape(format, 3_200);
        // A buffer that doubles grows five times as often for 32 times as much.
        assert!(
            many <= few + 8,
            "{format:?}: {few} allocations for 100 edges, {many} for 3,200"
        );
        assert!(few < 100, "{format:?}: {few}");
    }
}

#[test]
fn every_edge_costs_the_same_bytes_and_protobuf_the_fewest() {
    let per_edge = |format| {
        let edges = [1_000, 2_000].map(|edges| scrape(format, edges).0);
        assert!(edges[1] - edges[0] <= edges[0], "{format:?}: {edges:?}");
        (edges[1] - edges[0]) / 1_000
    };
    let [text, openmetrics, protobuf] = [Format::Text, Format::OpenMetrics, Format::Protobuf].map(per_edge);
    assert!((3_000..4_000).contains(&text), "{text}");
    assert!(openmetrics < text + 100, "{openmetrics}");
    assert!(protobuf < text * 11 / 20, "{protobuf}, native buckets included");
}
