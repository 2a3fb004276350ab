//! Whether what a mapper asks for is granted. Whoever edits a mapper is not the cluster's administrator.

use lighthouse_telemetry_core::catalog::Catalog;
use lighthouse_telemetry_core::description::{Description, ObjectSource, Source};

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
    at_most("watches", description.watches.len(), limits.watches)?;
    for watch in &description.watches {
        if let Source::Objects(source) = &watch.source {
            not_secret(source)?;
        }
        at_most("fields in a watch", watch.fields.len(), limits.fields)?;
        at_most(
            "attachments in a watch",
            watch.attachments.len(),
            limits.attachments_per_watch,
        )?;
        for attachment in &watch.attachments {
            not_secret(&attachment.source)?;
            at_most(
                "fields in an attachment",
                attachment.fields.len(),
                limits.fields,
            )?;
        }
        for annotation in &watch.annotations {
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

fn not_secret(source: &ObjectSource) -> Result<(), BadDescription> {
    if source.group.is_empty() && source.kind == "Secret" {
        return Err(BadDescription::Secrets);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use lighthouse_telemetry_core::description::{
        Annotation, AnnotationValue, Attachment, Relation, Watch,
    };

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
