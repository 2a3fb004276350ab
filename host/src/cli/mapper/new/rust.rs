//! A mapper in Rust: a crate with the SDK beside it.
//!
//! The SDK is in no registry. So its sources and the contract come along, and the versions of what it takes from a registry
//! are those that the plugin's own mappers are built with.

use std::collections::BTreeMap;

use super::{File, Values, repository, template};

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
    "scan.rs",
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

/// What it consists of.
pub(super) fn files(values: &Values) -> Vec<File> {
    let workspace = repository!("mappers/Cargo.toml");
    let name = values.name();
    let values = values.and([
        ("module", format!("{}_mapper", name.replace('-', "_"))),
        ("type", format!("{}Mapper", camel_case(name))),
        ("edition", bare(&inherited(workspace, "edition"))),
        ("rust-version", bare(&inherited(workspace, "rust-version"))),
        ("serde_json", inherited(workspace, "serde_json")),
    ]);
    let fill = |template: &str| values.fill(template);
    let mut files: Vec<File> = [
        ("Cargo.toml", fill(template!("rust/Cargo.toml"))),
        ("Makefile", fill(template!("rust/Makefile"))),
        ("README.md", fill(template!("rust/README.md"))),
        ("src/lib.rs", fill(template!("rust/lib.rs"))),
        (".gitignore", "/target/\n/*.wasm\n".to_owned()),
        ("Cargo.lock", lock(repository!("mappers/Cargo.lock"), name)),
        (
            ".cargo/config.toml",
            repository!("mappers/.cargo/config.toml").to_owned(),
        ),
        (
            "wit/v0.1.0/mapper.wit",
            repository!("wit/v0.1.0/mapper.wit").to_owned(),
        ),
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
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::super::tests::{content, files_of};
    use super::*;
    use crate::cli::mapper::new::Language;

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
    fn it_is_a_crate_of_its_own() {
        let files = files_of(Language::Rust, "shop-build", "example.com/v1/Build");
        for (path, content) in &files {
            assert!(!content.contains(".workspace"), "{path}");
        }
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
}
