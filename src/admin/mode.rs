//! `/v1/cache/mode`: L1's mode and sample, read and changed while nearside runs.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use serde_json::{Value, json};
use utoipa::openapi::{ObjectBuilder, Required, Type};

use super::Facts;
use super::openapi::Routes;
use super::openapi::about::about;
use super::openapi::schemas::{closed, object, word};
use super::problem::{INVALID, Kind, Problem};
use crate::downstream::switch::Switch;
use crate::l1::settings::Mode;

/// A body is a line; no more is read.
const BODY_LIMIT: usize = 4096;

const NEEDS_RESTART: Kind = Kind::new(
    StatusCode::CONFLICT,
    "needs-restart",
    "The mode cannot be changed while this runs",
);

pub(super) fn routes(facts: &Arc<Facts>) -> Routes {
    const OK: StatusCode = StatusCode::OK;
    let [shown, changed] = [(); 2].map(|()| Arc::clone(facts));
    let show = move || async move { describe(&shown.switch) };
    let change = move |body| async move { change(&changed, body) };
    let show = about("cache", "showMode", "The cache's mode.")
        .answers_as(OK, "Mode", told(), "as it is now")
        .get(show);
    let change = about("cache", "changeMode", "Changes it while nearside runs.")
        .tells("Until the next SIGHUP or restart, which have it as the configuration says.")
        .takes(
            "ModeChange",
            asked(),
            Required::True,
            json!({ "mode": "on" }),
        )
        .answers_as(OK, "Mode", told(), "as it is from now on")
        .problems(&[INVALID, NEEDS_RESTART])
        .put(change);
    Routes::default()
        .at("/v1/cache/mode", [show, change])
        .limited(BODY_LIMIT)
}

fn modes() -> ObjectBuilder {
    word(Mode::NAMES.iter().map(|(name, _)| *name))
}

fn sample() -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::Number)
        .minimum(Some(0_u64))
        .maximum(Some(1_u64))
        .description(Some("the share of all keys that are cached"))
}

/// The schema of an answer.
fn told() -> ObjectBuilder {
    let warming_up = ObjectBuilder::new()
        .schema_type(Type::Boolean)
        .description(Some("it was switched on and serves nothing yet"));
    object([
        ("mode", modes().into()),
        ("warming_up", warming_up.into()),
        ("sample", sample().into()),
    ])
}

/// The schema of a change: either member, or both.
fn asked() -> ObjectBuilder {
    let either = ObjectBuilder::new()
        .property("mode", modes())
        .property("sample", sample());
    closed(either).min_properties(Some(1))
}

fn change(
    facts: &Facts,
    body: Result<Bytes, BytesRejection>,
) -> Result<impl IntoResponse + use<>, Problem> {
    let body = body.map_err(|refused| Problem::unreadable(&refused))?;
    let (mode, sample) = parse(&body).map_err(Problem::invalid)?;
    let set = facts.switch.set(mode, sample);
    set.map_err(|reason| Problem::new(NEEDS_RESTART, reason))?;
    tracing::info!(
        mode = mode.map(Mode::name),
        sample = sample.map(share),
        "L1 changed over the side port"
    );
    Ok(describe(&facts.switch))
}

fn describe(switch: &Switch) -> impl IntoResponse + use<> {
    let l1 = switch.l1();
    let (mode, warming_up) = l1.asked_mode();
    let body = json!({
        "mode": mode.name(),
        "warming_up": warming_up,
        "sample": share(l1.sample()),
    });
    ([(CONTENT_TYPE, "application/json")], format!("{body}\n"))
}

fn share(millionths: u32) -> f64 {
    f64::from(millionths) / 1e6
}

/// What a body asks for.
fn parse(body: &[u8]) -> Result<(Option<Mode>, Option<u32>), String> {
    const RIGHT: &str =
        r#"send {"mode": "on", "off" or "shadow", "sample": 0 to 1}, either or both"#;
    let value: Value = serde_json::from_slice(body)
        .map_err(|error| format!("the body is not JSON: {error}; {RIGHT}"))?;
    let Value::Object(members) = value else {
        return Err(format!("the body is no JSON object; {RIGHT}"));
    };
    if members.is_empty() {
        return Err(format!("the body asks for nothing; {RIGHT}"));
    }
    let (mut mode, mut sample) = (None, None);
    for (member, value) in &members {
        match member.as_str() {
            "mode" => {
                let text = value.as_str();
                let found = Mode::NAMES.iter().find(|(name, _)| Some(*name) == text);
                let (_, found) =
                    found.ok_or_else(|| format!("mode: {value} is not one of on, off, shadow"))?;
                mode = Some(*found);
            }
            "sample" => {
                let share = value.as_f64().and_then(millionths);
                let share =
                    share.ok_or_else(|| format!("sample: {value} is not a number from 0 to 1"))?;
                sample = Some(share);
            }
            other => return Err(format!("unknown member {other:?}; {RIGHT}")),
        }
    }
    Ok((mode, sample))
}

fn millionths(share: f64) -> Option<u32> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and a million"
    )]
    (0.0..=1.0)
        .contains(&share)
        .then(|| (share * 1e6).round() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies() {
        for (body, right) in [
            (r#"{"mode": "shadow"}"#, (Some(Mode::Shadow), None)),
            (r#"{"sample": 0.5}"#, (None, Some(500_000))),
            (r#"{"sample": 0}"#, (None, Some(0))),
            (
                r#"{"mode":"on","sample":1}"#,
                (Some(Mode::On), Some(1_000_000)),
            ),
        ] {
            assert_eq!(parse(body.as_bytes()), Ok(right), "{body}");
        }
        for (body, wrong) in [
            ("", "the body is not JSON: "),
            ("mode=on", "the body is not JSON: "),
            ("[]", "the body is no JSON object; send {"),
            ("{}", "the body asks for nothing; send {"),
            (
                r#"{"mode": "onn"}"#,
                r#"mode: "onn" is not one of on, off, shadow"#,
            ),
            (
                r#"{"mode": true}"#,
                "mode: true is not one of on, off, shadow",
            ),
            (
                r#"{"sample": 1.5}"#,
                "sample: 1.5 is not a number from 0 to 1",
            ),
            (
                r#"{"sample": "0.5"}"#,
                r#"sample: "0.5" is not a number from 0 to 1"#,
            ),
            (
                r#"{"mode": "on", "smaple": 1}"#,
                r#"unknown member "smaple"; send {"#,
            ),
        ] {
            let said = parse(body.as_bytes()).unwrap_err();
            assert!(said.starts_with(wrong), "{said}");
        }
    }
}
