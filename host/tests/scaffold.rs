//! What `mapper new` makes, as its author goes on from it: tested, built, made a component, checked and packaged.
// Clippy takes only `#[test]` functions for tests, not what they share.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

#[path = "../src/mappers/component.rs"]
mod component;
#[path = "../build/guests.rs"]
mod guests;
#[path = "../build/toolchain.rs"]
mod toolchain;

use std::env;
use std::fs;
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

/// Where this repository's own mappers are built: what they share with a new one is there already.
fn target_directory(name: &str) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    target.join(name)
}

/// The cargo and the rustc that run this test.
fn current() -> (PathBuf, PathBuf) {
    let cargo = PathBuf::from(env::var_os("CARGO").unwrap());
    let beside = cargo.with_file_name(format!("rustc{}", env::consts::EXE_SUFFIX));
    let rustc = if beside.is_file() {
        beside
    } else {
        PathBuf::from("rustc")
    };
    (cargo, rustc)
}

const OBJECT: &str = r#"{
    "apiVersion": "example.com/v1", "kind": "Build",
    "metadata": {"name": "a", "namespace": "jx", "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z"},
    "status": {"startTime": "2026-01-01T00:00:02Z", "completionTime": "2026-01-01T00:01:00Z"}
}"#;

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
    let metadata = guests::inner(&current().0)
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
#[ignore = "compiles for a minute: make new-mapper"]
fn a_new_mapper_is_tested_built_and_used() {
    // The same folder each time, or what is built of it would be another crate each time.
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("scaffold");
    if home.exists() {
        fs::remove_dir_all(&home).unwrap();
    }
    fs::create_dir(&home).unwrap();
    let folder = scaffold(&home);

    let (cargo, rustc) = current();
    let tests = guests::inner(&cargo)
        .args(["test", "--locked", "--target-dir"])
        .arg(target_directory("mappers-native"))
        .current_dir(&folder)
        .output()
        .unwrap();
    assert!(succeeded(&tests).contains("3 passed"), "{tests:?}");

    let toolchain = toolchain::find(Some((cargo, rustc)));
    let toolchain = toolchain.unwrap_or_else(|error| panic!("{error}"));
    let target = target_directory("mappers");
    let built = guests::build(&toolchain, &folder, &target, &["shop-build"]);
    let module = built.unwrap_or_else(|error| panic!("{error}")).remove(0);
    let expected = guests::component("shop-build", &module);
    let expected = expected.unwrap_or_else(|error| panic!("{error}"));

    // As its README says.
    fs::write(folder.join("core.wasm"), &module).unwrap();
    let make = [
        "mapper",
        "component",
        "core.wasm",
        "--output",
        "shop-build.wasm",
    ];
    succeeded(&tool(&folder, &make));
    assert_eq!(fs::read(folder.join("shop-build.wasm")).unwrap(), expected);
    let readme = fs::read_to_string(folder.join("README.md")).unwrap();
    let command = format!(
        "lighthouse-telemetry mapper component target/{}/release/shop_build_mapper.wasm --output shop-build.wasm",
        toolchain::TARGET
    );
    assert!(readme.contains(&command), "{readme}");

    let check = tool(&folder, &["mapper", "check", "--json", "shop-build.wasm"]);
    let checked: Value = serde_json::from_str(succeeded(&check)).unwrap();
    assert_eq!(checked[0]["rules"][0]["resources"][0], "builds");
    assert_eq!(checked[0]["fitsConfigMap"], true);
    assert_eq!(checked[0]["notes"], Value::Array(Vec::new()));

    let core = tool(&folder, &["mapper", "check", "core.wasm"]);
    assert_eq!(core.status.code(), Some(1));
    assert!(text(&core.stdout).contains("mapper component"), "{core:?}");

    fs::remove_file(folder.join("core.wasm")).unwrap();
    fs::write(folder.join("object.json"), OBJECT).unwrap();
    let map = tool(&folder, &["map", "--mappers", ".", "object.json"]);
    assert!(succeeded(&map).contains("queue"), "{map:?}");
    let package = tool(
        &folder,
        &["mapper", "package", "shop-build.wasm", "--name", "mappers"],
    );
    assert!(
        succeeded(&package).contains("\"shop-build.wasm\": \""),
        "{package:?}"
    );
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
