//! Structs that are read leniently, and the list of what was odd.
//!
//! A deserializer does not know where in the document it is. So what is odd is noted without its place, and
//! each level on the way out puts its own key in front of what was noted below it.

use std::cell::RefCell;

use crate::contract::Diagnostic;

/// No more than these: the same oddity in each of a thousand elements tells nothing new.
const LIMIT: usize = 16;

thread_local! {
    static ODD: RefCell<Vec<Diagnostic>> = const { RefCell::new(Vec::new()) };
}

pub(super) fn start() {
    ODD.with_borrow_mut(Vec::clear);
}

pub(super) fn finish() -> Vec<Diagnostic> {
    ODD.take()
}

/// How many oddities are noted so far.
#[must_use]
pub fn noted() -> usize {
    ODD.with_borrow(Vec::len)
}

/// Notes that there is something else here than expected.
#[cold]
#[inline(never)]
pub fn note_odd(expected: &str) {
    ODD.with_borrow_mut(|odd| {
        if odd.len() < LIMIT {
            odd.push(Diagnostic {
                pointer: String::new(),
                message: ["not ", expected].concat(),
            });
        }
    });
}

/// Puts a key in front of the pointers of all that was noted after the first so many.
#[cold]
#[inline(never)]
pub fn prefix_since(count: usize, key: &str) {
    ODD.with_borrow_mut(|odd| {
        for diagnostic in odd.iter_mut().skip(count) {
            let escaped = key.replace('~', "~0").replace('/', "~1");
            diagnostic.pointer = ["/", &escaped, &diagnostic.pointer].concat();
        }
    });
}

/// Declares a struct that is read leniently: unknown members are ignored, and members that are missing, null or
/// of another type are left at their default.
///
/// ```
/// use span_mapper_sdk::read::{self, Integer, List, Text};
///
/// span_mapper_sdk::record! {
///     /// A state. Without texts it needs no lifetime.
///     pub struct State<'a> {
///         /// Why.
///         pub reason: Text<'a> = "reason",
///         /// With which result.
///         pub exit_code: Integer = "exitCode",
///     }
/// }
///
/// let json = r#"[{"reason":"Error","exitCode":137},{"reason":7}]"#;
/// let (states, odd) = read::parse::<List<State>>(json).unwrap();
/// assert_eq!(states[0].reason.get(), Some("Error"));
/// assert_eq!(states[0].exit_code.get(), Some(137));
/// assert_eq!(states[1].reason.get(), None);
/// assert_eq!(odd[0].pointer, "/1/reason");
/// ```
#[macro_export]
macro_rules! record {
    () => {};
    (
        $(#[$attribute:meta])*
        $visibility:vis struct $name:ident<$life:lifetime> { $($fields:tt)* }
        $($more:tt)*
    ) => {
        $crate::record!(@struct $life [$name<$life>] [$(#[$attribute])* $visibility struct $name<$life>] $name { $($fields)* });
        $crate::record!($($more)*);
    };
    (
        $(#[$attribute:meta])*
        $visibility:vis struct $name:ident { $($fields:tt)* }
        $($more:tt)*
    ) => {
        $crate::record!(@struct 'json [$name] [$(#[$attribute])* $visibility struct $name] $name { $($fields)* });
        $crate::record!($($more)*);
    };
    (
        @struct $life:lifetime [$type:ty] [$($head:tt)*] $name:ident {
            $($(#[$field_attribute:meta])* $field_visibility:vis $field:ident: $field_type:ty = $key:literal),* $(,)?
        }
    ) => {
        #[derive(Clone, Debug, Default, PartialEq)]
        $($head)* {
            $($(#[$field_attribute])* $field_visibility $field: $field_type,)*
        }

        impl<$life> $crate::read::serde::Deserialize<$life> for $type {
            // For the reason given in `fields`.
            #[inline(never)]
            fn deserialize<D: $crate::read::serde::Deserializer<$life>>(
                deserializer: D,
            ) -> ::core::result::Result<Self, D::Error> {
                struct Visitor;

                impl<$life> $crate::read::serde::de::Visitor<$life> for Visitor {
                    type Value = $type;

                    fn expecting(&self, formatter: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                        formatter.write_str("an object")
                    }

                    fn visit_map<A: $crate::read::serde::de::MapAccess<$life>>(
                        self,
                        mut members: A,
                    ) -> ::core::result::Result<Self::Value, A::Error> {
                        let mut record = $name::default();
                        while let Some(key) = members.next_key::<$crate::read::Text<$life>>()? {
                            match key.as_str() {
                                $($key => {
                                    let noted = $crate::read::noted();
                                    record.$field = members.next_value()?;
                                    if $crate::read::noted() != noted {
                                        $crate::read::prefix_since(noted, $key);
                                    }
                                })*
                                _ => {
                                    members.next_value::<$crate::read::serde::de::IgnoredAny>()?;
                                }
                            }
                        }
                        Ok(record)
                    }

                    $crate::wrong_types_are_missing!($life, "an object", null text number boolean list);
                }

                deserializer.deserialize_any(Visitor)
            }
        }
    };
}

/// The visits of a lenient visitor that mean: something else stands here, so take the default and note it.
#[doc(hidden)]
#[macro_export]
macro_rules! wrong_types_are_missing {
    ($life:lifetime, $expected:literal, $($type:ident)*) => {
        $($crate::wrong_types_are_missing!(@$type $life $expected);)*
    };
    (@null $life:lifetime $expected:literal) => {
        fn visit_unit<E: $crate::read::serde::de::Error>(self) -> ::core::result::Result<Self::Value, E> {
            Ok(Self::Value::default())
        }
    };
    (@text $life:lifetime $expected:literal) => {
        fn visit_str<E: $crate::read::serde::de::Error>(self, _: &str) -> ::core::result::Result<Self::Value, E> {
            $crate::read::note_odd($expected);
            Ok(Self::Value::default())
        }
    };
    (@number $life:lifetime $expected:literal) => {
        fn visit_i64<E: $crate::read::serde::de::Error>(self, _: i64) -> ::core::result::Result<Self::Value, E> {
            $crate::read::note_odd($expected);
            Ok(Self::Value::default())
        }

        fn visit_u64<E: $crate::read::serde::de::Error>(self, _: u64) -> ::core::result::Result<Self::Value, E> {
            $crate::read::note_odd($expected);
            Ok(Self::Value::default())
        }

        $crate::wrong_types_are_missing!(@fraction $life $expected);
    };
    (@fraction $life:lifetime $expected:literal) => {
        fn visit_f64<E: $crate::read::serde::de::Error>(self, _: f64) -> ::core::result::Result<Self::Value, E> {
            $crate::read::note_odd($expected);
            Ok(Self::Value::default())
        }
    };
    (@boolean $life:lifetime $expected:literal) => {
        fn visit_bool<E: $crate::read::serde::de::Error>(self, _: bool) -> ::core::result::Result<Self::Value, E> {
            $crate::read::note_odd($expected);
            Ok(Self::Value::default())
        }
    };
    (@list $life:lifetime $expected:literal) => {
        fn visit_seq<A: $crate::read::serde::de::SeqAccess<$life>>(
            self,
            mut elements: A,
        ) -> ::core::result::Result<Self::Value, A::Error> {
            while elements.next_element::<$crate::read::serde::de::IgnoredAny>()?.is_some() {}
            $crate::read::note_odd($expected);
            Ok(Self::Value::default())
        }
    };
    (@map $life:lifetime $expected:literal) => {
        fn visit_map<A: $crate::read::serde::de::MapAccess<$life>>(
            self,
            mut members: A,
        ) -> ::core::result::Result<Self::Value, A::Error> {
            while members
                .next_entry::<$crate::read::serde::de::IgnoredAny, $crate::read::serde::de::IgnoredAny>()?
                .is_some()
            {}
            $crate::read::note_odd($expected);
            Ok(Self::Value::default())
        }
    };
}
