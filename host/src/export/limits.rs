//! The limits on a span that the environment sets, and the resource attributes that it adds.

use std::sync::Arc;

use lighthouse_telemetry_core::span::{Attribute, AttributeValue, Resource, Span};

/// How much of a span is kept: the `OTEL_SPAN_*_LIMIT` of the OpenTelemetry specification. What comes first
/// stays; what is cut is counted in the span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Attributes of a span.
    pub attributes: usize,
    /// Characters of a text value of an attribute; none: all.
    pub value_length: Option<usize>,
    /// Events of a span.
    pub events: usize,
    /// Links of a span.
    pub links: usize,
    /// Attributes of an event.
    pub event_attributes: usize,
    /// Attributes of a link.
    pub link_attributes: usize,
}

impl Default for Limits {
    /// The defaults of the OpenTelemetry specification.
    fn default() -> Self {
        Self {
            attributes: 128,
            value_length: None,
            events: 128,
            links: 128,
            event_attributes: 128,
            link_attributes: 128,
        }
    }
}

impl Limits {
    /// Cuts a span to the limits.
    pub fn apply(&self, span: &mut Span) {
        span.dropped.attributes += cut(&mut span.attributes, self.attributes);
        span.dropped.events += cut(&mut span.events, self.events);
        span.dropped.links += cut(&mut span.links, self.links);
        for event in &mut span.events {
            cut(&mut event.attributes, self.event_attributes);
        }
        for link in &mut span.links {
            cut(&mut link.attributes, self.link_attributes);
        }
        let Some(length) = self.value_length else {
            return;
        };
        let events = span.events.iter_mut().map(|event| &mut event.attributes);
        let links = span.links.iter_mut().map(|link| &mut link.attributes);
        std::iter::once(&mut span.attributes)
            .chain(events)
            .chain(links)
            .flatten()
            .for_each(|attribute| shorten(&mut attribute.value, length));
    }
}

/// How many were cut.
fn cut<T>(list: &mut Vec<T>, limit: usize) -> u32 {
    let surplus = list.len().saturating_sub(limit);
    list.truncate(limit);
    u32::try_from(surplus).unwrap_or(u32::MAX)
}

fn shorten(value: &mut AttributeValue, length: usize) {
    let texts = match value {
        AttributeValue::Text(text) => std::slice::from_mut(text),
        AttributeValue::Texts(texts) => texts.as_mut_slice(),
        _ => return,
    };
    for text in texts {
        if let Some((end, _)) = text.char_indices().nth(length) {
            *text = text.get(..end).unwrap_or_default().into();
        }
    }
}

/// The resource with those of the attributes that it does not have. The service is the mapper's, so that
/// `service.name` never is among them.
pub(super) fn complete(resource: &Arc<Resource>, attributes: &[Attribute]) -> Arc<Resource> {
    let missing: Vec<_> = attributes
        .iter()
        .filter(|extra| {
            let mut own = resource.attributes.iter();
            !own.any(|attribute| attribute.key == extra.key)
        })
        .cloned()
        .collect();
    if missing.is_empty() {
        return Arc::clone(resource);
    }
    let mut resource = Resource::clone(resource);
    resource.attributes.extend(missing);
    Arc::new(resource)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::encode::tests::span;
    use lighthouse_telemetry_core::span::{Link, SpanEvent};
    use lighthouse_telemetry_core::time::Time;

    #[test]
    fn what_is_beyond_a_limit_is_cut_from_the_end_and_counted() {
        let mut span = span("a", "service");
        span.attributes = vec![
            Attribute::new("text", "žluťoučký"),
            Attribute::new("texts", AttributeValue::Texts(vec!["abcd".into()])),
            Attribute::new("number", 1),
        ];
        span.events = vec![
            SpanEvent {
                name: "e".into(),
                time: Time::EPOCH,
                attributes: vec![Attribute::new("x", "1234"), Attribute::new("y", "")],
            };
            3
        ];
        span.links = vec![
            Link {
                trace_id: span.trace_id,
                span_id: span.span_id,
                attributes: vec![],
            };
            2
        ];
        span.dropped.events = 5;
        Limits {
            attributes: 2,
            value_length: Some(3),
            events: 1,
            links: 1,
            event_attributes: 1,
            link_attributes: 0,
        }
        .apply(&mut span);
        assert_eq!(
            span.attributes,
            [
                Attribute::new("text", "žlu"),
                Attribute::new("texts", AttributeValue::Texts(vec!["abc".into()])),
            ]
        );
        assert_eq!(span.events.len(), 1);
        assert_eq!(span.events[0].attributes, [Attribute::new("x", "123")]);
        assert_eq!(span.dropped.attributes, 1);
        assert_eq!(span.dropped.events, 7);
        assert_eq!(span.dropped.links, 1);
    }

    #[test]
    fn a_resource_keeps_what_it_has_and_gets_what_it_lacks() {
        let resource = Arc::new(Resource {
            service: "Pod".into(),
            attributes: vec![Attribute::new("service.namespace", "jx")],
        });
        let extra = [
            Attribute::new("service.namespace", "other"),
            Attribute::new("deployment.environment.name", "production"),
        ];
        let completed = complete(&resource, &extra);
        assert_eq!(
            completed.attributes,
            [
                Attribute::new("service.namespace", "jx"),
                Attribute::new("deployment.environment.name", "production"),
            ]
        );
        assert!(Arc::ptr_eq(&completed, &complete(&completed, &extra)));
    }
}
