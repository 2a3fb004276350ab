//! Finds a Rust toolchain that compiles to WebAssembly, and a linker for it.
//!
//! Either one with the target's standard library installed, or one with the sources of the standard library,
//! which are then compiled along. The toolchain in use is asked first, then that of the system's packages.

use std::env;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What guests are compiled to.
pub const TARGET: &str = "wasm32-unknown-unknown";

/// A toolchain for guests.
pub struct Toolchain {
    /// `cargo`.
    pub cargo: PathBuf,
    /// `rustc`.
    pub rustc: PathBuf,
    /// A linker, if the compiler brings none.
    pub linker: Option<PathBuf>,
    /// Whether the standard library has to be compiled along.
    pub build_standard_library: bool,
    /// Whether this is the toolchain that builds the host.
    pub current: bool,
}

/// What is missing.
#[derive(Debug)]
pub enum ToolchainError {
    /// No compiler for the target.
    Compiler,
    /// No linker for the target.
    Linker,
}

impl fmt::Display for ToolchainError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Compiler => write!(
                formatter,
                "the mappers need a Rust toolchain for WebAssembly and there is none: run `rustup target add \
                 {TARGET}`, or on Debian `apt-get install rustc-web cargo-web rust-web-src lld`"
            ),
            Self::Linker => formatter.write_str(
                "the mappers need a linker for WebAssembly and there is none: install LLVM's `lld` (on Debian \
                 `apt-get install lld`)",
            ),
        }
    }
}

struct Candidate {
    cargo: PathBuf,
    rustc: PathBuf,
    sysroot: PathBuf,
    current: bool,
}

impl Candidate {
    fn at(cargo: PathBuf, rustc: PathBuf, current: bool) -> Option<Self> {
        let output = Command::new(&rustc)
            .args(["--print", "sysroot"])
            .output()
            .ok()?;
        let sysroot = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim());
        (output.status.success() && cargo.is_file()).then_some(Self {
            cargo,
            rustc,
            sysroot,
            current,
        })
    }

    fn has_target(&self) -> bool {
        self.sysroot
            .join("lib/rustlib")
            .join(TARGET)
            .join("lib")
            .is_dir()
    }

    fn has_sources(&self) -> bool {
        self.sysroot
            .join("lib/rustlib/src/rust/library/Cargo.lock")
            .is_file()
    }
}

/// Finds a toolchain; `current` is the cargo and the rustc in use.
pub fn find(current: Option<(PathBuf, PathBuf)>) -> Result<Toolchain, ToolchainError> {
    let current = current.and_then(|(cargo, rustc)| Candidate::at(cargo, rustc, true));
    let system = Candidate::at("/usr/bin/cargo".into(), "/usr/bin/rustc".into(), false);
    let candidates: Vec<Candidate> = current.into_iter().chain(system).collect();
    let chosen = candidates
        .iter()
        .find(|candidate| candidate.has_target())
        .map(|candidate| (candidate, false))
        .or_else(|| {
            let with_sources = candidates.iter().find(|candidate| candidate.has_sources());
            with_sources.map(|candidate| (candidate, true))
        });
    let (candidate, build_standard_library) = chosen.ok_or(ToolchainError::Compiler)?;
    let own = bundled_linker(&candidate.sysroot);
    let linker = if own.is_some() {
        None
    } else {
        let bundled = candidates
            .iter()
            .find_map(|candidate| bundled_linker(&candidate.sysroot));
        Some(
            bundled
                .or_else(installed_linker)
                .ok_or(ToolchainError::Linker)?,
        )
    };
    Ok(Toolchain {
        cargo: candidate.cargo.clone(),
        rustc: candidate.rustc.clone(),
        linker,
        build_standard_library,
        current: candidate.current,
    })
}

/// The linker that a toolchain of rustup brings along.
fn bundled_linker(sysroot: &Path) -> Option<PathBuf> {
    let name = format!("rust-lld{}", env::consts::EXE_SUFFIX);
    let platforms = sysroot.join("lib/rustlib").read_dir().ok()?.flatten();
    let mut paths = platforms.map(|platform| platform.path().join("bin").join(&name));
    paths.find(|path| path.is_file())
}

/// LLVM's linker from the system's packages; of versioned names (`wasm-ld-19`) the newest.
fn installed_linker() -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    let directories: Vec<PathBuf> = env::split_paths(&path).collect();
    let plain = directories
        .iter()
        .map(|directory| directory.join(format!("wasm-ld{}", env::consts::EXE_SUFFIX)))
        .find(|path| path.is_file());
    plain.or_else(|| {
        let entries = directories.iter().filter_map(|path| path.read_dir().ok());
        let versioned = entries.flatten().filter_map(|entry| {
            let entry = entry.ok()?;
            let name = entry.file_name();
            let version: u32 = name.to_str()?.strip_prefix("wasm-ld-")?.parse().ok()?;
            Some((version, entry.path()))
        });
        versioned.max().map(|(_, path)| path)
    })
}
