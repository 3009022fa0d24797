//! What is asked for: resources, all or nothing, for how long, and what is wrong with it. Pure.

use std::fmt;

use serde_json::{Map, Value};

/// The most that there may be of a resource, so that every sum has a number that JSON and Lua write in full.
pub const MOST: u64 = 1_000_000_000_000;
/// A lease's time to live, in milliseconds: least, most, and where nothing is said.
pub const TTL: (u64, u64, u64) = (100, 86_400_000, 30_000);
/// The longest a lease may live in all, in milliseconds.
pub const LONGEST_LIFETIME: u64 = 30 * 86_400_000;
/// The longest that may be waited for a lease, in milliseconds.
pub const LONGEST_WAIT: u64 = 600_000;
/// The highest priority, and the one where nothing is said.
pub const PRIORITY: (u64, u64) = (1000, 100);
/// Most resources in a request.
const RESOURCES: usize = 16;

/// Which member of a request is wrong, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// The member, such as `resources[1].amount`; empty for the whole.
    pub field: String,
    /// What is wrong with it.
    pub reason: String,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.field.is_empty() {
            f.write_str(&self.reason)
        } else {
            write!(f, "{}: {}", self.field, self.reason)
        }
    }
}

fn invalid(field: impl Into<String>, reason: impl Into<String>) -> Invalid {
    Invalid {
        field: field.into(),
        reason: reason.into(),
    }
}

/// What a resource is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A named pool of whole things.
    Pool(String),
    /// The pod's CPU, in thousandths of one.
    Cpu,
    /// The pod's memory, in MiB.
    Memory,
}

impl Kind {
    /// Its name: `pool:<name>`, `cpu` or `memory`.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Pool(name) => format!("pool:{name}"),
            Self::Cpu => "cpu".to_owned(),
            Self::Memory => "memory".to_owned(),
        }
    }

    /// The kind of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "cpu" => Some(Self::Cpu),
            "memory" => Some(Self::Memory),
            name => {
                let pool = name.strip_prefix("pool:")?;
                is_name(pool).then(|| Self::Pool(pool.to_owned()))
            }
        }
    }

    /// The member that says how much.
    #[must_use]
    pub fn unit(&self) -> &'static str {
        match self {
            Self::Pool(_) => "amount",
            Self::Cpu => "millicores",
            Self::Memory => "amount_mib",
        }
    }
}

/// So much of something.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Resource {
    /// Of what.
    pub kind: Kind,
    /// How much, from 1.
    pub amount: u64,
}

/// A request for a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// All or nothing; each kind once.
    pub resources: Vec<Resource>,
    /// Milliseconds until it expires, unless it is renewed.
    pub ttl_ms: u64,
    /// Milliseconds until it ends in any case.
    pub max_lifetime_ms: Option<u64>,
    /// Milliseconds for which it is waited for.
    pub wait_ms: u64,
    /// The greater goes first; a point is worth a tenth of a second of waiting.
    pub priority: u64,
    /// Its holder leaves when it is asked to, for a request of a higher priority.
    pub preemptible: bool,
    /// Who asks.
    pub component: String,
}

impl Request {
    /// Reads a request.
    ///
    /// # Errors
    /// The first member that is wrong.
    pub fn parse(body: &[u8]) -> Result<Self, Invalid> {
        let members = object(body)?;
        known(
            &members,
            &[
                "resources",
                "ttl_ms",
                "max_lifetime_ms",
                "wait_ms",
                "priority",
                "preemptible",
                "component",
            ],
        )?;
        let whole = |name: &str, least, most| number(&members, name, name, least, most);
        let ttl_ms = whole("ttl_ms", TTL.0, TTL.1)?.unwrap_or(TTL.2);
        let component = match members.get("component") {
            None => "default".to_owned(),
            Some(Value::String(name)) if is_name(name) => name.clone(),
            Some(_) => return Err(invalid("component", NAME)),
        };
        let preemptible = match members.get("preemptible") {
            None => false,
            Some(Value::Bool(preemptible)) => *preemptible,
            Some(_) => return Err(invalid("preemptible", "is neither true nor false")),
        };
        Ok(Self {
            resources: resources(&members)?,
            ttl_ms,
            max_lifetime_ms: whole("max_lifetime_ms", ttl_ms, LONGEST_LIFETIME)?,
            wait_ms: whole("wait_ms", 0, LONGEST_WAIT)?.unwrap_or(0),
            priority: whole("priority", 0, PRIORITY.0)?.unwrap_or(PRIORITY.1),
            preemptible,
            component,
        })
    }

    /// Equal requests, and no others, have equal texts, in whatever order their resources stand.
    #[must_use]
    pub fn canonical(&self) -> String {
        let each = self.resources.iter();
        let mut parts: Vec<String> = each
            .map(|one| format!("{}={}", one.kind.name(), one.amount))
            .collect();
        parts.sort();
        let (ttl, wait, priority) = (self.ttl_ms, self.wait_ms, self.priority);
        let (lifetime, component) = (self.max_lifetime_ms, &self.component);
        let leaves = self.preemptible;
        format!("{parts:?} {ttl} {lifetime:?} {wait} {priority} {leaves} {component}")
    }
}

/// Reads a resize: `{"resources": [..]}`.
///
/// # Errors
/// The first member that is wrong.
pub fn parse_resize(body: &[u8]) -> Result<Vec<Resource>, Invalid> {
    let members = object(body)?;
    known(&members, &["resources"])?;
    resources(&members)
}

/// For whom there is so much in a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// For each pod.
    Pod,
    /// For each node.
    Node,
    /// For all together.
    Cluster,
}

impl Scope {
    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pod => "pod",
            Self::Node => "node",
            Self::Cluster => "cluster",
        }
    }
}

/// Reads a pool: `{"capacity": 10, "scope": "cluster"}`.
///
/// # Errors
/// The first member that is wrong.
pub fn parse_pool(body: &[u8]) -> Result<(u64, Scope), Invalid> {
    let members = object(body)?;
    known(&members, &["capacity", "scope"])?;
    let capacity = number(&members, "capacity", "capacity", 0, MOST)?;
    let capacity = capacity.ok_or_else(|| invalid("capacity", "is missing"))?;
    let scope = match members.get("scope").map(|scope| scope.as_str()) {
        None | Some(Some("cluster")) => Scope::Cluster,
        Some(Some("node")) => Scope::Node,
        Some(Some("pod")) => Scope::Pod,
        Some(_) => return Err(invalid("scope", "is not one of pod, node, cluster")),
    };
    Ok((capacity, scope))
}

const NAME: &str = "is not a name of 1 to 63 letters, digits, '.', '_' and '-'";

/// Whether a pool or a component may have this name.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let right = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    (1..=63).contains(&name.len()) && name.bytes().all(right)
}

fn object(body: &[u8]) -> Result<Map<String, Value>, Invalid> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(_) => Err(invalid("", "the body is no JSON object")),
        Err(error) => Err(invalid("", format!("the body is not JSON: {error}"))),
    }
}

fn known(members: &Map<String, Value>, names: &[&str]) -> Result<(), Invalid> {
    let unknown = members.keys().find(|name| !names.contains(&name.as_str()));
    unknown.map_or(Ok(()), |name| {
        let wrong = format!("is not known; there are {}", names.join(", "));
        Err(invalid(name.as_str(), wrong))
    })
}

fn number(
    members: &Map<String, Value>,
    name: &str,
    field: &str,
    least: u64,
    most: u64,
) -> Result<Option<u64>, Invalid> {
    let Some(value) = members.get(name) else {
        return Ok(None);
    };
    let right = value
        .as_u64()
        .filter(|number| (least..=most).contains(number));
    let wrong = || {
        invalid(
            field,
            format!("{value} is not a whole number from {least} to {most}"),
        )
    };
    right.ok_or_else(wrong).map(Some)
}

fn resources(members: &Map<String, Value>) -> Result<Vec<Resource>, Invalid> {
    let list = members.get("resources").and_then(Value::as_array);
    let list = list.filter(|list| (1..=RESOURCES).contains(&list.len()));
    let Some(list) = list else {
        let wrong = format!("is not a list of 1 to {RESOURCES} resources");
        return Err(invalid("resources", wrong));
    };
    let mut resources: Vec<Resource> = Vec::with_capacity(list.len());
    for (at, value) in list.iter().enumerate() {
        let place = format!("resources[{at}]");
        let Value::Object(members) = value else {
            return Err(invalid(place, "is no object"));
        };
        let kind = members.get("type").and_then(Value::as_str);
        let Some(kind) = kind.and_then(Kind::named) else {
            let wrong = "is not cpu, memory or pool: and a name";
            return Err(invalid(format!("{place}.type"), wrong));
        };
        let unit = kind.unit();
        known(members, &["type", unit]).map_err(|wrong| Invalid {
            field: format!("{place}.{}", wrong.field),
            ..wrong
        })?;
        let field = format!("{place}.{unit}");
        let amount = number(members, unit, &field, 1, MOST)?;
        let amount = amount.ok_or_else(|| invalid(field, "is missing"))?;
        if resources.iter().any(|other| other.kind == kind) {
            let wrong = format!("{} is asked for twice", kind.name());
            return Err(invalid(format!("{place}.type"), wrong));
        }
        resources.push(Resource { kind, amount });
    }
    Ok(resources)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_request() {
        let body = br#"{"resources": [{"type": "pool:infer-slots", "amount": 1},
            {"type": "cpu", "millicores": 500}, {"type": "memory", "amount_mib": 2048}], "ttl_ms": 30000,
            "max_lifetime_ms": 3600000, "wait_ms": 5000, "priority": 7, "preemptible": true,
            "component": "ranker"}"#;
        let request = Request::parse(body).unwrap();
        let resource = |kind, amount| Resource { kind, amount };
        assert_eq!(
            request.resources,
            [
                resource(Kind::Pool("infer-slots".into()), 1),
                resource(Kind::Cpu, 500),
                resource(Kind::Memory, 2048)
            ]
        );
        assert_eq!((request.wait_ms, request.priority), (5000, 7));
        assert!(request.preemptible);
        let mut turned = request.clone();
        turned.resources.reverse();
        assert_eq!(turned.canonical(), request.canonical());
        let mut stays = turned.clone();
        stays.preemptible = false;
        assert_ne!(stays.canonical(), request.canonical());
        turned.resources[0].amount += 1;
        assert_ne!(turned.canonical(), request.canonical());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let one = r#""resources": [{"type": "cpu", "millicores": 1}]"#;
        for (body, field) in [
            ("", ""),
            ("[]", ""),
            ("{}", "resources"),
            (r#"{"resources": []}"#, "resources"),
            (r#"{"resources": [1]}"#, "resources[0]"),
            (
                r#"{"resources": [{"type": "gpu", "amount": 1}]}"#,
                "resources[0].type",
            ),
            (
                r#"{"resources": [{"type": "pool:a b", "amount": 1}]}"#,
                "resources[0].type",
            ),
            (
                r#"{"resources": [{"type": "cpu", "amount": 1}]}"#,
                "resources[0].amount",
            ),
            (
                r#"{"resources": [{"type": "cpu"}]}"#,
                "resources[0].millicores",
            ),
            (
                r#"{"resources": [{"type": "pool:a", "amount": 0}]}"#,
                "resources[0].amount",
            ),
            (
                r#"{"resources": [{"type": "pool:a", "amount": 1.5}]}"#,
                "resources[0].amount",
            ),
            (
                r#"{"resources": [{"type": "pool:a", "amount": 1}, {"type": "pool:a", "amount": 1}]}"#,
                "resources[1].type",
            ),
            (&format!(r#"{{{one}, "ttl_ms": 99}}"#), "ttl_ms"),
            (
                &format!(r#"{{{one}, "max_lifetime_ms": 29999}}"#),
                "max_lifetime_ms",
            ),
            (&format!(r#"{{{one}, "wait_ms": 600001}}"#), "wait_ms"),
            (&format!(r#"{{{one}, "priority": -1}}"#), "priority"),
            (&format!(r#"{{{one}, "preemptible": 1}}"#), "preemptible"),
            (&format!(r#"{{{one}, "component": ""}}"#), "component"),
            (&format!(r#"{{{one}, "tll_ms": 1}}"#), "tll_ms"),
        ] {
            let wrong = Request::parse(body.as_bytes()).unwrap_err();
            assert_eq!(wrong.field, field, "{body}: {wrong}");
        }
    }

    #[test]
    fn pools() {
        let parse = |body: &str| parse_pool(body.as_bytes());
        assert_eq!(
            parse(r#"{"capacity": 10, "scope": "node"}"#),
            Ok((10, Scope::Node))
        );
        assert_eq!(parse(r#"{"capacity": 0}"#), Ok((0, Scope::Cluster)));
        for (body, field) in [
            ("{}", "capacity"),
            (r#"{"capacity": -1}"#, "capacity"),
            (r#"{"capacity": 1, "scope": "zone"}"#, "scope"),
            (r#"{"capacity": 1, "size": 1}"#, "size"),
        ] {
            assert_eq!(parse(body).unwrap_err().field, field);
        }
    }
}
