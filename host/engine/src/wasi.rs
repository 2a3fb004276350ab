//! WASI 0.2 for mappers whose toolchain imports it: there, and empty.
//!
//! The standard library of a language asks for files, a clock and randomness before a line of a mapper has run. Here it finds no
//! arguments, no environment, no directories and no network; a clock that stands still, randomness that follows from what is mapped, and a
//! place to print to that nobody reads. Nothing waits, and nothing is kept from one call to the next. Each call costs fuel, so that what
//! the host does for a guest ends where the guest does. `docs/adr/0053-empty-wasi.md` says why these are functions of the host.
//!
//! The interfaces: <https://github.com/WebAssembly/WASI/tree/main/proposals>.

use lighthouse_telemetry_core::mapping::Subject;
use sha2::{Digest, Sha256};
use thiserror::Error;
use wasmtime::component::types::{ComponentFunc, ComponentInstance, ComponentItem, Type};
use wasmtime::component::{Component, Linker, Resource, ResourceAny, ResourceType, Val};
use wasmtime::{AsContextMut, Result, StoreContextMut, bail};

use crate::store::State;

/// Fuel of a call.
const CALL: u64 = 2_000;
/// Fuel of a handle: the host keeps some bytes of its own for each that the guest holds.
const HANDLE: u64 = 10_000;
/// Fuel of a random byte.
const BYTE: u64 = 20;
/// Random bytes that are had at once.
const RANDOM_BYTES: u64 = 64 << 10;
/// Bytes that may be printed at once.
const PRINTED_BYTES: u64 = 64 << 10;

/// A guest asked for what ends it.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct Ended(String);

/// What a guest holds of anything that WASI has: a stream, a directory, a request. There is nothing to it.
enum Nothing {}

/// Whether an import is of WASI 0.2, whichever patch.
pub fn is_offered(interface: &str, version: &str) -> bool {
    interface.starts_with("wasi:") && (version == "0.2" || version.starts_with("0.2."))
}

/// Whether a component imports anything of WASI.
pub fn is_used(component: &Component, engine: &wasmtime::Engine) -> bool {
    let shape = component.component_type();
    shape.imports(engine).any(|(name, _)| is_wasi(name))
}

fn is_wasi(name: &str) -> bool {
    let (interface, version) = name.split_once('@').unwrap_or((name, ""));
    is_offered(interface, version)
}

/// Offers a component all that it imports of WASI.
pub fn offer(
    linker: &mut Linker<State>,
    component: &Component,
    engine: &wasmtime::Engine,
) -> Result<()> {
    for (name, import) in component.component_type().imports(engine) {
        match import.ty {
            ComponentItem::ComponentInstance(instance) if is_wasi(name) => {
                define(linker, name, &instance, engine)?;
            }
            _ if is_wasi(name) => bail!("'{name}' is imported as something else than an interface"),
            _ => {}
        }
    }
    Ok(())
}

/// What the random numbers of a call follow from: all that is mapped.
pub fn seed(subject: &Subject) -> u64 {
    let mut digest = Sha256::new();
    match subject {
        Subject::Object(object) => {
            digest.update(&*object.json);
            for attached in &object.attached {
                digest.update(&*attached.json);
            }
        }
        Subject::Webhook(webhook) => digest.update(&*webhook.json),
    }
    let digest: [u8; 32] = digest.finalize().into();
    digest
        .first_chunk()
        .map_or(0, |first| u64::from_le_bytes(*first))
}

fn define(
    linker: &mut Linker<State>,
    name: &str,
    instance: &ComponentInstance,
    engine: &wasmtime::Engine,
) -> Result<()> {
    let (interface, _) = name.split_once('@').unwrap_or((name, ""));
    let mut defined = linker.instance(name)?;
    for (member, item) in instance.exports(engine) {
        match item.ty {
            ComponentItem::ComponentFunc(_) => {
                let answer = Answer::of(interface, member);
                defined.func_new(member, move |store, function, arguments, results| {
                    answer.give(store, &function, arguments, results)
                })?;
            }
            ComponentItem::Resource(_) => {
                defined.resource(member, ResourceType::host::<Nothing>(), |_, _| Ok(()))?;
            }
            ComponentItem::Type(_) => {}
            _ => bail!("'{name}' has '{member}', which is neither a function nor a type"),
        }
    }
    Ok(())
}

/// What a function answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// What there is if there is nothing: zero, an empty list, none, or the first of its errors.
    Empty,
    /// That it worked.
    Done,
    /// That so much may be printed.
    Room,
    /// That it is ready.
    Yes,
    /// All that were asked for, by their places.
    All,
    /// The shortest time that there is.
    Instant,
    /// Numbers that follow from what is mapped.
    Random,
    /// None: the guest has ended.
    Exit,
}

impl Answer {
    fn of(interface: &str, function: &str) -> Self {
        match (interface, function) {
            ("wasi:cli/exit", _) => Self::Exit,
            ("wasi:io/poll", "poll") => Self::All,
            ("wasi:io/poll", "[method]pollable.ready") => Self::Yes,
            ("wasi:io/streams", "[method]output-stream.check-write") => Self::Room,
            ("wasi:io/streams", function) if function.starts_with("[method]output-stream.") => {
                Self::Done
            }
            ("wasi:clocks/monotonic-clock", "resolution") => Self::Instant,
            (interface, _) if interface.starts_with("wasi:random/") => Self::Random,
            _ => Self::Empty,
        }
    }

    fn give(
        self,
        mut store: StoreContextMut<'_, State>,
        function: &ComponentFunc,
        arguments: &[Val],
        results: &mut [Val],
    ) -> Result<()> {
        charge(&mut store, CALL)?;
        if self == Self::Exit {
            return Err(Ended("it ended itself with `exit`".to_owned()).into());
        }
        for (result, ty) in results.iter_mut().zip(function.results()) {
            *result = match (self, &ty) {
                (Self::Done, Type::Result(ty)) => {
                    Val::Result(Ok(empty_or_none(&mut store, ty.ok())?))
                }
                (Self::Room, Type::Result(_)) => {
                    Val::Result(Ok(Some(Box::new(Val::U64(PRINTED_BYTES)))))
                }
                (Self::Yes, Type::Bool) => Val::Bool(true),
                (Self::All, Type::List(_)) => places(arguments.first()),
                (Self::Instant, Type::U64) => Val::U64(1),
                (Self::Random, ty) => random(&mut store, ty, arguments.first())?,
                (_, ty) => empty(&mut store, ty)?,
            };
        }
        arguments
            .iter()
            .try_for_each(|value| release(&mut store, value))
    }
}

/// Takes fuel from the guest.
fn charge(store: &mut StoreContextMut<'_, State>, fuel: u64) -> Result<()> {
    match store.get_fuel()?.checked_sub(fuel) {
        Some(left) => store.set_fuel(left),
        None => Err(wasmtime::Trap::OutOfFuel.into()),
    }
}

/// Gives back what was lent or given with an argument.
fn release(store: &mut StoreContextMut<'_, State>, value: &Val) -> Result<()> {
    match value {
        Val::Resource(handle) => handle.resource_drop(store.as_context_mut()),
        Val::List(values) | Val::Tuple(values) => {
            values.iter().try_for_each(|value| release(store, value))
        }
        Val::Record(fields) => {
            let mut values = fields.iter().map(|(_, value)| value);
            values.try_for_each(|value| release(store, value))
        }
        Val::Variant(_, Some(value))
        | Val::Option(Some(value))
        | Val::Result(Ok(Some(value)) | Err(Some(value))) => release(store, value),
        _ => Ok(()),
    }
}

/// The places in a list.
fn places(list: Option<&Val>) -> Val {
    let length = match list {
        Some(Val::List(list)) => list.len(),
        _ => 0,
    };
    Val::List((0..).take(length).map(Val::U32).collect())
}

/// Numbers that follow from what is mapped: one, several, or so many bytes.
fn random(store: &mut StoreContextMut<'_, State>, ty: &Type, length: Option<&Val>) -> Result<Val> {
    Ok(match (ty, length) {
        (Type::U64, _) => Val::U64(store.data_mut().random()),
        (Type::Tuple(parts), _) => {
            let parts = parts.types().map(|ty| random(store, &ty, None));
            Val::Tuple(parts.collect::<Result<_>>()?)
        }
        (Type::List(list), Some(Val::U64(length))) if list.ty() == Type::U8 => {
            if *length > RANDOM_BYTES {
                let wants =
                    format!("it wants {length} random bytes, more than {RANDOM_BYTES} at once");
                return Err(Ended(wants).into());
            }
            charge(store, length.saturating_mul(BYTE))?;
            let bytes = (0..*length).map(|_| {
                let [byte, ..] = store.data_mut().random().to_le_bytes();
                Val::U8(byte)
            });
            Val::List(bytes.collect())
        }
        (ty, _) => empty(store, ty)?,
    })
}

fn empty_or_none(
    store: &mut StoreContextMut<'_, State>,
    ty: Option<Type>,
) -> Result<Option<Box<Val>>> {
    ty.map(|ty| empty(store, &ty).map(Box::new)).transpose()
}

/// What there is of a type if there is nothing.
fn empty(store: &mut StoreContextMut<'_, State>, ty: &Type) -> Result<Val> {
    Ok(match ty {
        Type::Bool => Val::Bool(false),
        Type::S8 => Val::S8(0),
        Type::U8 => Val::U8(0),
        Type::S16 => Val::S16(0),
        Type::U16 => Val::U16(0),
        Type::S32 => Val::S32(0),
        Type::U32 => Val::U32(0),
        Type::S64 => Val::S64(0),
        Type::U64 => Val::U64(0),
        Type::Float32 => Val::Float32(0.0),
        Type::Float64 => Val::Float64(0.0),
        Type::Char => Val::Char('\0'),
        Type::String => Val::String(String::new()),
        Type::List(_) => Val::List(Vec::new()),
        Type::Map(_) => Val::Map(Vec::new()),
        Type::Flags(_) => Val::Flags(Vec::new()),
        Type::Option(_) => Val::Option(None),
        Type::Record(record) => {
            let mut fields = Vec::new();
            for field in record.fields() {
                fields.push((field.name.to_owned(), empty(store, &field.ty)?));
            }
            Val::Record(fields)
        }
        Type::Tuple(tuple) => {
            let parts = tuple.types().map(|ty| empty(store, &ty));
            Val::Tuple(parts.collect::<Result<_>>()?)
        }
        Type::Enum(cases) => match cases.names().next() {
            Some(name) => Val::Enum(name.to_owned()),
            None => bail!("an enumeration without cases"),
        },
        // A case that holds nothing, such as that a stream is closed, before one that does.
        Type::Variant(variant) => {
            let plain = variant.cases().find(|case| case.ty.is_none());
            match plain.or_else(|| variant.cases().next()) {
                Some(case) => {
                    let value = empty_or_none(store, case.ty)?;
                    Val::Variant(case.name.to_owned(), value)
                }
                None => bail!("a variant without cases"),
            }
        }
        Type::Result(result) => Val::Result(Err(empty_or_none(store, result.err())?)),
        Type::Own(_) => {
            charge(store, HANDLE)?;
            let handle = Resource::<Nothing>::new_own(0);
            Val::Resource(ResourceAny::try_from_resource(
                handle,
                store.as_context_mut(),
            )?)
        }
        other => bail!("a value of the type {other:?} cannot be had"),
    })
}
