//! Outcomes and descriptions as the canonical ABI of the component model lays out the records and variants of
//! `wit/v0.1.0/mapper.wit`: fields in order, each at a multiple of its own alignment; a variant as its case and the largest of its
//! payloads. What is written here is read by the host.
#![expect(dead_code, reason = "the host reads what is written here")]

use crate::contract::{
    Annotation, AnnotationValue, Attachment, Description, Diagnostic, Error, EventKey, LinkTarget,
    Located, ObjectSource, Parent, Precision, PullRequest, Relation, Source, SpanKind, Target,
    Timestamp, TraceStart, Watch,
};
use crate::outcome;

/// A text where it is.
#[repr(C)]
pub(crate) struct Text {
    pub(crate) pointer: *const u8,
    pub(crate) length: usize,
}

/// A list where it is.
#[repr(C)]
struct List<T> {
    pointer: *const T,
    length: usize,
}

#[repr(C, u8)]
enum Maybe<T> {
    None,
    Some(T),
}

/// `result<T, error>`.
#[repr(C, u8)]
enum Returned<T> {
    /// What was asked for.
    Ok(T),
    /// Why there is none.
    Err(Failure),
}

/// `error`.
#[repr(C, u8)]
enum Failure {
    Configuration(At),
    Subject(Pair),
    Evaluation(At),
    Other(Text),
}

#[repr(C)]
struct At {
    message: Text,
    line: u32,
    column: u32,
}

/// Two texts: a diagnostic, a label.
#[repr(C)]
struct Pair(Text, Text);

/// `outcome`.
#[repr(C, u8)]
enum Outcome {
    /// As in the contract.
    NotOurs,
    /// As in the contract.
    Wait(Text),
    /// As in the contract.
    Spans(List<Tree>),
}

#[repr(C)]
struct Tree {
    run: Text,
    service: Text,
    resource_attributes: List<Attribute>,
    parents: List<Candidate>,
    main: Span,
    children: List<Child>,
    may_annotate: bool,
    diagnostics: List<Pair>,
}

#[repr(C)]
struct Child {
    under: Maybe<u32>,
    span: Span,
}

#[repr(C)]
struct Span {
    key: Text,
    name: Text,
    kind: u8,
    start: Moment,
    end: Maybe<Moment>,
    status: Status,
    attributes: List<Attribute>,
    events: List<Event>,
    links: List<Link>,
}

#[repr(C)]
struct Moment {
    nanoseconds: u64,
    precision: u8,
}

#[repr(C, u8)]
enum Status {
    Unset,
    Ok,
    Error(Text),
}

#[repr(C)]
struct Attribute {
    key: Text,
    value: Value,
}

#[repr(C, u8)]
enum Value {
    Text(Text),
    Boolean(bool),
    Integer(i64),
    Number(f64),
    Texts(List<Text>),
    Booleans(List<bool>),
    Integers(List<i64>),
    Numbers(List<f64>),
}

#[repr(C)]
struct Event {
    name: Text,
    time: Moment,
    attributes: List<Attribute>,
}

#[repr(C)]
struct Link {
    to: To,
    attributes: List<Attribute>,
}

#[repr(C, u8)]
enum To {
    Event(Key),
    Target(Named),
    PullRequest(Request),
    Traceparent(Text),
}

#[repr(C, u8)]
enum Candidate {
    Root(Root),
    Event(Key),
    Owner(Maybe<Text>, Maybe<Text>, Text),
    Remote(Text, Maybe<Text>),
    Target(Named),
    Labelled(Text, Text, List<Pair>, Text),
}

#[repr(C, u8)]
enum Root {
    Subject,
    Event(Key),
    PullRequest(Request),
}

#[repr(C, u8)]
enum Key {
    Delivery(Text, Text),
    Push(Text, Text, Text),
    Change(Text, u64, Text),
}

#[repr(C)]
struct Request {
    provider: Text,
    repository: Text,
    number: u64,
}

#[repr(C)]
struct Named {
    group: Text,
    kind: Text,
    namespace: Maybe<Text>,
    name: Text,
    uid: Maybe<Text>,
    span: Text,
}

/// `description`.
#[repr(C)]
struct Described {
    version: Text,
    watches: List<Watched>,
    features: List<Text>,
    keeps_state: bool,
}

#[repr(C)]
struct Watched {
    source: From,
    fields: List<Text>,
    attachments: List<Along>,
    annotations: List<Annotated>,
}

#[repr(C, u8)]
enum From {
    Objects(Kind),
    Webhooks(List<Text>),
}

#[repr(C)]
struct Kind {
    group: Text,
    versions: List<Text>,
    kind: Text,
    label_selector: Maybe<Text>,
    field_selector: Maybe<Text>,
}

#[repr(C)]
struct Along {
    source: Kind,
    relation: How,
    fields: List<Text>,
}

#[repr(C, u8)]
enum How {
    Involved,
    Owned,
    Labelled(Text),
}

#[repr(C)]
struct Annotated {
    key: Text,
    value: u8,
}

/// `attached`, as the host writes it.
#[repr(C)]
pub(crate) struct Handed {
    pub(crate) attachment: u32,
    pub(crate) json: Text,
}

const _: () = {
    assert!(size_of::<Tree>() == 160);
    assert!(size_of::<Child>() == 112);
    assert!(size_of::<Attribute>() == 24);
    assert!(size_of::<Link>() == 72);
    assert!(size_of::<Candidate>() == 64);
    assert!(size_of::<Returned<Outcome>>() == 24);
    assert!(size_of::<Watched>() == 76);
};

fn text(text: &str) -> Text {
    Text {
        pointer: text.as_ptr(),
        length: text.len(),
    }
}

fn maybe<A, B>(value: Option<&A>, lower: impl Fn(&A) -> B) -> Maybe<B> {
    value.map_or(Maybe::None, |value| Maybe::Some(lower(value)))
}

fn maybe_text(value: &Option<String>) -> Maybe<Text> {
    maybe(value.as_ref(), |value| text(value))
}

fn here<T>(list: &[T]) -> List<T> {
    List {
        pointer: list.as_ptr(),
        length: list.len(),
    }
}

fn list<A, B>(list: &[A], lower: impl Fn(&A) -> B) -> List<B> {
    here(list.iter().map(lower).collect::<Vec<B>>().leak())
}

fn texts<T: AsRef<str>>(from: &[T]) -> List<Text> {
    list(from, |from| text(from.as_ref()))
}

/// Where a description is, which the host reads.
pub(crate) fn description(result: Result<Description, Error>) -> *const u8 {
    returned(result, described)
}

/// Where an outcome is, which the host reads.
pub(crate) fn mapped(result: Result<outcome::Outcome<'_>, Error>) -> *const u8 {
    returned(result, outcome)
}

fn returned<A, B>(result: Result<A, Error>, lower: impl Fn(&A) -> B) -> *const u8 {
    let lowered = match &result {
        Ok(value) => Returned::Ok(lower(value)),
        Err(error) => Returned::Err(failure(error)),
    };
    // The texts in it are handed over.
    std::mem::forget(result);
    (&raw const *Box::leak(Box::new(lowered))).cast()
}

fn failure(error: &Error) -> Failure {
    let at = |located: &Located| At {
        message: text(&located.message),
        line: located.line,
        column: located.column,
    };
    match error {
        Error::Configuration(located) => Failure::Configuration(at(located)),
        Error::Subject(odd) => Failure::Subject(diagnostic(odd)),
        Error::Evaluation(located) => Failure::Evaluation(at(located)),
        Error::Other(message) => Failure::Other(text(message)),
    }
}

fn diagnostic(diagnostic: &Diagnostic) -> Pair {
    Pair(text(&diagnostic.pointer), text(&diagnostic.message))
}

fn outcome(outcome: &outcome::Outcome<'_>) -> Outcome {
    match outcome {
        outcome::Outcome::NotOurs => Outcome::NotOurs,
        outcome::Outcome::Wait(reason) => Outcome::Wait(text(reason)),
        outcome::Outcome::Spans(trees) => Outcome::Spans(list(trees, tree)),
    }
}

fn tree(tree: &outcome::SpanTree<'_>) -> Tree {
    Tree {
        run: text(&tree.run),
        service: text(&tree.service),
        resource_attributes: attributes(&tree.resource_attributes),
        parents: list(&tree.parents, candidate),
        main: span(&tree.main),
        children: list(&tree.children, |child| Child {
            under: maybe(child.under.as_ref(), |under| *under),
            span: span(&child.span),
        }),
        may_annotate: tree.may_annotate,
        diagnostics: list(&tree.diagnostics, diagnostic),
    }
}

fn span(span: &outcome::Span<'_>) -> Span {
    Span {
        key: text(&span.key),
        name: text(&span.name),
        kind: match span.kind {
            SpanKind::Internal => 0,
            SpanKind::Server => 1,
            SpanKind::Client => 2,
            SpanKind::Producer => 3,
            SpanKind::Consumer => 4,
        },
        start: moment(&span.start),
        end: maybe(span.end.as_ref(), moment),
        status: match &span.status {
            outcome::SpanStatus::Unset => Status::Unset,
            outcome::SpanStatus::Ok => Status::Ok,
            outcome::SpanStatus::Error(description) => Status::Error(text(description)),
        },
        attributes: attributes(&span.attributes),
        events: list(&span.events, |event| Event {
            name: text(&event.name),
            time: moment(&event.time),
            attributes: attributes(&event.attributes),
        }),
        links: list(&span.links, |link| Link {
            to: to(&link.to),
            attributes: attributes(&link.attributes),
        }),
    }
}

fn moment(time: &Timestamp) -> Moment {
    Moment {
        nanoseconds: time.nanoseconds,
        precision: match time.precision {
            Precision::Nanosecond => 0,
            Precision::Microsecond => 1,
            Precision::Millisecond => 2,
            Precision::Second => 3,
        },
    }
}

fn attributes(from: &[outcome::Attribute<'_>]) -> List<Attribute> {
    use outcome::AttributeValue;
    list(from, |attribute| Attribute {
        key: text(&attribute.key),
        value: match &attribute.value {
            AttributeValue::Text(value) => Value::Text(text(value)),
            AttributeValue::Boolean(value) => Value::Boolean(*value),
            AttributeValue::Integer(value) => Value::Integer(*value),
            AttributeValue::Number(value) => Value::Number(*value),
            AttributeValue::Texts(values) => Value::Texts(texts(values)),
            AttributeValue::Booleans(values) => Value::Booleans(here(values)),
            AttributeValue::Integers(values) => Value::Integers(here(values)),
            AttributeValue::Numbers(values) => Value::Numbers(here(values)),
        },
    })
}

fn to(to: &LinkTarget) -> To {
    match to {
        LinkTarget::Event(event) => To::Event(key(event)),
        LinkTarget::Target(target) => To::Target(named(target)),
        LinkTarget::PullRequest(pull_request) => To::PullRequest(request(pull_request)),
        LinkTarget::Traceparent(traceparent) => To::Traceparent(text(traceparent)),
    }
}

fn candidate(parent: &Parent) -> Candidate {
    match parent {
        Parent::Root(start) => Candidate::Root(match start {
            TraceStart::Subject => Root::Subject,
            TraceStart::Event(event) => Root::Event(key(event)),
            TraceStart::PullRequest(pull_request) => Root::PullRequest(request(pull_request)),
        }),
        Parent::Event(event) => Candidate::Event(key(event)),
        Parent::Owner(owner) => Candidate::Owner(
            maybe_text(&owner.group),
            maybe_text(&owner.kind),
            text(&owner.span),
        ),
        Parent::Remote(remote) => {
            Candidate::Remote(text(&remote.traceparent), maybe_text(&remote.tracestate))
        }
        Parent::Target(target) => Candidate::Target(named(target)),
        Parent::Labelled(labelled) => Candidate::Labelled(
            text(&labelled.group),
            text(&labelled.kind),
            list(&labelled.labels, |(key, value)| {
                Pair(text(key), text(value))
            }),
            text(&labelled.span),
        ),
    }
}

fn key(key: &EventKey) -> Key {
    match key {
        EventKey::Delivery(delivery) => {
            Key::Delivery(text(&delivery.repository), text(&delivery.guid))
        }
        EventKey::Push(push) => Key::Push(
            text(&push.repository),
            text(&push.reference),
            text(&push.revision),
        ),
        EventKey::Change(change) => Key::Change(
            text(&change.repository),
            change.number,
            text(&change.revision),
        ),
    }
}

fn request(request: &PullRequest) -> Request {
    Request {
        provider: text(&request.provider),
        repository: text(&request.repository),
        number: request.number,
    }
}

fn named(target: &Target) -> Named {
    Named {
        group: text(&target.group),
        kind: text(&target.kind),
        namespace: maybe_text(&target.namespace),
        name: text(&target.name),
        uid: maybe_text(&target.uid),
        span: text(&target.span),
    }
}

fn described(description: &Description) -> Described {
    Described {
        version: text(&description.version),
        watches: list(&description.watches, watched),
        features: texts(&description.features),
        keeps_state: description.keeps_state,
    }
}

fn watched(watch: &Watch) -> Watched {
    Watched {
        source: match &watch.source {
            Source::Objects(source) => From::Objects(kind(source)),
            Source::Webhooks(kinds) => From::Webhooks(texts(kinds)),
        },
        fields: texts(&watch.fields),
        attachments: list(&watch.attachments, |attachment: &Attachment| Along {
            source: kind(&attachment.source),
            relation: match &attachment.relation {
                Relation::Involved => How::Involved,
                Relation::Owned => How::Owned,
                Relation::Labelled(key) => How::Labelled(text(key)),
            },
            fields: texts(&attachment.fields),
        }),
        annotations: list(&watch.annotations, |annotation: &Annotation| Annotated {
            key: text(&annotation.key),
            value: match annotation.value {
                AnnotationValue::Traceparent => 0,
                AnnotationValue::Tracestate => 1,
                AnnotationValue::TraceId => 2,
                AnnotationValue::Exported => 3,
            },
        }),
    }
}

fn kind(source: &ObjectSource) -> Kind {
    Kind {
        group: text(&source.group),
        versions: texts(&source.versions),
        kind: text(&source.kind),
        label_selector: maybe_text(&source.label_selector),
        field_selector: maybe_text(&source.field_selector),
    }
}
