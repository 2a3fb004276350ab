//! A real kube-apiserver with etcd for as long as it is needed.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use crate::process::Lines;
use crate::scenario::folder_of_tests;
use crate::wait;

/// Building the binaries takes about three minutes where there are none yet.
const START: Duration = Duration::from_secs(1_200);
/// A definition is served soon after it was created.
const ESTABLISH: Duration = Duration::from_secs(60);

/// Where definitions are.
const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/// A running API server. The script that runs it ends it as soon as our end of its standard input is closed, which
/// happens however this process ends.
pub struct ApiServer {
    script: Child,
    commands: Option<ChildStdin>,
    answers: Lines,
    kubeconfig: PathBuf,
    client: kube::Client,
}

impl ApiServer {
    /// Starts one, with nothing in it.
    ///
    /// # Errors
    /// If the script says why not on standard error.
    pub async fn start() -> Result<Self> {
        let script = folder_of_tests().join("kube-apiserver/run.sh");
        let mut script = Command::new(&script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {}", script.display()))?;
        let commands = script.stdin.take();
        let mut answers = Lines::of(script.stdout.take().context("the script has no output")?);
        let kubeconfig = PathBuf::from(ready(&mut answers).await?);
        let client = client(&kubeconfig).await?;
        Ok(Self {
            script,
            commands,
            answers,
            kubeconfig,
            client,
        })
    }

    /// For clients of it.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// For clients that are a service account, with a token as its Pod gets one.
    ///
    /// # Errors
    /// If there is no such account.
    pub async fn kubeconfig_of(&self, namespace: &str, account: &str) -> Result<NamedTempFile> {
        let token = token(&self.client, namespace, account).await?;
        let own = std::fs::read_to_string(&self.kubeconfig)?;
        let mut own: Value = serde_saphyr::from_str(&own)?;
        let users = json!([{"name": "admin", "user": {"token": token}}]);
        json_patch::merge(&mut own, &json!({"users": users}));
        let mut file = NamedTempFile::new()?;
        // What is JSON is YAML, too.
        file.write_all(own.to_string().as_bytes())?;
        file.flush()?;
        Ok(file)
    }

    /// An administrator.
    #[must_use]
    pub fn client(&self) -> &kube::Client {
        &self.client
    }

    /// Ends kube-apiserver; what is stored stays.
    ///
    /// # Errors
    /// If the script is gone.
    pub async fn go_down(&mut self) -> Result<()> {
        self.ask("stop", "stopped").await
    }

    /// Has kube-apiserver hang: connections stay, and nothing is answered.
    ///
    /// # Errors
    /// If the script is gone.
    pub async fn suspend(&mut self) -> Result<()> {
        self.ask("suspend", "suspended").await
    }

    /// Has it go on after [`Self::suspend`], also with what it was asked meanwhile.
    ///
    /// # Errors
    /// If the script is gone.
    pub async fn resume(&mut self) -> Result<()> {
        self.ask("resume", "resumed").await
    }

    /// Starts kube-apiserver again at the same address.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn come_back(&mut self) -> Result<()> {
        self.tell("start")?;
        ready(&mut self.answers).await.map(drop)
    }

    async fn ask(&mut self, command: &str, wished: &str) -> Result<()> {
        self.tell(command)?;
        let answer = self.answers.next().await;
        ensure!(
            answer.as_deref() == Some(wished),
            "instead of '{wished}' the script said {answer:?}"
        );
        Ok(())
    }

    fn tell(&mut self, command: &str) -> Result<()> {
        let commands = self.commands.as_mut().context("the script has no input")?;
        Ok(writeln!(commands, "{command}")?)
    }

    /// Installs the definitions of `tests/crds` for which `wanted` gives the versions to serve; no version, no definition.
    ///
    /// # Errors
    /// If the API server refuses one or does not serve it in time.
    pub async fn define(&self, wanted: impl Fn(&str) -> Vec<&'static str>) -> Result<()> {
        for file in std::fs::read_dir(folder_of_tests().join("crds"))? {
            let mut definition = definition(&file?.path())?;
            let kind = string(&definition, "/spec/names/kind")?;
            let served = wanted(&kind);
            if served.is_empty() {
                continue;
            }
            let versions = definition
                .pointer_mut("/spec/versions")
                .and_then(Value::as_array_mut)
                .context("a definition without versions")?;
            versions.retain(|version| {
                served
                    .iter()
                    .any(|name| version.get("name") == Some(&json!(name)))
            });
            if let Some(first) = versions.first_mut() {
                json_patch::merge(first, &json!({"storage": true}));
            }
            self.establish(&definition).await?;
        }
        Ok(())
    }

    /// Removes the definition of this kind, and with it all objects of it.
    ///
    /// # Errors
    /// If the API server refuses, or still has it after a while.
    pub async fn remove(&self, kind: &str) -> Result<()> {
        for file in std::fs::read_dir(folder_of_tests().join("crds"))? {
            let definition = definition(&file?.path())?;
            if string(&definition, "/spec/names/kind")? != kind {
                continue;
            }
            let path = format!("{DEFINITIONS}/{}", string(&definition, "/metadata/name")?);
            request(&self.client, "DELETE", &path, None).await?;
            let is_gone = async || Ok(request(&self.client, "GET", &path, None).await.is_err());
            let gone = wait::until(ESTABLISH, is_gone).await;
            return gone.with_context(|| format!("{kind} is still there"));
        }
        bail!("no definition of {kind}")
    }

    /// Installs a definition, and waits until what it defines is served.
    ///
    /// # Errors
    /// If the API server refuses it or does not serve it in time.
    pub async fn establish(&self, definition: &Value) -> Result<()> {
        request(&self.client, "POST", DEFINITIONS, Some(definition)).await?;
        let name = string(definition, "/metadata/name")?;
        let group = string(definition, "/spec/group")?;
        let plural = string(definition, "/spec/names/plural")?;
        let versions = definition
            .pointer("/spec/versions")
            .and_then(Value::as_array);
        for version in versions.into_iter().flatten() {
            let version = string(version, "/name")?;
            let path = format!("/apis/{group}/{version}/{plural}");
            let is_served = async || Ok(request(&self.client, "GET", &path, None).await.is_ok());
            let served = wait::until(ESTABLISH, is_served).await;
            served.with_context(|| format!("{name} is not served in {version}"))?;
        }
        Ok(())
    }
}

/// All versions of all kinds that the built-in mappers know.
#[must_use]
pub fn everything(kind: &str) -> Vec<&'static str> {
    match kind {
        "LighthouseJob" => vec!["v1alpha1"],
        "CustomRun" => vec!["v1beta1"],
        "PipelineRun" | "TaskRun" => vec!["v1", "v1beta1"],
        _ => vec!["v1"],
    }
}

/// An old cluster: Tekton before its version 1, and no Jenkins X.
#[must_use]
pub fn old(kind: &str) -> Vec<&'static str> {
    match kind {
        "LighthouseJob" => vec!["v1alpha1"],
        "PipelineRun" | "TaskRun" => vec!["v1beta1"],
        _ => vec![],
    }
}

impl Drop for ApiServer {
    /// Waits until the script has ended what it started.
    fn drop(&mut self) {
        self.commands = None;
        // There is nobody to tell of an error.
        let _ = self.script.wait();
    }
}

fn definition(path: &Path) -> Result<Value> {
    Ok(serde_saphyr::from_str(&std::fs::read_to_string(path)?)?)
}

async fn ready(answers: &mut Lines) -> Result<String> {
    let line = tokio::time::timeout(START, answers.next())
        .await
        .context("the kube-apiserver script says nothing")?
        .context("the kube-apiserver script failed; it said why above")?;
    let kubeconfig = line.strip_prefix("ready ");
    Ok(kubeconfig
        .with_context(|| format!("instead of 'ready' the script said '{line}'"))?
        .to_owned())
}

async fn client(kubeconfig: &Path) -> Result<kube::Client> {
    // Fails only if there is a provider already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let config = kube::Config::from_custom_kubeconfig(
        Kubeconfig::read_from(kubeconfig)?,
        &KubeConfigOptions::default(),
    )
    .await?;
    Ok(kube::Client::try_from(config)?)
}

/// A token of a service account, as its Pod gets one.
///
/// # Errors
/// If there is no such account.
pub async fn token(client: &kube::Client, namespace: &str, account: &str) -> Result<String> {
    let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token");
    let wanted =
        json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
    let answer = request(client, "POST", &path, Some(&wanted)).await?;
    string(&answer, "/status/token")
}

/// A request to the API; the answer's JSON.
///
/// # Errors
/// If the API server cannot be reached or refuses.
pub async fn request(
    client: &kube::Client,
    method: &str,
    path: &str,
    body: Option<&Value>,
) -> Result<Value> {
    let media = match method {
        "PATCH" => "application/merge-patch+json",
        _ => "application/json",
    };
    let request = http::Request::builder()
        .method(method)
        .uri(path)
        .header(http::header::CONTENT_TYPE, media)
        .body(match body {
            Some(body) => serde_json::to_vec(body)?,
            None => Vec::new(),
        })?;
    client
        .request(request)
        .await
        .with_context(|| format!("{method} {path}"))
}

/// A text in an object.
///
/// # Errors
/// If there is none.
pub fn string(object: &Value, pointer: &str) -> Result<String> {
    let text = object.pointer(pointer).and_then(Value::as_str);
    Ok(text.with_context(|| format!("no {pointer}"))?.to_owned())
}
