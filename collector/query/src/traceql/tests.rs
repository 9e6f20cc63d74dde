//! Texts to filters, texts to errors, and texts of any kind to neither panic nor depth.

use otlp::{Kind, StatusCode};
use proptest::prelude::*;
use store::{Condition, Field, Filter, Literal, Op, Pattern, Scope};

use super::*;

fn attribute(scope: Option<Scope>, key: &str) -> Field {
    let key = key.to_owned();
    Field::Attribute { scope, key }
}

fn span(key: &str) -> Field {
    attribute(Some(Scope::Span), key)
}

fn resource(key: &str) -> Field {
    attribute(Some(Scope::Resource), key)
}

fn unscoped(key: &str) -> Field {
    attribute(None, key)
}

fn text(text: &str) -> Literal {
    Literal::Str(text.to_owned())
}

fn is(field: Field, op: Op, value: Literal) -> Condition {
    Condition::Compare { field, op, value }
}

fn eq(field: Field, value: Literal) -> Condition {
    is(field, Op::Eq, value)
}

fn not(condition: Condition) -> Condition {
    Condition::Not(Box::new(condition))
}

fn matching(pattern: &str) -> Pattern {
    Pattern::new(pattern).expect("a regular expression")
}

fn both(left: Filter, right: Filter) -> Filter {
    Filter::And(Box::new(left), Box::new(right))
}

fn either(left: Filter, right: Filter) -> Filter {
    Filter::Or(Box::new(left), Box::new(right))
}

#[track_caller]
fn reads(query: &str, expected: Filter) {
    assert_eq!(parse(query), Ok(expected), "{query}");
}

/// One spanset with this condition.
#[track_caller]
fn reads_span(query: &str, expected: Condition) {
    reads(query, Filter::Spans(expected));
}

#[test]
fn every_comparison_is_read() {
    let size = || unscoped("size");
    for (query, op) in [
        ("{.size=1}", Op::Eq),
        ("{.size!=1}", Op::Ne),
        ("{.size<1}", Op::Lt),
        ("{.size<=1}", Op::Le),
        ("{.size>1}", Op::Gt),
        ("{ .size >= 1 }", Op::Ge),
    ] {
        reads_span(query, is(size(), op, Literal::Int(1)));
    }
    reads_span(
        r#"{.size=~"1|2"}"#,
        is(size(), Op::Match(matching("1|2")), text("1|2")),
    );
    reads_span(
        r#"{.size!~"1.*"}"#,
        is(size(), Op::NotMatch(matching("1.*")), text("1.*")),
    );
}

#[test]
fn every_scope_and_spelling_of_an_attribute_is_read() {
    let one = || Literal::Int(1);
    for (query, field) in [
        ("{.http.route=1}", unscoped("http.route")),
        ("{span.http.route=1}", span("http.route")),
        ("{resource.service.name=1}", resource("service.name")),
        (
            "{event.exception.type=1}",
            attribute(Some(Scope::Event), "exception.type"),
        ),
        ("{link.why=1}", attribute(Some(Scope::Link), "why")),
        (
            "{instrumentation.tier=1}",
            attribute(Some(Scope::Instrumentation), "tier"),
        ),
        (r#"{span."foo bar"=1}"#, span("foo bar")),
        (r#"{."a.b c".d=1}"#, unscoped("a.b c.d")),
        (r#"{span."say \"hi\" \\"=1}"#, span(r#"say "hi" \"#)),
        ("{span.x-y/z:w=1}", span("x-y/z:w")),
        ("{.span.x=1}", unscoped("span.x")),
        ("{.größe=1}", unscoped("größe")),
    ] {
        reads_span(query, eq(field, one()));
    }
}

#[test]
fn every_intrinsic_is_read_in_both_spellings() {
    for (old, new, field, value) in [
        ("name", "span:name", Field::Name, r#""GET /""#),
        ("status", "span:status", Field::Status, "error"),
        (
            "statusMessage",
            "span:statusMessage",
            Field::StatusMessage,
            r#""GET /""#,
        ),
        ("kind", "span:kind", Field::Kind, "server"),
        ("duration", "span:duration", Field::Duration, "1s"),
        ("traceDuration", "trace:duration", Field::TraceDuration, "1s"),
        ("rootName", "trace:rootName", Field::RootName, r#""GET /""#),
        (
            "rootServiceName",
            "trace:rootService",
            Field::RootServiceName,
            r#""GET /""#,
        ),
        ("event:name", "event:name", Field::EventName, r#""GET /""#),
        (
            "instrumentation:name",
            "instrumentation:name",
            Field::InstrumentationName,
            r#""GET /""#,
        ),
    ] {
        let literal = match value {
            "error" => Literal::Status(StatusCode::Error),
            "server" => Literal::Kind(Kind::Server),
            "1s" => Literal::Duration(1_000_000_000),
            _ => text("GET /"),
        };
        reads_span(&format!("{{{old}={value}}}"), eq(field.clone(), literal.clone()));
        reads_span(&format!("{{{new}={value}}}"), eq(field, literal));
    }
    assert!(
        INTRINSICS.iter().all(|name| parse_field(name).is_ok()),
        "what the tag endpoints list can be asked for"
    );
}

#[test]
fn every_value_is_read() {
    let x = || unscoped("x");
    for (written, value) in [
        (r#""a b""#, text("a b")),
        (
            r#""\"q\" \\ \n\t\u00fc\U0001f980\x41\101""#,
            text("\"q\" \\ \n\tü\u{1f980}AA"),
        ),
        (r#"`raw \n "`"#, text(r#"raw \n ""#)),
        ("17", Literal::Int(17)),
        ("-17", Literal::Int(-17)),
        ("1.5", Literal::Float(1.5)),
        ("-1e3", Literal::Float(-1e3)),
        ("2e-2", Literal::Float(0.02)),
        ("true", Literal::Bool(true)),
        ("false", Literal::Bool(false)),
        ("200ms", Literal::Int(200_000_000)),
        ("9223372036854775807", Literal::Int(i64::MAX)),
    ] {
        reads_span(&format!("{{.x={written}}}"), eq(x(), value));
    }
    for status in [StatusCode::Unset, StatusCode::Ok, StatusCode::Error] {
        reads_span(
            &format!("{{status={}}}", status.as_str()),
            eq(Field::Status, Literal::Status(status)),
        );
    }
    for kind in (0..=5).map(Kind::from_number) {
        reads_span(
            &format!("{{kind!={}}}", kind.as_str()),
            is(Field::Kind, Op::Ne, Literal::Kind(kind)),
        );
    }
}

#[test]
fn durations_are_nanoseconds_with_or_without_a_unit() {
    for (written, nanos) in [
        ("1.5s", 1_500_000_000),
        ("1h30m", 5_400_000_000_000),
        ("250", 250),
        ("2.5e3", 2_500),
    ] {
        reads_span(
            &format!("{{duration>{written}}}"),
            is(Field::Duration, Op::Gt, Literal::Duration(nanos)),
        );
    }
}

#[test]
fn a_value_may_stand_on_the_left() {
    reads_span(
        "{200ms < duration}",
        is(Field::Duration, Op::Gt, Literal::Duration(200_000_000)),
    );
    reads_span(
        r#"{"cart" = .service.name}"#,
        eq(unscoped("service.name"), text("cart")),
    );
}

#[test]
fn nil_asks_whether_an_attribute_is_there() {
    reads_span("{.x != nil}", Condition::Exists(unscoped("x")));
    reads_span("{nil = span.x}", not(Condition::Exists(span("x"))));
}

#[test]
fn root_spans_are_asked_for_as_grafana_does() {
    reads_span("{nestedSetParent<0}", not(Condition::Exists(Field::ParentId)));
}

#[test]
fn conditions_join_from_the_left_and_not_by_rank() {
    let (a, b, c) = (
        || eq(unscoped("a"), Literal::Int(1)),
        || eq(unscoped("b"), Literal::Int(2)),
        || eq(unscoped("c"), Literal::Int(3)),
    );
    reads_span("{.a=1 && .b=2 && .c=3}", Condition::And(vec![a(), b(), c()]));
    reads_span(
        "{.a=1 || .b=2 && .c=3}",
        Condition::And(vec![Condition::Or(vec![a(), b()]), c()]),
    );
    reads_span(
        "{.a=1 || (.b=2 && .c=3)}",
        Condition::Or(vec![a(), Condition::And(vec![b(), c()])]),
    );
    reads_span("{!(.a=1 || .b=2)}", not(Condition::Or(vec![a(), b()])));
    reads_span("{((.a))=1}", a());
    reads_span("{.a && !.b}", {
        let yes = |key| eq(unscoped(key), Literal::Bool(true));
        Condition::And(vec![yes("a"), not(yes("b"))])
    });
}

#[test]
fn spansets_join_into_conditions_on_the_trace() {
    let (a, b, c) = (
        || Filter::Spans(eq(unscoped("a"), Literal::Int(1))),
        || Filter::Spans(eq(unscoped("b"), Literal::Int(2))),
        || Filter::Spans(eq(unscoped("c"), Literal::Int(3))),
    );
    reads("{.a=1} && {.b=2}", both(a(), b()));
    reads("{.a=1} || {.b=2} && {.c=3}", both(either(a(), b()), c()));
    reads("{.a=1} || ({.b=2} && {.c=3})", either(a(), both(b(), c())));
    reads("(({.a=1}))", a());
    for everything in ["", "  ", "{}", "{ }", "({})"] {
        reads(everything, Filter::All);
    }
    reads_span("{true}", Condition::True);
    reads_span("{false}", not(Condition::True));
}

#[test]
fn a_list_is_any_or_none_of_its_members() {
    let member = |op, value| is(unscoped("x"), op, text(value));
    reads_span(
        r#"{.x=["a","b"]}"#,
        Condition::Or(vec![member(Op::Eq, "a"), member(Op::Eq, "b")]),
    );
    reads_span(
        r#"{.x!=["a", "b"]}"#,
        Condition::And(vec![member(Op::Ne, "a"), member(Op::Ne, "b")]),
    );
}

#[test]
fn comments_and_hints_change_nothing() {
    let expected = || Filter::Spans(eq(Field::Status, Literal::Status(StatusCode::Error)));
    reads("{status=error} with (most_recent=true)", expected());
    reads(
        "{ // only failures\n status=error /* of any kind */ }",
        expected(),
    );
}

/// What Grafana 11 to 13 write from the search form, filters of dashboards and links (`language_provider.ts`).
#[test]
fn what_grafana_writes_is_read() {
    reads("{}", Filter::All);
    reads_span(
        "{duration>100ms}",
        is(Field::Duration, Op::Gt, Literal::Duration(100_000_000)),
    );
    reads_span(
        "{traceDuration>100ms}",
        is(Field::TraceDuration, Op::Gt, Literal::Duration(100_000_000)),
    );
    reads_span(
        r#"{.footag>=1234 && .bartag="barvalue"}"#,
        Condition::And(vec![
            is(unscoped("footag"), Op::Ge, Literal::Int(1234)),
            eq(unscoped("bartag"), text("barvalue")),
        ]),
    );
    reads_span(
        r#"{name=~"api/v2/variants/by-upc/(?P<upc>[\\s\\S]*)/$"}"#,
        is(
            Field::Name,
            Op::Match(matching(r"api/v2/variants/by-upc/(?P<upc>[\s\S]*)/$")),
            text(r"api/v2/variants/by-upc/(?P<upc>[\s\S]*)/$"),
        ),
    );
    reads_span(
        r#"{resource.service.name="cart" && name="GET /cart" && status=error && kind=server && duration>1.2s}"#,
        Condition::And(vec![
            eq(resource("service.name"), text("cart")),
            eq(Field::Name, text("GET /cart")),
            eq(Field::Status, Literal::Status(StatusCode::Error)),
            eq(Field::Kind, Literal::Kind(Kind::Server)),
            is(Field::Duration, Op::Gt, Literal::Duration(1_200_000_000)),
        ]),
    );
    reads_span(
        "{span:kind=server && span:status=error}",
        Condition::And(vec![
            eq(Field::Kind, Literal::Kind(Kind::Server)),
            eq(Field::Status, Literal::Status(StatusCode::Error)),
        ]),
    );
    reads_span(
        r#"{(resource.service.name="a" || resource.service.name="b") && true}"#,
        Condition::And(vec![
            Condition::Or(vec![
                eq(resource("service.name"), text("a")),
                eq(resource("service.name"), text("b")),
            ]),
            Condition::True,
        ]),
    );
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    for (query, column, message) in [
        ("{.a=1} | count() > 2", 8, "pipelines (`|`) are not supported"),
        ("{} | rate()", 4, "pipelines (`|`) are not supported"),
        ("({.a=1} | select(.b))", 9, "pipelines (`|`) are not supported"),
        (
            "{.a=1} >> {.b=1}",
            8,
            "the operator `>>` between spansets is not supported",
        ),
        ("{.a=1} > {.b=1}", 8, "the operator `>` between spansets"),
        ("{.a=1} !~ {.b=1}", 8, "the operator `!~` between spansets"),
        ("{.a=1} !>> {.b=1}", 8, "the operator `!>>` between spansets"),
        ("{.a=1} &~ {.b=1}", 8, "the operator `&~` between spansets"),
        ("{.a=1} ~ {.b=1}", 8, "the operator `~` between spansets"),
        ("count() > 2", 1, "the aggregate `count` is not supported"),
        ("by(.x)", 1, "the operation `by` is not supported"),
        ("{.a + 1 > 2}", 5, "arithmetic (`+`) is not supported"),
        ("{.a = 1 * 2}", 9, "arithmetic (`*`) is not supported"),
        ("{.a = .b}", 7, "two fields cannot be compared"),
        (
            "{childCount > 2}",
            2,
            "the intrinsic `childCount` is not supported",
        ),
        ("{parent.x = 2}", 2, "`parent.` is not supported"),
        ("{parent = nil}", 2, "the intrinsic `parent` is not supported"),
        (
            "{nestedSetParent > 1}",
            2,
            "`nestedSetParent` is only supported as `nestedSetParent<0`",
        ),
        (".service.name=\"cart\"", 1, "a query begins with `{`"),
        ("name=\"cart\"", 1, "`name` must stand within braces"),
        (
            "{.footag=foovalue}",
            10,
            "`foovalue` is neither a field nor a value: write `.foovalue`",
        ),
        (
            "{footag=\"foovalue\"}",
            2,
            "`footag` is neither a field nor a value",
        ),
        (
            "{service.name=\"x\"}",
            2,
            "`service.` is no scope: write `.service",
        ),
        ("{.a=1, .b=2}", 6, "`}`, `&&`, `||` or a comparison is missing"),
        ("{.a=1", 6, "is missing here"),
        ("{.a=}", 5, "a value must stand here"),
        ("{.a=", 5, "the query ends where a value must stand"),
        ("{.a=1}}", 7, "the query must end here"),
        ("{.a=\"x}", 5, "the string has no end"),
        ("{.a=`x}", 5, "the string has no end"),
        (r#"{.a="\q"}"#, 6, "no such escape"),
        (r#"{.a="\ud800"}"#, 6, "U+D800 is no character"),
        (r#"{.a="\xff"}"#, 5, "the string must be UTF-8"),
        (r#"{.a=~"("}"#, 6, "`(` is no regular expression: unclosed group"),
        ("{.a=~1}", 6, "a regular expression in quotes must stand here"),
        (
            "{status=500}",
            9,
            "`status` must be compared with `error`, `ok` or `unset`",
        ),
        ("{status=\"error\"}", 9, "`status` must be compared with"),
        ("{kind=error}", 7, "`kind` must be compared with"),
        ("{status>error}", 9, "`>` needs a number"),
        ("{duration>\"1s\"}", 11, "a duration must stand here"),
        ("{name=5}", 7, "a string in quotes must stand here"),
        ("{.a=error}", 5, "an attribute cannot be compared with a status"),
        ("{duration}", 2, "the field must be compared with a value"),
        ("{5}", 2, "a value alone is no condition"),
        ("{.a>nil}", 2, "`nil` can only be compared with `=` and `!=`"),
        ("{!.a=1}", 2, "write `!(…)` around the comparison"),
        ("{1=1}", 2, "a field must be on one side"),
        ("{(.a=1)=true}", 2, "a condition cannot be compared"),
        ("{.a<[1,2]}", 5, "a list can only be compared with"),
        ("{.a=99999999999999999999}", 5, "the largest integer is"),
        ("{.a=5x}", 5, "`5x` is neither a number nor a duration"),
        ("{. = 1}", 2, "an attribute needs a name"),
        ("{.a=1} /* x", 8, "the comment has no end"),
        ("{.a=1 # }", 7, "`#` has no meaning here"),
        ("{.ü=1} | x", 8, "pipelines"),
    ] {
        let error = parse(query).expect_err(query);
        assert_eq!(
            (error.line, error.column),
            (1, column),
            "{query}: {}",
            error.message
        );
        assert!(error.message.contains(message), "{query}: {}", error.message);
    }
}

#[test]
fn an_error_counts_lines_and_characters() {
    let error = parse("{.a=1 &&\n .ü=1 && !}").expect_err("`!` of nothing");
    assert_eq!((error.line, error.column), (2, 11));
    let shown = error.to_string();
    assert!(
        shown.starts_with("the TraceQL query is wrong at line 2 column 11: a value"),
        "{shown}"
    );
}

#[test]
fn a_query_may_neither_nest_nor_grow_without_bound() {
    let nested = |depth: usize| format!("{{{}.a{}}}", "(".repeat(depth), ")".repeat(depth));
    assert!(parse(&nested(MAX_DEPTH)).is_ok());
    assert!(parse(&nested(MAX_DEPTH + 1)).is_err());
    assert!(parse(&format!("{{{}.a}}", "!".repeat(100_000))).is_err());
    assert!(parse(&format!("{}{{}}", "(".repeat(60_000))).is_err());
    let terms = |count: usize| format!("{{{}}}", vec![".a"; count].join("||"));
    assert!(parse(&terms(MAX_TERMS - 1)).is_ok());
    assert!(parse(&terms(MAX_TERMS)).is_err());
    assert!(parse(&vec!["{}"; MAX_TERMS + 1].join("&&")).is_err());
    assert!(parse(&format!("{{.a=\"{}\"}}", "x".repeat(MAX_QUERY_BYTES))).is_err());
}

const NODE: &str = r#"{span.db.name="X" || span.db.system="X" || span.peer.service="X" || span.messaging.system="X" || span.net.peer.name="X"}"#;

#[test]
fn grafanas_question_for_a_virtual_node_is_recognised() {
    let asked = parse(NODE).expect("Grafana's query");
    assert_eq!(virtual_node(&asked), Some("X"));
    let extended = or_node_condition(asked.clone(), |id| Some(eq(span("server.address"), text(id))));
    let Filter::Spans(original) = asked else {
        panic!("one spanset")
    };
    let more = eq(span("server.address"), text("X"));
    assert_eq!(extended, Filter::Spans(Condition::Or(vec![original, more])));
}

#[test]
fn another_question_is_left_as_it_is() {
    for query in [
        "{}",
        r#"{span.db.name="X"}"#,
        r#"{span.db.name="X" || span.db.system="X"}"#,
        r#"{span.db.name="X" || span.db.system="X" || span.peer.service="Y"}"#,
        r#"{span.db.name="X" || span.db.name="X" || span.peer.service="X"}"#,
        r#"{span.db.name="X" || span.db.system="X" || span.http.route="X"}"#,
        r#"{.db.name="X" || .db.system="X" || .peer.service="X"}"#,
        r#"{span.db.name!="X" || span.db.system!="X" || span.peer.service!="X"}"#,
        r#"{span.db.name="X" && span.db.system="X" && span.peer.service="X"}"#,
    ] {
        let asked = parse(query).expect(query);
        assert_eq!(virtual_node(&asked), None, "{query}");
        let kept = or_node_condition(asked.clone(), |_| Some(Condition::True));
        assert_eq!(kept, asked, "{query}");
    }
}

#[test]
fn a_node_that_the_map_does_not_know_adds_nothing() {
    let asked = parse(NODE).expect("Grafana's query");
    assert_eq!(or_node_condition(asked.clone(), |_| None), asked);
}

/// Pieces that make more queries of almost-`TraceQL` than random characters would.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "{",
        "}",
        "(",
        ")",
        "[",
        "]",
        "&&",
        "||",
        "!",
        "|",
        "=",
        "!=",
        "=~",
        ">",
        ">>",
        "&>",
        ",",
        ".",
        ".a",
        "span.",
        "resource.b",
        "span.\"",
        "\"",
        "\"x\"",
        "`",
        "\\",
        "1",
        "1.5",
        "1e",
        "5s",
        "-",
        "+",
        "nil",
        "true",
        "error",
        "server",
        "name",
        "status",
        "duration",
        "trace:",
        "with",
        "count()",
        " ",
        "\n",
        "//",
        "/*",
        "ü",
        "\u{1f980}",
        "\u{0}",
    ]);
    prop::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn no_text_panics_and_errors_lie_within_it(text in prop_oneof![any::<String>(), pieces()]) {
        if let Err(error) = parse(&text) {
            prop_assert!(error.line <= text.matches('\n').count() + 1);
            prop_assert!(error.column <= text.chars().count() + 1);
        }
        let _ = parse_field(&text);
    }

    #[test]
    fn a_string_of_any_content_is_read_back(content in any::<String>()) {
        let escaped: String = content.chars().flat_map(|c| match c {
            '"' | '\\' => vec!['\\', c],
            '\n' => vec!['\\', 'n'],
            other => vec![other],
        }).collect();
        let expected = Filter::Spans(eq(unscoped("x"), text(&content)));
        prop_assert_eq!(parse(&format!("{{.x=\"{escaped}\"}}")), Ok(expected));
    }
}
