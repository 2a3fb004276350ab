//! From the core's types to the contract's. Nothing is copied but what holds references.

use lighthouse_telemetry_core::mapping::Subject;

use super::super::{Configuration, FEATURES, HOST_VERSION};
use super::types;

/// What `configure` is told.
pub fn configuration<'a>(configuration: &Configuration<'a>) -> types::Configuration<'a> {
    let limits = configuration.limits;
    types::Configuration {
        name: configuration.name,
        text: configuration.text,
        host_version: HOST_VERSION,
        features: &FEATURES,
        limits: types::Limits {
            spans: limits.spans,
            attributes_per_span: limits.attributes_per_span,
            events_per_span: limits.events_per_span,
            links_per_span: limits.links_per_span,
            text_bytes: limits.text_bytes,
            output_bytes: limits.output_bytes,
        },
    }
}

/// What is to be mapped; `attached` is where the list of attached objects is kept.
pub fn subject<'a>(
    subject: &'a Subject,
    attached: &'a mut Vec<types::Attached<'a>>,
) -> types::Subject<'a> {
    match subject {
        Subject::Object(object) => {
            attached.extend(object.attached.iter().map(|attached| types::Attached {
                attachment: attached.attachment,
                json: &attached.json,
            }));
            types::Subject::Object(types::Object {
                watch: object.watch,
                json: &object.json,
                deleted: object.deleted,
                attached,
                omitted: object.omitted,
            })
        }
        Subject::Webhook(webhook) => types::Subject::Webhook(types::Webhook {
            watch: webhook.watch,
            kind: &webhook.kind,
            guid: webhook.guid.as_deref(),
            received: types::Timestamp {
                nanoseconds: webhook.received.nanoseconds(),
                precision: types::Precision::Nanosecond,
            },
            json: &webhook.json,
        }),
    }
}
