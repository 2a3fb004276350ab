//! The tools of those who run a cluster: helm and kubectl.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::scenario::folder_of_tests;

/// The path of `helm` or `kubectl`; fetches it first if it is not there yet.
///
/// # Errors
/// If there is none; the script says why on standard error.
pub fn find(name: &str) -> Result<PathBuf> {
    let script = folder_of_tests().join("cluster-tool.sh");
    let output = Command::new(&script)
        .arg(name)
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot run {}", script.display()))?;
    ensure!(output.status.success(), "there is no {name}");
    let path = String::from_utf8(output.stdout)?;
    Ok(PathBuf::from(path.trim()))
}
