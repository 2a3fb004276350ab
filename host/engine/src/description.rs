//! Whether what a mapper asks for is granted. Whoever edits a mapper is not the cluster's administrator.

use lighthouse_telemetry_core::catalog::Catalog;
use lighthouse_telemetry_core::description::{Description, ObjectSource, Relation, Source};

use crate::contract::FEATURES;
use crate::error::BadDescription;
use crate::limits::Limits;

/// Refuses a description that makes no sense or asks for too much.
pub fn check(name: &str, description: &Description, limits: &Limits) -> Result<(), BadDescription> {
    let unknown = description
        .features
        .iter()
        .find(|feature| !FEATURES.contains(&feature.as_str()));
    if let Some(feature) = unknown {
        return Err(BadDescription::Feature(feature.clone()));
    }
    let text = |what, text: &str| at_most_bytes(what, text, limits);
    text("version", &description.version)?;
    at_most("watches", description.watches.len(), limits.watches)?;
    for watch in &description.watches {
        match &watch.source {
            Source::Objects(source) => check_source(source, limits)?,
            Source::Webhooks(kinds) => {
                at_most("kinds of webhook in a watch", kinds.len(), limits.names)?;
                kinds
                    .iter()
                    .try_for_each(|kind| text("kind of webhook", kind))?;
            }
        }
        check_fields("fields in a watch", &watch.fields, limits)?;
        at_most(
            "attachments in a watch",
            watch.attachments.len(),
            limits.attachments_per_watch,
        )?;
        for attachment in &watch.attachments {
            check_source(&attachment.source, limits)?;
            if let Relation::Labelled(key) = &attachment.relation {
                text("label's key", key)?;
            }
            check_fields("fields in an attachment", &attachment.fields, limits)?;
        }
        at_most(
            "annotations in a watch",
            watch.annotations.len(),
            limits.annotations_per_watch,
        )?;
        for annotation in &watch.annotations {
            text("annotation's key", &annotation.key)?;
            let allowed = |prefix: &String| annotation.key.starts_with(prefix);
            if !limits.annotation_prefixes.iter().any(allowed) {
                return Err(BadDescription::Annotation {
                    key: annotation.key.clone(),
                    allowed: limits.annotation_prefixes.join(", "),
                });
            }
        }
    }
    Catalog::new([(name.to_owned(), description.clone())])?;
    Ok(())
}

fn at_most(what: &'static str, found: usize, limit: usize) -> Result<(), BadDescription> {
    if found > limit {
        return Err(BadDescription::TooMany { what, found, limit });
    }
    Ok(())
}

fn at_most_bytes(what: &'static str, text: &str, limits: &Limits) -> Result<(), BadDescription> {
    let (found, limit) = (text.len(), limits.name_bytes);
    if found > limit {
        return Err(BadDescription::TooLong { what, found, limit });
    }
    Ok(())
}

fn check_fields(
    what: &'static str,
    fields: &[String],
    limits: &Limits,
) -> Result<(), BadDescription> {
    at_most(what, fields.len(), limits.fields)?;
    let mut fields = fields.iter();
    fields.try_for_each(|field| at_most_bytes("field", field, limits))
}

fn check_source(source: &ObjectSource, limits: &Limits) -> Result<(), BadDescription> {
    if source.group.is_empty() && source.kind == "Secret" {
        return Err(BadDescription::Secrets);
    }
    at_most("versions of a kind", source.versions.len(), limits.names)?;
    let names = [("group", &source.group), ("kind", &source.kind)].into_iter();
    let versions = source.versions.iter().map(|version| ("version", version));
    for (what, name) in names.chain(versions) {
        at_most_bytes(what, name, limits)?;
        // They become parts of paths, by which another kind could be meant.
        let is_of_a_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
        if !name.bytes().all(is_of_a_name) || name.contains("..") {
            return Err(BadDescription::NotAName {
                what,
                found: name.clone(),
            });
        }
    }
    let selectors = [&source.label_selector, &source.field_selector];
    let mut selectors = selectors.into_iter().flatten();
    selectors.try_for_each(|selector| at_most_bytes("selector", selector, limits))
}

#[cfg(test)]
mod tests {
    use super::*;
    use lighthouse_telemetry_core::description::{Annotation, AnnotationValue, Attachment, Watch};

    fn watching(kind: &str) -> Description {
        Description {
            watches: vec![Watch {
                source: Source::Objects(ObjectSource::of("", "v1", kind)),
                fields: vec!["/status".to_owned()],
                attachments: Vec::new(),
                annotations: Vec::new(),
            }],
            ..Description::default()
        }
    }

    fn refused(change: impl FnOnce(&mut Description)) -> BadDescription {
        let mut description = watching("Pod");
        assert_eq!(check("m", &description, &Limits::default()), Ok(()));
        change(&mut description);
        check("m", &description, &Limits::default()).unwrap_err()
    }

    #[test]
    fn secrets_are_never_watched() {
        let error = refused(|description| *description = watching("Secret"));
        assert_eq!(error, BadDescription::Secrets);
        let error = refused(|description| {
            description.watches[0].attachments.push(Attachment {
                source: ObjectSource::of("", "v1", "Secret"),
                relation: Relation::Owned,
                fields: Vec::new(),
            });
        });
        assert_eq!(error, BadDescription::Secrets);
    }

    #[test]
    fn names_are_no_paths_to_another_kind() {
        for (group, version, kind) in [
            ("../api", "v1", "Secret"),
            ("apps", "v1/../../../api/v1", "Secret"),
            ("..", "v1", "Secret"),
            ("", "v1/namespaces/jx/secrets?", "Pod"),
            ("", "v1", "Pod/Secret"),
        ] {
            let error = refused(|description| {
                description.watches[0].source =
                    Source::Objects(ObjectSource::of(group, version, kind));
            });
            assert!(matches!(error, BadDescription::NotAName { .. }), "{error}");
        }
    }

    #[test]
    fn annotations_stay_within_their_prefixes() {
        let error = refused(|description| {
            description.watches[0].annotations.push(Annotation {
                key: "sidecar.istio.io/inject".to_owned(),
                value: AnnotationValue::TraceId,
            });
        });
        assert!(
            matches!(error, BadDescription::Annotation { key, .. } if key.starts_with("sidecar"))
        );
    }

    #[test]
    fn what_is_too_much_or_unknown_is_refused() {
        let error = refused(|description| {
            description.watches = vec![description.watches[0].clone(); 33];
        });
        assert!(matches!(
            error,
            BadDescription::TooMany {
                what: "watches",
                found: 33,
                limit: 32
            }
        ));
        let error = refused(|description| description.features.push("telepathy".to_owned()));
        assert_eq!(error, BadDescription::Feature("telepathy".to_owned()));
        let error = refused(|description| description.watches[0].fields.push("status".to_owned()));
        assert!(matches!(error, BadDescription::Catalog(_)));
    }
}
