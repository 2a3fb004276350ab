//! Which cluster a command talks to.

use std::path::Path;
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use crate::config::ConfigError;

/// A watch is renewed every 290 s. A connection that is silent for longer than that is dead.
const SILENCE: Duration = Duration::from_secs(310);

/// The cluster: of the file, else the one that the process runs in, else of the usual files.
pub(super) async fn connect(kubeconfig: Option<&Path>) -> Result<Client, ConfigError> {
    let failed = |error: &dyn std::error::Error| ConfigError::Cluster(causes(error));
    let mut config = match kubeconfig {
        Some(path) => {
            let file = Kubeconfig::read_from(path).map_err(|error| failed(&error))?;
            Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
                .await
                .map_err(|error| failed(&error))?
        }
        None => match Config::incluster() {
            Ok(config) => config,
            Err(_) => Config::infer().await.map_err(|error| failed(&error))?,
        },
    };
    config.read_timeout = Some(SILENCE);
    config.reset_reader_on_write = true;
    // The rooms try again by themselves, not before the API server wants it, and say why.
    config.default_retry = false;
    Client::try_from(config).map_err(|error| failed(&error))
}

/// An error and what caused it, in one line.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let inner = error.to_string();
        if !text.contains(&inner) {
            text = format!("{text}: {inner}");
        }
        cause = error.source();
    }
    text.replace('\n', " ")
}
