//! `/v1/pools`: how much there is to promise.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;
use utoipa::openapi::{ObjectBuilder, Required};

use super::allocations::described::name;
use super::allocations::problems::{AWAY, IN_USE, UNKNOWN};
use super::allocations::{Named, as_json, named, refused, wrong};
use super::openapi::Routes;
use super::openapi::about::{About, about};
use super::openapi::schemas::{closed, object, whole, word};
use super::problem::{INVALID, Problem, UNPROCESSABLE};
use crate::allocation::ledger::reply::Pool;
use crate::allocation::refusal::Refusal;
use crate::allocation::request::{self, MOST, Scope, is_name};
use crate::allocation::service::Service;

const OK: StatusCode = StatusCode::OK;
const CREATED: StatusCode = StatusCode::CREATED;
const ALL: &str = "/v1/pools";
const ONE: &str = "/v1/pools/{name}";

/// A pool.
#[derive(Serialize, ToSchema)]
#[schema(as = Pool)]
struct PoolAnswer {
    /// Its name.
    name: String,
    /// How much there is of it.
    capacity: u64,
    /// For whom there is so much.
    #[schema(schema_with = scope)]
    scope: String,
    /// What is promised wherever it is counted apart: of the cluster, or by the names of nodes or pods.
    used: BTreeMap<String, u64>,
}

/// All pools.
#[derive(Serialize, ToSchema)]
struct Pools {
    pools: Vec<PoolAnswer>,
}

/// A pool as it was asked for.
#[derive(Serialize, ToSchema)]
struct PoolSize {
    name: String,
    capacity: u64,
    #[schema(schema_with = scope)]
    scope: &'static str,
}

/// The routes.
pub(super) fn routes(service: &Arc<Service>) -> Routes {
    let [listed, shown, changed, deleted] = [(); 4].map(|()| Arc::clone(service));
    let list = move || async move { list(&listed).await };
    let show = move |name| async move { show(&shown, name).await };
    let change = move |name, body| async move { change(&changed, name, body).await };
    let delete = move |name| async move { delete(&deleted, name).await };
    let all = about("pools", "listPools", "All pools.");
    let all = all
        .answers::<Pools>(OK, "with what is promised")
        .problems(&AWAY);
    let get = one("showPool", "A pool.")
        .answers::<PoolAnswer>(OK, "with what is promised")
        .problems(&[UNKNOWN]);
    let example = json!({ "capacity": 10, "scope": "cluster" });
    let put = one("putPool", "There is so much in this pool.")
        .tells("Less than is promised keeps grants back, and ends no lease.")
        .takes("PoolRequest", asked(), Required::True, example)
        .answers::<PoolSize>(OK, "there was such a pool")
        .answers::<PoolSize>(CREATED, "there was none")
        .leads(CREATED, "showPool", [("name", "$response.body#/name")])
        .leads(CREATED, "deletePool", [("name", "$response.body#/name")])
        .problems(&[UNPROCESSABLE, IN_USE]);
    let end = one("deletePool", "The pool goes.")
        .answers_empty(StatusCode::NO_CONTENT, "it is gone")
        .problems(&[UNKNOWN, IN_USE]);
    Routes::default()
        .at(ALL, [all.get(list)])
        .at(ONE, [get.get(show), put.put(change), end.delete(delete)])
}

fn one(operation: &str, summary: &str) -> About {
    about("pools", operation, summary)
        .path("name", name(), "the pool's name, without pool:")
        .problems(&[INVALID])
        .problems(&AWAY)
}

/// The schema of what [`request::parse_pool`] takes.
pub(super) fn asked() -> ObjectBuilder {
    let capacity = whole(0, MOST).description(Some("how much there is"));
    let scope = scope().default(Some(Scope::Cluster.as_str().into()));
    closed(object([("capacity", capacity.into())]).property("scope", scope))
}

fn scope() -> ObjectBuilder {
    word(Scope::ALL.map(Scope::as_str)).description(Some("for whom there is so much"))
}

async fn list(service: &Service) -> Result<Response, Problem> {
    let pools = service.pools().await;
    let pools = pools.map_err(|refusal| refused(service, refusal))?;
    let pools = pools.iter().map(of).collect();
    Ok(as_json(&Pools { pools }))
}

async fn show(service: &Service, name: Named) -> Result<Response, Problem> {
    let name = named(name)?;
    let pools = service.pools().await;
    let pools = pools.map_err(|refusal| refused(service, refusal))?;
    let pool = pools.iter().find(|pool| pool.name == name);
    let pool = pool.ok_or_else(|| refused(service, Refusal::Unknown))?;
    Ok(as_json(&of(pool)))
}

fn of(pool: &Pool) -> PoolAnswer {
    let whole = format!("pool:{}", pool.name);
    let accounts = pool.accounts.iter().map(|(account, used)| {
        let place = account.strip_prefix(&whole).unwrap_or_default();
        let place = place.strip_prefix('@').unwrap_or("cluster");
        (place.to_owned(), *used)
    });
    PoolAnswer {
        name: pool.name.clone(),
        capacity: pool.capacity,
        scope: pool.scope.clone(),
        used: accounts.collect(),
    }
}

async fn change(
    service: &Service,
    name: Named,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let body = body.map_err(|refused| Problem::unreadable(&refused))?;
    let name = named(name)?;
    if !is_name(&name) {
        let detail = format!("{name:?} is not a name of 1 to 63 letters, digits, '.', '_' and '-'");
        return Err(Problem::unprocessable(detail).with("field", "name"));
    }
    let (capacity, scope) = request::parse_pool(&body).map_err(wrong)?;
    let put = service.put_pool(&name, capacity, scope).await;
    let created = put.map_err(|refusal| refused(service, refusal))?;
    let scope = scope.as_str();
    let body = as_json(&PoolSize {
        name,
        capacity,
        scope,
    });
    Ok((if created { CREATED } else { OK }, body).into_response())
}

async fn delete(service: &Service, name: Named) -> Result<Response, Problem> {
    let deleted = service.delete_pool(&named(name)?).await;
    deleted.map_err(|refusal| refused(service, refusal))?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
