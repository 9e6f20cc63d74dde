//! Tempo's tag names and values, which fill the lists of Grafana's search form.
//!
//! In: the parameters of the four tag endpoints. Out: their answers.
//! Left out on purpose: `q`, by which Tempo can narrow the values to spans that match; the lists are then longer than
//! they need be, and never miss a value.
//!
//! Source: tempo `docs/sources/tempo/api_docs/_index.md`, "Search tags" and "Search tag values", both versions.

use std::collections::BTreeSet;

use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use store::{Field, Scope, TagValue};

use crate::api::{Failure, Limits};
use crate::backend::Backend;
use crate::params::Params;
use crate::traceql::{self, INTRINSICS};

const SECOND: u64 = 1_000_000_000;
const SCOPES: [(&str, Scope); 5] = [
    ("resource", Scope::Resource),
    ("span", Scope::Span),
    ("event", Scope::Event),
    ("link", Scope::Link),
    ("instrumentation", Scope::Instrumentation),
];

pub(super) type Names = fn(&Params, &dyn Backend, &Limits) -> Result<Value, Failure>;
pub(super) type Values = fn(&str, &Params, &dyn Backend, &Limits) -> Result<Value, Failure>;

/// Which scopes `scope` asks for.
enum Asked {
    All,
    One(Scope),
    Intrinsic,
}

fn asked(params: &Params) -> Result<Asked, Failure> {
    let name = match params.text("scope") {
        None | Some("none") => return Ok(Asked::All),
        Some("intrinsic") => return Ok(Asked::Intrinsic),
        Some(name) => name,
    };
    if let Some((_, scope)) = SCOPES.iter().find(|(known, _)| *known == name) {
        return Ok(Asked::One(*scope));
    }
    let shown: String = name.chars().take(40).collect();
    Err(Failure::BadRequest(format!(
        "parameter `scope` is `{shown}` but must be `resource`, `span`, `event`, `link`, `instrumentation`, \
         `intrinsic` or `none`"
    )))
}

fn attributes(
    params: &Params,
    scope: Option<Scope>,
    backend: &dyn Backend,
    limits: &Limits,
) -> Result<Vec<(Scope, Vec<String>)>, Failure> {
    let limit = params
        .number("limit")?
        .filter(|limit| *limit != 0)
        .unwrap_or(limits.tags);
    let mut tags = backend.tags(scope, params.range(SECOND)?)?;
    tags.retain(|(_, keys)| !keys.is_empty());
    for (_, keys) in &mut tags {
        keys.truncate(limit.min(limits.tags));
    }
    Ok(tags)
}

/// `{"tagNames": […]}`, of all scopes together.
pub(super) fn names_v1(params: &Params, backend: &dyn Backend, limits: &Limits) -> Result<Value, Failure> {
    let names: BTreeSet<String> = match asked(params)? {
        Asked::Intrinsic => INTRINSICS.iter().map(ToString::to_string).collect(),
        Asked::All => flat(attributes(params, None, backend, limits)?),
        Asked::One(scope) => flat(attributes(params, Some(scope), backend, limits)?),
    };
    Ok(json!({ "tagNames": names }))
}

fn flat(tags: Vec<(Scope, Vec<String>)>) -> BTreeSet<String> {
    tags.into_iter().flat_map(|(_, keys)| keys).collect()
}

/// `{"scopes": [{"name": "span", "tags": […]}, …]}`.
pub(super) fn names_v2(params: &Params, backend: &dyn Backend, limits: &Limits) -> Result<Value, Failure> {
    let intrinsic = json!({ "name": "intrinsic", "tags": INTRINSICS });
    let (scope, intrinsic) = match asked(params)? {
        Asked::Intrinsic => return Ok(json!({ "scopes": [intrinsic] })),
        Asked::All => (None, Some(intrinsic)),
        Asked::One(scope) => (Some(scope), None),
    };
    let tags = attributes(params, scope, backend, limits)?;
    let scopes = tags
        .iter()
        .map(|(scope, keys)| json!({ "name": scope_name(*scope), "tags": keys }));
    let scopes: Vec<_> = scopes.chain(intrinsic).collect();
    Ok(json!({ "scopes": scopes }))
}

fn scope_name(scope: Scope) -> &'static str {
    let known = SCOPES.iter().find(|(_, known)| *known == scope);
    known.map_or("span", |(name, _)| name)
}

/// `{"tagValues": ["…"]}` of an attribute of any scope. What is a field of `TraceQL` is read as that.
pub(super) fn values_v1(
    tag: &str,
    params: &Params,
    backend: &dyn Backend,
    limits: &Limits,
) -> Result<Value, Failure> {
    let tag = decoded(tag);
    let field = traceql::parse_field(&tag).unwrap_or(Field::Attribute {
        scope: None,
        key: tag,
    });
    let values = values(&field, params, backend, limits)?;
    let values: BTreeSet<String> = values.iter().map(ToString::to_string).collect();
    Ok(json!({ "tagValues": values }))
}

/// `{"tagValues": [{"type": "string", "value": "…"}]}` of one field of `TraceQL`.
pub(super) fn values_v2(
    tag: &str,
    params: &Params,
    backend: &dyn Backend,
    limits: &Limits,
) -> Result<Value, Failure> {
    let tag = decoded(tag);
    let field = traceql::parse_field(&tag).map_err(|error| {
        let shown: String = tag.chars().take(80).collect();
        Failure::BadRequest(format!("`{shown}` is no tag: {}", error.message))
    })?;
    let values = values(&field, params, backend, limits)?;
    let values: Vec<_> = values.iter().map(typed).collect();
    Ok(json!({ "tagValues": values }))
}

/// Grafana encodes the tag twice; the router has undone it once.
fn decoded(tag: &str) -> String {
    percent_decode_str(tag).decode_utf8_lossy().into_owned()
}

fn values(
    field: &Field,
    params: &Params,
    backend: &dyn Backend,
    limits: &Limits,
) -> Result<Vec<TagValue>, Failure> {
    let range = params.range(SECOND)?;
    let limit = params
        .number("limit")?
        .filter(|limit| *limit != 0)
        .unwrap_or(limits.tags);
    let limit = limit.min(limits.tags);
    let mut values = backend.tag_values(field, range, limit)?;
    values.truncate(limit);
    Ok(values)
}

fn typed(value: &TagValue) -> Value {
    let kind = match value {
        TagValue::Str(_) => "string",
        TagValue::Int(_) => "int",
        TagValue::Float(_) => "float",
        TagValue::Bool(_) => "bool",
        TagValue::Duration(_) => "duration",
        TagValue::Status(_) | TagValue::Kind(_) => "keyword",
    };
    json!({ "type": kind, "value": value.to_string() })
}
