//! Real brokers behind the agent, and real clients before it.
//!
//! In: brokers from Debian's packages (Kafka's from Maven Central), clients in several languages. Out: messages that arrive
//! as they were sent but for what was added, and the spans that tell of them.
//! Left out on purpose: each protocol's every cut and every malformed frame, which its module's own tests have.

mod amqp;
mod brokers;
mod formats;
mod kafka;
mod mqtt;
mod nats;
mod redis;
mod reload;
#[path = "../wire/support.rs"]
#[allow(dead_code, reason = "the tests of `wire` use more of it")]
mod support;
