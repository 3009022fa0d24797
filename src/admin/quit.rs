//! `POST /v1/quit`: the end, as SIGTERM asks for it. For Jobs, whose containers have to end of themselves.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::http::header::CONTENT_TYPE;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use utoipa::openapi::{ObjectBuilder, Required};

use super::Facts;
use super::openapi::Routes;
use super::openapi::about::about;
use super::openapi::schemas::{closed, object, word};
use super::problem::{Problem, UNPROCESSABLE};
use crate::downstream::drain::Stage;
use crate::downstream::settings::Drain;

/// A body is a line; no more is read.
const BODY_LIMIT: usize = 4096;

pub(super) fn routes(facts: &Arc<Facts>) -> Routes {
    let facts = Arc::clone(facts);
    let quit = move |uri: Uri, body| async move { quit(&facts, &uri, body) };
    let drain = || word(Drain::NAMES.iter().map(|(name, _)| *name));
    let body = closed(ObjectBuilder::new().property("drain", drain()));
    let draining = object([("draining", drain().into())]);
    let example = json!({ "drain": "wait-clients" });
    let about = about("process", "quit", "Ends this nearside, as SIGTERM does.")
        .takes("Quit", body, Required::False, example)
        .answers_as(StatusCode::ACCEPTED, "Draining", draining, "how it ends")
        .problems(&[UNPROCESSABLE]);
    Routes::default()
        .at("/v1/quit", [about.post(quit)])
        .limited(BODY_LIMIT)
}

fn quit(
    facts: &Facts,
    uri: &Uri,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let body = body.map_err(|refused| Problem::unreadable(&refused))?;
    let asked = asked(&body, uri.query()).map_err(Problem::unprocessable)?;
    let (ending, configured) = &facts.ending;
    let stage = ending.ask(asked.unwrap_or(*configured));
    let draining = match stage {
        Stage::Serving | Stage::WaitClients => "wait-clients",
        Stage::AtOnce | Stage::Now => "at-once",
    };
    tracing::info!(draining, "asked to end over the side port");
    let body = format!("{}\n", json!({ "draining": draining }));
    Ok((
        StatusCode::ACCEPTED,
        [(CONTENT_TYPE, "application/json")],
        body,
    )
        .into_response())
}

/// Which drain a request asks for, if it says so; or what is wrong with it.
fn asked(body: &[u8], query: Option<&str>) -> Result<Option<Drain>, String> {
    const RIGHT: &str = r#"send nothing, or {"drain": "at-once" or "wait-clients"}"#;
    if let Some(query) = query {
        return Err(format!(
            "the query {query:?} would not be looked at; {RIGHT}"
        ));
    }
    if body.trim_ascii().is_empty() {
        return Ok(None);
    }
    let value: Value = serde_json::from_slice(body)
        .map_err(|error| format!("the body is not JSON: {error}; {RIGHT}"))?;
    let Value::Object(members) = value else {
        return Err(format!("the body is no JSON object; {RIGHT}"));
    };
    let mut drain = None;
    for (member, value) in &members {
        if member != "drain" {
            return Err(format!("unknown member {member:?}; {RIGHT}"));
        }
        let named = |(name, _): &&(&str, Drain)| value.as_str() == Some(*name);
        let found = Drain::NAMES.iter().find(named);
        let (_, found) =
            found.ok_or_else(|| format!("drain: {value} is not one of at-once, wait-clients"))?;
        drain = Some(*found);
    }
    Ok(drain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies() {
        for (body, right) in [
            ("", None),
            ("\n", None),
            ("{}", None),
            (r#"{"drain": "at-once"}"#, Some(Drain::AtOnce)),
            (r#"{"drain": "wait-clients"}"#, Some(Drain::WaitClients)),
        ] {
            assert_eq!(asked(body.as_bytes(), None), Ok(right), "{body}");
        }
        for (body, wrong) in [
            ("drain=at-once", "the body is not JSON: "),
            ("[]", "the body is no JSON object; send nothing"),
            (
                r#"{"drain": "now"}"#,
                r#"drain: "now" is not one of at-once, wait-clients"#,
            ),
            (
                r#"{"drain": null}"#,
                "drain: null is not one of at-once, wait-clients",
            ),
            (
                r#"{"darin": "at-once"}"#,
                r#"unknown member "darin"; send nothing"#,
            ),
        ] {
            let said = asked(body.as_bytes(), None).unwrap_err();
            assert!(said.starts_with(wrong), "{said}");
        }
        let said = asked(b"", Some("drain=at-once")).unwrap_err();
        assert!(
            said.starts_with(r#"the query "drain=at-once" would not"#),
            "{said}"
        );
    }
}
