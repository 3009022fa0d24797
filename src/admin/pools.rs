//! `/v1/pools`: how much there is to promise.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::Path;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use serde_json::{Value, json};

use super::allocations::{as_json, refused, wrong};
use super::problem::Problem;
use crate::allocation::ledger::reply::Pool;
use crate::allocation::request::{self, is_name};
use crate::allocation::service::Service;

/// The routes.
pub(super) fn routes(service: &Arc<Service>) -> Router {
    let [listed, changed, deleted] = [(); 3].map(|()| Arc::clone(service));
    let list = move || async move { list(&listed).await };
    let change = move |name, body| async move { change(&changed, name, body).await };
    let delete = move |name| async move { delete(&deleted, name).await };
    Router::new()
        .route(
            "/v1/pools",
            get(list).fallback(|| async { Problem::method("GET, HEAD") }),
        )
        .route(
            "/v1/pools/{name}",
            put(change)
                .delete(delete)
                .fallback(|| async { Problem::method("PUT, DELETE") }),
        )
}

async fn list(service: &Service) -> Result<Response, Problem> {
    let pools = service.pools().await;
    let pools = pools.map_err(|refusal| refused(service, refusal))?;
    let pools: Vec<Value> = pools.iter().map(shown).collect();
    Ok(as_json(&json!({ "pools": pools })))
}

/// A pool, with what is promised wherever it is counted apart.
fn shown(pool: &Pool) -> Value {
    let whole = format!("pool:{}", pool.name);
    let accounts = pool.accounts.iter().map(|(account, used)| {
        let place = account.strip_prefix(&whole).unwrap_or_default();
        let place = place.strip_prefix('@').unwrap_or("cluster");
        (place.to_owned(), Value::from(*used))
    });
    json!({
        "name": pool.name,
        "capacity": pool.capacity,
        "scope": pool.scope,
        "used": accounts.collect::<serde_json::Map<_, _>>(),
    })
}

async fn change(
    service: &Service,
    Path(name): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let body = body.map_err(|refused| Problem::unreadable(&refused))?;
    if !is_name(&name) {
        let detail = format!("{name:?} is not a name of 1 to 63 letters, digits, '.', '_' and '-'");
        return Err(Problem::unprocessable(detail).with("field", "name"));
    }
    let (capacity, scope) = request::parse_pool(&body).map_err(wrong)?;
    let put = service.put_pool(&name, capacity, scope).await;
    let created = put.map_err(|refusal| refused(service, refusal))?;
    let status = if created {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    let body = json!({ "name": name, "capacity": capacity, "scope": scope.as_str() });
    Ok((status, as_json(&body)).into_response())
}

async fn delete(service: &Service, Path(name): Path<String>) -> Result<Response, Problem> {
    let deleted = service.delete_pool(&name).await;
    deleted.map_err(|refusal| refused(service, refusal))?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
