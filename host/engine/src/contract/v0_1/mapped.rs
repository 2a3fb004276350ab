//! The result of `map-subject`, lifted without wasmtime's values in between: `docs/adr/0005-cost-of-a-mapping.md` says
//! what it is for, and `0007-results-from-memory.md` why there is unsafe code here.
#![allow(unsafe_code)]

use std::sync::OnceLock;

use lighthouse_telemetry_core::mapping::Outcome;
use wasmtime::component::__internal::{
    CanonicalAbiInfo, InstanceType, InterfaceType, LiftContext, wasmtime_environ,
};
use wasmtime::component::{ComponentExportIndex, ComponentType, Func, Instance, Lift, TypedFunc};
use wasmtime::{Result, Store, bail, format_err};
use wasmtime_environ::component::StringEncoding;

use super::memory::Memory;
use super::{outcome, types};
use crate::error::Rejection;
use crate::store::State;

/// What `map-subject` returns, in the bindings' form.
type Bound = std::result::Result<types::Outcome, types::Error>;

/// The same, in the core's.
pub struct Mapped(pub std::result::Result<Outcome, Rejection>);

// SAFETY: in WebAssembly this is what the generated `Bound` is: all that the trait asks is taken from there.
unsafe impl ComponentType for Mapped {
    type Lower = <Bound as ComponentType>::Lower;

    const ABI: CanonicalAbiInfo = <Bound as ComponentType>::ABI;

    fn typecheck(ty: &InterfaceType, types: &InstanceType<'_>) -> Result<()> {
        <Bound as ComponentType>::typecheck(ty, types)
    }
}

// SAFETY: the memory is read by safe code alone, which trusts nothing that it finds there.
unsafe impl Lift for Mapped {
    fn linear_lift_from_flat(
        _: &mut LiftContext<'_>,
        _: InterfaceType,
        _: &Self::Lower,
    ) -> Result<Self> {
        bail!("a result of so many parts is returned in memory")
    }

    fn linear_lift_from_memory(
        context: &mut LiftContext<'_>,
        _: InterfaceType,
        bytes: &[u8],
    ) -> Result<Self> {
        if context.options().string_encoding != StringEncoding::Utf8 {
            bail!("texts are in another encoding than UTF-8");
        }
        let memory = context.memory();
        let mut memory = Memory::new(memory, |bytes| context.consume_fuel(bytes));
        outcome::result(&mut memory, bytes).map(Self)
    }
}

/// The function `map-subject` of a component.
pub struct Function {
    export: ComponentExportIndex,
    /// Whether its types were compared with those above. They do not differ between instances of a component, and to
    /// compare them takes longer than to start an instance.
    is_checked: OnceLock<()>,
}

impl Function {
    pub fn new(export: ComponentExportIndex) -> Self {
        Self {
            export,
            is_checked: OnceLock::new(),
        }
    }

    /// The function in an instance of the component that its export is of, if its types are those above.
    pub fn of(&self, instance: &Instance, store: &mut Store<State>) -> Result<Func> {
        let function = instance
            .get_func(&mut *store, self.export)
            .ok_or_else(|| format_err!("no function map-subject"))?;
        if self.is_checked.get().is_none() {
            function.typed::<(types::Subject<'_>,), (Mapped,)>(&*store)?;
            _ = self.is_checked.set(());
        }
        Ok(function)
    }

    /// Calls the function.
    pub fn call(
        &self,
        instance: &Instance,
        store: &mut Store<State>,
        subject: types::Subject<'_>,
    ) -> Result<std::result::Result<Outcome, Rejection>> {
        let function = self.of(instance, store)?;
        // SAFETY: the types of this function of this component are those that were compared: an export is looked for in
        // instances of its own component alone.
        let function =
            unsafe { TypedFunc::<(types::Subject<'_>,), (Mapped,)>::new_unchecked(function) };
        let (mapped,) = function.call(store, (subject,))?;
        Ok(mapped.0)
    }
}
