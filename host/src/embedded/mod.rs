//! A small Kubernetes API over HTTP, in memory: discovery, get, list, watch, merge patch, create, update and
//! delete, with the resource versions, bookmarks, pages and refusals of a real one.
//!
//! It is for the demo and for tests. Clients talk to it as to any API server, over a socket on loopback; there
//! are no controllers, no admission, no authentication and no storage, and it must not grow any.

mod failure;
mod fault;
mod http;
mod lighthouse;
mod list;
mod rendering;
mod resource;
mod selector;
mod store;
mod watch;
mod write;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lighthouse_telemetry_core::description::ObjectSource;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use failure::Failure;
pub use fault::{Answer, Fault, FaultId};
pub use lighthouse::Lighthouse;
pub use resource::Resource;
pub use selector::{Selector, SelectorError};

use fault::Faults;
use store::Store;

/// A running API server; stops when dropped.
#[derive(Debug)]
pub struct Server {
    shared: Arc<Shared>,
    address: SocketAddr,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    store: Mutex<Store>,
    faults: Mutex<Faults>,
    /// Newest resource version; wakes the watches.
    revisions: tokio::sync::watch::Sender<u64>,
    /// How often the watches were dropped; ends them.
    dropped: tokio::sync::watch::Sender<u64>,
    /// How often the watches were silenced.
    silenced: tokio::sync::watch::Sender<u64>,
}

impl Shared {
    // No room leaves the state half changed when it panics, so a poisoned lock can be entered.
    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn announce(&self, store: &Store) {
        let revision = store.revision();
        self.revisions.send_if_modified(|known| {
            let newer = *known < revision;
            *known = revision.max(*known);
            newer
        });
    }
}

impl Server {
    /// Starts a server on loopback, on a free port, that serves the kinds of [`Resource::of_jenkins_x`].
    ///
    /// # Errors
    /// If loopback cannot be bound.
    pub async fn start() -> std::io::Result<Self> {
        Self::start_with(Resource::of_jenkins_x()).await
    }

    /// Starts a server that serves these kinds; others as soon as an object of theirs is applied.
    ///
    /// # Errors
    /// If loopback cannot be bound.
    pub async fn start_with(resources: Vec<Resource>) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let store = Store::new(resources);
        let shared = Arc::new(Shared {
            revisions: tokio::sync::watch::Sender::new(store.revision()),
            dropped: tokio::sync::watch::Sender::new(0),
            silenced: tokio::sync::watch::Sender::new(0),
            store: Mutex::new(store),
            faults: Mutex::default(),
        });
        let router = http::router(Arc::clone(&shared));
        let task = tokio::spawn(async move {
            // Never returns an error: it retries what fails.
            let _: std::io::Result<()> = axum::serve(listener, router).await;
        });
        Ok(Self {
            shared,
            address,
            task,
        })
    }

    /// Where it listens: `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A client for it, as the plugin has one: that does not try again by itself.
    ///
    /// # Errors
    /// If the client cannot be made, such as without a provider of cryptography.
    pub fn client(&self) -> Result<kube::Client, kube::Error> {
        let url = format!("http://{}/", self.address)
            .parse()
            .map_err(|error| kube::Error::Service(Box::new(error)))?;
        let mut config = kube::Config::new(url);
        config.default_retry = false;
        kube::Client::try_from(config)
    }

    /// Creates or replaces an object, as its controller would; labels and annotations that clients set stay. A
    /// kind that is not served yet is from now on. Returns the resource version.
    ///
    /// # Errors
    /// If the object has no apiVersion, kind, or metadata.name.
    pub fn apply(&self, object: Value) -> Result<u64, Failure> {
        let mut store = self.shared.store();
        let revision = store.apply(object)?;
        self.shared.announce(&store);
        Ok(revision)
    }

    /// Deletes the object of this apiVersion, kind and metadata. Returns the resource version.
    ///
    /// # Errors
    /// If there is no such object.
    pub fn delete(&self, object: &Value) -> Result<u64, Failure> {
        let mut store = self.shared.store();
        let key = store.key_of_recorded(object)?;
        store.delete(&key)?;
        self.shared.announce(&store);
        Ok(store.revision())
    }

    /// The object of this apiVersion, kind and metadata as it is now.
    #[must_use]
    pub fn get(&self, object: &Value) -> Option<Value> {
        let mut store = self.shared.store();
        let key = store.key_of_recorded(object).ok()?;
        store.get(&key).map(|stored| stored.value.clone())
    }

    /// Resource version of the newest change of any object.
    #[must_use]
    pub fn newest_resource_version(&self) -> u64 {
        self.shared.store().revision()
    }

    /// Resource version of the newest change that a watch of this source has been told, or will be; 0 if there
    /// is none. Whoever has seen it has seen all.
    ///
    /// # Errors
    /// If the API would refuse the selectors.
    pub fn newest_of(&self, source: &ObjectSource) -> Result<u64, SelectorError> {
        let selector = Selector::parse(
            source.label_selector.as_deref().unwrap_or_default(),
            source.field_selector.as_deref().unwrap_or_default(),
            &source.kind,
        )?;
        let store = self.shared.store();
        let Some(resource) = store.resource_of_kind(&source.group, &source.kind) else {
            return Ok(0);
        };
        Ok(store.newest(&resource.key(), &selector))
    }

    /// Forgets the history: who asks for what was before is told 410 Gone.
    pub fn compact(&self) {
        self.shared.store().compact();
    }

    /// Ends all watches there are, as a server that restarts.
    pub fn drop_watches(&self) {
        self.shared.dropped.send_modify(|times| *times += 1);
    }

    /// All watches there are stay open and say nothing any more, as if the network had lost them.
    pub fn silence_watches(&self) {
        self.shared.silenced.send_modify(|times| *times += 1);
    }

    /// From now on some requests meet a fault.
    pub fn break_with(&self, fault: Fault) -> FaultId {
        self.shared.faults().add(fault)
    }

    /// Ends a fault.
    pub fn heal(&self, fault: FaultId) {
        self.shared.faults().heal(fault);
    }

    /// How many requests met a fault so far.
    #[must_use]
    pub fn hits(&self, fault: FaultId) -> u32 {
        self.shared.faults().hits(fault)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.drop_watches();
        self.task.abort();
    }
}
