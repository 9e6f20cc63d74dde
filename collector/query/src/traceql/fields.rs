//! `TraceQL`'s names: which intrinsic, status or kind a word means.
//!
//! In: a word. Out: the store's field or literal.
//! Left out on purpose: intrinsics that need a span's relatives or nested-set numbers, such as `childCount`.

use otlp::{Kind, StatusCode};
use store::{Field, Literal};

/// The intrinsics that can be asked for, in both spellings, as the tag endpoints list them.
pub(crate) const INTRINSICS: [&str; 22] = [
    "duration",
    "event:name",
    "instrumentation:name",
    "instrumentation:version",
    "kind",
    "name",
    "rootName",
    "rootServiceName",
    "span:duration",
    "span:id",
    "span:kind",
    "span:name",
    "span:parentID",
    "span:status",
    "span:statusMessage",
    "status",
    "statusMessage",
    "trace:duration",
    "trace:id",
    "trace:rootName",
    "trace:rootService",
    "traceDuration",
];

/// Intrinsics of `TraceQL` that the store does not keep.
const UNSUPPORTED: [&str; 10] = [
    "childCount",
    "event:timeSinceStart",
    "link:spanID",
    "link:traceID",
    "nestedSetLeft",
    "nestedSetRight",
    "parent",
    "span:childCount",
    "span:nestedSetLeft",
    "span:nestedSetRight",
];

/// What a word is where a field or a literal may stand.
pub(super) enum Meaning {
    Field(Field),
    Literal(Literal),
    Nil,
    NestedSetParent,
    /// A name of `TraceQL` that is not supported.
    Unsupported,
    Unknown,
}

pub(super) fn meaning(word: &str) -> Meaning {
    if let Some(field) = intrinsic(word) {
        return Meaning::Field(field);
    }
    match word {
        "nil" => Meaning::Nil,
        "nestedSetParent" | "span:nestedSetParent" => Meaning::NestedSetParent,
        "true" => Meaning::Literal(Literal::Bool(true)),
        "false" => Meaning::Literal(Literal::Bool(false)),
        "error" => Meaning::Literal(Literal::Status(StatusCode::Error)),
        "ok" => Meaning::Literal(Literal::Status(StatusCode::Ok)),
        "unset" => Meaning::Literal(Literal::Status(StatusCode::Unset)),
        _ => match kind_named(word) {
            Some(kind) => Meaning::Literal(Literal::Kind(kind)),
            None if UNSUPPORTED.contains(&word) => Meaning::Unsupported,
            None => Meaning::Unknown,
        },
    }
}

fn intrinsic(word: &str) -> Option<Field> {
    Some(match word {
        "name" | "span:name" => Field::Name,
        "status" | "span:status" => Field::Status,
        "kind" | "span:kind" => Field::Kind,
        "duration" | "span:duration" => Field::Duration,
        "traceDuration" | "trace:duration" => Field::TraceDuration,
        "rootName" | "trace:rootName" => Field::RootName,
        "rootServiceName" | "trace:rootService" => Field::RootServiceName,
        "statusMessage" | "span:statusMessage" => Field::StatusMessage,
        "trace:id" => Field::TraceId,
        "span:id" => Field::SpanId,
        "span:parentID" => Field::ParentId,
        "event:name" => Field::EventName,
        "instrumentation:name" => Field::InstrumentationName,
        "instrumentation:version" => Field::InstrumentationVersion,
        _ => return None,
    })
}

/// The kind of this name in lower case.
pub(crate) fn kind_named(name: &str) -> Option<Kind> {
    (0..=5).map(Kind::from_number).find(|kind| kind.as_str() == name)
}
