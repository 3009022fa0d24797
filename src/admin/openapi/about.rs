//! What is said of an operation, beside the handler that answers it.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::link::LinkBuilder;
use utoipa::openapi::path::{Operation, OperationBuilder, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::AllOfBuilder;
use utoipa::openapi::{ContentBuilder, Ref, Required, ResponseBuilder};

use super::schemas::{Shape, count, object, word};
use crate::admin::problem::{Kind, MEDIA_TYPE, TOO_LONG, UNREADABLE, URN};

/// The schemas that others refer to, by their names.
pub(in crate::admin) type Schemas = BTreeMap<String, Shape>;

/// See the module's header. Made by [`about`].
pub(in crate::admin) struct About {
    operation: OperationBuilder,
    answers: BTreeMap<u16, ResponseBuilder>,
    problems: BTreeMap<u16, Vec<Kind>>,
    schemas: Schemas,
}

/// An operation of this name, and what it does in a line.
pub(in crate::admin) fn about(tag: &str, name: &str, summary: &str) -> About {
    About {
        operation: OperationBuilder::new()
            .tag(tag)
            .operation_id(Some(name))
            .summary(Some(summary)),
        answers: BTreeMap::new(),
        problems: BTreeMap::new(),
        schemas: Schemas::new(),
    }
}

impl About {
    /// More about it.
    pub(in crate::admin) fn tells(self, description: &str) -> Self {
        let operation = self.operation.description(Some(description));
        Self { operation, ..self }
    }

    fn parameter(self, parameter: ParameterBuilder) -> Self {
        let operation = self.operation.parameter(parameter);
        Self { operation, ..self }
    }

    /// A part of the path.
    pub(in crate::admin) fn path(self, name: &str, schema: impl Into<Shape>, is: &str) -> Self {
        self.parameter(parameter(ParameterIn::Path, name, schema, is))
    }

    /// What may stand behind the question mark.
    pub(in crate::admin) fn query(self, name: &str, schema: impl Into<Shape>, is: &str) -> Self {
        self.parameter(parameter(ParameterIn::Query, name, schema, is))
    }

    /// A header that may be sent.
    pub(in crate::admin) fn header(self, name: &str, schema: impl Into<Shape>, is: &str) -> Self {
        self.parameter(parameter(ParameterIn::Header, name, schema, is))
    }

    /// A header without which nothing is done.
    pub(in crate::admin) fn must_have(
        self,
        name: &str,
        schema: impl Into<Shape>,
        is: &str,
    ) -> Self {
        let needed = parameter(ParameterIn::Header, name, schema, is).required(Required::True);
        self.parameter(needed)
    }

    /// The body: JSON, whatever `Content-Type` says of it, with an example.
    pub(in crate::admin) fn takes(
        self,
        name: &str,
        schema: impl Into<Shape>,
        required: Required,
        example: Value,
    ) -> Self {
        let mut about = self.refers(name, schema);
        let content = ContentBuilder::new()
            .schema(Some(Ref::from_schema_name(name)))
            .example(Some(example));
        let body = RequestBodyBuilder::new()
            .content("application/json", content.build())
            .required(Some(required));
        about.operation = about.operation.request_body(Some(body.build()));
        about.problems(&[UNREADABLE, TOO_LONG])
    }

    /// A schema that is referred to by its name.
    fn refers(mut self, name: &str, schema: impl Into<Shape>) -> Self {
        self.schemas.insert(name.to_owned(), schema.into());
        self
    }

    /// An answer in JSON, of a type that has a schema.
    pub(in crate::admin) fn answers<T: ToSchema>(mut self, status: StatusCode, is: &str) -> Self {
        let mut others = Vec::new();
        T::schemas(&mut others);
        self.schemas.extend(others);
        self.answers_as(status, &T::name(), T::schema(), is)
    }

    /// An answer in JSON, of this schema.
    pub(in crate::admin) fn answers_as(
        self,
        status: StatusCode,
        name: &str,
        schema: impl Into<Shape>,
        is: &str,
    ) -> Self {
        let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(name)));
        let response = ResponseBuilder::new().description(is);
        let response = response.content("application/json", content.build());
        self.refers(name, schema).answer(status, response)
    }

    /// An answer in text, of these media types.
    pub(in crate::admin) fn answers_text(
        self,
        status: StatusCode,
        kinds: &[&str],
        is: &str,
    ) -> Self {
        let text = super::schemas::text().build();
        let response =
            kinds
                .iter()
                .fold(ResponseBuilder::new().description(is), |response, kind| {
                    let content = ContentBuilder::new().schema(Some(text.clone()));
                    response.content(*kind, content.build())
                });
        self.answer(status, response)
    }

    /// An answer without a body.
    pub(in crate::admin) fn answers_empty(self, status: StatusCode, is: &str) -> Self {
        self.answer(status, ResponseBuilder::new().description(is))
    }

    fn answer(mut self, status: StatusCode, response: ResponseBuilder) -> Self {
        self.answers.insert(status.as_u16(), response);
        self
    }

    /// A header of the answer with this status, which was described before.
    pub(in crate::admin) fn with(
        self,
        status: StatusCode,
        name: &str,
        schema: impl Into<Shape>,
        is: &str,
    ) -> Self {
        let header = HeaderBuilder::new()
            .schema(Some(schema))
            .description(Some(is))
            .build();
        self.changed(status, |response| response.header(name, header))
    }

    /// What may be asked next, by what such an answer says.
    pub(in crate::admin) fn leads<const N: usize>(
        self,
        status: StatusCode,
        to: &str,
        parameters: [(&str, &str); N],
    ) -> Self {
        let link = LinkBuilder::new().operation_id(to);
        let link = parameters
            .iter()
            .fold(link, |link, (name, value)| link.parameter(*name, *value));
        self.changed(status, |response| response.link(to, link.build()))
    }

    fn changed(
        mut self,
        status: StatusCode,
        change: impl FnOnce(ResponseBuilder) -> ResponseBuilder,
    ) -> Self {
        let response = self.answers.remove(&status.as_u16());
        let response = response.expect("an answer is described before its headers and links");
        self.answer(status, change(response))
    }

    /// Problems that it may answer with.
    pub(in crate::admin) fn problems(mut self, kinds: &[Kind]) -> Self {
        for kind in kinds {
            let known = self.problems.entry(kind.status.as_u16()).or_default();
            if !known.contains(kind) {
                known.push(*kind);
            }
        }
        self
    }

    /// The operation as OpenAPI has it, and the schemas that it refers to.
    pub(super) fn build(self) -> (Operation, Schemas) {
        let answers = self.answers.into_iter();
        let problems = self.problems.into_iter();
        let problems = problems.map(|(status, kinds)| (status, problem(status, &kinds)));
        let operation = answers
            .chain(problems)
            .fold(self.operation, |operation, (status, response)| {
                operation.response(status.to_string(), response)
            });
        (operation.build(), self.schemas)
    }
}

fn parameter(
    place: ParameterIn,
    name: &str,
    schema: impl Into<Shape>,
    is: &str,
) -> ParameterBuilder {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(place)
        .required(Required::False)
        .description(Some(is))
        .schema(Some(schema))
}

/// A problem document of one of these kinds.
fn problem(status: u16, kinds: &[Kind]) -> ResponseBuilder {
    let urns: Vec<String> = kinds
        .iter()
        .map(|kind| format!("{URN}{}", kind.name))
        .collect();
    let narrowed = object([
        ("type", word(urns.iter().map(String::as_str)).into()),
        ("status", count().enum_values(Some([status])).into()),
    ]);
    let schema = AllOfBuilder::new()
        .item(Ref::from_schema_name(super::PROBLEM))
        .item(narrowed);
    let titles: Vec<String> = kinds
        .iter()
        .map(|kind| format!("{} (`{}`)", kind.title, kind.name))
        .collect();
    let content = ContentBuilder::new().schema(Some(schema)).build();
    let response = ResponseBuilder::new()
        .description(titles.join("; "))
        .content(MEDIA_TYPE, content);
    // With others asking again changes nothing.
    if matches!(status, 409 | 429 | 503) {
        let header = Ref::new(format!("#/components/headers/{RETRY_AFTER}"));
        response.header_ref(RETRY_AFTER.as_str(), header)
    } else {
        response
    }
}
