//! The schemas of requests against what reads them.

use serde_json::{Map, Value, json};

use super::{lease, resized, resource};
use crate::allocation::request::{Invalid, Request, parse_pool, parse_resize};

type Read = fn(&[u8]) -> Result<(), Invalid>;

fn properties(schema: &Value) -> &Map<String, Value> {
    schema["properties"].as_object().expect("an object")
}

/// Each bound of a number in `schema` is the last that `read` takes in a body made from `body`.
fn bounds_hold(schema: &Value, body: &Value, read: Read) -> usize {
    let mut bounds = 0;
    for (name, member) in properties(schema) {
        for (bound, beyond) in [("minimum", -1), ("maximum", 1)] {
            let Some(number) = member[bound].as_i64() else {
                continue;
            };
            let with = |number: i64| {
                let mut body = body.clone();
                body[name] = number.into();
                read(body.to_string().as_bytes()).map_err(|wrong| wrong.field)
            };
            assert_eq!(with(number), Ok(()), "{name}'s {bound}");
            let (past, field) = (number + beyond, with(number + beyond).expect_err(bound));
            assert!(field.ends_with(name.as_str()), "{name}: {past}: {field}");
            bounds += 1;
        }
    }
    bounds
}

/// The reader knows the members that the schema has, and no others.
fn members_are_the_same(schema: &Value, read: Read) {
    assert_eq!(schema["additionalProperties"], false);
    let wrong = read(br#"{"?": 1}"#).expect_err("an unknown member");
    let (_, known) = wrong.reason.split_once("there are ").expect("a list");
    let mut known: Vec<&str> = known.split(", ").collect();
    known.sort_unstable();
    let mut described: Vec<&String> = properties(schema).keys().collect();
    described.sort_unstable();
    assert_eq!(described, known, "is every member in described.rs?");
}

#[test]
fn a_request_is_described_as_it_is_read() {
    let schema = serde_json::to_value(lease().build()).unwrap();
    let read: Read = |body| Request::parse(body).map(drop);
    // With the shortest ttl, since the schema cannot say that a life is no shorter.
    let body = json!({ "resources": [{ "type": "cpu", "millicores": 1 }], "ttl_ms": 100 });
    assert_eq!(
        bounds_hold(&schema, &body, read),
        8,
        "four numbers, two bounds each"
    );
    members_are_the_same(&schema, read);
    let request = Request::parse(br#"{"resources": [{"type": "cpu", "millicores": 1}]}"#).unwrap();
    let default = |name: &str| schema["properties"][name]["default"].clone();
    assert_eq!(default("ttl_ms"), request.ttl_ms);
    assert_eq!(default("wait_ms"), request.wait_ms);
    assert_eq!(default("priority"), request.priority);
    assert_eq!(default("preemptible"), request.preemptible);
    assert_eq!(default("component"), request.component);
}

#[test]
fn resources_are_described_as_they_are_read() {
    let schema = serde_json::to_value(resized().build()).unwrap();
    members_are_the_same(&schema, |body| parse_resize(body).map(drop));
    let most = schema["properties"]["resources"]["maxItems"]
        .as_u64()
        .unwrap();
    let pools = |n| {
        let each = (0..n).map(|n| json!({ "type": format!("pool:{n}"), "amount": 1 }));
        let body = json!({ "resources": each.collect::<Vec<_>>() });
        parse_resize(body.to_string().as_bytes())
    };
    assert!(pools(most).is_ok() && pools(most + 1).is_err() && pools(0).is_err());

    let schema = serde_json::to_value(resource()).unwrap();
    let kinds = schema["oneOf"].as_array().unwrap();
    let read: Read = |body| {
        let body = format!(r#"{{"resources": [{}]}}"#, String::from_utf8_lossy(body));
        parse_resize(body.as_bytes()).map(drop)
    };
    let names = ["pool:p", "cpu", "memory"];
    assert_eq!(kinds.len(), names.len());
    for (kind, name) in kinds.iter().zip(names) {
        assert_eq!(bounds_hold(kind, &json!({ "type": name }), read), 2);
        assert_eq!(kind["additionalProperties"], false);
    }
    let longest = |n| json!({ "type": format!("pool:{}", "x".repeat(n)), "amount": 1 });
    let pattern = kinds[0]["properties"]["type"]["pattern"].as_str().unwrap();
    assert_eq!(pattern, "^pool:[A-Za-z0-9._-]{1,63}$");
    assert!(read(longest(63).to_string().as_bytes()).is_ok());
    assert!(read(longest(64).to_string().as_bytes()).is_err());
}

#[test]
fn a_pool_is_described_as_it_is_read() {
    let schema = serde_json::to_value(crate::admin::pools::asked().build()).unwrap();
    let read: Read = |body| parse_pool(body).map(drop);
    assert_eq!(bounds_hold(&schema, &json!({ "capacity": 1 }), read), 2);
    members_are_the_same(&schema, read);
    let scopes = schema["properties"]["scope"]["enum"].as_array().unwrap();
    for scope in scopes {
        let body = json!({ "capacity": 1, "scope": scope }).to_string();
        assert!(read(body.as_bytes()).is_ok(), "{scope}");
    }
}
