//! `mapper new`: a folder with a mapper that builds and passes its tests, anywhere.

mod javascript;
mod rust;
mod yaml;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use kube::core::{ApiResource, GroupVersionKind};
use lighthouse_telemetry_core::description::ObjectSource;

use crate::cli::kind::kind;
use crate::cli::{VERSION, say};

pub(super) const EXAMPLES: &str = "Examples:
  lighthouse-telemetry mapper new build --kind example.com/v1/Build --lang yaml
  cd build && make test";

/// What `mapper new` takes.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Name of the mapper: lower-case letters, digits and hyphens
    #[arg(value_name = "NAME", value_parser = name)]
    pub name: String,
    /// Language to write it in
    #[arg(long, value_enum, default_value_t = Language::Rust)]
    pub lang: Language,
    /// Kind that it maps, as apiVersion/kind in objects
    #[arg(long, value_name = "KIND", default_value = "batch/v1/Job", value_parser = kind)]
    pub kind: ObjectSource,
    /// Folder to make, instead of one called like the mapper
    #[arg(long, value_name = "DIRECTORY")]
    pub directory: Option<PathBuf>,
}

/// A language that mappers are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Language {
    /// A crate, with the SDK
    Rust,
    /// A text: nothing to build
    Yaml,
    /// With componentize-js
    #[value(name = "js", alias = "javascript")]
    JavaScript,
}

/// A name of a mapper, of a crate and of a file.
fn name(text: &str) -> Result<String, String> {
    let valid = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    let begins = text.starts_with(|first: char| first.is_ascii_lowercase());
    if begins && text.len() <= 56 && text.bytes().all(valid) && !text.ends_with('-') {
        Ok(text.to_owned())
    } else {
        Err("write up to 56 lower-case letters, digits and hyphens, a letter first".to_owned())
    }
}

/// Makes the folder.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let directory = arguments
        .directory
        .clone()
        .unwrap_or_else(|| PathBuf::from(&arguments.name));
    let files = files(
        arguments.lang,
        &Values::new(&arguments.name, &arguments.kind),
    );
    write(&directory, &files)?;
    say(&format!(
        "{} is there; its README.md says how to test, build and use it",
        directory.display()
    ));
    Ok(ExitCode::SUCCESS)
}

/// What a mapper in this language consists of.
fn files(language: Language, values: &Values) -> Vec<File> {
    match language {
        Language::Rust => rust::files(values),
        Language::Yaml => yaml::files(values),
        Language::JavaScript => javascript::files(values),
    }
}

/// What stands in templates for what is known of a mapper.
struct Values(Vec<(&'static str, String)>);

impl Values {
    fn new(name: &str, source: &ObjectSource) -> Self {
        let version = source.versions.first().map_or("v1", String::as_str);
        let kind = GroupVersionKind::gvk(&source.group, version, &source.kind);
        let plural = ApiResource::from_gvk(&kind).plural;
        let (api_version, resource) = if source.group.is_empty() {
            (version.to_owned(), plural)
        } else {
            (
                format!("{}/{version}", source.group),
                format!("{plural}.{}", source.group),
            )
        };
        Self(vec![
            ("name", name.to_owned()),
            ("span", source.kind.to_lowercase()),
            ("kind", source.kind.clone()),
            ("group", source.group.clone()),
            ("version", version.to_owned()),
            ("api_version", api_version),
            ("resource", resource),
            ("host-version", VERSION.to_owned()),
        ])
    }

    /// With more of them.
    fn and(&self, more: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        Self(self.0.iter().cloned().chain(more).collect())
    }

    /// Name of the mapper.
    fn name(&self) -> &str {
        self.get("name")
    }

    fn get(&self, key: &str) -> &str {
        let value = self.0.iter().find(|(known, _)| *known == key);
        value.map_or("", |(_, value)| value.as_str())
    }

    /// A template with the values in their places: `{{name}}`.
    fn fill(&self, template: &str) -> String {
        let text = template.to_owned();
        self.0.iter().fold(text, |text, (key, value)| {
            text.replace(&format!("{{{{{key}}}}}"), value)
        })
    }
}

/// A file: its path in the folder, and its content.
type File = (String, String);

fn write(directory: &Path, files: &[File]) -> anyhow::Result<()> {
    ensure!(
        !directory.exists(),
        "{} is there already: choose another --directory",
        directory.display()
    );
    for (path, content) in files {
        let path = directory.join(path);
        let parent = path.parent().unwrap_or(directory);
        fs::create_dir_all(parent)
            .with_context(|| format!("cannot create {}", parent.display()))?;
        fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// A file of this repository.
macro_rules! repository {
    ($path:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../", $path))
    };
}

/// A template, by its path in `host/scaffold`.
macro_rules! template {
    ($path:literal) => {
        include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/scaffold/",
            $path,
            ".template"
        ))
    };
}

use {repository, template};

/// Objects of the kind, to try a mapper on.
fn objects(values: &Values) -> File {
    (
        "objects.yaml".to_owned(),
        values.fill(template!("objects.yaml")),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn files_of(language: Language, name: &str, of: &str) -> Vec<File> {
        files(language, &Values::new(name, &kind(of).unwrap()))
    }

    pub(super) fn content<'a>(files: &'a [File], path: &str) -> &'a str {
        &files.iter().find(|(known, _)| known == path).unwrap().1
    }

    #[test]
    fn nothing_is_left_to_be_filled_in() {
        for language in [Language::Rust, Language::Yaml, Language::JavaScript] {
            for (path, content) in files_of(language, "shop-build", "example.com/v1/Build") {
                let left = content.contains("{{") && content.contains("}}");
                assert!(!left || path.starts_with("vendor"), "{path}");
            }
        }
    }

    #[test]
    fn nothing_that_is_there_is_written_over() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("build");
        let files = files_of(Language::Rust, "build", "v1/ConfigMap");
        write(&path, &files).unwrap();
        assert!(
            path.join("vendor/span-mapper-sdk/src/read/fields.rs")
                .is_file()
        );
        let error = write(&path, &files).unwrap_err();
        assert!(error.to_string().contains("there already"), "{error}");
    }

    #[test]
    fn names_are_those_of_crates_and_files() {
        assert!(name("shop-build-2").is_ok());
        for wrong in ["", "Shop", "2nd", "a_b", "a-", "a/b", &"a".repeat(57)] {
            assert!(name(wrong).is_err(), "{wrong}");
        }
    }
}
