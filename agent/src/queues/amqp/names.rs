//! What exchanges, queues and reply codes are called in spans.
//!
//! In: names as they are on the wire. Out: destinations as the semantic conventions for `RabbitMQ` form them, and `error.type`.
//! Left out on purpose: names that are made for one client or one request, which would make a destination of each.

/// The reply code of an orderly close.
pub(super) const REPLY_SUCCESS: u16 = 200;

/// The name of the default exchange where nothing else is known.
const DEFAULT: &str = "amq.default";
/// Names that brokers make: of queues that clients left to them to name, and of whom to answer directly.
const MADE: [&[u8]; 2] = [b"amq.gen", b"amq.rabbitmq.reply-to"];

/// Writes `{exchange}:{routing_key}` for a producer, `{exchange}:{routing_key}:{queue}` for a consumer; without what is
/// empty, and with one name where routing key and queue are the same. Whether one of the names was made by the broker, of
/// which only the kind is written.
pub(super) fn destination(exchange: &[u8], routing_key: &[u8], queue: &[u8], out: &mut String) -> bool {
    out.clear();
    let names = [exchange, routing_key, queue];
    let [exchange, routing_key, queue] = names.map(kind);
    let queue = if queue == routing_key { &[][..] } else { queue };
    for part in [exchange, routing_key, queue] {
        if part.is_empty() {
            continue;
        }
        if !out.is_empty() {
            out.push(':');
        }
        out.push_str(&String::from_utf8_lossy(part));
    }
    if out.is_empty() {
        out.push_str(DEFAULT);
    }
    names.iter().any(|name| kind(name).len() < name.len())
}

fn kind(name: &[u8]) -> &[u8] {
    let made = |kind: &&[u8]| {
        let rest = name.strip_prefix(*kind);
        rest.is_some_and(|rest| rest.starts_with(b"-") || rest.starts_with(b"."))
    };
    MADE.into_iter().find(made).unwrap_or(name)
}

/// `error.type` for a reply code (AMQP 0-9-1 §1.2, constants).
pub(super) fn reply(code: u16) -> &'static str {
    match code {
        REPLY_SUCCESS => "closed",
        311 => "CONTENT_TOO_LARGE",
        312 => "NO_ROUTE",
        313 => "NO_CONSUMERS",
        320 => "CONNECTION_FORCED",
        402 => "INVALID_PATH",
        403 => "ACCESS_REFUSED",
        404 => "NOT_FOUND",
        405 => "RESOURCE_LOCKED",
        406 => "PRECONDITION_FAILED",
        501 => "FRAME_ERROR",
        502 => "SYNTAX_ERROR",
        503 => "COMMAND_INVALID",
        504 => "CHANNEL_ERROR",
        505 => "UNEXPECTED_FRAME",
        506 => "RESOURCE_ERROR",
        530 => "NOT_ALLOWED",
        540 => "NOT_IMPLEMENTED",
        541 => "INTERNAL_ERROR",
        _ => "_OTHER",
    }
}
