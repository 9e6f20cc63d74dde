//! Faults, as planted by the command and over the control listener.

use std::time::Instant;

use ::http::header::CONTENT_TYPE;

use super::*;

#[tokio::test]
async fn slow_makes_a_service_answer_later_by_the_delay_and_heal_undoes_it() {
    let shop = Running::start().await;
    let delay = Duration::from_millis(1500);
    assert_eq!(
        shop.slow("payment", 1500).await.unwrap(),
        "`payment` now takes 1500ms longer"
    );
    let (status, slow) = shop.pay().await;
    assert!(
        status == StatusCode::OK && slow >= delay,
        "{status} after {slow:?}"
    );
    assert_eq!(shop.heal(Some("payment")).await.unwrap(), "`payment` is healed");
    let (status, healed) = shop.pay().await;
    assert!(
        status == StatusCode::OK && healed < delay,
        "{status} after {healed:?}"
    );
}

#[tokio::test]
async fn a_slow_database_is_felt_on_the_page_that_asks_it() {
    let shop = Running::start().await;
    shop.slow("database", 700).await.unwrap();
    let begun = Instant::now();
    let (status, _) = shop.visit("GET", "/products/7", HeaderMap::new()).await;
    assert!(status == StatusCode::OK && begun.elapsed() >= Duration::from_millis(700));
}

#[tokio::test]
async fn fail_breaks_the_share_of_requests_that_was_asked_for() {
    let shop = Running::start().await;
    assert_eq!(
        shop.fail("payment", "50%").await.unwrap(),
        "`payment` now fails 50% of its requests"
    );
    let mut failed = 0;
    for _ in 0..100 {
        failed += u32::from(shop.pay().await.0 == StatusCode::INTERNAL_SERVER_ERROR);
    }
    // Five standard deviations each way: one run in two million is outside by chance.
    assert!((25..=75).contains(&failed), "{failed} of 100 failed");
    assert_eq!(shop.heal(None).await.unwrap(), "everything is healed");
    assert_eq!(shop.pay().await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_failing_leaf_is_a_502_with_a_reason_at_each_caller_and_leaves_other_pages_alone() {
    let shop = Running::start().await;
    shop.fail("payment", "100%").await.unwrap();
    let (status, answer) = shop.visit("POST", "/checkout", HeaderMap::new()).await;
    assert_eq!(
        (status, &answer["error"]),
        (StatusCode::BAD_GATEWAY, &Value::from("`checkout` answered 502"))
    );
    let checkout = shop.proxies["checkout"].inbound;
    let (_, answer) = shop
        .ask(checkout, "POST", "/checkout", HeaderMap::new(), "")
        .await;
    assert_eq!(answer["error"], "`payment` answered 500");
    assert_eq!(
        shop.visit("GET", "/cart", HeaderMap::new()).await.0,
        StatusCode::OK
    );
}

#[tokio::test]
async fn an_unknown_service_is_refused_with_the_names_of_those_there_are() {
    let shop = Running::start().await;
    let expected = "the shop has no service `paiment`: it has `web`, `cart`, `catalogue`, `checkout`, `payment`, \
                    `worker`, `database`";
    assert_eq!(shop.slow("paiment", 400).await.unwrap_err().to_string(), expected);
    assert_eq!(
        shop.heal(Some("paiment")).await.unwrap_err().to_string(),
        expected
    );
    let json = headers(&[("content-type", "application/json")]);
    let control = shop.handle.control();
    let (status, answer) = shop
        .ask(control, "POST", "/faults/paiment", json, r#"{"slow_ms":400}"#)
        .await;
    assert_eq!(
        (status, &answer["error"]),
        (StatusCode::NOT_FOUND, &Value::from(expected))
    );
}

#[tokio::test]
async fn the_control_listener_refuses_what_is_no_fault_and_lists_what_stands() {
    let shop = Running::start().await;
    let control = shop.handle.control();
    let refused = [
        (
            "application/json",
            r#"{"slow_ms":60001}"#,
            StatusCode::BAD_REQUEST,
        ),
        ("application/json", r#"{"fail":1.5}"#, StatusCode::BAD_REQUEST),
        ("application/json", "{}", StatusCode::BAD_REQUEST),
        ("application/json", "{", StatusCode::BAD_REQUEST),
        (
            "application/json",
            r#"{"slow":400}"#,
            StatusCode::UNPROCESSABLE_ENTITY,
        ),
        (
            "text/plain",
            r#"{"slow_ms":400}"#,
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ),
    ];
    for (content_type, body, expected) in refused {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        let (status, answer) = shop.ask(control, "POST", "/faults/web", headers, body).await;
        assert!(
            status == expected && answer["error"].is_string(),
            "{body}: {status} {answer}"
        );
    }
    shop.slow("web", 1).await.unwrap();
    shop.fail("web", "0%").await.unwrap();
    let (_, answer) = shop.ask(control, "GET", "/faults", HeaderMap::new(), "").await;
    assert_eq!(answer.to_string(), r#"{"web":{"fail":0.0,"slow_ms":1}}"#);
}
