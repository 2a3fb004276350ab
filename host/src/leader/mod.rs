//! One leader among several replicas, by a Lease of Kubernetes.
//!
//! The leader watches, patches and exports. A follower takes webhooks, keeps them and forwards them to the leader. A leader
//! that cannot renew its Lease writes nothing any more, and its process ends, before anybody else can have the Lease.

mod forward;
mod lease;
mod permit;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use forward::{Forwarder, Left};
pub use lease::{Candidate, Holder, Term};
pub use permit::Permit;

use crate::kinds::reason;
use lease::{Verdict, Watcher, holder, term};

/// How a replica takes part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Namespace of the Lease.
    pub namespace: String,
    /// Name of the Lease.
    pub name: String,
    /// How long it holds without being renewed.
    pub duration: Duration,
    /// Unlike that of any other process.
    pub identity: String,
    /// Where other replicas reach the port of the webhooks.
    pub advertised: Advertised,
}

/// Where other replicas reach the port of the webhooks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Advertised {
    /// There.
    Address(String),
    /// At this host, and the port that is listened on.
    Host(String),
}

impl Advertised {
    /// Host and port.
    #[must_use]
    pub fn address(&self, port: u16) -> String {
        match self {
            Self::Address(address) => address.clone(),
            Self::Host(host) if host.contains(':') => format!("[{host}]:{port}"),
            Self::Host(host) => format!("{host}:{port}"),
        }
    }
}

/// What this process is among the replicas.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// There are no others.
    #[default]
    Alone,
    /// Another one leads, or is about to.
    Follower {
        /// Which, if that is known.
        of: Option<String>,
        /// Why the Lease cannot be had.
        trouble: Option<String>,
    },
    /// It leads.
    Leader,
}

impl Role {
    /// Whether it watches, patches and exports.
    #[must_use]
    pub const fn leads(&self) -> bool {
        matches!(self, Self::Alone | Self::Leader)
    }
}

/// How the election stands. Clones share it.
#[derive(Clone, Debug)]
pub struct Standing {
    role: watch::Sender<Role>,
    holder: watch::Sender<Option<Holder>>,
}

impl Standing {
    /// There are no other replicas.
    #[must_use]
    pub fn alone() -> Self {
        Self::of(Role::Alone)
    }

    /// Nobody is known to lead.
    #[must_use]
    pub fn follower() -> Self {
        Self::of(Role::Follower {
            of: None,
            trouble: None,
        })
    }

    fn of(role: Role) -> Self {
        Self {
            role: watch::Sender::new(role),
            holder: watch::Sender::new(None),
        }
    }

    /// What this process is now.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role.borrow().clone()
    }

    /// Whom webhooks are to be forwarded to; to be watched.
    #[must_use]
    pub fn holder(&self) -> watch::Receiver<Option<Holder>> {
        self.holder.subscribe()
    }

    fn follows(&self, holder: Option<Holder>, trouble: Option<String>) {
        let role = Role::Follower {
            of: holder.as_ref().map(|holder| holder.identity.clone()),
            trouble,
        };
        self.become_(role);
        self.holder.send_if_modified(|known| {
            let news = *known != holder;
            *known = holder;
            news
        });
    }

    fn become_(&self, role: Role) {
        self.role.send_if_modified(|known| {
            let news = *known != role;
            *known = role;
            news
        });
    }
}

/// Takes part in the election.
pub struct Election {
    api: Api<Lease>,
    candidate: Candidate,
    standing: Standing,
}

/// The Lease is held.
struct Held {
    lease: Lease,
    /// When it was last asked to be renewed with success.
    renewed: Instant,
}

/// The time as leader, which a task of its own prolongs.
#[derive(Debug)]
pub struct Tenure {
    /// Which.
    pub term: Term,
    /// What it permits.
    pub permit: Permit,
    release: CancellationToken,
    task: JoinHandle<String>,
}

impl Election {
    /// Takes part with this address.
    #[must_use]
    pub fn new(settings: &Settings, port: u16, client: Client, standing: Standing) -> Self {
        Self {
            api: Api::namespaced(client, &settings.namespace),
            candidate: Candidate {
                name: settings.name.clone(),
                identity: settings.identity.clone(),
                address: settings.advertised.address(port),
                duration: settings.duration,
            },
            standing,
        }
    }

    /// Returns once the Lease is ours.
    pub async fn win(&self) -> Tenure {
        let mut watcher = Watcher::default();
        let held = loop {
            let period = self.candidate.period();
            let read = self.api.get_opt(&self.candidate.name);
            let lease = match within(period, read).await {
                Ok(lease) => lease,
                Err(refused) => {
                    self.trouble("cannot read", &refused);
                    tokio::time::sleep(period).await;
                    continue;
                }
            };
            let verdict = watcher.judge(&self.candidate, lease.as_ref(), Instant::now());
            let lease = match verdict {
                Verdict::Take(lease) => lease,
                Verdict::Wait(left) => {
                    self.standing.follows(lease.as_ref().and_then(holder), None);
                    tokio::time::sleep(left.min(period).min(GLANCE)).await;
                    continue;
                }
            };
            let asked = Instant::now();
            match within(period, self.write(&lease)).await {
                Ok(lease) => {
                    break Held {
                        lease,
                        renewed: asked,
                    };
                }
                // Somebody was faster.
                Err(Refused::Conflict) => {}
                Err(refused) => {
                    self.trouble("cannot write", &refused);
                    tokio::time::sleep(period).await;
                }
            }
        };
        let term = term(&held.lease);
        tracing::info!(
            identity = self.candidate.identity,
            term = term.number,
            "this replica leads"
        );
        self.standing.become_(Role::Leader);
        let permit = Permit::until(held.renewed + self.candidate.patience());
        let release = CancellationToken::new();
        let task = Keeper {
            api: self.api.clone(),
            candidate: self.candidate.clone(),
            permit: permit.clone(),
        };
        let task = tokio::spawn(task.keep(held, release.clone()));
        Tenure {
            term,
            permit,
            release,
            task,
        }
    }

    /// Returns once somebody else leads who takes webhooks.
    pub async fn wait_for_another(&self) {
        loop {
            let period = self.candidate.period().min(LOOK);
            if let Ok(lease) = within(period, self.api.get_opt(&self.candidate.name)).await {
                let holder = lease.as_ref().and_then(holder);
                let another = holder.filter(|holder| holder.identity != self.candidate.identity);
                if another.is_some() {
                    self.standing.follows(another, None);
                    return;
                }
            }
            tokio::time::sleep(period).await;
        }
    }

    async fn write(&self, lease: &Lease) -> Result<Lease, kube::Error> {
        let parameters = PostParams::default();
        if lease.metadata.resource_version.is_some() {
            let name = &self.candidate.name;
            self.api.replace(name, &parameters, lease).await
        } else {
            self.api.create(&parameters, lease).await
        }
    }

    fn trouble(&self, what: &str, refused: &Refused) {
        let name = &self.candidate.name;
        let trouble = format!("{what} the Lease {name}: {refused}");
        let news = match self.standing.role() {
            Role::Follower { trouble: known, .. } => known.as_ref() != Some(&trouble),
            _ => true,
        };
        if news {
            tracing::warn!("{trouble}; webhooks are kept until there is a leader");
        }
        let holder = self.standing.holder.borrow().clone();
        self.standing.follows(holder, Some(trouble));
    }
}

/// So often a follower looks at the Lease: one that was given up is taken so soon.
const GLANCE: Duration = Duration::from_secs(1);
/// So often one that has given it up looks whether somebody else leads.
const LOOK: Duration = Duration::from_millis(250);

impl Tenure {
    /// Returns if the Lease is lost; why.
    pub async fn lost(&mut self) -> String {
        match (&mut self.task).await {
            Ok(why) => why,
            Err(error) => format!("the task that renews the Lease ended: {error}"),
        }
    }

    /// Gives the Lease up, so that somebody else can lead at once. Nothing may be written any more.
    pub async fn release(mut self) {
        self.permit.extend(Instant::now());
        self.release.cancel();
        self.lost().await;
    }
}

impl Drop for Tenure {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Renews the Lease.
struct Keeper {
    api: Api<Lease>,
    candidate: Candidate,
    permit: Permit,
}

impl Keeper {
    /// Until it is lost or to be given up; says why.
    async fn keep(self, mut held: Held, release: CancellationToken) -> String {
        let period = self.candidate.period();
        loop {
            let due = held.renewed + period;
            tokio::select! {
                () = release.cancelled() => return self.release(&held.lease).await,
                () = tokio::time::sleep_until(due.into()) => {}
            }
            if let Err(why) = self.renew(&mut held).await {
                self.permit.extend(Instant::now());
                return why;
            }
            self.permit.extend(held.renewed + self.candidate.patience());
        }
    }

    async fn renew(&self, held: &mut Held) -> Result<(), String> {
        let end = held.renewed + self.candidate.patience();
        loop {
            let asked = Instant::now();
            let left = end.saturating_duration_since(asked);
            let attempt = async {
                let renewed = self.candidate.renewed(&held.lease);
                let (name, parameters) = (&self.candidate.name, PostParams::default());
                within(left, self.api.replace(name, &parameters, &renewed)).await
            };
            let trouble = match attempt.await {
                Ok(lease) => {
                    held.lease = lease;
                    held.renewed = asked;
                    return Ok(());
                }
                // Somebody else has written it, which need not mean that they hold it.
                Err(Refused::Conflict) => match within(left, self.newest()).await {
                    Ok(Some(lease)) if self.is_ours(&lease) => {
                        held.lease = lease;
                        continue;
                    }
                    Ok(lease) => {
                        let by = lease.as_ref().and_then(holder);
                        return Err(match by {
                            Some(holder) => format!("the Lease was taken by {}", holder.identity),
                            None => "the Lease was taken away".to_owned(),
                        });
                    }
                    Err(refused) => refused,
                },
                Err(refused) => refused,
            };
            let pause =
                (self.candidate.period() / 4).min(end.saturating_duration_since(Instant::now()));
            if pause.is_zero() {
                return Err(format!("the Lease could not be renewed in time: {trouble}"));
            }
            tracing::warn!("the Lease could not be renewed yet: {trouble}");
            tokio::time::sleep(pause).await;
        }
    }

    async fn newest(&self) -> Result<Option<Lease>, kube::Error> {
        self.api.get_opt(&self.candidate.name).await
    }

    fn is_ours(&self, lease: &Lease) -> bool {
        holder(lease).is_some_and(|holder| holder.identity == self.candidate.identity)
    }

    async fn release(&self, lease: &Lease) -> String {
        let released = self.candidate.released(lease);
        let (name, parameters) = (&self.candidate.name, PostParams::default());
        let replace = self.api.replace(name, &parameters, &released);
        match within(self.candidate.period(), replace).await {
            Ok(_) => tracing::info!("the Lease was given up"),
            Err(refused) => {
                tracing::warn!("the Lease was not given up, and runs out by itself: {refused}");
            }
        }
        "the Lease was given up".to_owned()
    }
}

/// Why a request was not done.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("somebody else has written it")]
    Conflict,
    #[error("there was no answer in time")]
    Late,
    #[error(
        "{0}; give the service account get, create and update on leases in the group coordination.k8s.io"
    )]
    Forbidden(String),
    #[error("{0}")]
    Failed(String),
}

async fn within<T>(
    limit: Duration,
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, Refused> {
    match tokio::time::timeout(limit, request).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(kube::Error::Api(status))) if status.code == 409 => Err(Refused::Conflict),
        Ok(Err(error)) => Err(match &error {
            kube::Error::Api(status) if status.code == 403 => Refused::Forbidden(reason(&error)),
            _ => Refused::Failed(reason(&error)),
        }),
        Err(_) => Err(Refused::Late),
    }
}
