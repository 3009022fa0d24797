//! The environment: `NEARSIDE_` and the key in upper case, dots as underscores. Lists are comma separated.
//!
//! An unknown `NEARSIDE_*` is refused like an unknown key, but for one kind: Kubernetes gives every pod
//! variables for the services of its namespace, and a service called `nearside` (or `nearside-...`) makes
//! them look like ours. Those are passed over, or the name of a service would keep pods from starting. So are
//! `NEARSIDE_LEASE_*`: that is what the holder of a lease is told in its environment.

use std::ffi::{OsStr, OsString};

use super::draft::{Given, Written};
use super::failure::{Failure, Origin};
use super::schema::{self, Set};
use super::suggest;

const PREFIX: &str = "NEARSIDE_";
const LEASE: &str = "NEARSIDE_LEASE_";

/// The values in the environment, in the order of their names.
///
/// # Errors
/// A variable with our prefix that names no key, or is not UTF-8.
pub(super) fn read(
    env: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Vec<Given>, Failure> {
    let mut ours: Vec<(String, OsString)> = env
        .into_iter()
        .filter(|(name, _)| name.as_encoded_bytes().starts_with(PREFIX.as_bytes()))
        .map(|(name, value)| (name.to_string_lossy().into_owned(), value))
        .filter(|(name, value)| !name.starts_with(LEASE) && !is_service_link(name, value))
        .collect();
    ours.sort();
    ours.into_iter()
        .map(|(name, value)| given(name, &value))
        .collect()
}

fn given(name: String, value: &OsStr) -> Result<Given, Failure> {
    let Some(row) = schema::rows().find(|row| row.variable() == name) else {
        if name.starts_with("NEARSIDE_KEYSPACE") {
            return Err(Failure::new(&format!(
                "environment {name}: unknown variable; key spaces are set in the file alone, as [[keyspace]]"
            )));
        }
        let meant = suggest::nearest(name.strip_prefix(PREFIX).unwrap_or(&name));
        let hint = meant.map_or_else(
            || "the variables are NEARSIDE_ and a key in upper case, with _ for its dot".to_owned(),
            |row| format!("did you mean {}?", row.variable()),
        );
        return Err(Failure::new(&format!(
            "environment {name}: unknown variable; {hint}"
        )));
    };
    let origin = Origin::Environment(name);
    if row.is_for_the_file() {
        return Err(origin.says(row.key, "is set in the file alone"));
    }
    let Some(text) = value.to_str() else {
        return Err(origin.says(row.key, "the value is not UTF-8"));
    };
    let values = match row.set {
        Set::One(_) => vec![Written::quoted(text)],
        Set::Many { .. } => text
            .split(',')
            .map(|part| Written::quoted(part.trim()))
            .collect(),
    };
    Ok(Given {
        row,
        origin,
        values,
    })
}

/// Whether Kubernetes (or Docker's links before it) made this variable for a service:
/// `X_SERVICE_HOST`, `X_SERVICE_PORT`, `X_SERVICE_PORT_<NAME>`, `X_PORT=tcp://..`, `X_PORT_<n>_<PROTOCOL>...`.
fn is_service_link(name: &str, value: &OsStr) -> bool {
    if name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || name.contains("_SERVICE_PORT_")
    {
        return true;
    }
    let Some((_, after)) = name.split_once("_PORT") else {
        return false;
    };
    if after.is_empty() {
        return value.to_string_lossy().contains("://");
    }
    let mut parts = after.strip_prefix('_').unwrap_or_default().split('_');
    let port = parts.next().unwrap_or_default();
    let protocol = parts.next().unwrap_or_default();
    port.parse::<u16>().is_ok() && matches!(protocol, "TCP" | "UDP" | "SCTP")
}
