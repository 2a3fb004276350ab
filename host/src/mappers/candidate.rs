//! Files that shall become mappers, judged as those in a directory are: for their authors, before the plugin sees them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kube::core::{ApiResource, GroupVersionKind};
use lighthouse_telemetry_core::description::{Description, ObjectSource, Source};
use lighthouse_telemetry_core::time::Time;
use lighthouse_telemetry_engine::{Engine, Limits, Mapper};

use super::compiler::Compiler;
use super::directory::{self, Form, Module, Stamp};
use super::library::Judge;
use crate::kinds::Served;

/// A file that is to become a mapper.
#[derive(Debug)]
pub struct Candidate {
    /// The file, or a directory that cannot be read.
    pub path: PathBuf,
    /// The module in it; none if it is none by its name or its size.
    pub module: Option<Judged>,
    /// Why it cannot be used; none if it can.
    pub refused: Option<String>,
}

/// A module that was judged.
#[derive(Debug)]
pub struct Judged {
    /// The name that the mapper has.
    pub name: String,
    /// What it is made of.
    pub form: Form,
    /// SHA-256, 64 lower-case hexadecimal digits.
    pub digest: String,
    /// What is in the file.
    pub bytes: Vec<u8>,
    /// None if it is refused.
    pub mapper: Option<Arc<Mapper>>,
}

/// Judges files, and all modules in directories.
///
/// # Errors
/// If this machine cannot run WebAssembly.
pub fn candidates(paths: &[PathBuf], compiler: Compiler) -> anyhow::Result<Vec<Candidate>> {
    let mut judge = Judge::new(Engine::new(Limits::default())?, compiler);
    let mut candidates = Vec::new();
    for path in paths {
        if !path.is_dir() {
            candidates.push(match directory::single(path) {
                Ok(module) => judged(&mut judge, module),
                Err(reason) => unusable(path, reason),
            });
            continue;
        }
        match directory::read(path, &Stamp::default()) {
            Ok(listing) => {
                let listing = listing.unwrap_or_default();
                let modules = listing.modules.into_iter();
                candidates.extend(modules.map(|module| judged(&mut judge, module)));
                let troubles = listing.troubles.into_iter();
                candidates.extend(troubles.map(|trouble| unusable(path, trouble)));
            }
            Err(error) => candidates.push(unusable(path, error.to_string())),
        }
    }
    Ok(candidates)
}

fn judged(judge: &mut Judge, module: Module) -> Candidate {
    let bytes = module.bytes.clone();
    let found = judge.judge(module, Time::EPOCH);
    let (mapper, refused) = match found.judged {
        Ok(mapper) => (Some(mapper), None),
        Err(reason) => (None, Some(reason)),
    };
    Candidate {
        path: found.path,
        module: Some(Judged {
            name: found.name,
            form: found.form,
            digest: found.digest,
            bytes,
            mapper,
        }),
        refused,
    }
}

fn unusable(path: &Path, reason: String) -> Candidate {
    Candidate {
        path: path.to_owned(),
        module: None,
        refused: Some(reason),
    }
}

/// What the plugin's service account must be allowed for a mapper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The kind, and the name of its resource as it follows from the kind's; a cluster may call it otherwise.
    pub served: Served,
    /// What the plugin does with it.
    pub verbs: Vec<&'static str>,
}

/// The rules that a mapper of this description needs, each resource once.
#[must_use]
pub fn rules(description: &Description) -> Vec<Rule> {
    let mut rules: BTreeMap<(String, String), Rule> = BTreeMap::new();
    for watch in &description.watches {
        let Source::Objects(source) = &watch.source else {
            continue;
        };
        allow(&mut rules, source, !watch.annotations.is_empty());
        for attachment in &watch.attachments {
            allow(&mut rules, &attachment.source, false);
        }
    }
    rules.into_values().collect()
}

fn allow(rules: &mut BTreeMap<(String, String), Rule>, source: &ObjectSource, is_annotated: bool) {
    let version = source.versions.first().map_or("v1", String::as_str);
    let kind = GroupVersionKind::gvk(&source.group, version, &source.kind);
    let rule = rules
        .entry((source.group.clone(), source.kind.clone()))
        .or_insert_with(|| Rule {
            served: Served {
                resource: ApiResource::from_gvk(&kind),
                namespaced: true,
            },
            verbs: vec!["list", "watch"],
        });
    if is_annotated && !rule.verbs.contains(&"patch") {
        rule.verbs.push("patch");
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use lighthouse_telemetry_core::description::{
        Annotation, AnnotationValue, Attachment, Relation, Watch,
    };

    use super::*;

    const ARGO: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/argo-workflow.wasm"));

    fn watch(source: ObjectSource, annotated: bool) -> Watch {
        let annotation = Annotation {
            key: "lighthouse.jenkins-x.io/trace-id".to_owned(),
            value: AnnotationValue::TraceId,
        };
        Watch {
            source: Source::Objects(source),
            fields: Vec::new(),
            attachments: vec![Attachment {
                source: ObjectSource::of("", "v1", "Event"),
                relation: Relation::Involved,
                fields: Vec::new(),
            }],
            annotations: annotated.then_some(annotation).into_iter().collect(),
        }
    }

    #[test]
    fn each_resource_needs_one_rule_with_all_that_is_done_to_it() {
        let builds = |selector: &str| ObjectSource {
            label_selector: Some(selector.to_owned()),
            ..ObjectSource::of("example.com", "v1", "Policy")
        };
        let description = Description {
            watches: vec![
                watch(builds("a=b"), false),
                watch(builds("a=c"), true),
                Watch {
                    source: Source::Webhooks(Vec::new()),
                    ..watch(builds(""), false)
                },
            ],
            ..Description::default()
        };
        let rules = rules(&description);
        let written = rules.iter().map(|rule| rule.served.rule(&rule.verbs));
        assert_eq!(
            written.collect::<Vec<_>>(),
            [
                r#"apiGroups: [""], resources: ["events"], verbs: ["list", "watch"]"#,
                r#"apiGroups: ["example.com"], resources: ["policies"], verbs: ["list", "watch", "patch"]"#,
            ]
        );
    }

    #[test]
    fn files_and_directories_are_judged_as_the_plugin_does() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        fs::create_dir(path.join("more")).unwrap();
        fs::write(path.join("argo.wasm"), ARGO).unwrap();
        fs::write(path.join("more/half.wasm"), &ARGO[..ARGO.len() / 2]).unwrap();
        fs::write(path.join("more/ü.wasm"), ARGO).unwrap();
        let paths = ["argo.wasm", "more", "argo.txt", "none.wasm"];
        fs::write(path.join("argo.txt"), ARGO).unwrap();
        let candidates =
            candidates(&paths.map(|name| path.join(name)), Compiler::default()).unwrap();
        let [argo, half, umlaut, text, none] = candidates.as_slice() else {
            panic!("{candidates:?}");
        };
        assert_eq!(argo.refused, None);
        let module = argo.module.as_ref().unwrap();
        assert_eq!(module.name, "argo");
        assert_eq!(module.mapper.as_ref().unwrap().name(), "argo");
        for (candidate, reason) in [
            (half, "cut off"),
            (umlaut, "its name must be"),
            (text, "its name must be"),
            (none, "cannot be read"),
        ] {
            let refused = candidate.refused.as_deref().unwrap();
            assert!(refused.contains(reason), "{refused}");
        }
    }
}
