//! Why there is an edge, or why there is none.
//!
//! In: two names. Out: what [`Map::why`] says of them, as text.
//! Left out on purpose: findings that nobody asked for.

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use map::Map;
use serde::Deserialize;

use super::{Ctx, ending, typed};

/// Longer names are refused: no node has one, and looking for the nearest takes time with their length.
const MAX_NAME_BYTES: usize = 2_048;

/// Query of `/api/v1/why`.
#[derive(Debug, Default, Deserialize)]
pub(super) struct WhyQuery {
    /// Who should call.
    #[serde(default)]
    from: String,
    /// Who should be called.
    #[serde(default)]
    to: String,
}

impl WhyQuery {
    /// What is wrong with the question, if anything.
    fn problem(&self) -> Option<String> {
        [("from", &self.from), ("to", &self.to)]
            .into_iter()
            .find_map(|(name, value)| match value.len() {
                0 => Some(format!("`{name}` is missing: ask /api/v1/why?from=A&to=B\n")),
                len if len > MAX_NAME_BYTES => Some(format!(
                    "`{name}` has {len} bytes, and no node's id has more than {MAX_NAME_BYTES}\n"
                )),
                _ => None,
            })
    }

    fn answer(&self, map: &Map) -> String {
        format!("{}\n", map.why(&self.from, &self.to))
    }
}

/// Answers from the map as it stands.
pub(super) async fn answer(State(shared): Ctx, Query(query): Query<WhyQuery>) -> Response {
    if let Some(problem) = query.problem() {
        return (StatusCode::BAD_REQUEST, problem).into_response();
    }
    let Some(map) = shared.map().await else {
        return ending();
    };
    // Nearest names are looked for in the whole map, which must not hold up a worker of the runtime.
    match tokio::task::spawn_blocking(move || query.answer(&map)).await {
        Ok(text) => typed("text/plain; charset=utf-8", text),
        Err(_) => ending(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use map::file::map_from_yaml;

    fn query(from: &str, to: &str) -> WhyQuery {
        WhyQuery {
            from: from.to_owned(),
            to: to.to_owned(),
        }
    }

    #[test]
    fn the_answer_is_what_the_map_says_in_one_line() {
        let map = map_from_yaml("version: 1\nedges:\n- {client: web, server: cart}\n").unwrap();
        let said = query("cart", "web").answer(&map);
        assert_eq!(said, "the edge leads the other way: `web` calls `cart`\n");
        assert_eq!(query("cart", "web").problem(), None);
    }

    #[test]
    fn a_missing_or_endless_name_is_told_by_its_parameter() {
        let told = |from: &str, to: &str| query(from, to).problem().unwrap_or_default();
        assert!(told("", "web").starts_with("`from` is missing"));
        assert!(told("web", "").starts_with("`to` is missing"));
        let endless = "x".repeat(MAX_NAME_BYTES + 1);
        assert!(told("web", &endless).starts_with("`to` has 2049 bytes"));
    }
}
