//! Carriers of other crates: the header types of clients of message queues, each behind a feature of the crate's name.
//!
//! In: headers of a message that was received, or is about to be sent. Out: [`Extract`](crate::Extract) and
//! [`Inject`](crate::Inject) for them, so that [`Propagator`](crate::Propagator) reads and writes them as it does those of
//! HTTP.
//! Left out on purpose: connections, and the decision which span a message belongs to. The clients come without TLS and
//! runtime; an application enables in its own manifest what it needs of them.
//!
//! | Feature | What carries context | Example |
//! |---|---|---|
//! | `rdkafka` | `OwnedHeaders`; `BorrowedHeaders` is read | `examples/kafka.rs` |
//! | `lapin` | `FieldTable`, which are a message's `headers` | `examples/rabbitmq.rs` |
//! | `async-nats` | `HeaderMap` | `examples/nats.rs` |
//! | `redis` | `Vec<(String, String)>` or `Vec<(String, Vec<u8>)>` for `XADD`, without the feature; with it `StreamId` is read | `examples/redis_streams.rs` |
//! | `rumqttc` | `PublishProperties` of MQTT 5 | `examples/mqtt.rs` |
//!
//! Sending and receiving are alike for all of them:
//!
//! ```
//! use propagation::{CorrelationId, Propagator, SpanContext};
//!
//! let propagator = Propagator::default();
//! // An application has random ones.
//! let mut ids = (|| [7; 16], || [7; 8]);
//!
//! // Whoever sends writes the context of the span that sends.
//! let sending = SpanContext::start(&mut ids, true);
//! let correlation = CorrelationId::from_trace_id(sending.trace_id);
//! let mut headers: Vec<(String, String)> = vec![("kind".to_owned(), "order".to_owned())];
//! propagator.inject(&mut headers, &sending, &correlation, None)?;
//!
//! // Whoever receives continues the same trace.
//! let extracted = propagator.extract(&headers);
//! let working = extracted.continue_or_start(&mut ids, true);
//! assert_eq!(working.trace_id, sending.trace_id);
//! # Ok::<(), propagation::Refused>(())
//! ```

#[cfg(feature = "async-nats")]
mod async_nats;
#[cfg(feature = "lapin")]
mod lapin;
#[cfg(feature = "rdkafka")]
mod rdkafka;
#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "rumqttc")]
mod rumqttc;
#[cfg(test)]
#[cfg_attr(
    not(feature = "lapin"),
    allow(dead_code, reason = "each carrier uses its part of it")
)]
mod testing;
