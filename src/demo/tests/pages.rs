//! Pages, the calls behind them, and the headers on the way.

use std::collections::{BTreeMap, BTreeSet};

use super::proxy::Side;
use super::*;

const PAGES: [(&str, &str); 4] = [
    ("GET", "/"),
    ("GET", "/products/7"),
    ("GET", "/cart"),
    ("POST", "/checkout"),
];

#[tokio::test]
async fn every_page_answers_and_every_call_between_services_goes_through_both_proxies() {
    let shop = Running::start().await;
    for (method, path) in PAGES {
        let (status, answer) = shop.visit(method, path, HeaderMap::new()).await;
        assert_eq!(
            (status, &answer["service"]),
            (StatusCode::OK, &Value::from("web")),
            "{method} {path}"
        );
    }
    let calls: BTreeSet<_> = shop
        .seen()
        .into_iter()
        .map(|seen| {
            let callee = |address: &str| {
                let by_address = shop
                    .proxies
                    .iter()
                    .find(|(_, proxies)| proxies.inbound.to_string() == address);
                by_address.map_or("unknown", |(service, _)| *service)
            };
            match seen
                .target
                .strip_prefix("http://")
                .and_then(|target| target.split_once('/'))
            {
                Some((address, path)) => format!(
                    "{} calls {} {} /{path}",
                    seen.service,
                    callee(address),
                    seen.method
                ),
                None => format!("{} serves {} {}", seen.service, seen.method, seen.target),
            }
        })
        .collect();
    let expected = [
        "cart calls catalogue GET /products",
        "cart serves GET /cart",
        "catalogue serves GET /products",
        "catalogue serves GET /products/7",
        "checkout calls cart GET /cart",
        "checkout calls payment POST /charges",
        "checkout serves POST /checkout",
        "payment serves POST /charges",
        "web calls cart GET /cart",
        "web calls catalogue GET /products",
        "web calls catalogue GET /products/7",
        "web calls checkout POST /checkout",
        "web serves GET /",
        "web serves GET /cart",
        "web serves GET /products/7",
        "web serves POST /checkout",
    ];
    assert_eq!(calls.iter().map(String::as_str).collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn services_pass_on_the_context_they_were_given_and_nothing_else() {
    let shop = Running::start().await;
    let user = headers(&[
        (
            "traceparent",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ),
        ("tracestate", "a=1"),
        ("tracestate", "b=2"),
        ("baggage", "tenant=acme"),
        ("x-correlation-id", "c-7"),
        ("x-request-id", "r-7"),
        ("cookie", "session=1"),
    ]);
    shop.visit("POST", "/checkout", user).await;
    let seen = shop.seen();
    let given: BTreeMap<_, _> = seen
        .iter()
        .filter(|seen| seen.side == Side::Inbound)
        .map(|seen| (seen.service, text(&seen.passed, "traceparent")))
        .collect();
    let calls: Vec<_> = seen.iter().filter(|seen| seen.side == Side::Outbound).collect();
    assert_eq!(calls.len(), 4, "{calls:?}");
    for call in calls {
        assert_eq!(text(&call.received, "traceparent"), given[call.service]);
        assert_eq!(text(&call.received, "tracestate"), ["a=1", "b=2"]);
        assert_eq!(text(&call.received, "baggage"), ["tenant=acme"]);
        assert_eq!(text(&call.received, "x-correlation-id"), ["c-7"]);
        assert_eq!(text(&call.received, "x-request-id"), ["r-7"]);
        assert!(!call.received.contains_key("cookie"));
    }
}

#[tokio::test]
async fn what_is_no_page_and_no_product_is_not_found() {
    let shop = Running::start().await;
    for path in ["/login", "/products/seven", "/products/7%2f8"] {
        assert_eq!(
            shop.visit("GET", path, HeaderMap::new()).await.0,
            StatusCode::NOT_FOUND,
            "{path}"
        );
    }
}
