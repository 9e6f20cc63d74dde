//! The store answers as a linear scan over the same spans does, wherever the spans lie.
//!
//! In: random fragments, sealings, restarts and crashes, and random searches in between. Out: the same answers.
//! Left out on purpose: speed (`benches/store.rs`).

mod common;

use common::{Model, Plain, decode, encode, fragment, pair, str, trace_id, without_named};
use otlp::{Kind, StatusCode};
use proptest::prelude::*;
use store::{
    Condition, Field, Filter, Literal, Op, Pattern, Scope, Search, SegmentName, StoreSettings, TimeRange,
    TraceStore,
};

const TRACES: u8 = 8;
const TIMES: u64 = 60;

fn attribute() -> impl Strategy<Value = (String, Literal)> {
    prop_oneof![
        prop::sample::select(vec!["GET", "PUT"]).prop_map(|verb| pair("http.method", str(verb))),
        prop::sample::select(vec!["GET", "PUT"]).prop_map(|verb| pair("http.request.method", str(verb))),
        (0..3_i64).prop_map(|n| pair("n", Literal::Int(n))),
        (0..6_i32).prop_map(|n| pair("n", Literal::Float(f64::from(n) / 2.0))),
        any::<bool>().prop_map(|flag| pair("flag", Literal::Bool(flag))),
        (0..4_u8).prop_map(|n| pair("tenant", str(&format!("t{n}")))),
    ]
}

fn attributes() -> impl Strategy<Value = Vec<(String, Literal)>> {
    prop::collection::vec(attribute(), 0..3)
}

fn name() -> impl Strategy<Value = String> {
    (0..4_u8).prop_map(|n| format!("op{n}"))
}

fn service() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["cart", "stock", "pay", ""]).prop_map(str::to_owned)
}

fn kind() -> impl Strategy<Value = Kind> {
    prop::sample::select(vec![Kind::Server, Kind::Client, Kind::Internal])
}

fn status() -> impl Strategy<Value = StatusCode> {
    prop_oneof![3 => Just(StatusCode::Unset), 1 => Just(StatusCode::Error)]
}

fn span() -> impl Strategy<Value = Plain> {
    let ids = (0..6_u8, 0..4_u8);
    let times = (0..TIMES, 0..20_u64);
    let rare = (
        prop::option::weighted(0.2, (name(), attributes())),
        prop::sample::select(vec!["", "lib"]),
        prop::sample::select(vec!["", "timeout"]),
    );
    (
        ids,
        name(),
        kind(),
        status(),
        times,
        service(),
        attributes(),
        attributes(),
        rare,
    )
        .prop_map(
            |(
                ids,
                name,
                kind,
                status,
                (start, length),
                service,
                resource,
                attributes,
                (event, library, message),
            )| Plain {
                span_id: ids.0,
                parent: ids.1,
                name,
                kind,
                status,
                message: message.to_owned(),
                start,
                end: (start + length).saturating_sub(2),
                service,
                resource,
                attributes,
                library: library.to_owned(),
                event,
            },
        )
}

fn field() -> impl Strategy<Value = Field> {
    let key = prop::sample::select(vec![
        "http.method",
        "http.request.method",
        "n",
        "flag",
        "tenant",
        "service.name",
    ]);
    let scope = prop::sample::select(vec![
        None,
        Some(Scope::Span),
        Some(Scope::Resource),
        Some(Scope::Event),
        Some(Scope::Link),
    ]);
    prop_oneof![
        3 => (scope, key).prop_map(|(scope, key)| Field::Attribute { scope, key: key.to_owned() }),
        1 => Just(Field::Attribute { scope: Some(Scope::Resource), key: "service.name".to_owned() }),
        2 => prop::sample::select(vec![
            Field::Name, Field::Status, Field::StatusMessage, Field::Kind, Field::Duration, Field::TraceDuration,
            Field::RootName, Field::RootServiceName, Field::TraceId, Field::SpanId, Field::ParentId, Field::EventName,
            Field::InstrumentationName, Field::InstrumentationVersion,
        ]),
    ]
}

fn literal() -> impl Strategy<Value = Literal> {
    prop_oneof![
        prop::sample::select(vec![
            "GET", "PUT", "t1", "cart", "stock", "op1", "op2", "lib", "timeout", ""
        ])
        .prop_map(str),
        (0..3_i64).prop_map(Literal::Int),
        (0..6_i32).prop_map(|n| Literal::Float(f64::from(n) / 2.0)),
        any::<bool>().prop_map(Literal::Bool),
        (0..30_u64).prop_map(Literal::Duration),
        status().prop_map(Literal::Status),
        kind().prop_map(Literal::Kind),
        (0..6_u8).prop_map(|n| str(&format!("{n:02x}").repeat(8))),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let pattern = prop::sample::select(vec!["GET|PUT", "t.", "op[12]", "cart|stock", "", "op1"])
        .prop_map(|text| Pattern::new(text).expect("a regular expression"));
    prop_oneof![
        4 => Just(Op::Eq),
        3 => prop::sample::select(vec![Op::Ne, Op::Lt, Op::Le, Op::Gt, Op::Ge]),
        2 => pattern.clone().prop_map(Op::Match),
        1 => pattern.prop_map(Op::NotMatch),
    ]
}

fn condition() -> impl Strategy<Value = Condition> {
    let typed = prop_oneof![
        (field(), op(), literal()),
        // Types that fit, or hardly any comparison would be true.
        (Just(Field::Name), op(), name().prop_map(|name| str(&name))),
        (Just(Field::Status), op(), status().prop_map(Literal::Status)),
        (
            Just(Field::Duration),
            op(),
            (0..20_u64).prop_map(Literal::Duration)
        ),
        (
            Just(Field::TraceDuration),
            op(),
            (0..60_u64).prop_map(Literal::Duration)
        ),
        (
            Just(Field::Attribute {
                scope: Some(Scope::Resource),
                key: "service.name".to_owned()
            }),
            op(),
            service().prop_map(|name| str(&name))
        ),
    ];
    let leaf = prop_oneof![
        8 => typed.prop_map(|(field, op, value)| Condition::Compare { field, op, value }),
        1 => field().prop_map(Condition::Exists),
        1 => Just(Condition::True),
    ];
    leaf.prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            2 => prop::collection::vec(inner.clone(), 0..3).prop_map(Condition::And),
            1 => prop::collection::vec(inner.clone(), 0..3).prop_map(Condition::Or),
            1 => inner.prop_map(|one| Condition::Not(Box::new(one))),
        ]
    })
}

fn filter() -> impl Strategy<Value = Filter> {
    let leaf = prop_oneof![1 => Just(Filter::All), 6 => condition().prop_map(Filter::Spans)];
    leaf.prop_recursive(2, 4, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| Filter::And(Box::new(a), Box::new(b))),
            (inner.clone(), inner).prop_map(|(a, b)| Filter::Or(Box::new(a), Box::new(b))),
        ]
    })
}

fn search() -> impl Strategy<Value = Search> {
    let range = prop_oneof![
        1 => Just(TimeRange::ALL),
        1 => (0..TIMES, 0..TIMES).prop_map(|(start, end)| TimeRange { start, end }),
    ];
    let duration = || prop::option::weighted(0.3, 0..40_u64);
    (filter(), range, duration(), duration(), 0..10_usize, 0..4_usize).prop_map(
        |(filter, range, min_duration, max_duration, limit, spans_per_trace)| Search {
            filter,
            range,
            min_duration,
            max_duration,
            limit,
            spans_per_trace,
            ..Search::default()
        },
    )
}

#[derive(Debug, Clone)]
enum Step {
    Put(u8, Vec<Plain>),
    Seal,
    /// Everything to disk, and open again.
    Restart,
    /// The caller notes the segments, and will replay from here.
    Snapshot,
    /// Back to the snapshot, and replay.
    Crash,
    /// Merge what the snapshot names, so many steps.
    Merge(u8),
    Search(Box<Search>),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..TRACES, prop::collection::vec(span(), 0..4)).prop_map(|(trace, spans)| Step::Put(trace, spans)),
        2 => Just(Step::Seal),
        1 => Just(Step::Restart),
        1 => Just(Step::Snapshot),
        1 => Just(Step::Crash),
        2 => (1..6_u8).prop_map(Step::Merge),
        6 => search().prop_map(|search| Step::Search(Box::new(search))),
    ]
}

/// A store in a directory of its own, beside its model.
struct Pair {
    dir: tempfile::TempDir,
    settings: StoreSettings,
    store: Option<TraceStore>,
    model: Model,
    snapshot: Vec<SegmentName>,
    since: Vec<(u8, Vec<Plain>)>,
}

impl Pair {
    fn new(head_bytes: usize) -> Self {
        let settings = StoreSettings {
            head_bytes,
            block_bytes: 300,
            ..StoreSettings::default()
        };
        let mut pair = Self {
            dir: tempfile::tempdir().expect("a directory"),
            settings,
            store: None,
            model: Model::default(),
            snapshot: Vec::new(),
            since: Vec::new(),
        };
        pair.open(None);
        pair
    }

    fn open(&mut self, keep: Option<&[SegmentName]>) {
        self.store = None;
        self.store = Some(TraceStore::open(self.dir.path(), self.settings.clone(), keep).expect("a store"));
    }

    fn store(&self) -> &TraceStore {
        self.store.as_ref().expect("open")
    }

    fn put(&self, trace: u8, spans: &[Plain]) {
        self.store().put(fragment(trace, spans)).expect("stored");
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Put(trace, spans) => {
                self.put(trace, &spans);
                self.model.put(trace, &spans);
                self.since.push((trace, spans));
            }
            Step::Seal => drop(self.store().seal().expect("sealed")),
            Step::Restart => {
                self.store().seal().expect("sealed");
                self.open(None);
            }
            Step::Snapshot => {
                self.store().seal().expect("sealed");
                self.snapshot = self.store().segments();
                self.since.clear();
            }
            Step::Crash => {
                let keep = self.snapshot.clone();
                self.open(Some(&keep));
                for (trace, spans) in self.since.clone() {
                    self.put(trace, &spans);
                }
            }
            Step::Merge(steps) => {
                for _ in 0..steps {
                    let kept = Some(self.snapshot.as_slice());
                    self.store().maintain(u64::MAX, kept).expect("maintained");
                }
            }
            Step::Search(search) => self.check_search(&search),
        }
    }

    fn check_search(&self, search: &Search) {
        let found = self.store().search(search).expect("searched");
        assert!(found.complete);
        assert_eq!(
            without_named(found.traces),
            self.model.search(search),
            "{search:?}"
        );
    }

    fn check_all(&self) {
        for trace in 0..TRACES {
            let stored = self.store().trace(trace_id(trace)).expect("read");
            let expected = self
                .model
                .traces
                .get(&trace)
                .map(|spans| decode(&encode(trace, spans)));
            assert_eq!(stored.map(|data| decode(&data)), expected, "trace {trace}");
        }
        assert_eq!(self.store().services(), self.model.services());
        for service in ["cart", "stock", "pay"] {
            assert_eq!(
                self.store().operations(service),
                self.model.operations(service),
                "{service}"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn wherever_its_spans_lie_a_store_answers_as_a_list_of_them(
        steps in prop::collection::vec(step(), 1..40),
        head_bytes in prop::sample::select(vec![1_usize, 2_000, 1 << 20]),
        last in search(),
    ) {
        let mut pair = Pair::new(head_bytes);
        for step in steps {
            pair.step(step);
        }
        pair.check_search(&last);
        pair.check_all();
        pair.step(Step::Restart);
        pair.check_search(&last);
        pair.check_all();
    }

    #[test]
    fn flipped_bits_lose_traces_and_say_so_but_never_make_any_up(
        traces in prop::collection::vec(prop::collection::vec(span(), 1..4), 1..8),
        flips in prop::collection::vec((any::<prop::sample::Index>(), 0..8_u8), 1..4),
        searches in prop::collection::vec(search(), 1..6),
    ) {
        let mut pair = Pair::new(1 << 20);
        for (trace, spans) in (0..).zip(traces) {
            pair.step(Step::Put(trace, spans));
        }
        let name = pair.store().seal().expect("sealed").expect("not empty");
        pair.store = None;
        let path = pair.dir.path().join(name.to_string());
        let mut bytes = std::fs::read(&path).expect("a segment");
        for (at, bit) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }
        std::fs::write(&path, bytes).expect("written");
        pair.open(None);
        for search in searches {
            let search = Search { limit: usize::MAX, ..search };
            let expected = pair.model.search(&search);
            let found = pair.store().search(&search).expect("searched");
            let hits = without_named(found.traces);
            prop_assert!(hits.iter().all(|hit| expected.contains(hit)));
            let unusable = pair.store().stats().unusable_segments;
            prop_assert!(hits == expected || !found.complete || unusable == 1, "{hits:?}\n{expected:?}");
        }
        for trace in pair.model.traces.keys() {
            let expected = decode(&encode(*trace, &pair.model.traces[trace]));
            match pair.store().trace(trace_id(*trace)) {
                Ok(Some(data)) => prop_assert_eq!(decode(&data), expected),
                Ok(None) => prop_assert_eq!(pair.store().stats().unusable_segments, 1),
                Err(error) => prop_assert!(error.to_string().contains("is damaged"), "{}", error),
            }
        }
        pair.store().services();
        pair.store().tags(None, TimeRange::ALL);
    }
}
