//! Schemas of what has no type of its own to derive one from: requests, which are read by hand, and trees.

use utoipa::openapi::schema::{
    AdditionalProperties, ArrayBuilder, ObjectBuilder, SchemaFormat, SchemaType, Type,
};
use utoipa::openapi::{KnownFormat, RefOr, Schema};

/// What may stand where a schema is needed.
pub(in crate::admin) type Shape = RefOr<Schema>;

/// A whole number within these bounds.
pub(in crate::admin) fn whole(least: u64, most: u64) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(least))
        .maximum(Some(most))
}

/// A number of things.
pub(in crate::admin) fn count() -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(0_u64))
}

/// A text.
pub(in crate::admin) fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

/// A text that this matches.
pub(in crate::admin) fn matching(pattern: impl Into<String>) -> ObjectBuilder {
    text().pattern(Some(pattern))
}

/// A point in time as RFC 3339 has it.
pub(in crate::admin) fn instant() -> ObjectBuilder {
    text().format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
}

/// One of these words.
pub(in crate::admin) fn word<'a>(words: impl IntoIterator<Item = &'a str>) -> ObjectBuilder {
    text().enum_values(Some(words))
}

/// The same, or `null`: of a type that is named here.
pub(in crate::admin) fn or_null(kind: Type, schema: ObjectBuilder) -> ObjectBuilder {
    schema.schema_type(SchemaType::from_iter([kind, Type::Null]))
}

/// Several of these.
pub(in crate::admin) fn list(each: impl Into<Shape>) -> ArrayBuilder {
    ArrayBuilder::new().items(each.into())
}

/// An object that always has these members, and may get more with time.
pub(in crate::admin) fn object<const N: usize>(members: [(&str, Shape); N]) -> ObjectBuilder {
    let empty = ObjectBuilder::new().schema_type(Type::Object);
    members.into_iter().fold(empty, |object, (name, schema)| {
        object.property(name, schema).required(name)
    })
}

/// Any names, with such values.
pub(in crate::admin) fn map(each: impl Into<Shape>) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::Object)
        .additional_properties(Some(each.into()))
}

/// An object that takes the members that were given to it so far and no others, as requests are.
pub(in crate::admin) fn closed(object: ObjectBuilder) -> ObjectBuilder {
    object.additional_properties(Some(AdditionalProperties::FreeForm(false)))
}
