//! The messages of an OTLP trace request, as tables, and the check of bytes against such tables.
//!
//! In: bytes from anywhere. Out: how many spans they hold, or the first fault with the field's name.
//! Left out on purpose: any reading of values ([`super`] does that on checked bytes).
//! Source: the definitions that opentelemetry-proto 0.33 was generated from: `collector/trace/v1`, `trace/v1`, `resource/v1`, `common/v1`.

use super::Malformed;
use crate::wire::{Fault, FaultAt, MAX_DEPTH, Payload, Reader};
use Expect::{Bytes, Fixed32, Fixed64, Message, PackedFixed64, PackedVarint, Text, Varint};

/// What a field must hold.
#[derive(Clone, Copy)]
pub(super) enum Expect {
    /// Reserved or not of this version: its framing is checked and its value skipped.
    Unknown,
    Varint,
    Fixed32,
    Fixed64,
    Text,
    Bytes,
    /// A list of numbers, in one piece or singly.
    PackedVarint,
    PackedFixed64,
    Message(&'static Schema),
}

/// A message type: field `n` stands at index `n - 1`.
pub(super) struct Schema {
    pub(super) name: &'static str,
    pub(super) counted: bool,
    pub(super) fields: &'static [(&'static str, Expect)],
}

pub(super) const fn schema(name: &'static str, fields: &'static [(&'static str, Expect)]) -> Schema {
    Schema {
        name,
        counted: false,
        fields,
    }
}

pub(super) static REQUEST: Schema = schema(
    "ExportTraceServiceRequest",
    &[("resource_spans", Message(&RESOURCE_SPANS))],
);
pub(super) static RESOURCE_SPANS: Schema = schema(
    "ResourceSpans",
    &[
        ("resource", Message(&RESOURCE)),
        ("scope_spans", Message(&SCOPE_SPANS)),
        ("schema_url", Text),
    ],
);
pub(super) static RESOURCE: Schema = schema(
    "Resource",
    &[
        ("attributes", Message(&KEY_VALUE)),
        ("dropped_attributes_count", Varint),
        ("entity_refs", Message(&ENTITY_REF)),
    ],
);
static ENTITY_REF: Schema = schema(
    "EntityRef",
    &[
        ("schema_url", Text),
        ("type", Text),
        ("id_keys", Text),
        ("description_keys", Text),
    ],
);
pub(super) static SCOPE_SPANS: Schema = schema(
    "ScopeSpans",
    &[
        ("scope", Message(&SCOPE)),
        ("spans", Message(&SPAN)),
        ("schema_url", Text),
    ],
);
pub(super) static SCOPE: Schema = schema(
    "InstrumentationScope",
    &[
        ("name", Text),
        ("version", Text),
        ("attributes", Message(&KEY_VALUE)),
        ("dropped_attributes_count", Varint),
    ],
);
pub(super) static SPAN: Schema = Schema {
    name: "Span",
    counted: true,
    fields: &[
        ("trace_id", Bytes),
        ("span_id", Bytes),
        ("trace_state", Text),
        ("parent_span_id", Bytes),
        ("name", Text),
        ("kind", Varint),
        ("start_time_unix_nano", Fixed64),
        ("end_time_unix_nano", Fixed64),
        ("attributes", Message(&KEY_VALUE)),
        ("dropped_attributes_count", Varint),
        ("events", Message(&EVENT)),
        ("dropped_events_count", Varint),
        ("links", Message(&LINK)),
        ("dropped_links_count", Varint),
        ("status", Message(&STATUS)),
        ("flags", Fixed32),
    ],
};
pub(super) static EVENT: Schema = schema(
    "Event",
    &[
        ("time_unix_nano", Fixed64),
        ("name", Text),
        ("attributes", Message(&KEY_VALUE)),
        ("dropped_attributes_count", Varint),
    ],
);
pub(super) static LINK: Schema = schema(
    "Link",
    &[
        ("trace_id", Bytes),
        ("span_id", Bytes),
        ("trace_state", Text),
        ("attributes", Message(&KEY_VALUE)),
        ("dropped_attributes_count", Varint),
        ("flags", Fixed32),
    ],
);
pub(super) static STATUS: Schema = schema(
    "Status",
    &[("reserved", Expect::Unknown), ("message", Text), ("code", Varint)],
);
pub(super) static KEY_VALUE: Schema = schema(
    "KeyValue",
    &[
        ("key", Text),
        ("value", Message(&ANY_VALUE)),
        ("key_strindex", Varint),
    ],
);
pub(super) static ANY_VALUE: Schema = schema(
    "AnyValue",
    &[
        ("string_value", Text),
        ("bool_value", Varint),
        ("int_value", Varint),
        ("double_value", Fixed64),
        ("array_value", Message(&ARRAY_VALUE)),
        ("kvlist_value", Message(&KEY_VALUE_LIST)),
        ("bytes_value", Bytes),
        ("string_value_strindex", Varint),
    ],
);
static ARRAY_VALUE: Schema = schema("ArrayValue", &[("values", Message(&ANY_VALUE))]);
static KEY_VALUE_LIST: Schema = schema("KeyValueList", &[("values", Message(&KEY_VALUE))]);

/// What is wrong with `body`, which [`super::walk`] refused.
#[cold]
pub(super) fn fault(body: &[u8]) -> Malformed {
    let found = check(body).err();
    debug_assert!(
        found.is_some(),
        "the walk refuses what the tables accept: {body:02x?}"
    );
    found.unwrap_or(Malformed {
        message: REQUEST.name,
        field: None,
        offset: 0,
        fault: Fault::Varint,
    })
}

/// The number of spans in `body`, once every level of it is known to be well-formed.
pub(super) fn check(body: &[u8]) -> Result<u64, Malformed> {
    let mut spans = 0;
    check_message(&REQUEST, Reader::new(body), MAX_DEPTH, &mut spans)?;
    Ok(spans)
}

/// Checks `message` and all within it. `depth` is how many levels more may nest in it.
pub(super) fn check_message(
    schema: &'static Schema,
    mut message: Reader<'_>,
    depth: u32,
    spans: &mut u64,
) -> Result<(), Malformed> {
    *spans += u64::from(schema.counted);
    while check_field(schema, &mut message, depth, spans)?.is_some() {}
    Ok(())
}

/// Reads the next field of `message` and checks it with all within it; `None` at the end. A group was skipped.
pub(super) fn check_field<'a>(
    schema: &'static Schema,
    message: &mut Reader<'a>,
    depth: u32,
    spans: &mut u64,
) -> Result<Option<(u32, Payload<'a>)>, Malformed> {
    let at = message.at();
    let Some((number, payload)) = message.field().map_err(|fault| in_message(schema, fault))? else {
        return Ok(None);
    };
    let field = schema
        .fields
        .get((number - 1) as usize)
        .map_or(Expect::Unknown, |(_, expect)| *expect);
    let checked = match (field, payload) {
        (Message(inner), Payload::Bytes(bytes)) => {
            message
                .enter(depth)
                .map_err(|fault| in_field(schema, number, fault))?;
            check_message(inner, bytes, depth - 1, spans)?;
            Ok(())
        }
        (Text, Payload::Bytes(bytes)) => check_text(bytes),
        (PackedVarint, Payload::Bytes(bytes)) => check_varints(bytes),
        (PackedFixed64, Payload::Bytes(bytes)) => check_fixed64s(bytes),
        (Varint | PackedVarint, Payload::Varint(_))
        | (Fixed32, Payload::Fixed32(_))
        | (Fixed64 | PackedFixed64, Payload::Fixed64(_))
        | (Bytes, Payload::Bytes(_)) => Ok(()),
        (Expect::Unknown, Payload::Group) => message.skip_group(number, depth),
        (Expect::Unknown, _) => message.enter(depth),
        (expected, found) => {
            let fault = Fault::Mismatch {
                found: found.wire_type(),
                wanted: expected.wire_type(),
            };
            Err(FaultAt { fault, at })
        }
    };
    checked.map_err(|fault| in_field(schema, number, fault))?;
    Ok(Some((number, payload)))
}

fn check_text(text: Reader<'_>) -> Result<(), FaultAt> {
    match str::from_utf8(text.bytes()) {
        Ok(_) => Ok(()),
        Err(error) => Err(FaultAt {
            fault: Fault::Utf8,
            at: text.at() + error.valid_up_to(),
        }),
    }
}

fn check_varints(mut packed: Reader<'_>) -> Result<(), FaultAt> {
    while !packed.bytes().is_empty() {
        packed.varint()?;
    }
    Ok(())
}

fn check_fixed64s(packed: Reader<'_>) -> Result<(), FaultAt> {
    let left = packed.bytes().len() % 8;
    if left == 0 {
        return Ok(());
    }
    Err(FaultAt {
        fault: Fault::Truncated { wanted: 8, left },
        at: packed.at() + packed.bytes().len() - left,
    })
}

fn in_message(schema: &Schema, FaultAt { fault, at }: FaultAt) -> Malformed {
    Malformed {
        message: schema.name,
        field: None,
        offset: at,
        fault,
    }
}

fn in_field(schema: &Schema, number: u32, FaultAt { fault, at }: FaultAt) -> Malformed {
    let field = schema.fields.get((number - 1) as usize).map(|(name, _)| *name);
    Malformed {
        message: schema.name,
        field,
        offset: at,
        fault,
    }
}

impl Expect {
    fn wire_type(self) -> u8 {
        match self {
            Varint | Expect::Unknown => 0,
            Fixed64 => 1,
            Text | Bytes | PackedVarint | PackedFixed64 | Message(_) => 2,
            Fixed32 => 5,
        }
    }
}
