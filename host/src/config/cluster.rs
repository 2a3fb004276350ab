//! Options of what talks to a cluster: which one, and which of its namespaces.

use std::path::PathBuf;

use clap::Args;

/// Which cluster, and what is watched of it.
#[derive(Clone, Debug, Args)]
pub struct ClusterOptions {
    /// Namespace to watch; may be given several times
    #[arg(
        long,
        value_name = "NAMESPACE",
        default_value = "jx",
        value_delimiter = ',',
        value_parser = namespace,
        conflicts_with = "all_namespaces"
    )]
    pub namespace: Vec<String>,

    /// Watch all namespaces
    #[arg(long)]
    pub all_namespaces: bool,

    /// Kubeconfig file; without it the Pod's service account is used, else $KUBECONFIG or ~/.kube/config
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
}

impl ClusterOptions {
    /// What is watched.
    #[must_use]
    pub fn namespaces(&self) -> Namespaces {
        if self.all_namespaces {
            Namespaces::All
        } else {
            Namespaces::only(self.namespace.iter().cloned())
        }
    }
}

/// Which namespaces are watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Namespaces {
    /// All there are and will be.
    All,
    /// These, each once.
    Only(Vec<String>),
}

impl Namespaces {
    /// These namespaces, each once.
    pub fn only(names: impl IntoIterator<Item = String>) -> Self {
        let mut once = Vec::new();
        for name in names {
            if !once.contains(&name) {
                once.push(name);
            }
        }
        Self::Only(once)
    }
}

/// Reads a namespace's name: a DNS label (RFC 1123), as Kubernetes demands.
///
/// # Errors
/// If it is none.
pub fn namespace(text: &str) -> Result<String, String> {
    let valid = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    let label = (1..=63).contains(&text.len())
        && text.bytes().all(valid)
        && !text.starts_with('-')
        && !text.ends_with('-');
    if label {
        Ok(text.to_owned())
    } else {
        Err(
            "a namespace is 1 to 63 lower-case letters, digits and hyphens; see kubectl get namespaces"
                .to_owned(),
        )
    }
}
