//! `/v1/cache/*`: invalidation by hand, statistics, hot keys, big keys.

mod described;

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::http::header::CONTENT_TYPE;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::openapi::Routes;
use super::problem::{Kind, Problem};
use crate::l1::hot::COUNTED;
use crate::proxy::control::tree::Tree;
use crate::proxy::control::{Control, NO_FLEET, Scope, Target, slow_log, statistics};
use crate::telemetry::big_keys::KEPT;
use crate::telemetry::clock::now_ms;

/// Hot keys that are told where no number is given.
const HOT_KEYS: usize = 20;

const ALONE: Kind = Kind::new(
    StatusCode::CONFLICT,
    "no-fleet",
    "This nearside is in no fleet",
);
const NOT_TOLD: Kind = Kind::new(
    StatusCode::SERVICE_UNAVAILABLE,
    "fleet-not-told",
    "The fleet could not be told",
);

/// The routes.
pub(super) fn routes(control: &Arc<Control>) -> Routes {
    let [invalidating, counting, sampling, sizing] = [(); 4].map(|()| Arc::clone(control));
    let invalidate = move |body| async move { invalidate(&invalidating, body).await };
    let stats = move || async move { json(&statistics::of(counting.lanes(), now_ms())) };
    let hot_keys = move |uri: Uri| async move { hot_keys(&sampling, &uri) };
    let big_keys = move |uri: Uri| async move { big_keys(&sizing, &uri) };
    Routes::default()
        .at(
            "/v1/cache/invalidate",
            [described::invalidate().post(invalidate)],
        )
        .at("/v1/cache/stats", [described::stats().get(stats)])
        .at("/v1/cache/hotkeys", [described::hot_keys().get(hot_keys)])
        .at("/v1/cache/bigkeys", [described::big_keys().get(big_keys)])
}

/// A tree as an answer.
pub(super) fn json(tree: &Tree) -> Response {
    let body = serde_json::to_string(tree).expect("texts and numbers");
    ([(CONTENT_TYPE, "application/json")], body).into_response()
}

/// The body of an invalidation.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    keys: Option<Vec<String>>,
    pattern: Option<String>,
    all: Option<bool>,
    #[serde(default)]
    scope: Where,
}

#[derive(Debug, Default, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Where {
    #[default]
    Local,
    Fleet,
}

async fn invalidate(
    control: &Control,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let body = body.map_err(|refused| {
        let problem = Problem::unreadable(&refused);
        let detail = format!("{}; name fewer keys in one request", problem.detail);
        Problem { detail, ..problem }
    })?;
    let (target, scope) = asked(&body)?;
    if scope == Scope::Fleet && !control.has_fleet() {
        return Err(Problem::new(ALONE, NO_FLEET));
    }
    let done = control.invalidate(&target, scope).await;
    let done = done.map_err(|error| Problem::new(NOT_TOLD, error))?;
    let mut fields = vec![
        (
            "scope".to_owned(),
            Tree::text(match scope {
                Scope::Local => "local",
                Scope::Fleet => "fleet",
            }),
        ),
        ("dropped".to_owned(), Tree::Number(done.dropped)),
    ];
    if let Some(nearsides) = done.nearsides {
        fields.push(("nearsides".to_owned(), Tree::Number(nearsides)));
    }
    Ok(json(&Tree::Map(fields)))
}

/// What a body asks for.
fn asked(body: &[u8]) -> Result<(Target, Scope), Problem> {
    const ONE: &str =
        r#"exactly one of "keys": ["a", "b"], "pattern": "user:*" and "all": true is needed"#;
    let asked: Asked = serde_json::from_slice(body).map_err(|error| {
        Problem::invalid(format!("the body is not what it should be: {error}; {ONE}"))
    })?;
    let bytes = |keys: Vec<String>| keys.into_iter().map(String::into_bytes).collect();
    let target = match (asked.keys, asked.pattern, asked.all) {
        (Some(keys), None, None) if keys.is_empty() => {
            return Err(Problem::invalid(
                r#""keys" is empty; name at least one, or ask for "all": true"#,
            ));
        }
        (Some(keys), None, None) => Target::Keys(bytes(keys)),
        (None, Some(pattern), None) if pattern.is_empty() => {
            return Err(Problem::invalid(
                r#""pattern" is empty; "user:*" would do for all keys that begin with user:"#,
            ));
        }
        (None, Some(pattern), None) => Target::Patterns(vec![pattern.into_bytes()]),
        (None, None, Some(true)) => Target::All,
        (None, None, Some(false)) => {
            return Err(Problem::invalid(format!(r#""all" is false; {ONE}"#)));
        }
        (None, None, None) => return Err(Problem::invalid(format!("nothing is named; {ONE}"))),
        _ => return Err(Problem::invalid(format!("more than one is named; {ONE}"))),
    };
    let scope = match asked.scope {
        Where::Local => Scope::Local,
        Where::Fleet => Scope::Fleet,
    };
    Ok((target, scope))
}

fn hot_keys(control: &Control, uri: &Uri) -> Result<Response, Problem> {
    let count = count(uri, 2 * COUNTED)?;
    Ok(json(&statistics::hot_keys(control.l1(), count, now_ms())))
}

fn big_keys(control: &Control, uri: &Uri) -> Result<Response, Problem> {
    let keys = &control.lanes().telemetry().big_keys;
    Ok(json(&slow_log::big_keys(keys, count(uri, KEPT)?)))
}

/// How many keys are asked for, of so many at most.
fn count(uri: &Uri, most: usize) -> Result<usize, Problem> {
    let right = |count: &usize| (1..=most).contains(count);
    let mut count = HOT_KEYS;
    for pair in uri.query().unwrap_or_default().split('&') {
        let given = pair.strip_prefix("n=").map(str::parse);
        match given {
            Some(Ok(n)) if right(&n) => count = n,
            None if pair.is_empty() => {}
            Some(_) => {
                return Err(Problem::invalid(format!(
                    "{pair:?}: n is a whole number from 1 to {most}"
                )));
            }
            None => {
                return Err(Problem::invalid(format!(
                    "{pair:?} is not known; ?n=20 would ask for 20 keys"
                )));
            }
        }
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_named() {
        for (body, word) in [
            ("", "EOF"),
            ("{", "EOF"),
            ("[]", "keys"),
            ("{}", "nothing is named"),
            (r#"{"keys": []}"#, "empty"),
            (r#"{"keys": "a"}"#, "sequence"),
            (r#"{"pattern": ""}"#, "empty"),
            (r#"{"all": false}"#, "false"),
            (r#"{"all": true, "pattern": "x"}"#, "more than one"),
            (r#"{"key": ["a"]}"#, "unknown field `key`"),
            (r#"{"all": true, "scope": "world"}"#, "`local` or `fleet`"),
            (r#"{"all": true} x"#, "trailing"),
        ] {
            let problem = asked(body.as_bytes()).expect_err(body);
            assert!(problem.detail.contains(word), "{body}: {}", problem.detail);
            assert_eq!(problem.kind.status, StatusCode::BAD_REQUEST);
        }
    }

    #[test]
    fn what_is_right_is_understood() {
        let right = |body: &str| asked(body.as_bytes()).expect("a right body");
        let keys = Target::Keys(vec![b"a".into(), b"b".into()]);
        assert_eq!(right(r#"{"keys": ["a", "b"]}"#), (keys, Scope::Local));
        let pattern = Target::Patterns(vec![b"u:*".into()]);
        let asked = right(r#"{"pattern": "u:*", "scope": "fleet"}"#);
        assert_eq!(asked, (pattern, Scope::Fleet));
        let asked = right(r#"{"all": true, "scope": "local"}"#);
        assert_eq!(asked, (Target::All, Scope::Local));
    }
}
