//! What a mapper implements, and how it becomes a component.

use crate::contract::{Configuration, Description, Error, Outcome, Subject};

/// Turns objects and webhooks into spans. Both functions depend on their argument and on nothing else.
pub trait Mapper {
    /// What the mapper wants watched, which fields it reads, which annotations the host shall set.
    ///
    /// # Errors
    /// [`Error::Configuration`] if the operator's text is wrong.
    fn configure(configuration: &Configuration) -> Result<Description, Error>;

    /// The spans of a subject.
    ///
    /// # Errors
    /// If the subject cannot be mapped at all. A missing or odd field is no such case: map what is there.
    fn map(subject: &Subject) -> Result<Outcome, Error>;
}

/// Exports a [`Mapper`] from a WebAssembly module. On other targets it does nothing, so that tests run natively.
///
/// ```
/// use span_mapper_sdk::{Configuration, Description, Error, Mapper, Outcome, Subject, export_mapper};
///
/// struct Nothing;
///
/// impl Mapper for Nothing {
///     fn configure(_: &Configuration) -> Result<Description, Error> {
///         Ok(Description::new("1"))
///     }
///
///     fn map(_: &Subject) -> Result<Outcome, Error> {
///         Ok(Outcome::NotOurs)
///     }
/// }
///
/// export_mapper!(Nothing);
/// ```
#[macro_export]
macro_rules! export_mapper {
    ($mapper:ty) => {
        #[cfg(target_arch = "wasm32")]
        struct ExportedMapper;

        #[cfg(target_arch = "wasm32")]
        impl $crate::bindings::exports::lighthouse::span_mapper::mapper::Guest for ExportedMapper {
            fn configure(
                configuration: $crate::contract::Configuration,
            ) -> ::core::result::Result<$crate::contract::Description, $crate::contract::Error>
            {
                <$mapper as $crate::Mapper>::configure(&configuration)
            }

            fn map_subject(
                subject: $crate::contract::Subject,
            ) -> ::core::result::Result<$crate::contract::Outcome, $crate::contract::Error> {
                <$mapper as $crate::Mapper>::map(&subject)
            }
        }

        #[cfg(target_arch = "wasm32")]
        $crate::bindings::export_component!(ExportedMapper with_types_in $crate::bindings);
    };
}

/// Writes to the host's log, for authors; the host limits the rate. Does nothing outside WebAssembly.
pub mod log {
    #[cfg(target_arch = "wasm32")]
    use crate::bindings::lighthouse::span_mapper::log::{Level, write};

    /// Something odd that an operator may want to know.
    #[cfg_attr(not(target_arch = "wasm32"), allow(unused_variables))]
    pub fn warn(message: &str) {
        #[cfg(target_arch = "wasm32")]
        write(Level::Warn, message);
    }

    /// Something that only the mapper's author wants to know.
    #[cfg_attr(not(target_arch = "wasm32"), allow(unused_variables))]
    pub fn debug(message: &str) {
        #[cfg(target_arch = "wasm32")]
        write(Level::Debug, message);
    }
}
