//! Tags of Jaeger and Zipkin, for which OTLP has attributes and fields.
//!
//! In: keys and values. Out: attributes, and what moves into a field: kind, status, trace state,
//! instrumentation scope. Only what a field then says in full is no attribute any more.
//!
//! Sources: OpenTelemetry specification, "Compatibility: `OpenTracing`" and "Mapping to non-OTLP formats"
//! (`otel.*` tags); Zipkin API v2 (`error`).

use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, KeyValue, any_value::Value},
    trace::v1::{Status, span::SpanKind, status::StatusCode},
};
use serde_json::Value as Json;

use super::group::Scope;
use crate::json::{Scalar, base64_bytes};

/// What a tag `error` means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ErrorTag {
    /// `OpenTracing`: an error where it is true.
    WhenTrue,
    /// Zipkin: an error where it is there at all, even if it says `false`; its value is the message.
    WhenPresent,
}

/// The tags of one span.
pub(super) struct Tags {
    pub(super) attributes: Vec<KeyValue>,
    pub(super) kind: SpanKind,
    pub(super) trace_state: String,
    pub(super) scope: Scope,
    error_tag: ErrorTag,
    failed: bool,
    code: Option<StatusCode>,
    message: String,
}

impl Tags {
    pub(super) fn new(error_tag: ErrorTag) -> Self {
        Self {
            attributes: Vec::new(),
            kind: SpanKind::Unspecified,
            trace_state: String::new(),
            scope: Scope::default(),
            error_tag,
            failed: false,
            code: None,
            message: String::new(),
        }
    }

    pub(super) fn add(&mut self, key: String, value: Value) {
        if !self.moved(&key, &value) {
            self.attributes.push(attribute(key, value));
        }
    }

    /// Adds what the span said outside of its tags, unless a tag said it.
    pub(super) fn add_if_absent(&mut self, key: &str, value: Value) {
        if !self.attributes.iter().any(|attribute| attribute.key == key) {
            self.attributes.push(attribute(key, value));
        }
    }

    /// The stated code, else an error where the tag `error` tells of one.
    pub(super) fn status(&mut self) -> Option<Status> {
        let code = self.code.or(self.failed.then_some(StatusCode::Error))?;
        Some(Status {
            code: code.into(),
            message: std::mem::take(&mut self.message),
        })
    }

    fn moved(&mut self, key: &str, value: &Value) -> bool {
        match (key, value) {
            ("error", value) => self.error(value),
            (_, Value::StringValue(text)) => self.moved_text(key, text),
            _ => false,
        }
    }

    fn error(&mut self, value: &Value) -> bool {
        let text = if let Value::StringValue(text) = value {
            text.as_str()
        } else {
            ""
        };
        let is_true = *value == Value::BoolValue(true) || text.eq_ignore_ascii_case("true");
        let failed = is_true || self.error_tag == ErrorTag::WhenPresent;
        self.failed |= failed;
        if failed && !is_true && self.message.is_empty() {
            text.clone_into(&mut self.message);
        }
        failed
    }

    fn moved_text(&mut self, key: &str, text: &str) -> bool {
        let field = match key {
            "span.kind" => return self.span_kind(text),
            "otel.status_code" => return self.status_code(text),
            "otel.status_description" => &mut self.message,
            "w3c.tracestate" => &mut self.trace_state,
            "otel.scope.name" | "otel.library.name" => &mut self.scope.name,
            "otel.scope.version" | "otel.library.version" => &mut self.scope.version,
            _ => return false,
        };
        text.clone_into(field);
        true
    }

    fn span_kind(&mut self, text: &str) -> bool {
        let kind = span_kind(text);
        self.kind = kind.unwrap_or(self.kind);
        kind.is_some()
    }

    fn status_code(&mut self, text: &str) -> bool {
        self.code = match text.to_ascii_uppercase().as_str() {
            "OK" => Some(StatusCode::Ok),
            "ERROR" => Some(StatusCode::Error),
            "UNSET" => Some(StatusCode::Unset),
            _ => return false,
        };
        true
    }
}

/// The kind that Jaeger's tag or Zipkin's field `text` names, in any case; `None` for another word.
pub(super) fn span_kind(text: &str) -> Option<SpanKind> {
    SpanKind::from_str_name(&format!("SPAN_KIND_{}", text.to_ascii_uppercase()))
}

pub(super) fn attribute(key: impl Into<String>, value: Value) -> KeyValue {
    KeyValue {
        key: key.into(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

/// The attribute value of a JSON value: `type_name` is Jaeger's name of its type, empty where it has none.
///
/// A value that its type cannot hold stays what it is in JSON; lists and objects become their text.
pub(super) fn typed(type_name: &str, json: Json) -> Value {
    let text = json.as_str().map(ToOwned::to_owned);
    let typed = match (type_name, text.as_deref()) {
        ("bool", Some(text)) => text.parse().ok().map(Value::BoolValue),
        ("int64", Some(text)) => i64::from_text(text).map(Value::IntValue),
        ("float64", Some(text)) => f64::from_text(text).map(Value::DoubleValue),
        ("float64", None) => json.as_f64().map(Value::DoubleValue),
        ("binary", Some(text)) => base64_bytes(text).map(Value::BytesValue),
        _ => None,
    };
    typed.unwrap_or_else(|| untyped(json))
}

fn untyped(json: Json) -> Value {
    match json {
        Json::String(text) => Value::StringValue(text),
        Json::Bool(value) => Value::BoolValue(value),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(value), _) => Value::IntValue(value),
            (None, Some(value)) => Value::DoubleValue(value),
            (None, None) => Value::StringValue(number.to_string()),
        },
        other => Value::StringValue(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn status(error_tag: ErrorTag, tags: &[(&str, Json)]) -> Option<(StatusCode, String)> {
        let mut read = Tags::new(error_tag);
        for (key, value) in tags {
            read.add((*key).to_owned(), typed("", value.clone()));
        }
        read.status().map(|status| (status.code(), status.message))
    }

    #[test]
    fn an_opentracing_error_is_one_only_where_it_is_true() {
        use ErrorTag::WhenTrue;
        let error = Some((StatusCode::Error, String::new()));
        assert_eq!(status(WhenTrue, &[("error", json!(true))]), error);
        assert_eq!(status(WhenTrue, &[("error", json!("true"))]), error);
        assert_eq!(status(WhenTrue, &[("error", json!(false))]), None);
        assert_eq!(status(WhenTrue, &[("error", json!("timeout"))]), None);
    }

    #[test]
    fn a_zipkin_error_is_one_whatever_it_says_and_its_words_are_the_message() {
        use ErrorTag::WhenPresent;
        let error = |message: &str| Some((StatusCode::Error, message.to_owned()));
        assert_eq!(status(WhenPresent, &[("error", json!(""))]), error(""));
        assert_eq!(status(WhenPresent, &[("error", json!("false"))]), error("false"));
        assert_eq!(
            status(WhenPresent, &[("error", json!("timeout"))]),
            error("timeout")
        );
        assert_eq!(status(WhenPresent, &[]), None);
    }

    #[test]
    fn a_stated_status_wins_over_the_error_tag() {
        let tags = [("error", json!(true)), ("otel.status_code", json!("OK"))];
        assert_eq!(
            status(ErrorTag::WhenTrue, &tags),
            Some((StatusCode::Ok, String::new()))
        );
        let tags = [
            ("otel.status_description", json!("no stock")),
            ("otel.status_code", json!("ERROR")),
        ];
        assert_eq!(
            status(ErrorTag::WhenTrue, &tags),
            Some((StatusCode::Error, "no stock".to_owned()))
        );
    }

    #[test]
    fn a_value_has_the_type_that_its_tag_states_and_else_the_one_of_json() {
        assert_eq!(typed("int64", json!("200")), Value::IntValue(200));
        assert_eq!(typed("int64", json!(200)), Value::IntValue(200));
        assert_eq!(typed("int64", json!("many")), Value::StringValue("many".into()));
        assert_eq!(typed("float64", json!(1)), Value::DoubleValue(1.0));
        assert_eq!(typed("bool", json!("true")), Value::BoolValue(true));
        assert_eq!(typed("binary", json!("AQI=")), Value::BytesValue(vec![1, 2]));
        assert_eq!(typed("string", json!("1")), Value::StringValue("1".into()));
        assert_eq!(typed("", json!(u64::MAX)), Value::DoubleValue(u64::MAX as f64));
        assert_eq!(typed("", json!([1])), Value::StringValue("[1]".into()));
    }
}
