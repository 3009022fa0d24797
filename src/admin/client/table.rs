//! Leases and pools in columns.

use serde_json::Value;

/// For what is not told.
const NOTHING: &str = "-";

/// An answer with one lease, or with a request that waits.
pub(super) fn lease(answer: &Value) -> String {
    table(&LEASE, &[lease_row(answer)])
}

/// All leases, and the requests that wait behind them.
pub(super) fn leases(answer: &Value) -> String {
    let mut rows: Vec<_> = list(answer, "allocations").iter().map(lease_row).collect();
    let queued = list(answer, "queued").iter().map(|id| {
        let mut row = [NOTHING; 6].map(str::to_owned);
        row[0] = word(id);
        "queued".clone_into(&mut row[1]);
        row
    });
    rows.extend(queued);
    table(&LEASE, &rows)
}

/// All pools.
pub(super) fn pools(answer: &Value) -> String {
    let rows: Vec<_> = list(answer, "pools").iter().map(pool_row).collect();
    table(&POOL, &rows)
}

/// An answer with one pool.
pub(super) fn pool(answer: &Value) -> String {
    table(&POOL, &[pool_row(answer)])
}

const LEASE: [&str; 6] = ["ID", "STATE", "RESOURCES", "FENCE", "EXPIRES", "COMPONENT"];
const POOL: [&str; 4] = ["NAME", "SCOPE", "CAPACITY", "USED"];

fn lease_row(lease: &Value) -> [String; 6] {
    let held: Vec<String> = list(lease, "resources").iter().map(resource).collect();
    let held = if held.is_empty() {
        NOTHING.to_owned()
    } else {
        held.join(" ")
    };
    let member = |name: &str| word(&lease[name]);
    [
        member("id"),
        member("state"),
        held,
        member("fence"),
        member("expires_at"),
        member("component"),
    ]
}

/// As the flags of `acquire` have it, as far as there is one.
fn resource(one: &Value) -> String {
    let kind = word(&one["type"]);
    let amount = |name: &str| one.get(name).map(word);
    if let Some(mib) = amount("amount_mib") {
        format!("{kind}={mib}MiB")
    } else if let Some(millicores) = amount("millicores") {
        format!("{kind}={millicores}m")
    } else {
        format!("{kind}={}", word(&one["amount"]))
    }
}

/// What is promised of it: a number where it is one for all, and otherwise one for each place.
fn pool_row(pool: &Value) -> [String; 4] {
    let places = pool["used"].as_object();
    let used = places.map_or_else(
        || NOTHING.to_owned(),
        |places| {
            let each: Vec<String> = places
                .iter()
                .map(|(place, used)| match place.as_str() {
                    "cluster" => word(used),
                    place => format!("{place}={}", word(used)),
                })
                .collect();
            if each.is_empty() {
                "0".to_owned()
            } else {
                each.join(" ")
            }
        },
    );
    let member = |name: &str| word(&pool[name]);
    [member("name"), member("scope"), member("capacity"), used]
}

fn list<'a>(value: &'a Value, member: &str) -> &'a [Value] {
    value[member].as_array().map_or(&[], Vec::as_slice)
}

/// A text or a number as it stands in a column.
fn word(value: &Value) -> String {
    match value {
        Value::Null => NOTHING.to_owned(),
        Value::String(text) => text.escape_debug().to_string(),
        other => other.to_string(),
    }
}

/// Every column as wide as its widest cell, two spaces between them, none at the end of a line.
fn table<const N: usize>(heads: &[&str; N], rows: &[[String; N]]) -> String {
    let heads = heads.map(str::to_owned);
    let rows: Vec<&[String; N]> = std::iter::once(&heads).chain(rows).collect();
    let widths: [usize; N] = std::array::from_fn(|column| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or(0)
    });
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(widths);
        let line: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        text.push_str(line.join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn columns() {
        let answer = json!({
            "allocations": [
                {
                    "id": "a1", "state": "active", "fence": "17", "expires_at": "2026-01-01T00:00:00.000Z",
                    "component": "ranker",
                    "resources": [
                        { "type": "pool:infer-slots", "amount": 1 },
                        { "type": "cpu", "millicores": 500 },
                        { "type": "memory", "amount_mib": 8192 },
                    ],
                },
            ],
            "queued": ["b2"],
        });
        let lines = [
            "ID  STATE   RESOURCES                                   FENCE  EXPIRES                   COMPONENT",
            "a1  active  pool:infer-slots=1 cpu=500m memory=8192MiB  17     2026-01-01T00:00:00.000Z  ranker",
            "b2  queued  -                                           -      -                         -",
        ];
        assert_eq!(leases(&answer).lines().collect::<Vec<_>>(), lines);
    }

    #[test]
    fn what_is_used_of_pools() {
        let answer = json!({ "pools": [
            { "name": "a", "scope": "cluster", "capacity": 10, "used": { "cluster": 3 } },
            { "name": "b", "scope": "node", "capacity": 2, "used": { "node/n1": 1, "node/n2": 2 } },
            { "name": "c", "scope": "pod", "capacity": 1, "used": {} },
        ] });
        let lines = [
            "NAME  SCOPE    CAPACITY  USED",
            "a     cluster  10        3",
            "b     node     2         node/n1=1 node/n2=2",
            "c     pod      1         0",
        ];
        assert_eq!(pools(&answer).lines().collect::<Vec<_>>(), lines);
    }
}
