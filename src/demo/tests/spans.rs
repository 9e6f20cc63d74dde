//! SDK spans, as they arrive at an OTLP server.

use std::collections::BTreeSet;

use otlp::{Kind, StatusCode as SpanStatus};

use super::proxy::Side;
use super::*;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

#[tokio::test(flavor = "multi_thread")]
async fn database_and_queue_spans_arrive_below_the_requests_that_made_them() {
    let shop = Running::start().await;
    let user = headers(&[
        (
            "traceparent",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ),
        ("x-correlation-id", "c-7"),
    ]);
    assert_eq!(shop.visit("POST", "/checkout", user).await.0, StatusCode::OK);
    let seen = shop.seen();
    let entry = |service: &str| {
        let entry = seen
            .iter()
            .find(|seen| seen.side == Side::Inbound && seen.service == service);
        entry
            .map(|seen| text(&seen.passed, "traceparent").concat()[36..52].to_owned())
            .unwrap()
    };
    let (cart, catalogue, checkout) = (entry("cart"), entry("catalogue"), entry("checkout"));
    let spans = shop.spans(5).await;
    let line = |span: &Received| format!("{} {:?} {} {:?}", span.service, span.kind, span.name, span.status);
    let find = |name: &str| {
        spans
            .iter()
            .find(|span| span.name == name)
            .unwrap_or_else(|| panic!("no `{name}`"))
    };
    assert_eq!(
        spans
            .iter()
            .map(line)
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect::<Vec<_>>(),
        [
            "cart Client SELECT carts Unset",
            "catalogue Client SELECT products Unset",
            "checkout Producer send orders Unset",
            "worker Client INSERT orders Unset",
            "worker Consumer process orders Unset",
        ]
    );
    for span in &spans {
        assert_eq!(
            (span.trace.as_str(), span.attributes["correlation.id"].as_str()),
            (TRACE, "c-7"),
            "{span:?}"
        );
    }
    let parents = [
        ("SELECT carts", &cart),
        ("SELECT products", &catalogue),
        ("send orders", &checkout),
        ("process orders", &find("send orders").span),
        ("INSERT orders", &find("process orders").span),
    ];
    for (name, parent) in parents {
        assert_eq!(&find(name).parent, parent, "{name}");
    }
    let stored = &find("INSERT orders").attributes;
    let keys = [
        "db.system.name",
        "db.namespace",
        "db.operation.name",
        "db.collection.name",
        "server.address",
    ];
    assert_eq!(
        keys.map(|key| stored[key].as_str()),
        ["other_sql", "shop", "INSERT", "orders", "127.0.0.1"]
    );
    assert!(stored["server.port"].parse::<u16>().is_ok(), "{stored:?}");
    for (name, operation) in [("send orders", "send"), ("process orders", "process")] {
        let found = &find(name).attributes;
        let keys = [
            "messaging.system",
            "messaging.destination.name",
            "messaging.operation.type",
        ];
        assert_eq!(
            keys.map(|key| found[key].as_str()),
            ["in_process", "orders", operation]
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_the_database_refuses_is_an_error_on_its_client_span() {
    let shop = Running::start().await;
    shop.fail("database", "100%").await.unwrap();
    assert_eq!(
        shop.visit("GET", "/", HeaderMap::new()).await.0,
        StatusCode::BAD_GATEWAY
    );
    let spans = shop.spans(1).await;
    let span = &spans[0];
    assert_eq!(
        (span.kind, span.status, span.attributes["error.type"].as_str()),
        (Kind::Client, SpanStatus::Error, "refused")
    );
}
