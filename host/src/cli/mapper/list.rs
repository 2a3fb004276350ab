//! `mapper list`: which mappers a running plugin has, and how they are doing.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;

use crate::cli::print;
use crate::view::{fit, sanitised, width};

/// A plugin that is alive answers sooner.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) const EXAMPLES: &str = "Example:
  kubectl port-forward -n jx deployment/lighthouse-telemetry 9090 &
  lighthouse-telemetry mappers list

The exit code is 1 if a module cannot be used.";

/// What `mapper list` takes.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The plugin's address for metrics and health; in a cluster, forward its port first:
    /// kubectl port-forward deployment/lighthouse-telemetry 9090
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9090")]
    pub server: String,
    /// Print JSON, as the plugin answers it
    #[arg(long)]
    pub json: bool,
}

/// Asks the plugin.
pub(super) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let answer = ask(&arguments.server).await?;
    let text = if arguments.json {
        format!("{}\n", serde_json::to_string_pretty(&answer)?)
    } else {
        table(&answer)
    };
    print(&text)?;
    Ok(if troubles(&answer).is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn ask(server: &str) -> anyhow::Result<Value> {
    // The client wants TLS settings even for plain HTTP.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let url = format!("{}/api/mappers", server.trim_end_matches('/'));
    let client = reqwest::Client::builder().timeout(PATIENCE).build()?;
    let asking = async {
        let response = client.get(&url).send().await?.error_for_status()?;
        response.bytes().await
    };
    let bytes = asking.await.with_context(|| {
        format!("no plugin answers at {url}; give its address for metrics and health with --server")
    })?;
    let other = || format!("what answers at {url} is no lighthouse-telemetry of this version");
    serde_json::from_slice(&bytes).with_context(other)
}

/// What is wrong: modules that are refused, and directories that cannot be read.
fn troubles(answer: &Value) -> Vec<String> {
    let mut troubles = Vec::new();
    for mapper in list(answer, "/mappers") {
        let refused = mapper.pointer("/refused/reason").and_then(Value::as_str);
        if let Some(reason) = refused {
            let source = text(mapper, "/refused/source");
            troubles.push(format!(
                "{}: {source} is refused: {reason}",
                text(mapper, "/name")
            ));
        }
    }
    for directory in list(answer, "/directories") {
        let said = list(directory, "/troubles").filter_map(Value::as_str);
        troubles.extend(said.map(str::to_owned));
    }
    troubles
}

/// The answer for people.
fn table(answer: &Value) -> String {
    const HEAD: [&str; 10] = [
        "NAME", "FORM", "VERSION", "CONTRACT", "DIGEST", "KINDS", "CALLS", "ERRORS", "MEAN",
        "SOURCE",
    ];
    let mut rows: Vec<Vec<String>> = vec![HEAD.map(str::to_owned).to_vec()];
    let mut notes = Vec::new();
    for mapper in list(answer, "/mappers") {
        let name = text(mapper, "/name");
        let mut kinds: Vec<String> = list(mapper, "/kinds").filter_map(kind).collect();
        kinds.dedup();
        let number = |pointer| {
            let number = mapper.pointer(pointer).and_then(Value::as_u64);
            number.map_or_else(|| "-".to_owned(), |number| number.to_string())
        };
        let mean = mapper.pointer("/meanSeconds").and_then(Value::as_f64);
        let mean = mean.map_or_else(|| "-".to_owned(), |mean| format!("{:.3}ms", mean * 1e3));
        let digest: String = text(mapper, "/digest").chars().take(12).collect();
        let or_none = |text: String| {
            if text.is_empty() {
                "-".to_owned()
            } else {
                text
            }
        };
        rows.push(vec![
            name.clone(),
            or_none(text(mapper, "/form")),
            or_none(text(mapper, "/version")),
            or_none(text(mapper, "/contract")),
            digest,
            or_none(kinds.join(",")),
            number("/calls"),
            number("/errors"),
            mean,
            text(mapper, "/source"),
        ]);
        let conflicts = list(mapper, "/conflicts").filter_map(Value::as_str);
        notes.extend(conflicts.map(|conflict| format!("{name}: {}", sanitised(conflict))));
        if mapper.pointer("/resting") == Some(&Value::Bool(true)) {
            notes.push(format!(
                "{name}: it fails again and again and rests after each failure: its objects are mapped late"
            ));
        }
        for kind in list(mapper, "/kinds") {
            let details = list(kind, "/watches").filter_map(|watch| {
                let detail = watch.pointer("/detail").and_then(Value::as_str)?;
                Some(format!(
                    "{name}: {} is not watched: {}",
                    text(kind, "/kind"),
                    sanitised(detail)
                ))
            });
            for detail in details {
                if !notes.contains(&detail) {
                    notes.push(detail);
                }
            }
        }
    }
    notes.extend(troubles(answer).iter().map(|trouble| sanitised(trouble)));
    let mut output = aligned(&rows);
    if let Some(at) = answer.pointer("/lastReload/at").and_then(Value::as_str) {
        let outcome = text(answer, "/lastReload/outcome");
        output.push_str(&format!("\nLast reload: {}, {outcome}\n", sanitised(at)));
    }
    for note in notes {
        output.push_str(&format!("! {note}\n"));
    }
    output
}

/// A kind of which objects become spans.
fn kind(kind: &Value) -> Option<String> {
    if kind.pointer("/webhooks").is_some() {
        return Some("webhooks".to_owned());
    }
    if text(kind, "/role") != "subject" {
        return None;
    }
    let (group, name) = (text(kind, "/group"), text(kind, "/kind"));
    Some(if group.is_empty() {
        name
    } else {
        format!("{name}.{group}")
    })
}

fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| width(cell)).max().unwrap_or_default()
        })
        .collect();
    let mut output = String::new();
    for row in rows {
        let cells = row
            .iter()
            .zip(&widths)
            .map(|(cell, cells)| fit(cell, *cells));
        let line = cells.collect::<Vec<_>>().join("  ");
        output.push_str(line.trim_end());
        output.push('\n');
    }
    output
}

fn list<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    let list = value.pointer(pointer).and_then(Value::as_array);
    list.into_iter().flatten()
}

/// A text for a terminal.
fn text(value: &Value, pointer: &str) -> String {
    sanitised(
        value
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_table_says_what_there_is_and_what_is_wrong() {
        let watch = |state: &str, detail: Option<&str>| json!([{"namespace": "jx", "state": state, "detail": detail}]);
        let answer = json!({
            "mappers": [
                {
                    "name": "argo-workflow", "form": "component", "version": "0.1.0", "contract": "0.1.0",
                    "digest": "0123456789abcdef", "source": "/mappers/argo-workflow.wasm", "inUse": true,
                    "kinds": [
                        {"group": "argoproj.io", "kind": "Workflow", "role": "subject",
                         "watches": watch("forbidden", Some("add this rule to the ClusterRole: …"))},
                        {"group": "", "kind": "Event", "role": "attached", "watches": watch("listed", None)},
                    ],
                    "conflicts": ["it is asked before 'workflows' about each Workflow: what it claims that does not get"],
                    "calls": 3, "errors": 1, "meanSeconds": 0.000_25, "resting": true, "timesIll": 1,
                    "refused": {"source": "/mappers/argo-workflow.wasm", "reason": "cut off\u{1b}[31m"},
                },
                {
                    "name": "lighthouse", "form": "built-in", "version": "0.1.0", "contract": "0.1.0", "digest": "fedcba9876543210",
                    "source": "built-in", "inUse": true, "kinds": [{"webhooks": []}], "conflicts": [],
                    "calls": 0, "errors": 0, "meanSeconds": null, "refused": null,
                },
            ],
            "directories": [{"path": "/mappers", "modules": 1, "troubles": ["the directory /more cannot be read"]}],
            "lastReload": {"at": "2026-01-01T00:00:00Z", "outcome": "refused"},
        });
        insta::assert_snapshot!(table(&answer));
        assert_eq!(troubles(&answer).len(), 2);
    }

    #[tokio::test]
    async fn nobody_there_is_said_with_what_to_do() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let error = ask(&format!("http://{address}")).await.unwrap_err();
        assert!(error.to_string().contains("--server"), "{error}");
    }
}
