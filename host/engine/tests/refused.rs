//! Files that are no mappers, each refused by its name and never run.
// Clippy takes only `#[test]` functions for tests, not what they share.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use lighthouse_telemetry_engine::{Code, Engine, Limits, LoadError, precompile};

const MAPPER: &str = "lighthouse:span-mapper/mapper";

fn refused(text: &str) -> LoadError {
    let bytes = wat::parse_str(text).unwrap();
    let engine = Engine::new(Limits::default()).unwrap();
    engine
        .load("guest", Code::Component(&bytes), "")
        .expect_err("it should have been refused")
}

#[test]
fn a_core_module_is_told_what_makes_it_a_component() {
    let error = refused("(module (memory 1))");
    assert!(matches!(error, LoadError::NotAComponent { .. }), "{error}");
    assert!(error.to_string().contains("mapper component"));
}

#[test]
fn files_that_were_cut_off_or_are_something_else() {
    let engine = Engine::new(Limits::default()).unwrap();
    let load = |bytes: &[u8]| {
        engine
            .load("guest", Code::Component(bytes), "")
            .unwrap_err()
    };
    let whole = wat::parse_str("(component (core module (memory 1)))").unwrap();
    let error = load(&whole[..whole.len() - 1]);
    assert!(matches!(error, LoadError::Truncated { .. }), "{error}");
    assert!(matches!(load(b""), LoadError::Truncated { length: 0 }));
    let error = load(b"apiVersion: v1");
    assert!(matches!(error, LoadError::NotAComponent { .. }), "{error}");
    let mut damaged = whole;
    if let Some(byte) = damaged.get_mut(12) {
        *byte = 0xff;
    }
    let error = load(&damaged);
    assert!(
        matches!(error, LoadError::Invalid(_) | LoadError::Truncated { .. }),
        "{error}"
    );
}

#[test]
fn a_component_of_another_world() {
    let error =
        refused(r#"(component (instance $i) (export "acme:greeter/greet@1.0.0" (instance $i)))"#);
    assert!(matches!(error, LoadError::OtherWorld { .. }), "{error}");
}

#[test]
fn a_contract_that_is_not_spoken_is_named_beside_those_that_are() {
    let error = refused(&format!(
        r#"(component (instance $i) (export "{MAPPER}@9.1.0" (instance $i)))"#
    ));
    let LoadError::UnknownContract { found, spoken } = &error else {
        panic!("{error}")
    };
    assert_eq!(found, "9.1.0");
    assert_eq!(*spoken, lighthouse_telemetry_engine::spoken());
    let error = refused(&format!(
        r#"(component (instance $i) (export "{MAPPER}" (instance $i)))"#
    ));
    assert!(
        matches!(error, LoadError::UnknownContract { .. }),
        "{error}"
    );
}

#[test]
fn an_import_that_no_mapper_has() {
    let error = refused(&format!(
        r#"(component
            (import "wasi:clocks/wall-clock@0.3.0" (instance (export "now" (func (result u64)))))
            (instance $i)
            (export "{MAPPER}@0.1.0" (instance $i)))"#
    ));
    assert!(
        matches!(&error, LoadError::ForeignImport(name) if name == "wasi:clocks/wall-clock@0.3.0"),
        "{error}"
    );
}

#[test]
fn the_right_name_with_other_functions() {
    let error = refused(&format!(
        r#"(component (instance $i) (export "{MAPPER}@0.1.0" (instance $i)))"#
    ));
    assert!(matches!(error, LoadError::OtherTypes { .. }), "{error}");
}

#[test]
fn native_code_that_is_not_ours() {
    let engine = Engine::new(Limits::default()).unwrap();
    let error = engine
        .load("guest", Code::Precompiled(b"\x7fELF"), "")
        .unwrap_err();
    assert!(matches!(error, LoadError::OtherCode(_)), "{error}");
    let component = wat::parse_str("(component)").unwrap();
    let error = precompile(&component, Some("pdp11-unknown-unix")).unwrap_err();
    assert!(error.to_string().contains("pdp11"), "{error}");
    let compiled = precompile(&component, None).unwrap();
    let error = engine
        .load("guest", Code::Precompiled(&compiled), "")
        .unwrap_err();
    assert!(matches!(error, LoadError::OtherWorld { .. }), "{error}");
}
