//! From the contract's types to the core's. A change of form and no more: whether the values make sense is
//! looked at afterwards, for all versions alike.

use lighthouse_telemetry_core::description as core;
use lighthouse_telemetry_core::mapping as mapped;
use lighthouse_telemetry_core::time::Time;

use super::types;
use crate::error::{Located, Rejection};

fn each<A, B>(list: Vec<A>, form: impl FnMut(A) -> B) -> Vec<B> {
    list.into_iter().map(form).collect()
}

/// What a mapper says of itself.
pub fn description(description: types::Description) -> core::Description {
    core::Description {
        version: description.version,
        watches: each(description.watches, |watch| core::Watch {
            source: match watch.source {
                types::Source::Objects(source) => core::Source::Objects(object_source(source)),
                types::Source::Webhooks(kinds) => core::Source::Webhooks(kinds),
            },
            fields: watch.fields,
            attachments: each(watch.attachments, |attachment| core::Attachment {
                source: object_source(attachment.source),
                relation: match attachment.relation {
                    types::Relation::Involved => core::Relation::Involved,
                    types::Relation::Owned => core::Relation::Owned,
                    types::Relation::Labelled(key) => core::Relation::Labelled(key),
                },
                fields: attachment.fields,
            }),
            annotations: each(watch.annotations, |annotation| core::Annotation {
                key: annotation.key,
                value: match annotation.value {
                    types::AnnotationValue::Traceparent => core::AnnotationValue::Traceparent,
                    types::AnnotationValue::Tracestate => core::AnnotationValue::Tracestate,
                    types::AnnotationValue::TraceId => core::AnnotationValue::TraceId,
                    types::AnnotationValue::Exported => core::AnnotationValue::Exported,
                },
            }),
        }),
        features: description.features,
        keeps_state: description.keeps_state,
    }
}

fn object_source(source: types::ObjectSource) -> core::ObjectSource {
    core::ObjectSource {
        group: source.group,
        versions: source.versions,
        kind: source.kind,
        label_selector: source.label_selector,
        field_selector: source.field_selector,
    }
}

/// Why a mapper cannot.
pub fn rejection(error: types::Error) -> Rejection {
    match error {
        types::Error::Configuration(at) => Rejection::Configuration(located(at)),
        types::Error::Subject(at) => Rejection::Subject(diagnostic(at)),
        types::Error::Evaluation(at) => Rejection::Evaluation(located(at)),
        types::Error::Other(message) => Rejection::Other(message),
    }
}

fn located(located: types::Located) -> Located {
    Located {
        message: located.message,
        line: located.line,
        column: located.column,
    }
}

fn diagnostic(diagnostic: types::Diagnostic) -> mapped::Diagnostic {
    mapped::Diagnostic {
        pointer: diagnostic.pointer,
        message: diagnostic.message,
    }
}

/// What a mapper makes of a subject.
pub fn outcome(outcome: types::Outcome) -> mapped::Outcome {
    match outcome {
        types::Outcome::NotOurs => mapped::Outcome::NotOurs,
        types::Outcome::Wait(reason) => mapped::Outcome::Wait(reason),
        types::Outcome::Spans(trees) => mapped::Outcome::Spans(each(trees, tree)),
    }
}

fn tree(tree: types::SpanTree) -> mapped::SpanTree {
    mapped::SpanTree {
        run: tree.run,
        service: tree.service,
        resource_attributes: attributes(tree.resource_attributes),
        parents: each(tree.parents, parent),
        main: span(tree.main),
        children: each(tree.children, |child| mapped::Child {
            under: child.under,
            span: span(child.span),
        }),
        may_annotate: tree.may_annotate,
        diagnostics: each(tree.diagnostics, diagnostic),
    }
}

fn parent(parent: types::Parent) -> mapped::Parent {
    match parent {
        types::Parent::Root(start) => mapped::Parent::Root(match start {
            types::Trace::Subject => mapped::TraceStart::Subject,
            types::Trace::Event(key) => mapped::TraceStart::Event(event_key(key)),
            types::Trace::PullRequest(request) => {
                mapped::TraceStart::PullRequest(pull_request(request))
            }
        }),
        types::Parent::Event(key) => mapped::Parent::Event(event_key(key)),
        types::Parent::Owner(owner) => mapped::Parent::Owner(mapped::OwnerParent {
            group: owner.group,
            kind: owner.kind,
            span: owner.span,
        }),
        types::Parent::Remote(remote) => mapped::Parent::Remote(mapped::Remote {
            traceparent: remote.traceparent,
            tracestate: remote.tracestate,
        }),
        types::Parent::Target(to) => mapped::Parent::Target(target(to)),
        types::Parent::Labelled(labelled) => mapped::Parent::Labelled(mapped::LabelMatch {
            group: labelled.group,
            kind: labelled.kind,
            labels: labelled.labels,
            span: labelled.span,
        }),
    }
}

fn event_key(key: types::EventKey) -> mapped::EventKey {
    match key {
        types::EventKey::Delivery(delivery) => mapped::EventKey::Delivery {
            repository: delivery.repository,
            guid: delivery.guid,
        },
        types::EventKey::Push(push) => mapped::EventKey::Push {
            repository: push.repository,
            reference: push.reference,
            revision: push.revision,
        },
        types::EventKey::Change(change) => mapped::EventKey::Change {
            repository: change.repository,
            number: change.number,
            revision: change.revision,
        },
    }
}

fn pull_request(request: types::PullRequest) -> mapped::PullRequest {
    mapped::PullRequest {
        provider: request.provider,
        repository: request.repository,
        number: request.number,
    }
}

fn target(target: types::Target) -> mapped::Target {
    mapped::Target {
        group: target.group,
        kind: target.kind,
        namespace: target.namespace,
        name: target.name,
        uid: target.uid,
        span: target.span,
    }
}

fn span(span: types::Span) -> mapped::MappedSpan {
    mapped::MappedSpan {
        key: span.key,
        name: span.name,
        kind: match span.kind {
            types::SpanKind::Internal => mapped::SpanKind::Internal,
            types::SpanKind::Server => mapped::SpanKind::Server,
            types::SpanKind::Client => mapped::SpanKind::Client,
            types::SpanKind::Producer => mapped::SpanKind::Producer,
            types::SpanKind::Consumer => mapped::SpanKind::Consumer,
        },
        start: timestamp(span.start),
        end: span.end.map(timestamp),
        status: match span.status {
            types::SpanStatus::Unset => mapped::SpanStatus::Unset,
            types::SpanStatus::Ok => mapped::SpanStatus::Ok,
            types::SpanStatus::Error(description) => mapped::SpanStatus::Error(description),
        },
        attributes: attributes(span.attributes),
        events: each(span.events, |event| mapped::MappedEvent {
            name: event.name,
            time: timestamp(event.time),
            attributes: attributes(event.attributes),
        }),
        links: each(span.links, |link| mapped::MappedLink {
            to: match link.to {
                types::LinkTarget::Event(key) => mapped::LinkTarget::Event(event_key(key)),
                types::LinkTarget::Target(to) => mapped::LinkTarget::Target(target(to)),
                types::LinkTarget::PullRequest(request) => {
                    mapped::LinkTarget::PullRequest(pull_request(request))
                }
                types::LinkTarget::Traceparent(text) => mapped::LinkTarget::Traceparent(text),
            },
            attributes: attributes(link.attributes),
        }),
    }
}

fn timestamp(timestamp: types::Timestamp) -> mapped::Timestamp {
    mapped::Timestamp {
        time: Time::from_nanoseconds(timestamp.nanoseconds),
        precision: match timestamp.precision {
            types::Precision::Nanosecond => mapped::Precision::Nanosecond,
            types::Precision::Microsecond => mapped::Precision::Microsecond,
            types::Precision::Millisecond => mapped::Precision::Millisecond,
            types::Precision::Second => mapped::Precision::Second,
        },
    }
}

fn attributes(list: Vec<types::Attribute>) -> Vec<mapped::Attribute> {
    each(list, |attribute| mapped::Attribute {
        key: attribute.key,
        value: match attribute.value {
            types::AttributeValue::Text(text) => mapped::AttributeValue::Text(text),
            types::AttributeValue::Boolean(boolean) => mapped::AttributeValue::Boolean(boolean),
            types::AttributeValue::Integer(integer) => mapped::AttributeValue::Integer(integer),
            types::AttributeValue::Number(number) => mapped::AttributeValue::Number(number),
            types::AttributeValue::Texts(list) => mapped::AttributeValue::Texts(list),
            types::AttributeValue::Booleans(list) => mapped::AttributeValue::Booleans(list),
            types::AttributeValue::Integers(list) => mapped::AttributeValue::Integers(list),
            types::AttributeValue::Numbers(list) => mapped::AttributeValue::Numbers(list),
        },
    })
}
