//! Attribute names that mean the same: the semantic conventions renamed many, and senders write both.
//!
//! In: an attribute key. Out: every key that answers for it.
//! Left out on purpose: renamed values, and names whose meaning changed as well (`http.host`).
//! Source: OpenTelemetry semantic conventions 1.0 to 1.41, the registry's deprecated attributes.

/// Sets of names for the same thing, the newest first.
const SAME: &[&[&str]] = &[
    &["http.request.method", "http.method"],
    &["http.response.status_code", "http.status_code"],
    &["url.full", "http.url"],
    &["url.path", "http.target"],
    &["url.scheme", "http.scheme"],
    &["user_agent.original", "http.user_agent"],
    &["client.address", "http.client_ip"],
    &["http.request.body.size", "http.request_content_length"],
    &["http.response.body.size", "http.response_content_length"],
    &["server.address", "net.peer.name", "net.host.name"],
    &["server.port", "net.peer.port", "net.host.port"],
    &["network.peer.address", "net.sock.peer.addr", "net.peer.ip"],
    &["network.peer.port", "net.sock.peer.port"],
    &["network.local.address", "net.sock.host.addr", "net.host.ip"],
    &["network.transport", "net.transport"],
    &["network.protocol.name", "net.protocol.name"],
    &["network.protocol.version", "net.protocol.version", "http.flavor"],
    &["service.peer.name", "peer.service"],
    &["db.system.name", "db.system"],
    &["db.namespace", "db.name"],
    &["db.query.text", "db.statement"],
    &["db.operation.name", "db.operation"],
    &[
        "db.collection.name",
        "db.sql.table",
        "db.mongodb.collection",
        "db.cassandra.table",
    ],
    &["messaging.operation.type", "messaging.operation"],
    &["messaging.destination.name", "messaging.destination"],
    &["messaging.message.id", "messaging.message_id"],
    &[
        "messaging.consumer.group.name",
        "messaging.kafka.consumer.group",
        "messaging.kafka.consumer_group",
    ],
    &[
        "messaging.destination.partition.id",
        "messaging.kafka.destination.partition",
        "messaging.kafka.partition",
    ],
    &["messaging.kafka.offset", "messaging.kafka.message.offset"],
    &["rpc.system.name", "rpc.system"],
    &["rpc.response.status_code", "rpc.grpc.status_code"],
    &["code.function.name", "code.function"],
    &["code.file.path", "code.filepath"],
    &["code.line.number", "code.lineno"],
    &["deployment.environment.name", "deployment.environment"],
    &["container.image.tags", "container.image.tag"],
    &["feature_flag.provider.name", "feature_flag.provider_name"],
    &["user.id", "enduser.id"],
];

/// Every name that answers for `key`, `key` among them, newest first; only `key` where it was never renamed.
pub fn of(key: &str) -> impl Iterator<Item = &str> + Clone {
    let renamed = SAME
        .iter()
        .find(|names| names.contains(&key))
        .copied()
        .unwrap_or_default();
    let alone = renamed.is_empty().then_some(key);
    renamed.iter().copied().chain(alone)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn an_old_name_and_its_new_one_answer_for_each_other() {
        for key in ["http.method", "http.request.method"] {
            assert_eq!(
                of(key).collect::<Vec<_>>(),
                ["http.request.method", "http.method"]
            );
        }
    }

    #[test]
    fn a_name_that_was_never_renamed_answers_for_itself() {
        assert_eq!(of("app.tenant").collect::<Vec<_>>(), ["app.tenant"]);
    }

    #[test]
    fn no_name_stands_in_two_sets() {
        let mut seen = HashSet::new();
        for name in SAME.iter().copied().flatten() {
            assert!(seen.insert(name), "`{name}` stands twice");
        }
    }
}
