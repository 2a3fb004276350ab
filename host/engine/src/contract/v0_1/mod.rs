//! Contract `0.1.0`.

mod lift;
mod lower;
mod mapped;
mod memory;
mod outcome;

use lighthouse_telemetry_core::description::Description;
use lighthouse_telemetry_core::mapping::{Outcome, Subject};
use wasmtime::component::{self, Component, ComponentExportIndex, InstancePre, Linker};
use wasmtime::{Store, StoreContextMut, format_err};

use super::{Called, Configuration};
use crate::log::Level;
use crate::store::State;

/// Its version.
pub const VERSION: &str = "0.1.0";

#[allow(missing_docs)]
mod bindings {
    wasmtime::component::bindgen!({
        path: "../../wit/v0.1.0",
        world: "span-mapper",
        ownership: Borrowing { duplicate_if_necessary: true },
    });
}

use bindings::lighthouse::span_mapper::{log, types};

/// A mapper of this contract that is ready to be started.
pub struct Prepared {
    instances: InstancePre<State>,
    configure: ComponentExportIndex,
    map: mapped::Function,
}

/// A mapper in its sandbox.
pub struct Instance<'p> {
    prepared: &'p Prepared,
    instance: component::Instance,
}

/// A mapper in its sandbox, put aside.
#[derive(Clone, Copy)]
pub struct Parked(component::Instance);

/// What such a mapper imports.
pub fn imports(engine: &wasmtime::Engine) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    let mut interface = linker.instance("lighthouse:span-mapper/log@0.1.0")?;
    interface.func_wrap(
        "write",
        |store: StoreContextMut<'_, State>, (level, message): (log::Level, String)| {
            let level = match level {
                log::Level::Debug => Level::Debug,
                log::Level::Info => Level::Info,
                log::Level::Warn => Level::Warn,
                log::Level::Error => Level::Error,
            };
            super::write_log(store, level, &message)
        },
    )?;
    Ok(linker)
}

impl Prepared {
    /// Looks for a component's functions.
    pub fn new(component: &Component, linker: &Linker<State>) -> wasmtime::Result<Self> {
        let interface = "lighthouse:span-mapper/mapper@0.1.0";
        let interface = component.get_export_index(None, interface);
        let function = |name| {
            interface
                .and_then(|interface| component.get_export_index(Some(&interface), name))
                .ok_or_else(|| format_err!("no function {name}"))
        };
        Ok(Self {
            instances: linker.instantiate_pre(component)?,
            configure: function("configure")?,
            map: mapped::Function::new(function("map-subject")?),
        })
    }

    /// Starts an instance in a sandbox.
    pub fn start(&self, store: &mut Store<State>) -> wasmtime::Result<Instance<'_>> {
        Ok(Instance {
            prepared: self,
            instance: self.instances.instantiate(store)?,
        })
    }

    /// Takes up again what was put aside.
    pub fn resume(&self, parked: Parked) -> Instance<'_> {
        Instance {
            prepared: self,
            instance: parked.0,
        }
    }
}

impl Instance<'_> {
    /// Puts it aside, to be used with the same store and the same mapper later.
    pub fn park(&self) -> Parked {
        Parked(self.instance)
    }

    /// Calls `configure`.
    pub fn configure(
        &self,
        store: &mut Store<State>,
        configuration: &Configuration<'_>,
    ) -> Called<Description> {
        type Configured = Result<types::Description, types::Error>;
        let function = self
            .instance
            .get_typed_func::<(types::Configuration<'_>,), (Configured,)>(
                &mut *store,
                self.prepared.configure,
            )?;
        // A component whose other function is of other types is refused when it is loaded.
        self.prepared.map.of(&self.instance, store)?;
        let (result,) = function.call(store, (lower::configuration(configuration),))?;
        Ok(result.map(lift::description).map_err(lift::rejection))
    }

    /// Calls `map-subject`.
    pub fn map(&self, store: &mut Store<State>, subject: &Subject) -> Called<Outcome> {
        let mut attached = Vec::new();
        let subject = lower::subject(subject, &mut attached);
        self.prepared.map.call(&self.instance, store, subject)
    }
}

#[cfg(test)]
mod tests;
