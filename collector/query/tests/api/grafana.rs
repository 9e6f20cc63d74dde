//! The requests that Grafana 11 to 13 and Jaeger's user interface write, as they write them.
//!
//! Source: grafana `pkg/tsdb/tempo`, `public/app/plugins/datasource/tempo`, `pkg/tsdb/jaeger`; jaeger-ui `packages/jaeger-ui/src/api`.

use axum::http::StatusCode;
use serde_json::Value;

use super::{ask, routers};

const TEMPO: &[(&str, &str)] = &[
    // "Save & test", and the version that decides which features are on.
    ("application/json", "/tempo/api/echo"),
    ("application/json", "/tempo/api/status/buildinfo"),
    // A trace, first by the newer endpoint.
    (
        "application/protobuf",
        "/tempo/api/v2/traces/3ba55609c3cde49649cd77d1f9dcd936?start=1795316520&end=1795320120",
    ),
    (
        "application/protobuf",
        "/tempo/api/traces/3ba55609c3cde49649cd77d1f9dcd936",
    ),
    // The search form: empty, filled, and with `OR`.
    (
        "application/json",
        "/tempo/api/search?q=%7B%7D&limit=20&spss=3&start=1795316520&end=1795320120",
    ),
    (
        "application/json",
        "/tempo/api/search?end=1795320120&limit=20&q=%7Bresource.service.name%3D%22checkout%22+%26%26+name%3D~%22POST+%2Fcheckout%7CGET+%2Fcart%22+%26%26+duration%3E100ms+%26%26+status%3Derror%7D&spss=3&start=1795316520",
    ),
    (
        "application/json",
        "/tempo/api/search?q=%7B(resource.service.name%3D%22checkout%22%20%7C%7C%20resource.service.name%3D%22cart%22)%20%26%26%20traceDuration%3E10ms%7D&limit=20&spss=3&start=1795316520&end=1795320120",
    ),
    // Traces Drilldown: root spans.
    (
        "application/json",
        "/tempo/api/search?q=%7BnestedSetParent%3C0%20%26%26%20true%7D&limit=200&spss=10&start=1795316520&end=1795320120",
    ),
    // "View traces" of a node that sends none.
    (
        "application/json",
        "/tempo/api/search?q=%7Bspan.db.name%3D%22postgresql%3Aorders%40db-1%22%20%7C%7C%20span.db.system%3D%22postgresql%3Aorders%40db-1%22%20%7C%7C%20span.peer.service%3D%22postgresql%3Aorders%40db-1%22%20%7C%7C%20span.messaging.system%3D%22postgresql%3Aorders%40db-1%22%20%7C%7C%20span.net.peer.name%3D%22postgresql%3Aorders%40db-1%22%7D&limit=20&start=1795316520&end=1795320120",
    ),
    // The lists of the form.
    ("application/json", "/tempo/api/v2/search/tags?limit=5000"),
    (
        "application/json",
        "/tempo/api/v2/search/tags?limit=5000&start=1795316520&end=1795320120",
    ),
    (
        "application/json",
        "/tempo/api/v2/search/tag/resource.service.name/values?limit=5000",
    ),
    (
        "application/json",
        "/tempo/api/v2/search/tag/.service.name/values?q=%7Bstatus%3Derror%7D&limit=5000&start=1795316520&end=1795320120",
    ),
    (
        "application/json",
        "/tempo/api/v2/search/tag/span.http.request.method/values?q=",
    ),
    (
        "application/json",
        "/tempo/api/v2/search/tag/span%253Aname/values?limit=5000",
    ),
    ("application/json", "/tempo/api/search/tags"),
    ("application/json", "/tempo/api/search/tag/service.name/values"),
];

const JAEGER: &[&str] = &[
    "/jaeger/api/services",
    "/jaeger/api/services/checkout/operations",
    "/jaeger/api/services/istio-ingressgateway.istio-system/operations",
    "/jaeger/api/operations?service=checkout&spanKind=server",
    "/jaeger/api/traces?end=1795320120000000&limit=20&lookback=custom&maxDuration&minDuration&service=checkout&start=1795316520000000",
    "/jaeger/api/traces?end=1795320120000000&limit=20&lookback=1h&maxDuration=2s&minDuration=100ms&operation=POST%20%2Fcheckout&service=checkout&start=1795316520000000&tags=%7B%22error%22%3A%22true%22%7D",
    "/jaeger/api/traces?service=checkout&operation=POST+%2Fcheckout&tags=%7B%22http.response.status_code%22%3A%22500%22%7D&limit=20&start=1795316520000000&end=1795320120000000",
    "/jaeger/api/traces?traceID=3ba55609c3cde49649cd77d1f9dcd936&traceID=abcd",
    "/jaeger/api/traces/3ba55609c3cde49649cd77d1f9dcd936",
    "/jaeger/api/traces/3ba55609c3cde49649cd77d1f9dcd936?start=1795316520000000&end=1795320120000000",
    "/jaeger/api/traces/3ba55609c3cde49649cd77d1f9dcd936?prettyPrint=true&raw=true",
    "/jaeger/api/dependencies?endTs=1795320120000&lookback=604800000",
    "/jaeger/api/v3/services",
    "/jaeger/api/v3/operations?service=checkout&span_kind=",
    "/jaeger/api/v3/traces?query.service_name=checkout&query.operation_name=&query.start_time_min=2026-11-22T03:00:00Z&query.start_time_max=2026-11-22T05:00:00Z&query.search_depth=20",
    "/jaeger/api/v3/traces/3ba55609c3cde49649cd77d1f9dcd936",
];

#[tokio::test]
async fn every_request_of_the_tempo_data_source_finds_something() {
    let both = routers();
    for (router, (accept, uri)) in both
        .iter()
        .flat_map(|router| TEMPO.iter().map(move |one| (router, one)))
    {
        let answer = ask(router.clone(), uri, accept).await;
        assert_eq!(answer.status, StatusCode::OK, "{uri}: {}", answer.text());
        if uri.contains("/api/search") || uri.contains("/v2/search") {
            let json = answer.json();
            let lists = ["traces", "scopes", "tagValues", "tagNames"]
                .map(|key| json[key].as_array().map_or(0, Vec::len));
            assert!(lists.iter().any(|len| *len > 0), "{uri}: {json}");
        }
    }
}

#[tokio::test]
async fn every_request_of_jaegers_user_interface_and_data_source_finds_something() {
    let both = routers();
    for (router, uri) in both
        .iter()
        .flat_map(|router| JAEGER.iter().map(move |one| (router, one)))
    {
        let answer = ask(router.clone(), uri, "application/json").await;
        assert_eq!(answer.status, StatusCode::OK, "{uri}: {}", answer.text());
        let json = answer.json();
        let lists = [
            &json["data"],
            &json["services"],
            &json["operations"],
            &json["result"]["resourceSpans"],
        ];
        let longest = lists
            .iter()
            .filter_map(|list| list.as_array())
            .map(Vec::len)
            .max();
        assert!(longest > Some(0), "{uri}: {json}");
    }
}

/// Grafana reads numbers of 64 bits only as strings, and fails on the whole answer otherwise.
#[tokio::test]
async fn the_numbers_of_a_search_have_the_types_that_grafana_decodes() {
    for router in routers() {
        let json = ask(router, "/tempo/api/search?q=%7B%7D&limit=100", "application/json")
            .await
            .json();
        check_types(&json);
    }
}

fn check_types(json: &Value) {
    let traces = json["traces"].as_array().expect("traces");
    assert!(traces.len() > 3);
    for trace in traces {
        assert!(
            trace["startTimeUnixNano"].is_string() && trace["durationMs"].is_u64(),
            "{trace}"
        );
        for spans in trace["spanSets"].as_array().expect("span sets") {
            assert!(spans["matched"].is_u64());
            for span in spans["spans"].as_array().expect("spans") {
                assert!(
                    span["startTimeUnixNano"].is_string() && span["durationNanos"].is_string(),
                    "{span}"
                );
                for attribute in span["attributes"].as_array().expect("attributes") {
                    let value = &attribute["value"];
                    let typed = value["stringValue"].is_string()
                        || value["intValue"].is_string()
                        || value["doubleValue"].is_f64()
                        || value["boolValue"].is_boolean();
                    assert!(typed, "{attribute}");
                }
            }
        }
        for (service, stats) in trace["serviceStats"].as_object().expect("statistics") {
            assert!(stats["spanCount"].is_u64(), "{service}: {stats}");
        }
    }
}
