//! What a sender is told, as gRPC says it and as HTTP says it.
//!
//! In: a verdict. Out: a `tonic::Status` with its details, response bytes in protobuf or JSON, HTTP status codes.
//! Left out on purpose: sending it.
//! Source: OTLP specification 1.x, "Failures" and "OTLP/HTTP Response"; google/rpc/status.proto.

use super::{Accepted, AcceptedMetrics, Passed, Refusal, Signal};
use crate::access::Denied;
use crate::view::Malformed;
use bytes::Bytes;
use http::StatusCode;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use prost::Message as _;
use serde_json::json;
use std::time::Duration;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// The status of a refusal; with `RetryInfo` exactly where a retry helps.
pub(super) fn refusal(refusal: &Refusal) -> Status {
    match refusal {
        Refusal::Busy { retry_after } => retry(Code::Unavailable, "cannot take telemetry now", *retry_after),
        Refusal::Exhausted { retry_after } => retry(
            Code::ResourceExhausted,
            "the budget for telemetry is used up",
            *retry_after,
        ),
        Refusal::Invalid(reason) => Status::invalid_argument(reason.clone()),
        Refusal::Malformed(malformed) => malformed_request(Signal::Traces, malformed),
    }
}

/// Why a client is not heard; with `RetryInfo` where waiting helps.
pub(super) fn denied(denied: Denied) -> Status {
    let text = denied.to_string();
    match denied {
        Denied::NoToken | Denied::WrongToken => Status::unauthenticated(text),
        Denied::ReadOnly | Denied::ForeignHost | Denied::NoTenant | Denied::WrongTenant => {
            Status::permission_denied(text)
        }
        Denied::TooMuch { retry_after } => {
            let details = ErrorDetails::with_retry_info(Some(retry_after));
            Status::with_error_details(Code::ResourceExhausted, text, details)
        }
    }
}

/// For good: what came is no request of `signal`.
pub(super) fn malformed_request(signal: Signal, malformed: &Malformed) -> Status {
    let field = match malformed.field {
        Some(field) => format!("{}.{field}", malformed.message),
        None => malformed.message.to_owned(),
    };
    let text = format!("the body is not an `{}`: {malformed}", signal.message());
    bad_request(&field, &malformed.fault.to_string(), &text)
}

/// For good, with a `BadRequest` that says what is wrong in which field (empty: in the whole).
pub(super) fn bad_request(field: &str, description: &str, text: &str) -> Status {
    let details = ErrorDetails::with_bad_request_violation(field, description);
    Status::with_error_details(Code::InvalidArgument, text, details)
}

fn retry(code: Code, reason: &str, retry_after: Duration) -> Status {
    let text = format!("{reason}: retry in {} s", retry_after.as_secs_f64());
    Status::with_error_details(code, text, ErrorDetails::with_retry_info(Some(retry_after)))
}

/// A request that was taken, whatever it carried.
#[derive(Debug)]
pub(super) struct Answered {
    signal: Signal,
    /// Spans, data points or log records that were not taken.
    pub(super) rejected: u64,
    message: String,
}

impl Answered {
    /// All of it was taken.
    pub(super) fn full(signal: Signal) -> Self {
        Self {
            signal,
            rejected: 0,
            message: String::new(),
        }
    }

    /// What a sink says that passes requests of `signal` on.
    pub(super) fn passed(signal: Signal, passed: Passed) -> Self {
        Self {
            signal,
            rejected: passed.rejected,
            message: passed.message,
        }
    }

    fn is_full(&self) -> bool {
        self.rejected == 0 && self.message.is_empty()
    }
}

impl From<Accepted> for Answered {
    fn from(accepted: Accepted) -> Self {
        Self {
            signal: Signal::Traces,
            rejected: accepted.rejected_spans,
            message: accepted.message,
        }
    }
}

impl From<AcceptedMetrics> for Answered {
    fn from(accepted: AcceptedMetrics) -> Self {
        Self {
            signal: Signal::Metrics,
            rejected: accepted.rejected_data_points,
            message: accepted.message,
        }
    }
}

/// The bytes of the response message: empty where all is well. Those for metrics and logs have the same fields by number.
pub(super) fn response_protobuf(answered: &Answered) -> Bytes {
    let partial_success = (!answered.is_full()).then(|| ExportTracePartialSuccess {
        rejected_spans: i64::try_from(answered.rejected).unwrap_or(i64::MAX),
        error_message: answered.message.clone(),
    });
    ExportTraceServiceResponse { partial_success }
        .encode_to_vec()
        .into()
}

/// The same as OTLP/JSON: `{}` where all is well.
pub(super) fn response_json(answered: &Answered) -> Bytes {
    if answered.is_full() {
        return Bytes::from_static(b"{}");
    }
    let rejected = match answered.signal {
        Signal::Traces => "rejectedSpans",
        Signal::Metrics => "rejectedDataPoints",
        Signal::Logs => "rejectedLogRecords",
    };
    let partial_success = json!({
        rejected: answered.rejected.to_string(),
        "errorMessage": answered.message,
    });
    json!({ "partialSuccess": partial_success }).to_string().into()
}

/// A `google.rpc.Status` as protobuf.
pub(super) fn status_protobuf(status: &Status) -> Bytes {
    if status.details().is_empty() {
        let plain = tonic_types::Status {
            code: status.code() as i32,
            message: status.message().to_owned(),
            details: Vec::new(),
        };
        return plain.encode_to_vec().into();
    }
    Bytes::copy_from_slice(status.details())
}

/// A `google.rpc.Status` as protobuf JSON.
pub(super) fn status_json(status: &Status) -> Bytes {
    let retry = retry_after(status).map(|delay| {
        json!({
            "@type": "type.googleapis.com/google.rpc.RetryInfo",
            "retryDelay": format!("{}s", delay.as_secs_f64()),
        })
    });
    let bad_request = status.get_details_bad_request().map(|bad| {
        let violations = bad.field_violations.into_iter();
        json!({
            "@type": "type.googleapis.com/google.rpc.BadRequest",
            "fieldViolations": violations
                .map(|violation| json!({ "field": violation.field, "description": violation.description }))
                .collect::<Vec<_>>(),
        })
    });
    let details: Vec<_> = retry.into_iter().chain(bad_request).collect();
    json!({ "code": status.code() as i32, "message": status.message(), "details": details })
        .to_string()
        .into()
}

/// The delay of its `RetryInfo`, where it has one.
pub(super) fn retry_after(status: &Status) -> Option<Duration> {
    status.get_details_retry_info().and_then(|info| info.retry_delay)
}

/// `Retry-After` in whole seconds, rounded up and at least 1: 0 would ask for a retry at once.
pub(super) fn retry_after_seconds(delay: Duration) -> u64 {
    (delay.as_secs() + u64::from(delay.subsec_nanos() > 0)).max(1)
}

/// The HTTP status code for the verdict of the sink or of the protobuf check.
pub(super) fn http_code(status: &Status) -> StatusCode {
    match status.code() {
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::ResourceExhausted if retry_after(status).is_some() => StatusCode::TOO_MANY_REQUESTS,
        Code::ResourceExhausted => StatusCode::PAYLOAD_TOO_LARGE,
        Code::InvalidArgument => StatusCode::BAD_REQUEST,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_success_leaves_partial_success_unset() {
        for full in [Accepted::default().into(), AcceptedMetrics::default().into()] {
            assert_eq!(response_protobuf(&full), Bytes::new());
            assert_eq!(response_json(&full), Bytes::from_static(b"{}"));
        }
    }

    #[test]
    fn a_warning_without_rejected_spans_is_said() {
        let warned = Answered::from(Accepted {
            rejected_spans: 0,
            message: "no service.name".to_owned(),
        });
        let text = String::from_utf8(response_json(&warned).to_vec()).expect("JSON is UTF-8");
        assert_eq!(
            text,
            r#"{"partialSuccess":{"errorMessage":"no service.name","rejectedSpans":"0"}}"#
        );
        let decoded = ExportTraceServiceResponse::decode(response_protobuf(&warned)).expect("our own bytes");
        assert_eq!(
            decoded.partial_success.expect("set").error_message,
            "no service.name"
        );
    }

    #[test]
    fn a_retry_delay_is_rounded_up_to_whole_seconds() {
        let seconds = [0, 1, 1_000, 1_001, 30_000].map(|ms| retry_after_seconds(Duration::from_millis(ms)));
        assert_eq!(seconds, [1, 1, 1, 2, 30]);
    }

    #[test]
    fn the_protobuf_status_of_a_busy_sink_names_code_reason_and_delay() {
        let busy = refusal(&Refusal::Busy {
            retry_after: Duration::from_millis(1500),
        });
        let decoded = tonic_types::Status::decode(status_protobuf(&busy)).expect("our own bytes");
        assert_eq!(
            (decoded.code, decoded.message.as_str()),
            (14, "cannot take telemetry now: retry in 1.5 s")
        );
        assert_eq!(decoded.details.len(), 1);
        let json: serde_json::Value = serde_json::from_slice(&status_json(&busy)).expect("our own JSON");
        assert_eq!(json["details"][0]["retryDelay"], "1.5s");
    }
}
