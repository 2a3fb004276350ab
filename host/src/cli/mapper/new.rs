//! `mapper new`: a crate for a mapper that builds and passes its tests, anywhere.
//!
//! The SDK is in no registry. So its sources and the contract come along, and the versions of what it takes from a registry
//! are those that the plugin's own mappers are built with.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use kube::core::{ApiResource, GroupVersionKind};
use lighthouse_telemetry_core::description::ObjectSource;

use crate::cli::kind::kind;
use crate::cli::{VERSION, say};

pub(super) const EXAMPLES: &str = "Examples:
  lighthouse-telemetry mapper new build --kind example.com/v1/Build
  cd build && make test && make";

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
    /// With the SDK.
    Rust,
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
    let files = match arguments.lang {
        Language::Rust => rust(&arguments.name, &arguments.kind),
    };
    write(&directory, &files)?;
    say(&format!(
        "{} is there; its README.md says how to test, build and use it",
        directory.display()
    ));
    Ok(ExitCode::SUCCESS)
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

/// A template for a mapper in Rust.
macro_rules! template {
    ($path:literal) => {
        include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/scaffold/rust/",
            $path,
            ".template"
        ))
    };
}

macro_rules! sdk {
    ($($path:literal),* $(,)?) => {
        /// The sources of the SDK.
        const SDK: &[(&str, &str)] = &[
            $((
                concat!("src/", $path),
                include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../mappers/sdk/src/", $path))
            )),*
        ];
    };
}

sdk!(
    "allocator.rs",
    "bindings.rs",
    "contract.rs",
    "describe.rs",
    "event.rs",
    "export.rs",
    "layout.rs",
    "lib.rs",
    "mapper.rs",
    "object.rs",
    "outcome.rs",
    "read.rs",
    "read/fields.rs",
    "read/reader.rs",
    "read/record.rs",
    "read/tests.rs",
    "span.rs",
    "testing.rs",
    "time.rs",
    "url.rs",
    "value.rs",
);

/// What its crate is called.
const SDK_NAME: &str = "span-mapper-sdk";

/// Where the SDK is, as far from `wit` as it is in this repository.
const VENDOR: &str = "vendor/span-mapper-sdk";

/// What a mapper in Rust consists of.
fn rust(name: &str, source: &ObjectSource) -> Vec<File> {
    let workspace = repository!("mappers/Cargo.toml");
    let version = source.versions.first().map_or("v1", String::as_str);
    let api_version = if source.group.is_empty() {
        version.to_owned()
    } else {
        format!("{}/{version}", source.group)
    };
    let kind = GroupVersionKind::gvk(&source.group, version, &source.kind);
    let plural = ApiResource::from_gvk(&kind).plural;
    let resource = if source.group.is_empty() {
        plural
    } else {
        format!("{plural}.{}", source.group)
    };
    let values = [
        ("name", name.to_owned()),
        ("module", format!("{}_mapper", name.replace('-', "_"))),
        ("type", format!("{}Mapper", camel_case(name))),
        ("span", source.kind.to_lowercase()),
        ("kind", source.kind.clone()),
        ("group", source.group.clone()),
        ("version", version.to_owned()),
        ("api_version", api_version),
        ("resource", resource),
        ("edition", bare(&inherited(workspace, "edition"))),
        ("rust-version", bare(&inherited(workspace, "rust-version"))),
        ("serde_json", inherited(workspace, "serde_json")),
        ("host-version", VERSION.to_owned()),
    ];
    let fill = |template: &str| {
        values
            .iter()
            .fold(template.to_owned(), |text, (key, value)| {
                text.replace(&format!("{{{{{key}}}}}"), value)
            })
    };
    let mut files: Vec<File> = [
        ("Cargo.toml", fill(template!("Cargo.toml"))),
        ("Makefile", fill(template!("Makefile"))),
        ("README.md", fill(template!("README.md"))),
        ("src/lib.rs", fill(template!("lib.rs"))),
        (".gitignore", "/target/\n/*.wasm\n".to_owned()),
        ("Cargo.lock", lock(repository!("mappers/Cargo.lock"), name)),
        (
            ".cargo/config.toml",
            repository!("mappers/.cargo/config.toml").to_owned(),
        ),
        ("wit/mapper.wit", repository!("wit/mapper.wit").to_owned()),
    ]
    .map(|(path, content)| (path.to_owned(), content))
    .into();
    let manifest = standalone(repository!("mappers/sdk/Cargo.toml"), workspace);
    files.push((format!("{VENDOR}/Cargo.toml"), manifest));
    files.push((
        format!("{VENDOR}/LICENSE"),
        repository!("LICENSE").to_owned(),
    ));
    let sources = SDK.iter();
    files
        .extend(sources.map(|(path, content)| (format!("{VENDOR}/{path}"), (*content).to_owned())));
    files
}

fn camel_case(name: &str) -> String {
    let words = name.split('-').map(|word| {
        let mut letters = word.chars();
        let first = letters.next().map(|first| first.to_ascii_uppercase());
        first.into_iter().chain(letters).collect::<String>()
    });
    words.collect()
}

/// A lock file with the versions of another one, of what the SDK and the tests of a mapper depend on.
fn lock(workspace: &str, name: &str) -> String {
    const SEPARATOR: &str = "[[package]]\n";
    let mut blocks = workspace.split(SEPARATOR);
    let header = blocks.next().unwrap_or_default();
    let known: BTreeMap<String, &str> = blocks
        .map(|block| (bare(&inherited(block, "name")), block.trim_end()))
        .collect();
    let own = |name: &str, version: &str, needed: [&str; 2]| {
        let needed = needed.map(|needed| format!(" \"{needed}\",\n")).concat();
        format!("name = \"{name}\"\nversion = \"{version}\"\ndependencies = [\n{needed}]")
    };
    let version = |name: &str| {
        let block = known.get(name).copied().unwrap_or_default();
        bare(&inherited(block, "version"))
    };
    let crate_name = format!("{name}-mapper");
    let mut kept = BTreeMap::from([
        (
            SDK_NAME.to_owned(),
            own(SDK_NAME, &version(SDK_NAME), ["serde_json", "wit-bindgen"]),
        ),
        (
            crate_name.clone(),
            own(&crate_name, "0.1.0", ["serde_json", SDK_NAME]),
        ),
    ]);
    let mut wanted = vec!["serde_json".to_owned(), "wit-bindgen".to_owned()];
    while let Some(name) = wanted.pop() {
        let Some(block) = known.get(&name).filter(|_| !kept.contains_key(&name)) else {
            continue;
        };
        let needed = block.lines().filter_map(|line| {
            let needed = line.strip_prefix(" \"")?.strip_suffix("\",")?;
            needed.split(' ').next().map(str::to_owned)
        });
        wanted.extend(needed);
        kept.insert(name, (*block).to_owned());
    }
    let kept: Vec<String> = kept.into_values().collect();
    let separator = format!("\n\n{SEPARATOR}");
    format!("{header}{SEPARATOR}{}\n", kept.join(&separator))
}

/// A manifest without a workspace: what it inherits stands in it, and the lints, which are this repository's, do not.
fn standalone(manifest: &str, workspace: &str) -> String {
    let mut text = String::new();
    let mut is_lints = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            is_lints = line == "[lints]";
        }
        if is_lints {
            continue;
        }
        match line.strip_suffix(".workspace = true") {
            Some(key) => text.push_str(&format!("{key} = {}", inherited(workspace, key))),
            None => text.push_str(line),
        }
        text.push('\n');
    }
    text
}

/// What a workspace says of a key, as it is written there.
fn inherited(workspace: &str, key: &str) -> String {
    let mut lines = workspace.lines();
    let value = lines.find_map(|line| line.strip_prefix(key)?.trim_start().strip_prefix('='));
    value.unwrap_or_default().trim().to_owned()
}

/// A text without its quotes.
fn bare(text: &str) -> String {
    text.trim_matches('"').to_owned()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn files(name: &str, kind_of: &str) -> Vec<File> {
        rust(name, &kind(kind_of).unwrap())
    }

    fn content<'a>(files: &'a [File], path: &str) -> &'a str {
        &files.iter().find(|(known, _)| known == path).unwrap().1
    }

    #[test]
    fn the_whole_sdk_comes_along() {
        fn walk(directory: &Path, found: &mut BTreeSet<PathBuf>) {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    walk(&path, found);
                } else {
                    found.insert(path);
                }
            }
        }
        let sdk = Path::new(env!("CARGO_MANIFEST_DIR")).join("../mappers/sdk");
        let mut there = BTreeSet::new();
        walk(&sdk.join("src"), &mut there);
        let embedded = SDK.iter().map(|(path, _)| sdk.join(path));
        assert_eq!(there, embedded.collect());
    }

    #[test]
    fn nothing_is_left_to_be_filled_in() {
        for (path, content) in files("shop-build", "example.com/v1/Build") {
            assert!(
                !content.contains("{{") || !content.contains("}}") || path.starts_with("vendor"),
                "{path}"
            );
            assert!(!content.contains(".workspace"), "{path}");
        }
        let files = files("shop-build", "example.com/v1/Build");
        let code = content(&files, "src/lib.rs");
        assert!(code.contains("pub struct ShopBuildMapper;"), "{code}");
        assert!(code.contains(r#"ObjectSource::new("example.com", ["v1"], "Build")"#));
        let readme = content(&files, "README.md");
        assert!(readme.contains("release/shop_build_mapper.wasm --output shop-build.wasm"));
        assert!(readme.contains("kubectl get builds.example.com -n jx"));
        let manifest = content(&files, "Cargo.toml");
        assert!(manifest.contains("edition = \"2024\""), "{manifest}");
        assert!(manifest.contains("serde_json = {"), "{manifest}");
        let manifest = content(&files, "vendor/span-mapper-sdk/Cargo.toml");
        assert!(
            manifest.contains("wit-bindgen = {") && !manifest.contains("lints"),
            "{manifest}"
        );
    }

    #[test]
    fn nothing_that_is_there_is_written_over() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("build");
        let files = files("build", "v1/ConfigMap");
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
