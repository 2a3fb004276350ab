//! From the contract's types to the core's, for `configure`. A change of form and no more: whether the values make
//! sense is looked at afterwards, for all versions alike.

use lighthouse_telemetry_core::description as core;
use lighthouse_telemetry_core::mapping as mapped;

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
