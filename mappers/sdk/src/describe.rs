//! Builders for what a mapper declares.

use std::borrow::Cow;

use crate::contract::{
    Annotation, AnnotationValue, Attachment, Description, ObjectSource, Outcome, Relation, Source,
    Watch,
};

fn texts<'a>(texts: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    texts.into_iter().map(str::to_owned).collect()
}

impl Description {
    /// A description without a watch; the version is the mapper's own, for people.
    #[must_use]
    pub fn new(version: &str) -> Self {
        Self {
            version: version.to_owned(),
            watches: Vec::new(),
            features: Vec::new(),
            keeps_state: false,
        }
    }

    /// Adds a watch. Subjects name it by its place: the first is 0.
    #[must_use]
    pub fn watch(mut self, watch: Watch) -> Self {
        self.watches.push(watch);
        self
    }
}

impl Watch {
    /// Watches objects.
    #[must_use]
    pub fn objects(source: ObjectSource) -> Self {
        Self::of(Source::Objects(source))
    }

    /// Receives the webhooks of these kinds; none means all.
    #[must_use]
    pub fn webhooks<'a>(kinds: impl IntoIterator<Item = &'a str>) -> Self {
        Self::of(Source::Webhooks(texts(kinds)))
    }

    fn of(source: Source) -> Self {
        Self {
            source,
            fields: Vec::new(),
            attachments: Vec::new(),
            annotations: Vec::new(),
        }
    }

    /// The fields that the mapper reads: JSON pointers, in which `*` stands for every element. Without any the
    /// host hands over whole objects.
    #[must_use]
    pub fn fields<'a>(mut self, fields: impl IntoIterator<Item = &'a str>) -> Self {
        self.fields.extend(texts(fields));
        self
    }

    /// Objects that come along, with the fields that the mapper reads of them. They name their attachment by
    /// its place: the first is 0.
    #[must_use]
    pub fn attach<'a>(
        mut self,
        source: ObjectSource,
        relation: Relation,
        fields: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        self.attachments.push(Attachment {
            source,
            relation,
            fields: texts(fields),
        });
        self
    }

    /// An annotation that the host sets on the subject.
    #[must_use]
    pub fn annotate(mut self, key: &str, value: AnnotationValue) -> Self {
        self.annotations.push(Annotation {
            key: key.to_owned(),
            value,
        });
        self
    }

    /// The three annotations that hold the subject's own context: `<prefix>/traceparent`, `<prefix>/tracestate`
    /// and `<prefix>/traceID`.
    #[must_use]
    pub fn annotate_context(self, prefix: &str) -> Self {
        self.annotate(
            &format!("{prefix}/traceparent"),
            AnnotationValue::Traceparent,
        )
        .annotate(&format!("{prefix}/tracestate"), AnnotationValue::Tracestate)
        .annotate(&format!("{prefix}/traceID"), AnnotationValue::TraceId)
    }
}

impl ObjectSource {
    /// All objects of a kind, in the first of these versions that the cluster serves. The core group is empty.
    #[must_use]
    pub fn new<'a>(group: &str, versions: impl IntoIterator<Item = &'a str>, kind: &str) -> Self {
        Self {
            group: group.to_owned(),
            versions: texts(versions),
            kind: kind.to_owned(),
            label_selector: None,
            field_selector: None,
        }
    }

    /// Only objects with these labels, in the syntax of the Kubernetes API.
    #[must_use]
    pub fn labelled(mut self, selector: &str) -> Self {
        self.label_selector = Some(selector.to_owned());
        self
    }

    /// Only objects with these fields, in the syntax of the Kubernetes API.
    #[must_use]
    pub fn with_fields(mut self, selector: &str) -> Self {
        self.field_selector = Some(selector.to_owned());
        self
    }
}

impl<'a> Outcome<'a> {
    /// It is too early to map the subject; the reason in kebab-case.
    #[must_use]
    pub fn wait(reason: impl Into<Cow<'a, str>>) -> Self {
        Self::Wait(reason.into())
    }
}
