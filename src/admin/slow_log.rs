//! `/v1/slowlog`: the operations that took long.

use std::sync::Arc;

use axum::http::{StatusCode, Uri};
use axum::response::Response;
use utoipa::openapi::{ObjectBuilder, Type};

use super::cache::json;
use super::openapi::Routes;
use super::openapi::about::about;
use super::openapi::schemas::{count, list, object, or_null, text, whole, word};
use super::problem::{INVALID, Problem};
use crate::proxy::control::slow_log;
use crate::proxy::control::tree::Tree;
use crate::telemetry::slow_log::SlowLog;
use crate::upstream::lanes::Lanes;

/// Operations that are told where no number is given.
const COUNT: usize = 20;
/// The most that may be asked for.
const MOST: usize = 10_000;

/// The routes.
pub(super) fn routes(lanes: &Arc<Lanes>) -> Routes {
    const OK: StatusCode = StatusCode::OK;
    let [telling, forgetting] = [(); 2].map(|()| Arc::clone(lanes));
    let told = move |uri: Uri| async move { told(&telling.telemetry().slow_log, &uri) };
    let forgotten = move || async move {
        let forgotten = forgetting.telemetry().slow_log.clear() as u64;
        json(&Tree::map([("forgotten", Tree::Number(forgotten))]))
    };
    let most = MOST as u64;
    let tell = about("telemetry", "listSlow", "The operations that took long.")
        .query(
            "count",
            whole(1, most),
            "how many; 20 where nothing is said",
        )
        .query("sort", word(["newest", "slowest"]), "which come first")
        .answers_as(OK, "SlowLog", list(described()), "each with what it took")
        .problems(&[INVALID]);
    let about = about("telemetry", "forgetSlow", "Forgets them.");
    let counted = object([("forgotten", count().into())]);
    let forget = about.answers_as(OK, "Forgotten", counted, "how many there were");
    Routes::default().at("/v1/slowlog", [tell.get(told), forget.delete(forgotten)])
}

/// An operation's schema.
fn described() -> ObjectBuilder {
    let some_text = || or_null(Type::String, text());
    let some_count = || or_null(Type::Integer, count());
    object([
        ("number", count().into()),
        ("time_ms", count().into()),
        ("command", text().into()),
        ("key", some_text().into()),
        ("key_hash", some_text().into()),
        ("client_id", count().into()),
        ("route", text().into()),
        ("took_us", count().into()),
        ("waiting_us", some_count().into()),
        ("upstream_us", some_count().into()),
        ("reply_bytes", count().into()),
        ("trace_id", some_text().into()),
        ("error", some_text().into()),
    ])
}

fn told(log: &SlowLog, uri: &Uri) -> Result<Response, Problem> {
    let (count, slowest) = asked(uri.query().unwrap_or_default())?;
    Ok(json(&slow_log::of(log, count, slowest)))
}

/// How many, and whether the slowest of them come first.
fn asked(query: &str) -> Result<(usize, bool), Problem> {
    let (mut count, mut slowest) = (COUNT, false);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("count", given)) => {
                let given = given
                    .parse()
                    .ok()
                    .filter(|given| (1..=MOST).contains(given));
                count = given.ok_or_else(|| {
                    Problem::invalid(format!(
                        "{pair:?}: count is a whole number from 1 to {MOST}"
                    ))
                })?;
            }
            Some(("sort", "newest")) => slowest = false,
            Some(("sort", "slowest")) => slowest = true,
            Some(("sort", _)) => {
                return Err(Problem::invalid(format!(
                    "{pair:?}: sort is newest or slowest"
                )));
            }
            _ => {
                return Err(Problem::invalid(format!(
                    "{pair:?} is not known; ?count=20&sort=slowest would ask for the 20 slowest"
                )));
            }
        }
    }
    Ok((count, slowest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_says_how_many_and_in_which_order() {
        assert_eq!(asked("").ok(), Some((20, false)));
        assert_eq!(asked("count=3&sort=slowest").ok(), Some((3, true)));
        assert_eq!(asked("sort=newest&").ok(), Some((20, false)));
        for (wrong, word) in [
            ("count=0", "from 1 to"),
            ("count=x", "from 1 to"),
            ("count", "not known"),
            ("sort=fastest", "newest or slowest"),
            ("n=3", "not known"),
        ] {
            let problem = asked(wrong).expect_err(wrong);
            assert!(problem.detail.contains(word), "{}", problem.detail);
        }
    }
}
