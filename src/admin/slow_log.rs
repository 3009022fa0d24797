//! `/v1/slowlog`: the operations that took long.

use std::sync::Arc;

use axum::Router;
use axum::http::Uri;
use axum::response::Response;
use axum::routing::get;

use super::cache::json;
use super::problem::Problem;
use crate::proxy::control::slow_log;
use crate::proxy::control::tree::Tree;
use crate::telemetry::slow_log::SlowLog;
use crate::upstream::lanes::Lanes;

/// Operations that are told where no number is given.
const COUNT: usize = 20;
/// The most that may be asked for.
const MOST: usize = 10_000;

/// The routes.
pub(super) fn routes(lanes: &Arc<Lanes>) -> Router {
    let [telling, forgetting] = [(); 2].map(|()| Arc::clone(lanes));
    let told = move |uri: Uri| async move { told(&telling.telemetry().slow_log, &uri) };
    let forgotten = move || async move {
        let forgotten = forgetting.telemetry().slow_log.clear() as u64;
        json(&Tree::map([("forgotten", Tree::Number(forgotten))]))
    };
    let methods = get(told).delete(forgotten);
    let methods = methods.fallback(|| async { Problem::method("GET, HEAD, DELETE") });
    Router::new().route("/v1/slowlog", methods)
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
