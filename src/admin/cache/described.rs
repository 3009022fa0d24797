//! What `/openapi.json` says of `/v1/cache/*`. The answers are trees; a schema of each stands here.

use axum::http::StatusCode;
use serde_json::json;
use utoipa::openapi::schema::OneOfBuilder;
use utoipa::openapi::{ObjectBuilder, Required, Type};

use super::{ALONE, HOT_KEYS, NOT_TOLD};
use crate::admin::openapi::about::{About, about};
use crate::admin::openapi::schemas::{
    Shape, closed, count, list, map, object, or_null, text, whole, word,
};
use crate::admin::problem::INVALID;
use crate::l1::hot::COUNTED;
use crate::l1::keyspace::Refusal;
use crate::telemetry::big_keys::KEPT;

const OK: StatusCode = StatusCode::OK;

pub(super) fn invalidate() -> About {
    let dropped = object([("scope", scope().into()), ("dropped", count().into())]);
    let told = count().description(Some("how many were told, where it is the fleet"));
    let example = json!({ "keys": ["user:1", "user:2"] });
    about("cache", "invalidate", "Drops what is held.")
        .tells("In every database and of every user; reads that are on their way are not kept.")
        .takes("Invalidation", asked(), Required::True, example)
        .answers_as(
            OK,
            "Dropped",
            dropped.property("nearsides", told),
            "how many entries it were",
        )
        .problems(&[INVALID, ALONE, NOT_TOLD])
}

/// One of three, and where.
fn asked() -> OneOfBuilder {
    let all = ObjectBuilder::new()
        .schema_type(Type::Boolean)
        .enum_values(Some([true]));
    let one = |name, what: Shape| closed(object([(name, what)]).property("scope", scope()));
    let keys = list(text()).min_items(Some(1));
    let pattern = text()
        .min_length(Some(1))
        .description(Some("as in KEYS, such as user:*"));
    OneOfBuilder::new()
        .item(one("keys", keys.into()))
        .item(one("pattern", pattern.into()))
        .item(one("all", all.into()))
}

fn scope() -> ObjectBuilder {
    word(["local", "fleet"])
}

pub(super) fn stats() -> About {
    let refused = || {
        let none = ObjectBuilder::new().schema_type(Type::Object);
        Refusal::ALL.iter().fold(none, |object, why| {
            object.property(why.name(), count()).required(why.name())
        })
    };
    let each = || {
        [
            ("entries", count().into()),
            ("bytes", count().into()),
            ("hits", count().into()),
            ("misses", count().into()),
            ("stale", count().into()),
            ("fills", count().into()),
            ("refused", refused().into()),
        ]
    };
    let causes = object(["push", "own_write", "by_hand", "clear"].map(|why| (why, count().into())));
    let stale = object([("possible", word(["yes", "no"]).into())]).property("age_ms", count());
    let keyspace = object(each())
        .property("pattern", text())
        .required("pattern");
    let more: [(&str, Shape); 6] = [
        ("mode", word(["on", "off", "shadow"]).into()),
        ("max_bytes", count().into()),
        ("stale_service", stale.into()),
        ("invalidations", causes.into()),
        ("evictions", count().into()),
        ("keyspaces", map(keyspace).into()),
    ];
    let all = more
        .into_iter()
        .fold(object(each()), |all, (name, schema)| {
            all.property(name, schema).required(name)
        });
    about("cache", "cacheStats", "What the cache has done, and holds.").answers_as(
        OK,
        "CacheStats",
        all,
        "in all, and by key space",
    )
}

pub(super) fn hot_keys() -> About {
    let key = object([
        ("reads", count().into()),
        ("error", count().into()),
        ("key", text().into()),
    ]);
    let hot = object([
        ("sampled_one_in", count().into()),
        ("window_seconds", count().into()),
        ("keys", list(key).into()),
    ]);
    counted("hotKeys", "The keys that are read most.", 2 * COUNTED).answers_as(
        OK,
        "HotKeys",
        hot,
        "an estimate of their reads, and how far it may be off",
    )
}

pub(super) fn big_keys() -> About {
    let key = object([
        ("bytes", count().into()),
        ("command", text().into()),
        ("key", or_null(Type::String, text()).into()),
        ("key_hash", text().into()),
    ]);
    counted("bigKeys", "The keys with the largest replies.", KEPT).answers_as(
        OK,
        "BigKeys",
        list(key),
        "the biggest first",
    )
}

fn counted(name: &str, summary: &str, most: usize) -> About {
    let is = format!("how many keys; {HOT_KEYS} where nothing is said");
    about("cache", name, summary)
        .query("n", whole(1, most as u64), &is)
        .problems(&[INVALID])
}
