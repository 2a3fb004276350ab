//! Compiles the guest workspace and makes each of its mappers a component.

use std::env;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::toolchain::{TARGET, Toolchain};

/// Why there are no guests.
#[derive(Debug)]
pub enum GuestError {
    /// Cargo could not be started.
    Start(PathBuf, io::Error),
    /// Cargo did not succeed; it has said why.
    Failed,
    /// A module is not where it should be.
    Missing(PathBuf, io::Error),
    /// A module does not become a component.
    Component(String, String),
}

impl fmt::Display for GuestError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(path, error) => {
                write!(formatter, "{} does not start: {error}", path.display())
            }
            Self::Failed => {
                formatter.write_str("the mappers do not build: cargo's own messages below say why")
            }
            Self::Missing(path, error) => write!(
                formatter,
                "{}: {error}: the mapper's crate must be a `cdylib`",
                path.display()
            ),
            Self::Component(name, error) => write!(
                formatter,
                "the mapper '{name}' is no component: does it export the contract's world? {error}"
            ),
        }
    }
}

/// Compiles these mappers; gives their core modules in the same order.
pub fn build(
    toolchain: &Toolchain,
    workspace: &Path,
    target_directory: &Path,
    names: &[&str],
) -> Result<Vec<Vec<u8>>, GuestError> {
    let mut command = cargo(toolchain);
    command
        .current_dir(workspace)
        .args(["build", "--release", "--locked", "--target", TARGET])
        .arg("--target-dir")
        .arg(target_directory)
        .stdout(Stdio::null());
    for name in names {
        command.arg("--package").arg(package(name));
    }
    if toolchain.build_standard_library {
        command.arg("-Zbuild-std=std,panic_abort");
    }
    let status = command
        .status()
        .map_err(|error| GuestError::Start(toolchain.cargo.clone(), error))?;
    if !status.success() {
        return Err(GuestError::Failed);
    }
    let directory = target_directory.join(TARGET).join("release");
    names
        .iter()
        .map(|name| {
            let file = format!("{}.wasm", package(name).replace('-', "_"));
            let path = directory.join(file);
            fs::read(&path).map_err(|error| GuestError::Missing(path, error))
        })
        .collect()
}

/// Name of a mapper's crate.
fn package(name: &str) -> String {
    format!("{name}-mapper")
}

/// Makes a component of a core module.
pub fn component(name: &str, module: &[u8]) -> Result<Vec<u8>, GuestError> {
    crate::component::component(module)
        .map_err(|error| GuestError::Component(name.to_owned(), error))
}

/// A cargo that is started from what another one has started. What the outer cargo says to that, and what its user said about
/// the host, must not reach the inner one: flags, wrappers, profiles and targets are not meant for it.
pub fn inner(cargo: &Path) -> Command {
    let mut command = Command::new(cargo);
    for (name, _) in env::vars_os() {
        if name.to_str().is_none_or(|name| !is_inherited(name)) {
            command.env_remove(name);
        }
    }
    command
}

/// Cargo for guests.
fn cargo(toolchain: &Toolchain) -> Command {
    let mut command = inner(&toolchain.cargo);
    command.env("RUSTC", &toolchain.rustc);
    if !toolchain.current {
        // The outer cargo points it at its own compiler's libraries.
        command.env_remove("LD_LIBRARY_PATH");
    }
    if toolchain.build_standard_library {
        command.env("RUSTC_BOOTSTRAP", "1");
    }
    if let Some(linker) = &toolchain.linker {
        command
            .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker)
            .env(
                "CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS",
                "-Clinker-flavor=wasm-ld",
            );
    }
    command
}

fn is_inherited(name: &str) -> bool {
    /// Where cargo finds crates, and how it reaches the network.
    const KEPT: [&str; 6] = [
        "CARGO_HOME",
        "CARGO_HTTP_",
        "CARGO_MAKEFLAGS",
        "CARGO_NET_",
        "CARGO_REGISTR",
        "CARGO_SOURCE_",
    ];
    /// What else the outer cargo and its user say about the host.
    const DROPPED: [&str; 5] = ["CARGO", "DEP_", "RUSTC", "RUSTDOC", "RUSTFLAGS"];
    /// What a build script gets by names that could be anyone's.
    const SCRIPT: [&str; 7] = [
        "DEBUG",
        "HOST",
        "NUM_JOBS",
        "OPT_LEVEL",
        "OUT_DIR",
        "PROFILE",
        "TARGET",
    ];
    let is_prefix = |prefix: &&str| name.starts_with(*prefix);
    KEPT.iter().any(is_prefix) || !(DROPPED.iter().any(is_prefix) || SCRIPT.contains(&name))
}
