//! What the keys `queues` can have wrong together.
//!
//! In: the queues of one workload. Out: every problem, each under its key.
//! Left out on purpose: whether a broker is there, which is known when a client connects.

use ::config::Finding;

use super::broker;
use crate::config::{QueueConfig, QueueContext, QueueProtocol};

/// Whether `upstream` names a broker.
pub(crate) fn is_broker(upstream: &str) -> bool {
    broker(upstream).is_some()
}

/// Every problem of `queues`, whose keys begin with `path`.
pub(crate) fn problems(path: &str, queues: &[QueueConfig]) -> Vec<Finding> {
    let each = queues.iter().enumerate();
    each.flat_map(|(index, queue)| of_one(&format!("{path}.queues[{index}]"), queue))
        .collect()
}

fn of_one(key: &str, queue: &QueueConfig) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut tell = |name: &str, message: String, hint: String| {
        found.push(Finding {
            path: format!("{key}.{name}"),
            message,
            hint: Some(hint),
        });
    };
    let protocol = queue.protocol;
    if !is_broker(&queue.upstream) {
        tell(
            "upstream",
            format!(
                "`{key}.upstream` is `{}`, which is no address of a broker",
                queue.upstream
            ),
            format!("write its host and port, such as `broker:{}`", protocol.port()),
        );
    }
    if queue.broker_ports.is_some() && protocol != QueueProtocol::Kafka {
        tell(
            "broker_ports",
            format!(
                "`{key}.broker_ports` stands beside `protocol: {}`",
                protocol.as_str()
            ),
            "leave it out: only Kafka's clients are told of further brokers".to_owned(),
        );
    }
    if queue.broker_ports == Some(0) {
        tell(
            "broker_ports",
            format!("`{key}.broker_ports` is `0`, which is no port"),
            "write the first port, or leave the key out for any free ones".to_owned(),
        );
    }
    if !queue.inject_streams.is_empty() && protocol != QueueProtocol::Redis {
        tell(
            "inject_streams",
            format!(
                "`{key}.inject_streams` stands beside `protocol: {}`",
                protocol.as_str()
            ),
            "leave it out: only Redis has nowhere else to put context".to_owned(),
        );
    }
    if !queue.inject_streams.is_empty() && queue.context == QueueContext::Join {
        tell(
            "inject_streams",
            format!("`{key}.inject_streams` stands beside `context: join`, which changes no message"),
            "write `context: both`, or leave `inject_streams` out".to_owned(),
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(queue: &str) -> Vec<String> {
        let yaml = format!("{{ service: cart, queues: [{{ listen: '127.0.0.1:19092', {queue} }}] }}");
        let config: crate::config::AgentConfig =
            ::config::load("test.yaml", &yaml, []).expect("a configuration");
        let found = problems("agent", &config.queues);
        found.into_iter().map(|finding| finding.message).collect()
    }

    #[test]
    fn a_queue_that_cannot_work_is_told_with_its_key_and_its_value() {
        for (queue, expected) in [
            (
                "protocol: kafka, upstream: 'kafka:9092', broker_ports: 19093",
                None,
            ),
            ("protocol: nats, upstream: '[::1]:4222'", None),
            (
                "protocol: kafka, upstream: kafka",
                Some("`agent.queues[0].upstream` is `kafka`"),
            ),
            (
                "protocol: amqp, upstream: 'amqp://guest:guest@rabbit:5672'",
                Some("`agent.queues[0].upstream`"),
            ),
            (
                "protocol: amqp, upstream: 'guest@rabbit:5672'",
                Some("is no address of a broker"),
            ),
            (
                "protocol: nats, upstream: 'n:4222', broker_ports: 5000",
                Some("beside `protocol: nats`"),
            ),
            (
                "protocol: kafka, upstream: 'k:9092', broker_ports: 0",
                Some("is `0`, which is no port"),
            ),
            (
                "protocol: mqtt, upstream: 'm:1883', inject_streams: [a]",
                Some("beside `protocol: mqtt`"),
            ),
            (
                "protocol: redis, upstream: 'r:6379', context: join, inject_streams: [a]",
                Some("`context: join`"),
            ),
        ] {
            let told = told(queue);
            match expected {
                None => assert_eq!(told, [""; 0], "{queue}"),
                Some(expected) => assert!(
                    told.iter().any(|told| told.contains(expected)),
                    "{queue}: {told:?}"
                ),
            }
        }
    }

    #[test]
    fn a_broker_that_is_the_agents_own_listener_is_a_loop() {
        let yaml = "{ service: cart, queues: [{ protocol: nats, listen: '127.0.0.1:4222', upstream: '127.0.0.1:4222' }] }";
        let config: crate::config::AgentConfig =
            ::config::load("test.yaml", yaml, []).expect("a configuration");
        let found = config.check_with(&crate::detect::Detected::default());
        assert!(
            found
                .iter()
                .any(|finding| finding.path == "agent.queues[0].upstream"),
            "{found:?}"
        );
    }
}
