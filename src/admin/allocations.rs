//! `/v1/allocations`: leases asked for, looked at, renewed, resized and given back.

mod answers;
pub(super) mod described;
pub(super) mod problems;

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::Path;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::http::header::{ETAG, IF_MATCH, LOCATION};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};

use super::openapi::Routes;
use super::problem::Problem;
use crate::allocation::ledger::reply::Lease;
use crate::allocation::request::{self, Request};
use crate::allocation::service::{Acquired, Service};
use crate::telemetry::operation::Context;
use answers::{LeaseAnswer, Leases, Queued};
pub(super) use answers::{as_json, refused, wrong};
use problems::FENCE_REQUIRED;

/// The longest that a look at a request may wait.
const LONGEST_LOOK: Duration = Duration::from_secs(60);
/// The longest idempotency key.
const LONGEST_KEY: usize = 255;

/// The span of the request, where there is one.
type Within = Option<Extension<Context>>;
type Answered = Result<Response, Problem>;
/// A part of the path, where it is a text.
pub(super) type Named = Result<Path<String>, PathRejection>;

/// The routes.
pub(super) fn routes(service: &Arc<Service>) -> Routes {
    let [asked, listed, looked, renewed, resized, released] = [(); 6].map(|()| Arc::clone(service));
    let acquire = move |within: Within, headers: HeaderMap, body| async move {
        acquire(&asked, within, &headers, body).await
    };
    let list = move || async move { list(&listed) };
    let look = move |id, uri: Uri| async move { look(&looked, id, &uri).await };
    let renew = move |within: Within, id, headers: HeaderMap| async move {
        renew(&renewed, within, id, &headers).await
    };
    let resize = move |within: Within, id, headers: HeaderMap, body| async move {
        resize(&resized, within, id, &headers, body).await
    };
    let release = move |within: Within, id, headers: HeaderMap| async move {
        release(&released, within, id, &headers).await
    };
    Routes::default()
        .at(
            "/v1/allocations",
            [
                described::acquire().post(acquire),
                described::all().get(list),
            ],
        )
        .at(
            "/v1/allocations/{id}",
            [
                described::look().get(look),
                described::resize().patch(resize),
                described::release().delete(release),
            ],
        )
        .at(
            "/v1/allocations/{id}/renew",
            [described::renew().post(renew)],
        )
}

async fn acquire(
    service: &Arc<Service>,
    within: Within,
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Answered {
    let asked = asked(headers, body);
    let (request, key) = asked.inspect_err(|_| service.unreadable())?;
    let asynchronous = headers.get_all("prefer").iter().any(|prefer| {
        let words = prefer.to_str().unwrap_or_default();
        words.split(',').any(|word| word.trim() == "respond-async")
    });
    let acquired = service
        .acquire(&request, key, asynchronous, span(within))
        .await;
    match acquired.map_err(|refusal| refused(service, refusal))? {
        Acquired::Lease(lease, again) => {
            let status = if again {
                StatusCode::OK
            } else {
                StatusCode::CREATED
            };
            let location = format!("/v1/allocations/{}", lease.id);
            Ok((status, [(LOCATION, location)], shown(&lease)).into_response())
        }
        Acquired::Queued(id) => Ok(queued(&id)),
    }
}

fn span(within: Within) -> Option<Context> {
    within.map(|Extension(context)| context)
}

/// What is asked for, and under which idempotency key.
fn asked(
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<(Request, Option<&str>), Problem> {
    let body = body.map_err(|refused| Problem::unreadable(&refused))?;
    let request = Request::parse(&body).map_err(wrong)?;
    Ok((request, idempotency_key(headers)?))
}

fn list(service: &Service) -> Response {
    as_json(&Leases {
        allocations: service.leases().iter().map(LeaseAnswer::of).collect(),
        queued: service.waiting(),
    })
}

async fn look(service: &Service, id: Named, uri: &Uri) -> Answered {
    let id = named(id)?;
    let patience = patience(uri)?;
    match service.outcome(&id, patience).await {
        None => Ok(queued(&id)),
        Some(Some(Err(refusal))) => Err(refused(service, refusal)),
        Some(None | Some(Ok(_))) => match service.get(&id).await {
            Ok(Some(lease)) => Ok(shown(&lease)),
            // At another nearside.
            Ok(None) => Ok(queued(&id)),
            Err(refusal) => Err(refused(service, refusal)),
        },
    }
}

async fn renew(service: &Service, within: Within, id: Named, headers: &HeaderMap) -> Answered {
    let id = named(id)?;
    let fence = fence(headers)?;
    answer(service, service.renew(&id, fence, span(within)).await)
}

async fn resize(
    service: &Service,
    within: Within,
    id: Named,
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Answered {
    let body = body.map_err(|refused| Problem::unreadable(&refused))?;
    let id = named(id)?;
    let resources = request::parse_resize(&body).map_err(wrong)?;
    let fence = fence(headers)?;
    let resized = service.resize(&id, fence, &resources, span(within));
    answer(service, resized.await)
}

async fn release(service: &Service, within: Within, id: Named, headers: &HeaderMap) -> Answered {
    let id = named(id)?;
    let fence = fence(headers)?;
    let released = service.release(&id, fence, span(within)).await;
    released.map_err(|refusal| refused(service, refusal))?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn answer(
    service: &Service,
    lease: Result<Lease, crate::allocation::refusal::Refusal>,
) -> Answered {
    match lease {
        Ok(lease) => Ok(shown(&lease)),
        Err(refusal) => Err(refused(service, refusal)),
    }
}

fn shown(lease: &Lease) -> Response {
    let tag = format!("\"{}\"", lease.fence);
    ([(ETAG, tag)], as_json(&LeaseAnswer::of(lease))).into_response()
}

fn queued(id: &str) -> Response {
    let location = format!("/v1/allocations/{id}");
    let body = as_json(&Queued::under(id));
    (StatusCode::ACCEPTED, [(LOCATION, location)], body).into_response()
}

pub(super) fn named(part: Named) -> Result<String, Problem> {
    let Path(text) = part.map_err(|refused| Problem::path(&refused))?;
    Ok(text)
}

/// `Idempotency-Key`.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let Some(value) = headers.get("idempotency-key") else {
        return Ok(None);
    };
    let key = value.to_str().ok();
    let right = |key: &&str| {
        let printable = key.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        printable && (1..=LONGEST_KEY).contains(&key.len())
    };
    let key = key.filter(right);
    key.map(Some).ok_or_else(|| {
        Problem::invalid(format!(
            "Idempotency-Key is not 1 to {LONGEST_KEY} printable ASCII characters"
        ))
    })
}

/// `If-Match`: a fence, or `*` for whichever it is.
fn fence(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let Some(value) = headers.get(IF_MATCH) else {
        return Err(Problem::new(
            FENCE_REQUIRED,
            "send If-Match with the lease's fence in quotes, as its ETag has it, or * for whichever it is",
        ));
    };
    let text = value.to_str().unwrap_or_default().trim();
    if text == "*" {
        return Ok(None);
    }
    let digits = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'));
    let fence = digits.and_then(|digits| digits.parse().ok());
    fence.map(Some).ok_or_else(|| {
        Problem::invalid(
            r#"If-Match is neither a fence in quotes, such as "1764543210123456", nor *"#,
        )
    })
}

/// `?wait=10s`.
fn patience(uri: &Uri) -> Result<Duration, Problem> {
    let mut patience = Duration::ZERO;
    for pair in uri.query().unwrap_or_default().split('&') {
        if pair.is_empty() {
            continue;
        }
        let wait = pair.strip_prefix("wait=").and_then(|text| {
            let (digits, unit) = match text.strip_suffix("ms") {
                Some(digits) => (digits, 1),
                None => (text.strip_suffix('s')?, 1000),
            };
            let ms = digits.parse::<u32>().ok()?.checked_mul(unit)?;
            Some(Duration::from_millis(ms.into()))
        });
        patience = wait.filter(|wait| *wait <= LONGEST_LOOK).ok_or_else(|| {
            Problem::invalid(format!(
                "{pair:?} is not known; ?wait=10s would wait for ten seconds, and 60s is the most"
            ))
        })?;
    }
    Ok(patience)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_and_waits() {
        let with = |name: &'static str, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            headers
        };
        assert_eq!(fence(&with("if-match", "\"17\"")), Ok(Some(17)));
        assert_eq!(fence(&with("if-match", "*")), Ok(None));
        assert_eq!(fence(&HeaderMap::new()).unwrap_err().kind, FENCE_REQUIRED);
        for wrong in ["17", "\"x\"", "\"17", "W/\"17\""] {
            assert!(fence(&with("if-match", wrong)).is_err(), "{wrong}");
        }
        let wait = |query: &str| patience(&format!("/v1/allocations/x{query}").parse().unwrap());
        assert_eq!(wait(""), Ok(Duration::ZERO));
        assert_eq!(wait("?wait=10s"), Ok(Duration::from_secs(10)));
        assert_eq!(wait("?wait=250ms"), Ok(Duration::from_millis(250)));
        for wrong in ["?wait=10", "?wait=61s", "?wiat=1s", "?wait=-1s"] {
            assert!(wait(wrong).is_err(), "{wrong}");
        }
        assert!(idempotency_key(&with("idempotency-key", "")).is_err());
        assert_eq!(
            idempotency_key(&with("idempotency-key", "k")),
            Ok(Some("k"))
        );
    }
}
