//! Builds the built-in mappers from source and embeds them: each becomes a component, and is compiled to
//! native code for the target ahead of time.

#[path = "src/mappers/component.rs"]
mod component;
#[path = "build/guests.rs"]
mod guests;
#[path = "build/toolchain.rs"]
mod toolchain;

use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// The built-in mappers, as the host names them.
const MAPPERS: [&str; 4] = ["lighthouse", "tekton", "kubernetes", "jenkins-x"];

/// What reads declarative mappers, embedded likewise.
const INTERPRETER: &str = "declarative";

/// Guests that tests and benches load as anyone's component: not compiled ahead of time, in no executable.
const FOR_TESTS: [&str; 3] = ["hostile", "twelve-fields", "argo-workflow"];

#[derive(Debug)]
enum BuildError {
    Variable(&'static str),
    File(PathBuf, io::Error),
    Toolchain(toolchain::ToolchainError),
    Guests(guests::GuestError),
    Precompile(&'static str, String),
}

impl std::fmt::Display for BuildError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Variable(name) => write!(
                formatter,
                "{name} is not set: build with cargo, which sets it for build scripts"
            ),
            Self::File(path, error) => write!(formatter, "{}: {error}", path.display()),
            Self::Toolchain(error) => error.fmt(formatter),
            Self::Guests(error) => error.fmt(formatter),
            Self::Precompile(name, error) => {
                write!(
                    formatter,
                    "the mapper '{name}' does not compile to native code: {error}"
                )
            }
        }
    }
}

fn main() {
    if let Err(error) = build() {
        for line in error.to_string().lines() {
            println!("cargo::error={line}");
        }
        std::process::exit(1);
    }
}

fn build() -> Result<(), BuildError> {
    let output = PathBuf::from(variable("OUT_DIR")?);
    let target = variable("TARGET")?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let workspace = root.join("mappers");
    watch(&root)?;

    let current = env::var_os("CARGO").zip(env::var_os("RUSTC"));
    let current = current.map(|(cargo, rustc)| (cargo.into(), rustc.into()));
    let toolchain = toolchain::find(current).map_err(BuildError::Toolchain)?;
    let names = [MAPPERS.as_slice(), &[INTERPRETER], FOR_TESTS.as_slice()].concat();
    let modules = guests::build(&toolchain, &workspace, &target_directory(&output), &names)
        .map_err(BuildError::Guests)?;
    for (name, module) in names.into_iter().zip(modules) {
        let component = guests::component(name, &module).map_err(BuildError::Guests)?;
        write(&output.join(format!("{name}.wasm")), &component)?;
        if MAPPERS.contains(&name) || name == INTERPRETER {
            let compiled = lighthouse_telemetry_engine::precompile(&component, Some(&target))
                .map_err(|error| BuildError::Precompile(name, error.to_string()))?;
            write(&output.join(format!("{name}.compiled")), &compiled)?;
        }
    }
    Ok(())
}

fn variable(name: &'static str) -> Result<String, BuildError> {
    env::var(name).map_err(|_| BuildError::Variable(name))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), BuildError> {
    fs::write(path, bytes).map_err(|error| BuildError::File(path.to_owned(), error))
}

/// Asks cargo to come back when a guest or the contract changes. Not `mappers` itself: its own `target`
/// directory, which `cargo test` makes there, changes all the time.
fn watch(root: &Path) -> Result<(), BuildError> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=build");
    println!("cargo::rerun-if-changed=src/mappers/component.rs");
    println!("cargo::rerun-if-changed={}", root.join("wit").display());
    let workspace = root.join("mappers");
    let failed = |error| BuildError::File(workspace.clone(), error);
    for entry in fs::read_dir(&workspace).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_name() != "target" {
            println!("cargo::rerun-if-changed={}", entry.path().display());
        }
    }
    Ok(())
}

/// Where guests are built: beside the profiles of the target directory, so that all share the result. Falls
/// back to the script's own directory where the layout is another one.
fn target_directory(output: &Path) -> PathBuf {
    output
        .ancestors()
        .find(|ancestor| ancestor.file_name().is_some_and(|name| name == "build"))
        .and_then(|build| build.parent()?.parent())
        .unwrap_or(output)
        .join("mappers")
}
