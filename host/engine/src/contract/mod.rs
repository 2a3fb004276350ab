//! The versions of the contract that the host speaks. A module a version holds its bindings and converts to
//! and from the core's types, which are those of the newest; the rest of the engine knows none of it.

mod v0_1;

use lighthouse_telemetry_core::description::Description;
use lighthouse_telemetry_core::mapping::{Outcome, Subject};
use semver::Version;
use wasmtime::component::{Component, Linker};
use wasmtime::{Store, StoreContextMut};

use crate::error::{EngineError, LoadError, Rejection};
use crate::limits::OutputLimits;
use crate::log::Level;
use crate::store::State;
use crate::wasi;

/// The interface that a mapper exports, without its version.
const MAPPER: &str = "lighthouse:span-mapper/mapper";
/// The interfaces of the contract that a mapper may import, without their version: the log, and types, which are no authority.
const IMPORTS: [&str; 2] = ["lighthouse:span-mapper/log", "lighthouse:span-mapper/types"];

/// A version of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contract {
    /// `0.1.0`.
    V0_1,
}

/// What `configure` is told, beside what the host is.
#[derive(Clone, Copy, Debug)]
pub struct Configuration<'a> {
    /// Name of the mapper.
    pub name: &'a str,
    /// The operator's text for it.
    pub text: &'a str,
    /// What one call may return.
    pub limits: OutputLimits,
}

/// Names of the optional features that this host offers.
pub const FEATURES: [&str; 0] = [];
/// Version of the host.
const HOST_VERSION: &str = env!("CARGO_PKG_VERSION");

/// Versions of the contract that this host speaks, newest first, separated by commas.
#[must_use]
pub fn spoken() -> String {
    Contract::ALL.map(Contract::version).join(", ")
}

impl Contract {
    const ALL: [Self; 1] = [Self::V0_1];

    /// The version, as it stands in names of interfaces.
    pub const fn version(self) -> &'static str {
        match self {
            Self::V0_1 => v0_1::VERSION,
        }
    }

    /// Reads from its exports which contract a component was built for, and refuses imports that the host
    /// does not offer.
    pub fn of(component: &Component, engine: &wasmtime::Engine) -> Result<Self, LoadError> {
        let shape = component.component_type();
        let built = shape
            .exports(engine)
            .map(|(name, _)| split(name))
            .find_map(|(interface, version)| (interface == MAPPER).then_some(version))
            .ok_or(LoadError::OtherWorld { wanted: MAPPER })?;
        let contract = Self::ALL
            .into_iter()
            .find(|spoken| speaks(spoken.version(), built))
            .ok_or_else(|| LoadError::UnknownContract {
                found: if built.is_empty() {
                    "without a version".to_owned()
                } else {
                    built.to_owned()
                },
                spoken: spoken(),
            })?;
        for (name, _) in shape.imports(engine) {
            let (interface, version) = split(name);
            let is_contract = IMPORTS.contains(&interface) && speaks(contract.version(), version);
            if !is_contract && !wasi::is_offered(interface, version) {
                return Err(LoadError::ForeignImport(name.to_owned()));
            }
        }
        Ok(contract)
    }
}

/// Whether bindings of one version work for a mapper that was built for another. A draft is like no other; of
/// a release all patches are alike.
fn speaks(spoken: &str, built: &str) -> bool {
    if spoken == built {
        return true;
    }
    let (Ok(spoken), Ok(built)) = (Version::parse(spoken), Version::parse(built)) else {
        return false;
    };
    let released = spoken.pre.is_empty() && built.pre.is_empty();
    released && (spoken.major, spoken.minor) == (built.major, built.minor)
}

/// The name of an interface and its version.
fn split(name: &str) -> (&str, &str) {
    name.split_once('@').unwrap_or((name, ""))
}

/// What mappers import, for every version.
pub struct Imports {
    v0_1: Linker<State>,
}

impl Imports {
    /// Sets the imports up.
    pub fn new(engine: &wasmtime::Engine) -> Result<Self, EngineError> {
        let failed = |contract: Contract| {
            move |error: wasmtime::Error| EngineError::Contract {
                contract: contract.version(),
                reason: error.to_string(),
            }
        };
        Ok(Self {
            v0_1: v0_1::imports(engine).map_err(failed(Contract::V0_1))?,
        })
    }
}

/// A mapper that is ready to be started.
pub enum Prepared {
    V0_1(v0_1::Prepared),
}

/// A mapper in its sandbox.
pub enum Instance<'p> {
    V0_1(v0_1::Instance<'p>),
}

/// A mapper in its sandbox, put aside.
#[derive(Clone, Copy)]
pub enum Parked {
    V0_1(v0_1::Parked),
}

/// What comes of a call: an error of the sandbox, or what the mapper says.
pub type Called<T> = wasmtime::Result<Result<T, Rejection>>;

impl Prepared {
    /// Checks the types of a component's functions, and prepares what all its instances share.
    pub fn new(
        contract: Contract,
        component: &Component,
        imports: &Imports,
        engine: &wasmtime::Engine,
    ) -> Result<Self, LoadError> {
        let linker = match contract {
            Contract::V0_1 => &imports.v0_1,
        };
        let prepared = || {
            let mut linker = linker.clone();
            wasi::offer(&mut linker, component, engine)?;
            match contract {
                Contract::V0_1 => v0_1::Prepared::new(component, &linker).map(Self::V0_1),
            }
        };
        prepared().map_err(|error| LoadError::OtherTypes {
            contract: contract.version(),
            reason: format!("{error:#}"),
        })
    }

    /// Starts an instance in a sandbox.
    pub fn start(&self, store: &mut Store<State>) -> wasmtime::Result<Instance<'_>> {
        match self {
            Self::V0_1(prepared) => prepared.start(store).map(Instance::V0_1),
        }
    }

    /// Takes up again an instance of this mapper that was put aside.
    pub fn resume(&self, parked: Parked) -> Instance<'_> {
        match (self, parked) {
            (Self::V0_1(prepared), Parked::V0_1(parked)) => Instance::V0_1(prepared.resume(parked)),
        }
    }
}

impl Instance<'_> {
    /// Puts it aside, to be used with the same store and the same mapper later.
    pub fn park(&self) -> Parked {
        match self {
            Self::V0_1(instance) => Parked::V0_1(instance.park()),
        }
    }

    /// Calls `configure`.
    pub fn configure(
        &self,
        store: &mut Store<State>,
        configuration: &Configuration<'_>,
    ) -> Called<Description> {
        match self {
            Self::V0_1(instance) => instance.configure(store, configuration),
        }
    }

    /// Calls `map-subject`.
    pub fn map(&self, store: &mut Store<State>, subject: &Subject) -> Called<Outcome> {
        match self {
            Self::V0_1(instance) => instance.map(store, subject),
        }
    }
}

/// What `log.write` does. It costs fuel, as a guest could otherwise make the host copy text for nothing.
fn write_log(
    mut store: StoreContextMut<'_, State>,
    level: Level,
    message: &str,
) -> wasmtime::Result<()> {
    /// Fuel of a line beside that of its bytes.
    const LINE: u64 = 10_000;
    /// Fuel of a byte.
    const BYTE: u64 = 10;
    let length = u64::try_from(message.len()).unwrap_or(u64::MAX);
    let cost = length.saturating_mul(BYTE).saturating_add(LINE);
    match store.get_fuel()?.checked_sub(cost) {
        Some(left) => store.set_fuel(left)?,
        None => return Err(wasmtime::Trap::OutOfFuel.into()),
    }
    store.data().log.write(level, message);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::speaks;

    #[test]
    fn a_draft_is_like_no_other_and_patches_are_alike() {
        assert!(speaks("0.2.0-draft.1", "0.2.0-draft.1"));
        assert!(!speaks("0.2.0-draft.1", "0.2.0-draft.2"));
        assert!(!speaks("0.1.0", "0.1.0-draft.2"));
        assert!(speaks("0.1.0", "0.1.3"));
        assert!(!speaks("0.1.0", "0.2.0"));
        assert!(!speaks("0.1.0", ""));
    }
}
