//! CPU, memory and files of this process, as the `prometheus` crate reads them.
//!
//! In: nothing. Out: the `process_…` families that every client library exports.
//! Left out on purpose: anything of ours; those families are in the catalogue.

use map::catalogue::{Series, Type};
use prometheus::proto::MetricType;

use crate::scrape::Scrape;

const fn family(name: &'static str, kind: Type, help: &'static str) -> Series {
    Series {
        name,
        kind,
        labels: &[],
        help,
    }
}

static FAMILIES: [Series; 7] = [
    family(
        "process_cpu_seconds_total",
        Type::Counter,
        "User and system CPU seconds.",
    ),
    family("process_open_fds", Type::Gauge, "Open file descriptors."),
    family("process_max_fds", Type::Gauge, "Most open file descriptors."),
    family(
        "process_virtual_memory_bytes",
        Type::Gauge,
        "Virtual memory in bytes.",
    ),
    family(
        "process_resident_memory_bytes",
        Type::Gauge,
        "Resident memory in bytes.",
    ),
    family(
        "process_start_time_seconds",
        Type::Gauge,
        "When the process started, Unix seconds.",
    ),
    family("process_threads", Type::Gauge, "Threads."),
];

/// Writes what the system tells of this process.
pub(crate) fn write(out: &mut Scrape<'_>) {
    for gathered in prometheus::gather() {
        let Some(series) = FAMILIES.iter().find(|family| family.name == gathered.name()) else {
            continue;
        };
        let value = gathered.get_metric().first().map(|metric| {
            if gathered.get_field_type() == MetricType::COUNTER {
                metric.get_counter().get_value()
            } else {
                metric.get_gauge().get_value()
            }
        });
        if let Some(value) = value {
            out.foreign(series, value);
        }
    }
}
