//! `mapper package`: mappers as the manifest of a ConfigMap.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use k8s_openapi::ByteString;

use super::{CONFIG_MAP, bytes};
use crate::cli::{print, say};
use crate::config::{CompilerOptions, namespace};
use crate::mappers::{Candidate, Form, candidates};

pub(super) const EXAMPLES: &str = "Example:
  lighthouse-telemetry mapper package build.wasm --name mappers --namespace jx | kubectl apply --server-side -f -

Apply it on the server's side: otherwise kubectl keeps a copy of it in an annotation, which may have 256 KiB.
The exit code is 1 if a file cannot be used as a mapper, or all together are too large.";

/// What `mapper package` takes.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Files of mappers, and directories of such; each becomes a file of the ConfigMap
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Name of the ConfigMap
    #[arg(long, value_name = "NAME", value_parser = name)]
    pub name: String,
    /// Namespace of the ConfigMap; without it, kubectl's
    #[arg(long, value_name = "NAMESPACE", value_parser = namespace)]
    pub namespace: Option<String>,
    /// Where to write the manifest, instead of standard output
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// How they are compiled.
    #[command(flatten)]
    pub compiler: CompilerOptions,
}

/// A name of an object: a DNS subdomain (RFC 1123), as Kubernetes demands.
fn name(text: &str) -> Result<String, String> {
    let valid = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    let label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(valid)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if text.len() <= 253 && text.split('.').all(label) {
        Ok(text.to_owned())
    } else {
        Err("a name has up to 253 lower-case letters, digits, hyphens and dots".to_owned())
    }
}

/// Judges the files, and writes the manifest if all are mappers and small enough.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let candidates = candidates(&arguments.files, arguments.compiler.compiler())?;
    let manifest = match manifest(arguments, &candidates) {
        Ok(manifest) => manifest,
        Err(troubles) => {
            troubles.iter().for_each(|trouble| say(trouble));
            return Ok(ExitCode::FAILURE);
        }
    };
    match &arguments.output {
        Some(path) => std::fs::write(path, manifest)
            .with_context(|| format!("cannot write {}", path.display()))?,
        None => print(&manifest)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The manifest, or why there is none.
fn manifest(arguments: &Arguments, candidates: &[Candidate]) -> Result<String, Vec<String>> {
    let mut troubles = Vec::new();
    let mut names = BTreeSet::new();
    let mut files = Vec::new();
    let mut total = 0;
    for candidate in candidates {
        let path = candidate.path.display();
        match (&candidate.refused, &candidate.module) {
            (Some(reason), _) => troubles.push(format!("{path} is refused: {reason}")),
            (None, Some(module)) => {
                if !names.insert(module.name.as_str()) {
                    troubles.push(format!(
                        "{path} is not the only one of its name: a ConfigMap holds one file of a name"
                    ));
                }
                total += module.bytes.len();
                files.push((module.form, module.name.as_str(), &module.bytes));
            }
            (None, None) => {}
        }
    }
    if candidates.is_empty() {
        troubles.push("there is no NAME.wasm and no NAME.mapper.yaml in it".to_owned());
    }
    if total > CONFIG_MAP {
        troubles.push(too_large(total, files.len()));
    }
    if !troubles.is_empty() {
        return Err(troubles);
    }
    files.sort_by_key(|(_, name, _)| *name);
    let mut text = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n".to_owned();
    text.push_str(&format!("  name: \"{}\"\n", arguments.name));
    if let Some(namespace) = &arguments.namespace {
        text.push_str(&format!("  namespace: \"{namespace}\"\n"));
    }
    // Texts stay texts, so that they can be read in the cluster.
    for (form, data) in [(Form::Declarative, "data"), (Form::Component, "binaryData")] {
        let mut files = files.iter().filter(|file| file.0 == form).peekable();
        if files.peek().is_some() {
            text.push_str(&format!("{data}:\n"));
        }
        for (form, name, bytes) in files {
            let value = match form {
                Form::Declarative => serde_json::json!(String::from_utf8_lossy(bytes)),
                Form::Component => serde_json::json!(ByteString(bytes.to_vec())),
            };
            text.push_str(&format!("  \"{}\": {value}\n", form.file(name)));
        }
    }
    Ok(text)
}

fn too_large(total: usize, files: usize) -> String {
    let (size, most) = (bytes(total), bytes(CONFIG_MAP));
    let split = if files > 1 {
        "package them into several ConfigMaps, each mounted as a directory of its own with a --mappers for it; or "
    } else {
        ""
    };
    format!(
        "{size} are too much: a ConfigMap holds {most}. Instead, {split}put the files on a volume (a PersistentVolumeClaim), or into an \
         image that is mounted as a volume or whose init container copies them into an emptyDir, and give the directory with --mappers"
    )
}

#[cfg(test)]
mod tests {
    use std::fs;

    use k8s_openapi::api::core::v1::ConfigMap;

    use super::*;
    use crate::mappers::Compiler;

    const ARGO: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/argo-workflow.wasm"));
    const TWELVE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/twelve-fields.wasm"));

    fn packaged(files: &[(&str, &[u8])], namespace: Option<&str>) -> Result<String, Vec<String>> {
        let directory = tempfile::tempdir().unwrap();
        let mut paths = Vec::new();
        for (name, bytes) in files {
            let path = directory.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, bytes).unwrap();
            paths.push(path);
        }
        let candidates = candidates(&paths, Compiler::here()).unwrap();
        let arguments = Arguments {
            files: paths,
            name: "mappers".to_owned(),
            namespace: namespace.map(str::to_owned),
            output: None,
            compiler: CompilerOptions {
                mapper_compile_memory: 0,
            },
        };
        manifest(&arguments, &candidates)
    }

    #[test]
    fn the_manifest_is_a_config_map_with_the_very_bytes() {
        let files = [("b.wasm", ARGO), ("a.wasm", TWELVE)];
        let manifest = packaged(&files, Some("jx")).unwrap();
        let read: ConfigMap = serde_saphyr::from_str(&manifest).unwrap();
        assert_eq!(read.metadata.name.as_deref(), Some("mappers"));
        assert_eq!(read.metadata.namespace.as_deref(), Some("jx"));
        let data = read.binary_data.unwrap();
        let data: Vec<_> = data
            .iter()
            .map(|(name, bytes)| (name.as_str(), bytes.0.as_slice()))
            .collect();
        assert_eq!(data, [("a.wasm", TWELVE), ("b.wasm", ARGO)]);
        assert!(!packaged(&files, None).unwrap().contains("namespace"));
    }

    #[test]
    fn what_the_plugin_would_refuse_is_not_packaged() {
        let files = [
            ("x/a.wasm", ARGO),
            ("y/a.wasm", TWELVE),
            ("b.wasm", &ARGO[..9]),
        ];
        let troubles = packaged(&files, None).unwrap_err();
        assert_eq!(troubles.len(), 2, "{troubles:?}");
        assert!(
            troubles[0].contains("the only one of its name"),
            "{troubles:?}"
        );
        assert!(troubles[1].contains("refused"), "{troubles:?}");
    }

    #[test]
    fn what_is_too_large_is_said_with_what_to_do() {
        // A custom section of a component may hold anything.
        let mut large = ARGO.to_vec();
        let padding = vec![0_u8; CONFIG_MAP];
        // Its identifier, the length as LEB128 of the name's length, the name and the padding.
        large.push(0);
        let mut length = padding.len() + 2;
        while length > 0x7f {
            large.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
            length >>= 7;
        }
        large.push(u8::try_from(length).unwrap());
        large.extend([1, b'x']);
        large.extend(padding);
        let troubles = packaged(&[("large.wasm", &large), ("a.wasm", ARGO)], None).unwrap_err();
        assert_eq!(troubles.len(), 1, "{troubles:?}");
        for said in ["1,048,576 bytes", "several ConfigMaps", "volume", "image"] {
            assert!(troubles[0].contains(said), "{troubles:?}");
        }
        let troubles = packaged(&[("large.wasm", &large)], None).unwrap_err();
        assert!(!troubles[0].contains("several"), "{troubles:?}");
    }

    #[test]
    fn names_are_those_that_kubernetes_takes() {
        assert!(name("mappers.of-team-1").is_ok());
        for wrong in ["", "Mappers", "a..b", "-a", "a_b", &"a".repeat(254)] {
            assert!(name(wrong).is_err(), "{wrong}");
        }
    }
}
