//! What a span mapper for lighthouse-telemetry is written with.

/// The contract, as generated from `wit/`.
#[allow(missing_docs, unsafe_code, clippy::all)]
pub mod contract {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "span-mapper",
        pub_export_macro: true,
        export_macro_name: "export",
        default_bindings_module: "span_mapper_sdk::contract",
        generate_all,
    });
}
