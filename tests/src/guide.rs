//! `docs/mappers.md`, to be followed as it is written.
//!
//! What stands behind `sh` says who runs a block of commands: nothing, `tests/tests/guide.rs` and, on a real cluster,
//! `tests/tests/kubernetes/guide.rs`; `cluster`, the latter alone; `rust` and `javascript`, `tests/guide.sh`, as they compile for
//! minutes. A block of text behind one is what it prints.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use tempfile::TempDir;

const GUIDE: &str = include_str!("../../docs/mappers.md");

/// A block of the guide.
#[derive(Clone, Copy, Debug)]
pub struct Block {
    /// What stands behind its backquotes.
    pub info: &'static str,
    /// Its lines.
    pub text: &'static str,
}

/// All blocks of the guide, in order.
///
/// # Errors
/// If one does not end.
pub fn blocks() -> Result<Vec<Block>> {
    let mut rest = GUIDE;
    let mut blocks = Vec::new();
    while let Some((_, block)) = rest.split_once("\n```") {
        let parts = block.split_once('\n').and_then(|(info, block)| {
            let (text, after) = block.split_once("```\n")?;
            Some((Block { info, text }, after))
        });
        let (block, after) = parts.with_context(|| format!("a block does not end: {block}"))?;
        blocks.push(block);
        rest = after;
    }
    Ok(blocks)
}

/// A folder to work in, and what is on the path there.
#[derive(Debug)]
pub struct Desk {
    home: TempDir,
    path: OsString,
}

impl Desk {
    /// With these tools, by name: scripts.
    ///
    /// # Errors
    /// If the system does not let us.
    pub fn new(tools: &[(&str, &str)]) -> Result<Self> {
        let home = tempfile::tempdir()?;
        let folder = home.path().join(".tools");
        fs::create_dir(&folder)?;
        for (name, script) in tools {
            let file = folder.join(name);
            fs::write(&file, script)?;
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755))?;
        }
        let others = std::env::var_os("PATH").unwrap_or_default();
        let path = [folder].into_iter().chain(std::env::split_paths(&others));
        Ok(Self {
            path: std::env::join_paths(path)?,
            home,
        })
    }

    /// A file in the folder.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// What runs commands in a folder of it, with nothing else in its environment.
    #[must_use]
    pub fn command(&self, folder: &Path, commands: &str) -> Command {
        let mut command = Command::new("bash");
        command
            .args(["-euo", "pipefail", "-c", commands])
            .current_dir(folder)
            .env_clear()
            .env("PATH", &self.path)
            .env("HOME", self.home.path())
            .stdin(Stdio::null());
        command
    }

    /// As [`Self::command`], in the folder itself.
    #[must_use]
    pub fn block(&self, block: &Block) -> Command {
        self.command(self.home.path(), block.text)
    }

    /// Writes down a mapper in YAML that the guide shows whole, if the block is one.
    ///
    /// # Errors
    /// If the system does not let us.
    pub fn write_mapper(&self, block: &Block) -> Result<()> {
        if block.text.contains("kind: Job\n") && block.text.contains("version: ") {
            fs::write(self.file("job.mapper.yaml"), block.text)?;
        }
        Ok(())
    }
}
