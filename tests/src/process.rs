//! The unmodified binary as a process of its own.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::mpsc;

use crate::{wait, web};

/// The token that webhooks are signed with.
pub const KEY: &str = "the token of the tests";
/// Until the process says where it listens, and until it has ended after it was told to.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running `lighthouse-telemetry serve`. Killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    webhooks: SocketAddr,
    admin: SocketAddr,
    client: reqwest::Client,
    log: Lines,
    /// Removed with it; none where it is another's.
    state: Option<TempDir>,
}

/// How a process ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit status.
    pub status: ExitStatus,
    /// All that it logged after it said where it listens.
    pub log: String,
}

/// What a process writes, line by line, read by a thread so that the process never waits for us.
#[derive(Debug)]
pub struct Lines(mpsc::UnboundedReceiver<String>);

impl Lines {
    /// The lines of a pipe.
    #[must_use]
    pub fn of(pipe: impl Read + Send + 'static) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self(receiver)
    }

    /// The next line; none once the pipe is closed.
    pub async fn next(&mut self) -> Option<String> {
        self.0.recv().await
    }

    /// All lines until the pipe is closed.
    async fn rest(&mut self) -> String {
        let mut text = String::new();
        while let Some(line) = self.next().await {
            text.push_str(&line);
            text.push('\n');
        }
        text
    }
}

/// Builds the binary as `cargo build` does, and gives its path. Quick where that was done before.
///
/// # Errors
/// If it does not build.
pub fn build(profile: &str) -> Result<PathBuf> {
    Ok(build_with_mappers(profile)?.0)
}

/// As [`build`]; also gives the directory with the components that were built along, those that are in no executable too.
///
/// # Errors
/// If it does not build.
pub fn build_with_mappers(profile: &str) -> Result<(PathBuf, PathBuf)> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    // What cargo tells a test about its package. Build scripts that look at it would run again, and all that
    // depends on them be built again, here and the next time outside.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        let about = [
            "CARGO_PKG_",
            "CARGO_MANIFEST_",
            "CARGO_BIN_",
            "CARGO_CRATE_",
            "CARGO_PRIMARY_",
        ];
        if about.iter().any(|prefix| name.starts_with(prefix)) || name == "OUT_DIR" {
            command.env_remove(&*name);
        }
    }
    let output = command
        // The features of its dependencies are those of the workspace, as where the tests were built: nothing is built twice.
        .args(["build", "--locked", "--workspace"])
        .args(["--bin", "lighthouse-telemetry"])
        .args([
            "--message-format",
            "json-render-diagnostics",
            "--profile",
            profile,
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    ensure!(output.status.success(), "cargo build failed");
    let messages = String::from_utf8(output.stdout)?;
    let messages = messages.lines().map(serde_json::from_str);
    let messages: Vec<Value> = messages.collect::<Result<_, _>>()?;
    let text = |message: &Value, key: &str| Some(message.get(key)?.as_str()?.to_owned());
    let mut executables = messages.iter().rev();
    let executable = executables.find_map(|message| text(message, "executable"));
    let of_host = |message: &&Value| {
        let package = text(message, "package_id").unwrap_or_default();
        package.contains("#lighthouse-telemetry@")
    };
    let mut of_host = messages.iter().filter(of_host);
    let components = of_host.find_map(|message| text(message, "out_dir"));
    Ok((
        executable.context("cargo names no executable")?.into(),
        components
            .context("cargo names no output of the build script")?
            .into(),
    ))
}

/// A command that inherits nothing of what configures an exporter or a cluster.
#[must_use]
pub fn command(binary: &Path) -> Command {
    let mut command = Command::new(binary);
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        let configures = ["OTEL_", "TRACES_EXPORTER_", "LIGHTHOUSE_", "KUBE"];
        if configures.iter().any(|prefix| name.starts_with(prefix)) {
            command.env_remove(&*name);
        }
    }
    command.stdin(Stdio::null());
    command
}

/// How [`Process::start_from`] starts it.
#[must_use]
pub fn serve(
    state: &Path,
    binary: &Path,
    kubeconfig: &Path,
    endpoint: &str,
    arguments: &[impl AsRef<OsStr>],
) -> Command {
    let mut serve = command(binary);
    serve
        .arg("serve")
        .args([
            "--listen-addr",
            "127.0.0.1:0",
            "--admin-addr",
            "127.0.0.1:0",
        ])
        .args(["--log-format", "json", "--log-level", "info"])
        .arg("--kubeconfig")
        .arg(kubeconfig)
        .arg("--state-dir")
        .arg(state)
        .args(arguments)
        .env("LIGHTHOUSE_HMAC_KEY", KEY)
        // As a Pod's manifest gives it; needed where there are several replicas.
        .env("POD_IP", "127.0.0.1")
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        .env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
        .stderr(Stdio::piped());
    serve
}

impl Process {
    /// Starts it on free ports of loopback, with our key and a state directory of its own, logging as JSON.
    ///
    /// # Errors
    /// If it ends or does not say where it listens.
    pub async fn start(
        binary: &Path,
        kubeconfig: &Path,
        endpoint: &str,
        arguments: &[impl AsRef<OsStr>],
    ) -> Result<Self> {
        let state = tempfile::tempdir()?;
        let mut process =
            Self::start_from(state.path(), binary, kubeconfig, endpoint, arguments).await?;
        process.state = Some(state);
        Ok(process)
    }

    /// As [`Self::start`], going on from a state directory.
    ///
    /// # Errors
    /// If it ends or does not say where it listens.
    pub async fn start_from(
        state: &Path,
        binary: &Path,
        kubeconfig: &Path,
        endpoint: &str,
        arguments: &[impl AsRef<OsStr>],
    ) -> Result<Self> {
        Self::of(serve(state, binary, kubeconfig, endpoint, arguments)).await
    }

    /// Starts what [`serve`] gives, with whatever was added to it.
    ///
    /// # Errors
    /// If it ends or does not say where it listens.
    pub async fn of(mut serve: Command) -> Result<Self> {
        let mut child = serve.spawn().context("cannot run the binary")?;
        let mut log = Lines::of(child.stderr.take().context("no standard error")?);
        let mut said = String::new();
        let addresses = tokio::time::timeout(PATIENCE, async {
            while let Some(line) = log.next().await {
                if let Some(addresses) = addresses(&line) {
                    return Some(addresses);
                }
                said.push_str(&line);
                said.push('\n');
            }
            None
        })
        .await;
        let Ok(Some((webhooks, admin))) = addresses else {
            // It may have ended already.
            let _ = child.kill();
            bail!("the process does not say where it listens: {said}");
        };
        Ok(Self {
            child,
            webhooks,
            admin,
            client: web::client()?,
            log,
            state: None,
        })
    }

    /// Where webhooks go.
    #[must_use]
    pub fn webhooks(&self) -> SocketAddr {
        self.webhooks
    }

    /// Where metrics and health are.
    #[must_use]
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it says that it is ready.
    ///
    /// # Errors
    /// If it does not get ready; says what it said last.
    pub async fn ready(&self) -> Result<()> {
        self.readiness(|status, _| status == 200).await.map(drop)
    }

    /// Waits until what it says of its readiness is as wished: status and body.
    ///
    /// # Errors
    /// If it does not become so; says what it said last.
    pub async fn readiness(&self, wished: impl Fn(u16, &str) -> bool) -> Result<(u16, String)> {
        self.readiness_within(PATIENCE, wished).await
    }

    /// As [`Self::readiness`], but within this time.
    ///
    /// # Errors
    /// If it does not become so; says what it said last.
    pub async fn readiness_within(
        &self,
        patience: Duration,
        wished: impl Fn(u16, &str) -> bool,
    ) -> Result<(u16, String)> {
        let url = format!("http://{}/readyz", self.admin);
        let mut last = None;
        let outcome = wait::answer(patience, async || {
            let response = self.client.get(&url).send().await?;
            let said = (response.status().as_u16(), response.text().await?);
            if wished(said.0, &said.1) {
                return Ok(Some(said));
            }
            last = Some(said);
            Ok(None)
        })
        .await;
        outcome.with_context(|| format!("readiness was {last:?}"))
    }

    /// Waits until it says that it leads all replicas.
    ///
    /// # Errors
    /// If it does not lead within this time.
    pub async fn leads(&self, within: Duration) -> Result<()> {
        let leads = |_: u16, text: &str| text.contains("\"role\":\"leader\"");
        self.readiness_within(within, leads).await.map(drop)
    }

    /// Kills it, as a node that loses its power does: it can do nothing about it.
    ///
    /// # Errors
    /// If there is no such process.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks it to end, as Kubernetes does, and waits until it has.
    ///
    /// # Errors
    /// If it does not end.
    pub async fn terminate(self) -> Result<Ended> {
        self.signal("TERM")?;
        self.end().await
    }

    /// Sends it a signal: `TERM`, `STOP`, `CONT`.
    ///
    /// # Errors
    /// If there is no such process.
    pub fn signal(&self, signal: &str) -> Result<()> {
        let id = self.id();
        let kill = Command::new("kill")
            .args([&format!("-{signal}"), &id.to_string()])
            .status()?;
        ensure!(kill.success(), "cannot send SIG{signal} to process {id}");
        Ok(())
    }

    /// Whether it has ended.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn has_ended(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// If it does not end.
    pub async fn end(mut self) -> Result<Ended> {
        // Its end closes the pipe.
        let log = tokio::time::timeout(PATIENCE, self.log.rest())
            .await
            .context("the process does not end")?;
        let status = self.child.wait()?;
        Ok(Ended { status, log })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It has ended already where all went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The line with which the host says where it listens.
fn addresses(line: &str) -> Option<(SocketAddr, SocketAddr)> {
    let line: Value = serde_json::from_str(line).ok()?;
    let address = |key| line.get(key)?.as_str()?.parse().ok();
    Some((address("webhooks")?, address("admin")?))
}
