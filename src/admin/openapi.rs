//! `/openapi.json`: what the side port answers, for programs (OpenAPI 3.1, <https://spec.openapis.org/oas/v3.1.0>).
//!
//! A route is made together with what is said of it, so that there is none without the other:
//!
//! ```text
//!   about(..).takes(..).answers(..).problems(..) --.get(handler)--> Served --Routes::at(path)--> router, paths, schemas
//! ```
//!
//! Answers that are types of ours derive their schemas. Requests are read by hand, for the sake of what is said about a wrong
//! one, and trees have no type; their schemas are written beside them, and tests hold them against the code. Problems are
//! described by the kinds that they are made of.

pub(super) mod about;
pub(super) mod schemas;

use axum::Router;
use axum::body::Bytes;
use axum::extract::DefaultBodyLimit;
use axum::handler::Handler;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::routing::{self, MethodRouter};
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::info::LicenseBuilder;
use utoipa::openapi::path::{
    HttpMethod, Operation, ParameterBuilder, ParameterIn, PathItem, Paths,
};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{ComponentsBuilder, InfoBuilder, OpenApiBuilder, Ref, RefOr, Required};

use super::problem::{NO_SUCH_PATH, Problem};
use about::{About, Schemas, about};
use schemas::{count, instant, object, text, whole};

const PATH: &str = "/openapi.json";
/// The schema of problem documents.
const PROBLEM: &str = "Problem";
/// The parameter of whatever is traced.
const TRACEPARENT: &str = "traceparent";

/// What the operations are about.
const TAGS: [(&str, &str); 7] = [
    (
        "leases",
        "Shares of something scarce, asked for and given back",
    ),
    ("pools", "How much there is to promise"),
    ("cache", "What is held in memory"),
    ("upstreams", "The upstream and its circuit breaker"),
    ("telemetry", "What nearside tells of its work"),
    ("probes", "For kubelet"),
    ("process", "The process itself"),
];

/// A method of a path: what answers it, and what is said of it.
pub(super) struct Served {
    method: HttpMethod,
    answers: MethodRouter,
    operation: Operation,
    schemas: Schemas,
}

impl About {
    fn on(self, method: HttpMethod, answers: MethodRouter) -> Served {
        let (operation, schemas) = self.build();
        Served {
            method,
            answers,
            operation,
            schemas,
        }
    }

    /// Answered by this where it is asked with GET, and with HEAD.
    pub(super) fn get<T: 'static>(self, handler: impl Handler<T, ()>) -> Served {
        self.on(HttpMethod::Get, routing::get(handler))
    }

    /// With PUT.
    pub(super) fn put<T: 'static>(self, handler: impl Handler<T, ()>) -> Served {
        self.on(HttpMethod::Put, routing::put(handler))
    }

    /// With POST.
    pub(super) fn post<T: 'static>(self, handler: impl Handler<T, ()>) -> Served {
        self.on(HttpMethod::Post, routing::post(handler))
    }

    /// With PATCH.
    pub(super) fn patch<T: 'static>(self, handler: impl Handler<T, ()>) -> Served {
        self.on(HttpMethod::Patch, routing::patch(handler))
    }

    /// With DELETE.
    pub(super) fn delete<T: 'static>(self, handler: impl Handler<T, ()>) -> Served {
        self.on(HttpMethod::Delete, routing::delete(handler))
    }
}

/// Routes, and what is said of each.
#[derive(Default)]
pub(super) struct Routes {
    router: Router,
    paths: Paths,
    schemas: Schemas,
}

impl Routes {
    /// These methods of a path; others are told so.
    pub(super) fn at<const N: usize>(self, path: &str, methods: [Served; N]) -> Self {
        self.below(path, path, methods)
    }

    /// The same where the router knows the path by another pattern than the description.
    pub(super) fn below<const N: usize>(
        mut self,
        pattern: &str,
        path: &str,
        methods: [Served; N],
    ) -> Self {
        let allow = allow(&methods);
        let mut answers = MethodRouter::new();
        for served in methods {
            answers = answers.merge(served.answers);
            self.schemas.extend(served.schemas);
            self.paths
                .add_path_operation(path, vec![served.method], served.operation);
        }
        let answers = answers.fallback(move || async move { Problem::method(&allow) });
        self.router = self.router.route(pattern, answers);
        self
    }

    /// All of these and those.
    pub(super) fn merge(mut self, others: Self) -> Self {
        self.paths.merge(others.paths);
        self.schemas.extend(others.schemas);
        let router = self.router.merge(others.router);
        Self { router, ..self }
    }

    /// Bodies are no longer than this.
    pub(super) fn limited(self, bytes: usize) -> Self {
        let router = self.router.layer(DefaultBodyLimit::max(bytes));
        Self { router, ..self }
    }

    /// The router is changed to one whose requests may be parts of traces.
    pub(super) fn traced(mut self, change: impl FnOnce(Router) -> Router) -> Self {
        for operation in self.paths.paths.values_mut().flat_map(operations) {
            let header = Ref::new(format!("#/components/parameters/{TRACEPARENT}"));
            let parameters = operation.parameters.get_or_insert_default();
            parameters.push(RefOr::Ref(header));
        }
        let router = change(self.router);
        Self { router, ..self }
    }

    /// What is served, without `/openapi.json`.
    pub(super) fn undocumented(self) -> Router {
        self.router.fallback(nothing)
    }

    /// What is served, with `/openapi.json`, which describes itself too.
    pub(super) fn documented(mut self) -> Router {
        let (operation, schemas) = itself().build();
        self.paths
            .add_path_operation(PATH, vec![HttpMethod::Get], operation);
        self.schemas.extend(schemas);
        let document = Bytes::from(document(self.paths, self.schemas));
        let show = move || async move { ([(CONTENT_TYPE, "application/json")], document) };
        let answers = routing::get(show).fallback(|| async { Problem::method("GET, HEAD") });
        self.router.route(PATH, answers).fallback(nothing)
    }
}

fn itself() -> About {
    let schema = object([("openapi", text().into()), ("paths", object([]).into())]);
    about("process", "describe", "This description.").answers_as(
        StatusCode::OK,
        "Description",
        schema,
        "an OpenAPI 3.1 document",
    )
}

fn document(paths: Paths, schemas: Schemas) -> String {
    let license = LicenseBuilder::new()
        .name("Apache License 2.0")
        .identifier(Some("Apache-2.0"));
    let info = InfoBuilder::new()
        .title("nearside")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some("The side port of a nearside, for its own pod."))
        .license(Some(license.build()));
    let mut components = ComponentsBuilder::new()
        .schemas_from_iter(schemas)
        .schema(PROBLEM, problem())
        .build();
    let header = traceparent().build().into();
    components.parameters.insert(TRACEPARENT.to_owned(), header);
    let seconds = HeaderBuilder::new()
        .schema(Some(whole(1, u64::from(u32::MAX))))
        .description(Some("seconds after which asking again may help"));
    components
        .headers
        .insert(RETRY_AFTER.to_string(), seconds.build().into());
    let tags = TAGS.map(|(name, is)| {
        let tag = TagBuilder::new().name(name).description(Some(is));
        tag.build()
    });
    let document = OpenApiBuilder::new()
        .info(info.build())
        .tags(Some(tags))
        .paths(paths)
        .components(Some(components))
        .build();
    serde_json::to_string(&document).expect("texts and numbers")
}

/// The methods as `Allow` lists them.
fn allow(methods: &[Served]) -> String {
    let names = methods.iter().map(|served| match served.method {
        HttpMethod::Get => "GET, HEAD",
        HttpMethod::Put => "PUT",
        HttpMethod::Post => "POST",
        HttpMethod::Patch => "PATCH",
        HttpMethod::Delete => "DELETE",
        HttpMethod::Head | HttpMethod::Options | HttpMethod::Trace => {
            unreachable!("About has none of these")
        }
    });
    names.collect::<Vec<_>>().join(", ")
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let PathItem {
        get,
        put,
        post,
        patch,
        delete,
        ..
    } = item;
    [get, put, post, patch, delete].into_iter().flatten()
}

async fn nothing() -> Problem {
    let detail = "there is no such path; /openapi.json, on the side port, has those that there are";
    Problem::new(NO_SUCH_PATH, detail)
}

fn traceparent() -> ParameterBuilder {
    ParameterBuilder::new()
        .name(TRACEPARENT)
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(
            "The caller's span, as W3C Trace Context has it; one that is none is ignored.",
        ))
        .schema(Some(text()))
}

/// RFC 9457's members, and those that some kinds have beside them.
fn problem() -> schemas::Shape {
    let always = object([
        (
            "type",
            text().description(Some("its kind, for programs")).into(),
        ),
        (
            "title",
            text().description(Some("the same for people")).into(),
        ),
        ("status", whole(400, 599).into()),
        (
            "detail",
            text()
                .description(Some("what is wrong this time, and what would be right"))
                .into(),
        ),
    ]);
    let field = text().description(Some(
        "the member that is wrong, such as resources[1].amount",
    ));
    let reason = text().description(Some("why the lease has ended"));
    let fence = text().description(Some("the fence that the lease has"));
    let resource = text().description(Some("of what there is not enough"));
    let requested = count().description(Some("how much of it was asked for"));
    let capacity = count().description(Some("how much of it there is"));
    let used = count().description(Some("how much of it is promised"));
    let ends = instant().description(Some("when the lease ends that is asked to leave"));
    let next = instant().description(Some("when the next lease on it expires"));
    always
        .property("field", field)
        .property("reason", reason)
        .property("fence", fence)
        .property("resource", resource)
        .property("requested", requested)
        .property("capacity", capacity)
        .property("used", used)
        .property("expires_at", ends)
        .property("next_expiry_at", next)
        .into()
}
