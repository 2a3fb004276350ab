//! Helm, and what it makes of the chart.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::scenario::folder_of_tests;
use crate::tool;

/// Name of the releases of the tests.
pub const RELEASE: &str = "lighthouse-telemetry";

/// Helm.
#[derive(Clone, Debug)]
pub struct Helm {
    binary: PathBuf,
}

impl Helm {
    /// Finds it, or fetches it.
    ///
    /// # Errors
    /// If the script says why not on standard error.
    pub fn find() -> Result<Self> {
        Ok(Self {
            binary: tool::find("helm")?,
        })
    }

    /// Runs it with these arguments, and these values if it takes any; what it writes.
    ///
    /// # Errors
    /// If it fails; what it says.
    pub fn run(&self, arguments: &[&str], values: Option<&Value>) -> Result<String> {
        let mut command = Command::new(&self.binary);
        command.args(arguments);
        if values.is_some() {
            command.args(["--values", "-"]);
        }
        let mut child = command
            .env_remove("KUBECONFIG")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {}", self.binary.display()))?;
        let mut input = child.stdin.take().context("no standard input")?;
        if let Some(values) = values {
            // One that has ended before it read them says why.
            let _ = input.write_all(values.to_string().as_bytes());
        }
        drop(input);
        let output = child.wait_with_output()?;
        if !output.status.success() {
            bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    /// The manifests of a release in namespace `jx`, on the newest Kubernetes that helm knows.
    ///
    /// # Errors
    /// If helm refuses the values; its reason.
    pub fn manifests(&self, values: &Value) -> Result<Vec<Value>> {
        let chart = chart();
        let chart = chart.to_string_lossy();
        let rendered = self.run(
            &[
                "template",
                RELEASE,
                &chart,
                "--namespace",
                "jx",
                "--kube-version",
                "1.35.0",
            ],
            Some(values),
        )?;
        let manifests: Vec<Value> = serde_saphyr::from_multiple(&rendered)?;
        Ok(manifests
            .into_iter()
            .filter(|manifest| !manifest.is_null())
            .collect())
    }
}

/// Where the chart is.
#[must_use]
pub fn chart() -> PathBuf {
    folder_of_tests()
        .parent()
        .unwrap_or(Path::new("."))
        .join("charts/lighthouse-telemetry")
}
