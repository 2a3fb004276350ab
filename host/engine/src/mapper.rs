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
use crate::log::Log;
use crate::output;
use crate::store::{self, State};
use crate::wasi;

/// A mapper in use. Each call runs in a sandbox of its own, so that calls may run at the same time.
pub struct Mapper {
    shared: Arc<Shared>,
    prepared: Prepared,
    contract: Contract,
    name: String,
    text: String,
    digest: String,
    description: Description,
    log: Arc<Log>,
    uses_wasi: bool,
}

impl Mapper {
    pub(crate) fn new(
        shared: Arc<Shared>,
        name: &str,
        component: &Component,
        digest: String,
        text: &str,
    ) -> Result<Self, LoadError> {
        let contract = Contract::of(component, &shared.engine)?;
        let prepared = Prepared::new(contract, component, &shared.imports, &shared.engine)?;
        let uses_wasi = wasi::is_used(component, &shared.engine);
        let mut mapper = Self {
            shared,
            prepared,
            contract,
            name: name.to_owned(),
            text: text.to_owned(),
            digest,
            description: Description::default(),
            log: Arc::new(Log::new(name)),
            uses_wasi,
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
        self.contract.version()
    }

    /// SHA-256 of its code, 64 lower-case hexadecimal digits.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
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
        let limits = &self.shared.limits;
        let seed = if self.uses_wasi {
            wasi::seed(subject)
        } else {
            0
        };
        let (mut store, instance) = self.start(seed)?;
        if self.description.keeps_state {
            let configured = instance.configure(&mut store, &self.configuration());
            let _: Description = self.result(configured, &store)?;
            store::refill(&mut store, limits)?;
        }
        let mapped = instance.map(&mut store, subject);
        let outcome = self.result(mapped, &store)?;
        Ok(output::accept(outcome, &limits.output)?)
    }

    fn describe(&self) -> Result<Description, LoadError> {
        let _slot = self.shared.slots.take();
        let (mut store, instance) = self.start(0).map_err(LoadError::Configure)?;
        let configured = instance.configure(&mut store, &self.configuration());
        self.result(configured, &store)
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
        match self.prepared.start(&mut store) {
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

impl fmt::Debug for Mapper {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Mapper")
            .field("name", &self.name)
            .field("contract", &self.contract)
            .field("digest", &self.digest)
            .finish_non_exhaustive()
    }
}
