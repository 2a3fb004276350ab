//! A mapper in use.

use std::fmt;
use std::sync::Arc;

use lighthouse_telemetry_core::description::{Description, Source};
use lighthouse_telemetry_core::mapping::{ObjectSubject, Outcome, Subject, WebhookSubject};
use lighthouse_telemetry_core::time::Time;
use wasmtime::Store;
use wasmtime::component::Component;

use crate::contract::{Called, Configuration, Contract, Instance, Prepared};
use crate::description;
use crate::engine::Shared;
use crate::error::{LoadError, MapError};
use crate::kept::{Key, Sandbox};
use crate::log::Log;
use crate::output;
use crate::store::{self, State};
use crate::wasi;

/// A mapper in use. Each call runs in a sandbox of its own, so that calls may run at the same time.
pub struct Mapper {
    shared: Arc<Shared>,
    built: Built,
    name: String,
    text: String,
    description: Description,
    log: Arc<Log>,
    /// Whose sandboxes are kept for other calls, if any are.
    kept: Option<Key>,
}

/// Code that is ready to be started, by whomever.
#[derive(Clone)]
pub(crate) struct Built {
    prepared: Arc<Prepared>,
    contract: Contract,
    /// SHA-256 of what it was made from.
    pub digest: String,
    uses_wasi: bool,
}

/// Whether a sandbox may be used for another call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reuse {
    /// As a guest may remember what it has seen.
    Never,
    /// The code is ours, and is known not to.
    ForOtherCalls,
}

impl Built {
    pub(crate) fn new(
        shared: &Shared,
        component: &Component,
        digest: String,
    ) -> Result<Self, LoadError> {
        let contract = Contract::of(component, &shared.engine)?;
        let prepared = Prepared::new(contract, component, &shared.imports, &shared.engine)?;
        Ok(Self {
            prepared: Arc::new(prepared),
            contract,
            digest,
            uses_wasi: wasi::is_used(component, &shared.engine),
        })
    }
}

impl Mapper {
    pub(crate) fn new(
        shared: Arc<Shared>,
        name: &str,
        built: Built,
        text: &str,
        reuse: Reuse,
    ) -> Result<Self, LoadError> {
        let kept = (reuse == Reuse::ForOtherCalls).then(|| shared.kept.key());
        let mut mapper = Self {
            shared,
            built,
            name: name.to_owned(),
            text: text.to_owned(),
            description: Description::default(),
            log: Arc::new(Log::new(name)),
            kept,
        };
        let described = mapper.describe()?;
        if mapper.describe()? != described {
            return Err(LoadError::ConfigureUnstable);
        }
        description::check(name, &described, &mapper.shared.limits)?;
        mapper.description = described;
        mapper.smoke()?;
        Ok(mapper)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Version of the contract that it was built for.
    #[must_use]
    pub fn contract(&self) -> &'static str {
        self.built.contract.version()
    }

    /// SHA-256 of its code (and of its text, where an interpreter runs that), 64 lower-case hexadecimal digits.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.built.digest
    }

    /// What it wants.
    #[must_use]
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// Maps a subject. Waits while too many other calls run.
    ///
    /// # Errors
    /// If the mapper cannot, exceeds a limit, or returns what breaks a rule of the contract.
    pub fn map(&self, subject: &Subject) -> Result<Outcome, MapError> {
        let _slot = self.shared.slots.take();
        let outcome = match self.kept {
            Some(key) => self.map_in_kept(key, subject)?,
            None => self.map_in_new(subject)?,
        };
        Ok(output::accept(outcome, &self.shared.limits.output)?)
    }

    fn map_in_new(&self, subject: &Subject) -> Result<Outcome, MapError> {
        let seed = if self.built.uses_wasi {
            wasi::seed(subject)
        } else {
            0
        };
        let (mut store, instance) = self.start(seed)?;
        if self.description.keeps_state {
            self.configure(&mut store, &instance)?;
            store::refill(&mut store, &self.shared.limits)?;
        }
        let mapped = instance.map(&mut store, subject);
        self.result(mapped, &store)
    }

    /// Maps in a sandbox that is there, else in one that is there for the next call. Whether a limit holds may depend on what
    /// a sandbox has mapped before; what counts is what a new one says.
    fn map_in_kept(&self, key: Key, subject: &Subject) -> Result<Outcome, MapError> {
        let kept = &self.shared.kept;
        if let Some(mut sandbox) = kept.take(key) {
            match self.map_in(&mut sandbox, subject) {
                Ok(outcome) => {
                    kept.put(key, sandbox);
                    return Ok(outcome);
                }
                Err(error @ MapError::Rejected(_)) => return Err(error),
                Err(_) => {}
            }
        }
        let (mut store, instance) = self.start(0)?;
        self.configure(&mut store, &instance)?;
        let mut sandbox = Sandbox::new(store, instance.park());
        let outcome = self.map_in(&mut sandbox, subject)?;
        kept.put(key, sandbox);
        Ok(outcome)
    }

    fn map_in(&self, sandbox: &mut Sandbox, subject: &Subject) -> Result<Outcome, MapError> {
        store::refill(&mut sandbox.store, &self.shared.limits)?;
        let instance = self.built.prepared.resume(sandbox.parked);
        let mapped = instance.map(&mut sandbox.store, subject);
        self.result(mapped, &sandbox.store)
    }

    fn configure(
        &self,
        store: &mut Store<State>,
        instance: &Instance<'_>,
    ) -> Result<Description, MapError> {
        let configured = instance.configure(store, &self.configuration());
        self.result(configured, store)
    }

    fn describe(&self) -> Result<Description, LoadError> {
        let _slot = self.shared.slots.take();
        let (mut store, instance) = self.start(0).map_err(LoadError::Configure)?;
        self.configure(&mut store, &instance)
            .map_err(|error| match error {
                MapError::Rejected(rejection) => LoadError::ConfigureFailed(rejection),
                other => LoadError::Configure(other),
            })
    }

    /// Maps subjects that have nothing but a name: a mapper may refuse them, but not break.
    fn smoke(&self) -> Result<(), LoadError> {
        for (watch, place) in self.description.watches.iter().zip(0..) {
            let subject = match &watch.source {
                Source::Objects(source) => {
                    let version = source.versions.first().map_or("v1", String::as_str);
                    let api_version = if source.group.is_empty() {
                        version.to_owned()
                    } else {
                        format!("{}/{version}", source.group)
                    };
                    let json = serde_json::json!({
                        "apiVersion": api_version,
                        "kind": source.kind,
                        "metadata": {"name": "smoke-test", "uid": "0"},
                    })
                    .to_string();
                    Subject::Object(ObjectSubject {
                        watch: place,
                        json: json.into(),
                        deleted: false,
                        attached: Vec::new(),
                        omitted: 0,
                    })
                }
                Source::Webhooks(kinds) => Subject::Webhook(WebhookSubject {
                    watch: place,
                    kind: kinds.first().map_or("push", String::as_str).to_owned(),
                    guid: None,
                    received: Time::EPOCH,
                    json: "{}".into(),
                }),
            };
            match self.map(&subject) {
                Ok(_) | Err(MapError::Rejected(_)) => {}
                Err(error) => return Err(LoadError::Smoke(error)),
            }
        }
        Ok(())
    }

    fn configuration(&self) -> Configuration<'_> {
        Configuration {
            name: &self.name,
            text: &self.text,
            limits: self.shared.limits.output,
        }
    }

    fn start(&self, seed: u64) -> Result<(Store<State>, Instance<'_>), MapError> {
        let limits = &self.shared.limits;
        let mut store = store::new(&self.shared.engine, limits, Arc::clone(&self.log), seed)?;
        match self.built.prepared.start(&mut store) {
            Ok(instance) => Ok((store, instance)),
            Err(error) => Err(store::explain(&error, &store, limits)),
        }
    }

    fn result<T>(&self, called: Called<T>, store: &Store<State>) -> Result<T, MapError> {
        match called {
            Ok(result) => result.map_err(MapError::Rejected),
            Err(error) => Err(store::explain(&error, store, &self.shared.limits)),
        }
    }
}

impl Drop for Mapper {
    fn drop(&mut self) {
        if let Some(key) = self.kept {
            self.shared.kept.forget(key);
        }
    }
}

impl fmt::Debug for Mapper {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Mapper")
            .field("name", &self.name)
            .field("contract", &self.built.contract)
            .field("digest", &self.built.digest)
            .finish_non_exhaustive()
    }
}
