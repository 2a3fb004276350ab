//! Structs that are read leniently.

/// Declares a struct that is read leniently: unknown members are ignored, and members that are missing, null or
/// of another type are left at their default. Fields in the order of their keys are read fastest: so the host writes them.
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
        $crate::record!(@struct $life [$name<$life>] [$(#[$attribute])* $visibility struct $name<$life>] { $($fields)* });
        $crate::record!($($more)*);
    };
    (
        $(#[$attribute:meta])*
        $visibility:vis struct $name:ident { $($fields:tt)* }
        $($more:tt)*
    ) => {
        $crate::record!(@struct 'json [$name] [$(#[$attribute])* $visibility struct $name] { $($fields)* });
        $crate::record!($($more)*);
    };
    (
        @struct $life:lifetime [$type:ty] [$($head:tt)*] {
            $($(#[$field_attribute:meta])* $field_visibility:vis $field:ident: $field_type:ty = $key:literal),* $(,)?
        }
    ) => {
        #[derive(Clone, Debug, Default, PartialEq)]
        $($head)* {
            $($(#[$field_attribute])* $field_visibility $field: $field_type,)*
        }

        impl<$life> $crate::read::Read<$life> for $type {
            fn read(&mut self, reader: &mut $crate::read::Reader<$life>) {
                if !reader.enter(b'{', "an object") {
                    return;
                }
                let mut is_first = true;
                loop {
                    // In the order in which the host writes them keys need not be looked for.
                    $(if reader.member(::core::concat!("\"", $key, "\":").as_bytes(), &mut is_first) {
                        reader.value($key, &mut self.$field);
                    })*
                    let ::core::option::Option::Some(key) = reader.key(&mut is_first) else {
                        break;
                    };
                    match key {
                        $($key => reader.value($key, &mut self.$field),)*
                        _ => reader.skip(),
                    }
                }
            }
        }
    };
}
