//! Contract `0.1.0-draft.2`.

mod lift;
mod lower;

use lighthouse_telemetry_core::description::Description;
use lighthouse_telemetry_core::mapping::{Outcome, Subject};
use wasmtime::component::{Component, Linker};
use wasmtime::{Store, StoreContextMut};

use super::{Called, Configuration};
use crate::log::Level;
use crate::store::State;

/// Its version.
pub const VERSION: &str = "0.1.0-draft.2";

#[allow(missing_docs)]
mod bindings {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "span-mapper",
        ownership: Borrowing { duplicate_if_necessary: true },
    });
}

pub use bindings::SpanMapper as Instance;
pub use bindings::SpanMapperPre as Generic;
use bindings::lighthouse::span_mapper::{log, types};

/// A mapper of this contract that is ready to be started.
pub type Prepared = Generic<State>;

/// What such a mapper imports.
pub fn imports(engine: &wasmtime::Engine) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    let mut interface = linker.instance("lighthouse:span-mapper/log@0.1.0-draft.2")?;
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

/// Checks the types of a component's functions.
pub fn prepare(component: &Component, linker: &Linker<State>) -> wasmtime::Result<Prepared> {
    Generic::new(linker.instantiate_pre(component)?)
}

/// Calls `configure`.
pub fn configure(
    instance: &Instance,
    store: &mut Store<State>,
    configuration: &Configuration<'_>,
) -> Called<Description> {
    let configuration = lower::configuration(configuration);
    let result = instance
        .lighthouse_span_mapper_mapper()
        .call_configure(store, configuration)?;
    Ok(result.map(lift::description).map_err(lift::rejection))
}

/// Calls `map-subject`.
pub fn map(instance: &Instance, store: &mut Store<State>, subject: &Subject) -> Called<Outcome> {
    let mut attached = Vec::new();
    let subject = lower::subject(subject, &mut attached);
    let result = instance
        .lighthouse_span_mapper_mapper()
        .call_map_subject(store, subject)?;
    Ok(result.map(lift::outcome).map_err(lift::rejection))
}
