//! Big mappers: compiled in a process of their own within its limits, and kept for the next start.
// Clippy takes only `#[test]` functions for tests, not what they share.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use lighthouse_telemetry::mappers::{Candidate, Compiler, Program, SMALL_BYTES, candidates};
use lighthouse_telemetry_core::mapping::{ObjectSubject, Subject};
use lighthouse_telemetry_engine::{Code, Engine, Limits, Mapper};
use wasm_encoder::{
    CodeSection, ComponentSection, CustomSection, Function, FunctionSection, Module, ModuleSection,
    TypeSection, ValType,
};

const ARGO: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/argo-workflow.wasm"));
const WORKFLOW: &str = r#"{
    "apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow",
    "metadata": {"name": "build-x7d", "generateName": "build-", "namespace": "jx", "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z"},
    "status": {
        "phase": "Succeeded", "startedAt": "2026-01-01T00:00:01Z", "finishedAt": "2026-01-01T00:00:30Z",
        "nodes": {"build-x7d-1": {
            "displayName": "compile", "type": "Pod", "phase": "Succeeded",
            "startedAt": "2026-01-01T00:00:02Z", "finishedAt": "2026-01-01T00:00:29Z"
        }}
    }
}"#;
const BINARY: &str = env!("CARGO_BIN_EXE_lighthouse-telemetry");
/// Never the reason why a test fails.
const LONG: Duration = Duration::from_secs(3_600);
const MEMORY: u64 = 1 << 30;

/// A component with more in it.
fn with(component: &[u8], section: &impl ComponentSection) -> Vec<u8> {
    let mut bytes = component.to_vec();
    section.append_to_component(&mut bytes);
    bytes
}

/// A component that is big, and compiles as fast as it did.
fn big(component: &[u8]) -> Vec<u8> {
    let padding = CustomSection {
        name: "padding".into(),
        data: vec![0; SMALL_BYTES].into(),
    };
    with(component, &padding)
}

/// A module that nobody starts: so many functions of so many sums.
fn functions(count: u32, sums: usize) -> Module {
    let mut types = TypeSection::new();
    types.ty().function([ValType::I64], [ValType::I64]);
    let mut kinds = FunctionSection::new();
    let mut code = CodeSection::new();
    for number in 0..count {
        kinds.function(0);
        let mut function = Function::new([]);
        let mut body = function.instructions();
        body.local_get(0);
        for _ in 0..sums {
            body.local_get(0)
                .i64_const(number.into())
                .i64_mul()
                .i64_add();
        }
        body.end();
        code.function(&function);
    }
    let mut module = Module::new();
    module.section(&types).section(&kinds).section(&code);
    module
}

/// A compiler that is the program under test.
fn compiler(memory: u64) -> Compiler {
    let program = Program {
        path: BINARY.into(),
        arguments: vec!["compile".into()],
    };
    Compiler::with_memory(memory).by(program, LONG)
}

/// A compiler that there is not.
fn nowhere() -> Compiler {
    let program = Program {
        path: "/nowhere/compile".into(),
        arguments: Vec::new(),
    };
    Compiler::with_memory(MEMORY).by(program, LONG)
}

/// What becomes of a component in a file of this name.
fn judged(component: &[u8], compiler: Compiler) -> Candidate {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("argo.wasm");
    fs::write(&path, component).unwrap();
    candidates(&[path], compiler).unwrap().remove(0)
}

fn loaded(component: &[u8], compiler: Compiler) -> Arc<Mapper> {
    let candidate = judged(component, compiler);
    let module = candidate.module.unwrap();
    module
        .mapper
        .unwrap_or_else(|| panic!("{:?}", candidate.refused))
}

fn refused(component: &[u8], compiler: Compiler) -> String {
    judged(component, compiler).refused.unwrap()
}

fn in_this_process(component: &[u8]) -> Result<Mapper, String> {
    let engine = Engine::new(Limits::default()).unwrap();
    let loaded = engine.load("argo", Code::Component(component), "");
    loaded.map_err(|error| error.to_string())
}

fn workflow() -> Subject {
    Subject::Object(ObjectSubject {
        watch: 0,
        json: WORKFLOW.into(),
        deleted: false,
        attached: Vec::new(),
        omitted: 0,
    })
}

#[test]
fn what_another_process_has_compiled_is_the_same_mapper() {
    let component = big(&with(ARGO, &ModuleSection(&functions(100, 10))));
    let (here, there) = (
        in_this_process(&component).unwrap(),
        loaded(&component, compiler(MEMORY)),
    );
    assert_eq!(there.digest(), here.digest());
    assert_eq!(there.contract(), here.contract());
    assert_eq!(there.description(), here.description());
    let outcome = there.map(&workflow()).unwrap();
    assert_eq!(outcome, here.map(&workflow()).unwrap());
    assert!(format!("{outcome:?}").contains("compile"), "{outcome:?}");
}

#[test]
fn a_small_one_starts_no_process_and_what_can_be_refused_without_does_neither() {
    assert!(ARGO.len() <= SMALL_BYTES);
    loaded(ARGO, nowhere());
    let half = big(ARGO);
    for (bytes, reason) in [
        (&half[..half.len() - 1], "cut off"),
        (&vec![0; SMALL_BYTES + 1], "no WebAssembly component"),
    ] {
        let said = refused(bytes, nowhere());
        assert!(said.contains(reason), "{said}");
    }
    let said = refused(&big(ARGO), nowhere());
    assert!(
        said.contains("cannot be started (/nowhere/compile)"),
        "{said}"
    );
}

#[test]
fn a_component_that_is_not_valid_is_refused_in_the_same_words() {
    let mut broken = functions(2, 1);
    broken.section(&TypeSection::new());
    let other_world = wasm_encoder::Component::new().finish();
    for component in [big(&with(ARGO, &ModuleSection(&broken))), big(&other_world)] {
        let said = refused(&component, compiler(MEMORY));
        assert_eq!(said, in_this_process(&component).unwrap_err());
    }
}

#[test]
fn whatever_memory_there_is_it_is_enough_or_that_is_said_at_once() {
    let component = big(&with(ARGO, &ModuleSection(&functions(200, 200))));
    let mut limit = 1 << 20;
    let mut refusals = 0;
    while let Some(said) = judged(&component, compiler(limit)).refused {
        let expected = format!("compiling it takes more than {limit} bytes of memory");
        assert!(said.starts_with(&expected), "{said}");
        assert!(limit < MEMORY);
        refusals += 1;
        // What the program takes by itself is passed quickly; where it stops in between differs.
        limit += if limit < 64 << 20 {
            limit * 2
        } else {
            limit / 8
        };
    }
    assert!(refusals > 0);
}

#[test]
fn one_that_takes_too_long_is_ended() {
    let program = Program {
        path: BINARY.into(),
        arguments: vec!["compile".into()],
    };
    let compiler = Compiler::with_memory(MEMORY).by(program, Duration::from_millis(1));
    let said = refused(&big(ARGO), compiler);
    assert!(
        said.starts_with("compiling it has not ended within 1ms"),
        "{said}"
    );
}

/// The file in the cache of a state directory.
fn kept(state: &Path) -> PathBuf {
    let files = fs::read_dir(state.join("compiled")).unwrap();
    let files = files.map(|file| file.unwrap().path());
    let files: Vec<_> = files.filter(|file| !file.ends_with("key")).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files[0].clone()
}

#[test]
fn what_was_compiled_once_starts_no_process_again() {
    let state = tempfile::tempdir().unwrap();
    let component = big(ARGO);
    let first = loaded(&component, compiler(MEMORY).keeping_in(state.path()));
    let second = loaded(&component, nowhere().keeping_in(state.path()));
    assert_eq!(second.digest(), first.digest());
    assert_eq!(
        second.map(&workflow()).unwrap(),
        first.map(&workflow()).unwrap()
    );
    // Other bytes are another component.
    let other = big(&component);
    let said = refused(&other, nowhere().keeping_in(state.path()));
    assert!(said.contains("cannot be started"), "{said}");
}

#[test]
fn what_is_not_as_it_was_written_is_compiled_anew() {
    let state = tempfile::tempdir().unwrap();
    let component = big(ARGO);
    let keeping = |compiler: Compiler| compiler.keeping_in(state.path());
    loaded(&component, keeping(compiler(MEMORY)));
    let file = kept(state.path());
    let written = fs::read(&file).unwrap();
    let mut flipped = written.clone();
    flipped[written.len() / 2] ^= 1;
    let key = state.path().join("compiled/key");
    for (changed, bytes) in [
        (&file, &flipped[..]),
        (&file, &written[..written.len() / 2]),
        (&file, b""),
        (&key, &[7; 64]),
    ] {
        fs::write(changed, bytes).unwrap();
        let said = refused(&component, keeping(nowhere()));
        assert!(said.contains("cannot be started"), "{said}");
        loaded(&component, keeping(compiler(MEMORY)));
        loaded(&component, keeping(nowhere()));
    }
}

#[test]
fn a_cache_that_cannot_be_written_is_done_without() {
    let state = tempfile::tempdir().unwrap();
    let file = state.path().join("file");
    fs::write(&file, "").unwrap();
    loaded(&big(ARGO), compiler(MEMORY).keeping_in(&file));
}

fn run(directory: &Path, arguments: &[&str]) -> Output {
    Command::new(BINARY)
        .args(arguments)
        .current_dir(directory)
        .env_clear()
        .output()
        .unwrap()
}

#[test]
fn the_program_starts_itself() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("workflow.json"), WORKFLOW).unwrap();
    let mapped = |component: &[u8]| {
        let file = home.path().join("argo.wasm");
        fs::write(file, component).unwrap();
        let output = run(
            home.path(),
            &["map", "--json", "--mappers", ".", "workflow.json"],
        );
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let small = mapped(ARGO);
    assert!(small.contains("compile"), "{small}");
    assert_eq!(mapped(&big(ARGO)), small);
    let laborious = big(&with(ARGO, &ModuleSection(&functions(2_000, 200))));
    fs::write(home.path().join("argo.wasm"), laborious).unwrap();
    let check = [
        "mapper",
        "check",
        "argo.wasm",
        "--mapper-compile-memory=64MiB",
    ];
    let output = run(home.path(), &check);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("raise --mapper-compile-memory"), "{said}");
    assert!(!output.status.success());
}
