//! An office in which everything is wrong once, for `tracemap up --demo --demo-flaws`: something for `tracemap check` to find.
//!
//! In: a time, and which round it is. Out: the spans of that round, as services would have sent them, and a task that sends a round a
//! second. One flaw of each kind that spans can show; which service has which stands at its call in [`round`].
//! Left out on purpose: sockets between the services. A clock that is off, a context that is lost and twelve seconds of waiting are
//! made more surely, and cheaper, out of numbers. Contracts: what may call whom is not in spans.

#[cfg(test)]
mod tests;
mod trace;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use otlp::export::{ExportSettings, Exporter};
use tracing::warn;

use trace::{Call, Trace};

/// How often the office works.
const EVERY: Duration = Duration::from_secs(1);
/// How long before it is sent a round began: longer than the longest wait in it.
const AGO: u64 = 15_000_000_000;
/// How long the last spans may take.
const LAST: Duration = Duration::from_secs(1);

/// Sends a round a second to `endpoint` until `stop` ends.
pub(super) async fn run(endpoint: String, stop: impl Future<Output = ()> + Send) {
    let settings = ExportSettings {
        instance: format!("demo-flaws/{}", now()),
        endpoint,
        ..ExportSettings::default()
    };
    let (exporter, sender) = match Exporter::spawn(settings) {
        Ok(spawned) => spawned,
        Err(error) => {
            warn!(%error, "the demo's flaws are not sent");
            return;
        }
    };
    let rounds = async {
        let mut turn = tokio::time::interval(EVERY);
        for number in 0_u64.. {
            turn.tick().await;
            let (spans, body) = trace::encode(&round(number, now() - AGO));
            if let Err(error) = exporter.try_send(body, spans) {
                warn!(%error, "a round of the demo's flaws found no room");
            }
        }
    };
    tokio::select! {
        () = rounds => {}
        () = stop => {}
    }
    if let Err(error) = exporter.shutdown(LAST).await {
        warn!(%error, "the last of the demo's flaws were not sent");
    }
    if let Err(error) = sender.await {
        warn!(%error, "the sender of the demo's flaws did not end in order");
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_nanos() as u64
}

/// The traces of one round, which began at `at` nanoseconds since 1970.
fn round(number: u64, at: u64) -> Vec<Trace> {
    let (lost, lost_too) = (Trace::of(number, 3, at), Trace::of(number, 4, at));
    vec![
        office(number, Trace::of(number, 1, at)),
        counter(number, Trace::of(number, 2, at)),
        fax(lost),
        intercom(lost_too),
    ]
}

/// What the office does for a visitor.
fn office(number: u64, mut trace: Trace) -> Trace {
    let office = trace.visitor("office", 14_000);
    let desk = trace.call(office, "desk", Call::at(0, 900));
    // `deep-chain`: five services wait for each other. `single-point`: all of them wait for `rules`.
    let clerk = trace.call(desk, "clerk", Call::at(10, 400));
    let archive = trace.call(clerk, "archive", Call::at(20, 300));
    let vault = trace.call(archive, "vault", Call::at(30, 100));
    for (service, begin) in [
        (office, 910),
        (desk, 500),
        (clerk, 330),
        (archive, 150),
        (vault, 40),
    ] {
        trace.call(service, "rules", Call::at(begin, 10));
    }
    // `shared-database`
    trace.query(archive, "files", Call::at(200, 10));
    trace.query(clerk, "files", Call::at(350, 10));
    // `chatty`, and `n-plus-one` with every twentieth visitor
    for i in 0..4 {
        trace.call(desk, "stamps", Call::at(600 + 6 * i, 5));
    }
    let letters = if number.is_multiple_of(20) { 60 } else { 1 };
    for i in 0..letters {
        trace.call(desk, "letters", Call::at(700 + 3 * i, 2));
    }
    // `cycle`
    let printer = trace.call(office, "printer", Call::at(1_000, 100));
    let spooler = trace.call(printer, "spooler", Call::at(1_010, 80));
    trace.call(spooler, "printer", Call::at(1_020, 60));
    // `fan-out`
    let switchboard = trace.call(office, "switchboard", Call::at(1_200, 200));
    for (i, line) in LINES.into_iter().enumerate() {
        trace.call(switchboard, line, Call::at(1_205 + 10 * i as u64, 8));
    }
    // `retry-storm`: with every third visitor the first attempt fails
    if number.is_multiple_of(3) {
        trace.call(office, "courier", Call::at(1_500, 20).failed());
    }
    trace.call(office, "courier", Call::at(1_530, 20));
    // `early-timeout`: with every fifth visitor the notary needs longer than the office waits
    let busy = number.is_multiple_of(5);
    let asked = Call::at(1_600, if busy { 100 } else { 60 });
    let asked = if busy { asked.given_up(400) } else { asked };
    trace.call(office, "notary", asked);
    // `long-wait`
    trace.call(office, "mainframe", Call::at(1_800, 12_000));
    // `clock-skew`: this clock is 80 ms behind
    trace.call(office, "warehouse", Call::at(13_850, 50).behind(80));
    // `queue-without-consumer`
    trace.send(office, "complaints", Call::at(13_920, 5));
    // `broken-context`: the fax is dialled by its address, and its own spans begin a trace
    trace.dial(office, FAX, Call::at(13_930, 20));
    // `unnamed-peer`
    let porter = trace.call(office, "porter", Call::at(13_960, 20));
    trace.client(porter, Call::at(13_962, 10));
    // `missing-service-name`
    trace.nameless(porter, Call::at(13_975, 2));
    trace
}

/// `unhandled-errors`: whenever the cashier fails, so does the counter.
fn counter(number: u64, mut trace: Trace) -> Trace {
    let counter = trace.visitor("counter", 50);
    let fails = number.is_multiple_of(4);
    let asked = Call::at(10, 20);
    trace.call(counter, "cashier", if fails { asked.failed() } else { asked });
    if fails {
        trace.fail(counter);
    }
    trace
}

/// The other side of `broken-context`.
fn fax(mut trace: Trace) -> Trace {
    trace.answer("fax", FAX, 10);
    trace
}

/// `orphans`: its caller's spans never come.
fn intercom(mut trace: Trace) -> Trace {
    trace.orphan("intercom", 10);
    trace
}

/// Where the fax is dialled.
const FAX: (&str, i64) = ("fax.demo.internal", 8080);

/// Whom the switchboard connects.
const LINES: [&str; 13] = [
    "line-01", "line-02", "line-03", "line-04", "line-05", "line-06", "line-07", "line-08", "line-09",
    "line-10", "line-11", "line-12", "line-13",
];
