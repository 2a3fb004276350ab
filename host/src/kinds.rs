//! Which resource of the API server serves a kind: its plural, its version, whether it has namespaces.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use kube::core::{ApiResource, GroupVersionKind, Resource};
use kube::discovery::{Scope, oneshot};
use kube::error::DiscoveryError;
use kube::{Api, Client};
use lighthouse_telemetry_core::object::GroupKind;
use thiserror::Error;
use tokio::time::Instant;

/// A kind that is not served is asked for again after this time.
const ABSENT_FOR: Duration = Duration::from_secs(30);

/// A kind that the API server serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    /// Where.
    pub resource: ApiResource,
    /// Whether its objects are in namespaces.
    pub namespaced: bool,
}

impl Served {
    /// Requests about objects of the kind. A namespace counts where the kind has them.
    #[must_use]
    pub fn api<K>(&self, client: Client, namespace: Option<&str>) -> Api<K>
    where
        K: Resource<DynamicType = ApiResource, Scope = kube::core::DynamicResourceScope>,
    {
        match namespace.filter(|_| self.namespaced) {
            Some(namespace) => Api::namespaced_with(client, namespace, &self.resource),
            None => Api::all_with(client, &self.resource),
        }
    }

    /// The rule that a role needs for these verbs, as it is written there.
    #[must_use]
    pub fn rule(&self, verbs: &[&str]) -> String {
        format!(
            "apiGroups: [\"{}\"], resources: [\"{}\"], verbs: [{}]",
            self.resource.group,
            self.resource.plural,
            verbs
                .iter()
                .map(|verb| format!("\"{verb}\""))
                .collect::<Vec<_>>()
                .join(", ")
        )
    }
}

/// A kind cannot be told.
#[derive(Debug, Error)]
pub enum KindError {
    /// The API server does not serve it.
    #[error("the cluster does not serve it")]
    Absent,
    /// The API server did not answer, or not as it should.
    #[error("{}", reason(.0))]
    Failed(kube::Error),
}

/// What the API server serves, remembered.
pub struct Kinds {
    client: Client,
    known: Mutex<HashMap<(GroupKind, String), Known>>,
}

#[derive(Clone, Debug)]
enum Known {
    Served(Served),
    Absent(Instant),
}

impl Kinds {
    /// Nothing is known yet.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self {
            client,
            known: Mutex::default(),
        }
    }

    /// The client that asks.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// The kind in this version, from memory if possible.
    ///
    /// # Errors
    /// If it is not served or cannot be told.
    pub async fn resolve(&self, kind: &GroupKind, version: &str) -> Result<Served, KindError> {
        let key = (kind.clone(), version.to_owned());
        let known = self
            .known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&key)
            .cloned();
        match known {
            Some(Known::Served(served)) => Ok(served),
            Some(Known::Absent(since)) if since.elapsed() < ABSENT_FOR => Err(KindError::Absent),
            _ => self.ask(kind, version).await,
        }
    }

    /// The kind in the first of these versions that is served now.
    ///
    /// # Errors
    /// If none is served, or it cannot be told.
    pub async fn first(&self, kind: &GroupKind, versions: &[String]) -> Result<Served, KindError> {
        for version in versions {
            match self.ask(kind, version).await {
                Err(KindError::Absent) => {}
                outcome => return outcome,
            }
        }
        Err(KindError::Absent)
    }

    async fn ask(&self, kind: &GroupKind, version: &str) -> Result<Served, KindError> {
        let asked = GroupVersionKind::gvk(&kind.group, version, &kind.kind);
        let outcome = match oneshot::pinned_kind(&self.client, &asked).await {
            Ok((resource, capabilities)) => Ok(Served {
                resource,
                namespaced: capabilities.scope == Scope::Namespaced,
            }),
            Err(kube::Error::Api(status)) if status.code == 404 => Err(KindError::Absent),
            Err(kube::Error::Discovery(DiscoveryError::MissingKind(_))) => Err(KindError::Absent),
            Err(error) => Err(KindError::Failed(error)),
        };
        let known = match &outcome {
            Ok(served) => Some(Known::Served(served.clone())),
            Err(KindError::Absent) => Some(Known::Absent(Instant::now())),
            Err(KindError::Failed(_)) => None,
        };
        if let Some(known) = known {
            self.known
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert((kind.clone(), version.to_owned()), known);
        }
        outcome
    }
}

/// What went wrong, in one line: kube's own text says some things twice and hides the cause.
#[must_use]
pub fn reason(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => format!("{} ({})", status.message, status.code),
        error => {
            let mut text = error.to_string();
            let mut source = std::error::Error::source(error);
            while let Some(cause) = source {
                let cause_text = cause.to_string();
                if !text.ends_with(&cause_text) {
                    text = format!("{text}: {cause_text}");
                }
                source = cause.source();
            }
            text.replace('\n', " ")
        }
    }
}
