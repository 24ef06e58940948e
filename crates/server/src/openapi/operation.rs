//! What is said of one route, beyond what its row of the route table says.

use schemars::{JsonSchema, Schema, SchemaGenerator};

/// Makes the schema of a type.
pub(super) type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// That of `T`.
pub(super) const fn of<T: JsonSchema>() -> SchemaOf {
    SchemaGenerator::subschema_for::<T>
}

/// A parameter in the query or in a header.
#[derive(Clone, Copy)]
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) schema: SchemaOf,
    pub(super) required: bool,
    /// Whether it is a header.
    pub(super) header: bool,
}

pub(super) const fn query<T: JsonSchema>(name: &'static str, about: &'static str) -> Parameter {
    Parameter { name, about, schema: of::<T>(), required: false, header: false }
}

impl Parameter {
    pub(super) const fn required(self) -> Self {
        Self { required: true, ..self }
    }

    pub(super) const fn header(self) -> Self {
        Self { header: true, ..self }
    }
}

/// What a request or an answer holds.
#[derive(Clone, Copy)]
pub(super) enum Content {
    Nothing,
    Json(SchemaOf),
    /// Of another media type.
    Other(&'static str),
    /// Either of them, as asked for.
    JsonOr(&'static str),
}

/// Something that is answered when all goes well.
#[derive(Clone, Copy)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) about: &'static str,
    pub(super) content: Content,
}

/// What is said of a route.
pub(super) struct Operation {
    pub(super) method: &'static str,
    /// As in the route table.
    pub(super) path: &'static str,
    pub(super) summary: &'static str,
    /// What kind of thing it is about.
    pub(super) tag: &'static str,
    pub(super) parameters: Vec<Parameter>,
    pub(super) body: Content,
    pub(super) answers: Vec<Answer>,
    /// Problems of its own, by status and code; the others every route has.
    pub(super) problems: Vec<(u16, &'static str)>,
    /// Whether it answers without a token. Then it has no problems but tells what is wrong as an answer.
    pub(super) is_open: bool,
}

impl Operation {
    pub(super) fn new(
        method: &'static str,
        path: &'static str,
        tag: &'static str,
        summary: &'static str,
    ) -> Self {
        Self {
            method,
            path,
            summary,
            tag,
            parameters: Vec::new(),
            body: Content::Nothing,
            answers: Vec::new(),
            problems: Vec::new(),
            is_open: false,
        }
    }

    /// For whoever has no token, in so many words.
    pub(super) fn open(mut self) -> Self {
        self.is_open = true;
        self
    }

    pub(super) fn with(mut self, parameter: Parameter) -> Self {
        self.parameters.push(parameter);
        self
    }

    /// Whether it takes anything in the query.
    pub(super) fn asks(&self) -> bool {
        self.parameters.iter().any(|parameter| !parameter.header)
    }

    pub(super) fn limit_and_cursor<Cursor: JsonSchema>(self) -> Self {
        self.with(query::<u32>("limit", "Items on the page at most."))
            .with(query::<Cursor>("cursor", "Where the page begins: `nextCursor` of the one before."))
            .problem(503, "too_many_reads")
    }

    pub(super) fn takes<T: JsonSchema>(mut self) -> Self {
        self.body = Content::Json(of::<T>());
        self.problem(400, "invalid_json")
            .problem(400, "body_broken")
            .problem(408, "body_too_slow")
            .problem(413, "body_too_large")
    }

    pub(super) fn gives<T: JsonSchema>(self, status: u16, about: &'static str) -> Self {
        self.answers(status, about, Content::Json(of::<T>()))
    }

    pub(super) fn answers(mut self, status: u16, about: &'static str, content: Content) -> Self {
        self.answers.push(Answer { status, about, content });
        self
    }

    pub(super) fn problem(mut self, status: u16, code: &'static str) -> Self {
        self.problems.push((status, code));
        self
    }

    pub(super) fn problems(mut self, more: &[(u16, &'static str)]) -> Self {
        self.problems.extend_from_slice(more);
        self
    }
}
