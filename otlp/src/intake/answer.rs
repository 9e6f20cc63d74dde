//! What a sender is told, as gRPC says it and as HTTP says it.
//!
//! In: a verdict. Out: a `tonic::Status` with its details, response bytes in protobuf or JSON, HTTP status codes.
//! Left out on purpose: sending it.
//! Source: OTLP specification 1.x, "Failures" and "OTLP/HTTP Response"; google/rpc/status.proto.

use super::{Accepted, Refusal};
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
        Refusal::Busy { retry_after } => retry(Code::Unavailable, "cannot take spans now", *retry_after),
        Refusal::Exhausted { retry_after } => retry(
            Code::ResourceExhausted,
            "the budget for spans is used up",
            *retry_after,
        ),
        Refusal::Invalid(reason) => Status::invalid_argument(reason.clone()),
    }
}

fn retry(code: Code, reason: &str, retry_after: Duration) -> Status {
    let text = format!("{reason}: retry in {} s", retry_after.as_secs_f64());
    Status::with_error_details(code, text, ErrorDetails::with_retry_info(Some(retry_after)))
}

/// The bytes of an `ExportTraceServiceResponse`: empty where all is well.
pub(super) fn response_protobuf(accepted: &Accepted) -> Bytes {
    let partial_success = (!is_full(accepted)).then(|| ExportTracePartialSuccess {
        rejected_spans: i64::try_from(accepted.rejected_spans).unwrap_or(i64::MAX),
        error_message: accepted.message.clone(),
    });
    ExportTraceServiceResponse { partial_success }
        .encode_to_vec()
        .into()
}

/// The same as OTLP/JSON: `{}` where all is well.
pub(super) fn response_json(accepted: &Accepted) -> Bytes {
    if is_full(accepted) {
        return Bytes::from_static(b"{}");
    }
    let partial_success = json!({
        "rejectedSpans": accepted.rejected_spans.to_string(),
        "errorMessage": accepted.message,
    });
    json!({ "partialSuccess": partial_success }).to_string().into()
}

fn is_full(accepted: &Accepted) -> bool {
    accepted.rejected_spans == 0 && accepted.message.is_empty()
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
    let details: Vec<_> = retry_after(status)
        .map(|delay| {
            json!({
                "@type": "type.googleapis.com/google.rpc.RetryInfo",
                "retryDelay": format!("{}s", delay.as_secs_f64()),
            })
        })
        .into_iter()
        .collect();
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
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_success_leaves_partial_success_unset() {
        assert_eq!(response_protobuf(&Accepted::default()), Bytes::new());
        assert_eq!(response_json(&Accepted::default()), Bytes::from_static(b"{}"));
    }

    #[test]
    fn a_warning_without_rejected_spans_is_said() {
        let warned = Accepted {
            rejected_spans: 0,
            message: "no service.name".to_owned(),
        };
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
            (14, "cannot take spans now: retry in 1.5 s")
        );
        assert_eq!(decoded.details.len(), 1);
        let json: serde_json::Value = serde_json::from_slice(&status_json(&busy)).expect("our own JSON");
        assert_eq!(json["details"][0]["retryDelay"], "1.5s");
    }
}
