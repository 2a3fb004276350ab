//! A scenario in the middle of which the cluster takes things away from the process and gives them back: the API server, a
//! kind, its rights, its token. The trace must be as if nothing had.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use kube::config::{AuthInfo, Kubeconfig};
use lighthouse_telemetry_tests::cluster::{self, ApiServer, request};
use lighthouse_telemetry_tests::host::Kills;
use lighthouse_telemetry_tests::process::Process;
use lighthouse_telemetry_tests::real::{self, Access};
use lighthouse_telemetry_tests::scenario::{ANYWHERE, Scenario};
use serde_json::{Value, json};

use super::{Ground, Test, compare};

/// All tests of this file.
pub const ALL: &[(&str, Test)] = &[(
    "what_the_cluster_takes_away_and_gives_back_does_not_show_in_the_trace",
    |ground| Box::pin(taken_and_given_back(ground)),
)];

const SCENARIO: &str = "pull-request";
/// Before which step of the scenario. There is no PipelineActivity yet, and nothing has ended.
const KIND: usize = 5;
const SERVER: usize = 8;
const RIGHTS: usize = 14;
const TOKEN: usize = 20;

/// A token file is read again once a minute, and a failed request sent again after half a minute at most.
const PATIENCE: Duration = Duration::from_secs(150);

const ROLE_BINDINGS: &str = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
const ACCOUNTS: &str = "/api/v1/namespaces/default/serviceaccounts";

/// Waits until the process says this of a kind.
async fn trouble(process: &Process, kind: &str, state: &str, detail: &str) -> Result<()> {
    let wished = |_: u16, text: &str| {
        let report: Value = serde_json::from_str(text).unwrap_or_default();
        let troubles = report.get("troubles").and_then(Value::as_array);
        troubles.into_iter().flatten().any(|trouble| {
            let text = |key| trouble.get(key).and_then(Value::as_str).unwrap_or_default();
            text("kind") == kind && text("state") == state && text("detail").contains(detail)
        })
    };
    let said = process.readiness_within(PATIENCE, wished).await;
    said.map(drop)
        .with_context(|| format!("{kind} does not become {state}"))
}

/// Waits until the process says that all is well.
async fn well(process: &Process) -> Result<()> {
    let wished = |status: u16, text: &str| status == 200 && text.contains("\"troubles\":[]");
    let said = process.readiness_within(PATIENCE, wished).await;
    said.map(drop).context("it does not recover")
}

async fn allow(client: &kube::Client) -> Result<()> {
    let binding = json!({
        "metadata": {"name": "plugin"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "plugin"},
        "subjects": [{"kind": "ServiceAccount", "name": "plugin", "namespace": "default"}],
    });
    request(client, "POST", ROLE_BINDINGS, Some(&binding)).await?;
    Ok(())
}

/// A new account of this name, and its token.
async fn account(client: &kube::Client) -> Result<String> {
    let account = json!({"metadata": {"name": "plugin"}});
    request(client, "POST", ACCOUNTS, Some(&account)).await?;
    cluster::token(client, "default", "plugin").await
}

/// A kubeconfig with the token of this file instead of an administrator's certificate.
fn with_token(admin: &Path, token: &Path) -> Result<Kubeconfig> {
    let mut config = Kubeconfig::read_from(admin)?;
    for user in &mut config.auth_infos {
        user.auth_info = Some(AuthInfo {
            token_file: Some(token.display().to_string()),
            ..AuthInfo::default()
        });
    }
    Ok(config)
}

async fn taken_and_given_back(ground: &Ground) -> Result<()> {
    let mut server = ApiServer::start().await?;
    server.define(cluster::everything).await?;
    let client = server.client().clone();
    let role = json!({
        "metadata": {"name": "plugin"},
        "rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list", "watch", "patch"]}],
    });
    let roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
    request(&client, "POST", roles, Some(&role)).await?;
    allow(&client).await?;
    let folder = server.kubeconfig().parent().context("no folder")?;
    let token = folder.join("token");
    std::fs::write(&token, account(&client).await?)?;
    let kubeconfig = folder.join("kubeconfig-of-plugin");
    let config = with_token(server.kubeconfig(), &token)?;
    std::fs::write(&kubeconfig, serde_json::to_string(&config)?)?;

    let scenarios = Scenario::all(ANYWHERE)?;
    let scenario = scenarios.iter().find(|scenario| scenario.name == SCENARIO);
    let scenario = scenario.context("no such scenario")?;
    let before_step = async |step: usize, process: &Process| {
        match step {
            KIND => {
                server.remove("PipelineActivity").await?;
                trouble(
                    process,
                    "PipelineActivity.jenkins.io",
                    "missing",
                    "install it",
                )
                .await?;
                let again = |kind: &str| match kind {
                    "PipelineActivity" => cluster::everything(kind),
                    _ => Vec::new(),
                };
                server.define(again).await?;
            }
            SERVER => {
                server.go_down().await?;
                trouble(process, "Pod", "failing", "onnect").await?;
                server.come_back().await?;
            }
            RIGHTS => {
                let binding = format!("{ROLE_BINDINGS}/plugin");
                request(&client, "DELETE", &binding, None).await?;
                // A right is looked at when a watch begins.
                server.go_down().await?;
                server.come_back().await?;
                trouble(process, "Pod", "forbidden", "resources: [\"pods\"]").await?;
                allow(&client).await?;
            }
            TOKEN => {
                let path = format!("{ACCOUNTS}/plugin");
                request(&client, "DELETE", &path, None).await?;
                server.go_down().await?;
                server.come_back().await?;
                trouble(process, "Pod", "failing", "(401)").await?;
                std::fs::write(&token, account(&client).await?)?;
            }
            _ => return Ok(()),
        }
        well(process)
            .await
            .with_context(|| format!("before step {step}"))
    };
    let access = Access {
        client: &client,
        kubeconfig: &kubeconfig,
    };
    let (binary, mappers) = (&ground.binary, &ground.mappers);
    let play = real::play_with(scenario, access, binary, mappers, Kills::NONE, before_step);
    compare(&play.await?).map_err(|difference| anyhow!(difference))
}
