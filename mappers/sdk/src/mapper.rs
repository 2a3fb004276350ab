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
    fn map(subject: &Subject) -> Result<Outcome<'_>, Error>;
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
///     fn map(_: &Subject) -> Result<Outcome<'_>, Error> {
///         Ok(Outcome::NotOurs)
///     }
/// }
///
/// export_mapper!(Nothing);
/// ```
///
/// `export_mapper!(Nothing, kept)` is for one of the host's own whose instances are kept for many calls: it takes memory from an
/// allocator that takes it back.
#[macro_export]
macro_rules! export_mapper {
    ($mapper:ty) => {
        $crate::export_mapper!($mapper, kept);

        #[cfg(target_arch = "wasm32")]
        #[global_allocator]
        static ALLOCATOR: $crate::allocator::Bump = $crate::allocator::Bump::untouched();
    };
    ($mapper:ty, kept) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            /// As the canonical ABI passes a configuration.
            #[unsafe(export_name = "lighthouse:span-mapper/mapper@0.1.0#configure")]
            unsafe extern "C" fn configure(
                name: usize,
                name_length: usize,
                text: usize,
                text_length: usize,
                version: usize,
                version_length: usize,
                features: usize,
                features_length: usize,
                spans: u32,
                attributes: u32,
                events: u32,
                links: u32,
                text_bytes: u32,
                output_bytes: u32,
            ) -> *const u8 {
                // SAFETY: only the host calls this.
                unsafe {
                    $crate::export::configure::<$mapper>(
                        (name, name_length),
                        (text, text_length),
                        (version, version_length),
                        (features, features_length),
                        [spans, attributes, events, links, text_bytes, output_bytes],
                    )
                }
            }

            /// As the canonical ABI passes a subject.
            #[unsafe(export_name = "lighthouse:span-mapper/mapper@0.1.0#map-subject")]
            unsafe extern "C" fn map_subject(
                case: u32,
                watch: u32,
                first: usize,
                first_length: usize,
                flag: u32,
                second: usize,
                second_length: usize,
                number: u64,
                precision: u32,
                third: usize,
                third_length: usize,
            ) -> *const u8 {
                // SAFETY: only the host calls this.
                unsafe {
                    $crate::export::map_subject::<$mapper>(
                        case,
                        watch,
                        (first, first_length),
                        (flag, second, second_length),
                        (number, precision),
                        (third, third_length),
                    )
                }
            }
        };
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
