//! What `mapper new` makes. `make new-mapper` goes on from it as its author does.
// Clippy takes only `#[test]` functions for tests, not what they share.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// Runs the program in a folder.
fn tool(directory: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lighthouse-telemetry"))
        .args(arguments)
        .current_dir(directory)
        .env_clear()
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn succeeded(output: &Output) -> &str {
    let said = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{said:?}");
    said.0
}

/// Makes a mapper in a new folder.
fn scaffold(home: &Path) -> PathBuf {
    let new = [
        "mapper",
        "new",
        "shop-build",
        "--kind",
        "example.com/v1/Build",
    ];
    succeeded(&tool(home, &new));
    home.join("shop-build")
}

#[test]
fn a_new_mapper_is_a_crate_with_all_that_it_needs() {
    let home = tempfile::tempdir().unwrap();
    let folder = scaffold(home.path());
    // Only where manifests and lock file agree, and nothing is left to be looked for.
    let metadata = Command::new(env::var_os("CARGO").unwrap())
        .args(["metadata", "--locked", "--offline", "--format-version=1"])
        .current_dir(&folder)
        .output()
        .unwrap();
    let metadata: Value = serde_json::from_str(succeeded(&metadata)).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let names: Vec<&str> = packages
        .iter()
        .map(|package| package["name"].as_str().unwrap())
        .collect();
    for name in ["shop-build-mapper", "span-mapper-sdk", "wit-bindgen"] {
        assert!(names.contains(&name), "{names:?}");
    }
    assert!(!names.contains(&"proptest"), "{names:?}");
}

#[test]
fn both_names_of_the_group_are_understood() {
    let home = tempfile::tempdir().unwrap();
    for group in ["mapper", "mappers"] {
        let output = tool(home.path(), &[group, "check", "none.wasm"]);
        assert_eq!(output.status.code(), Some(1));
        assert!(
            text(&output.stdout).contains("none.wasm is refused"),
            "{output:?}"
        );
    }
    let listed = tool(home.path(), &["mappers", "--help"]);
    for command in ["new", "check", "component", "package", "list"] {
        assert!(succeeded(&listed).contains(command), "{listed:?}");
    }
}
