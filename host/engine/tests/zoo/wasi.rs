//! Mappers that import WASI, as the standard libraries of most languages do: they find it, and nothing in it.

use std::sync::LazyLock;

use lighthouse_telemetry_core::mapping::Outcome;
use lighthouse_telemetry_engine::MapError;

use super::guest::{Guest, World, outcome, pair};
use super::{fails, load, nobody_else_is_hurt, subject};

/// As much of WASI as is called below, in its own words: <https://github.com/WebAssembly/WASI/tree/v0.2.3/wasip2>.
static WASI: LazyLock<World> = LazyLock::new(|| {
    World::new(Some(
        r"
        package acme:animals;

        world animal {
            include lighthouse:span-mapper/span-mapper@0.1.0;
            import wasi:cli/environment@0.2.3;
            import wasi:cli/exit@0.2.3;
            import wasi:cli/stdin@0.2.3;
            import wasi:cli/stdout@0.2.3;
            import wasi:clocks/monotonic-clock@0.2.3;
            import wasi:filesystem/preopens@0.2.3;
            import wasi:random/random@0.2.3;
        }

        package wasi:cli@0.2.3 {
            interface environment { get-environment: func() -> list<tuple<string, string>>; }
            interface exit { exit: func(status: result); }
            interface stdin {
                use wasi:io/streams@0.2.3.{input-stream};
                get-stdin: func() -> input-stream;
            }
            interface stdout {
                use wasi:io/streams@0.2.3.{output-stream};
                get-stdout: func() -> output-stream;
            }
        }

        package wasi:clocks@0.2.3 {
            interface monotonic-clock {
                use wasi:io/poll@0.2.3.{pollable};
                now: func() -> u64;
                subscribe-duration: func(when: u64) -> pollable;
            }
        }

        package wasi:filesystem@0.2.3 {
            interface preopens {
                resource descriptor;
                get-directories: func() -> list<tuple<descriptor, string>>;
            }
        }

        package wasi:io@0.2.3 {
            interface error { resource error; }
            interface poll {
                resource pollable { block: func(); }
                poll: func(in: list<borrow<pollable>>) -> list<u32>;
            }
            interface streams {
                use error.{error};
                variant stream-error { last-operation-failed(error), closed }
                resource input-stream {
                    blocking-read: func(len: u64) -> result<list<u8>, stream-error>;
                }
                resource output-stream {
                    check-write: func() -> result<u64, stream-error>;
                    write: func(contents: list<u8>) -> result<_, stream-error>;
                }
            }
        }

        package wasi:random@0.2.3 {
            interface random {
                get-random-bytes: func(len: u64) -> list<u8>;
                get-random-u64: func() -> u64;
            }
        }
        ",
    ))
});

const IMPORTS: &str = r#"
    (import "wasi:cli/environment@0.2.3" "get-environment" (func $environment (param i32)))
    (import "wasi:cli/exit@0.2.3" "exit" (func $exit (param i32)))
    (import "wasi:cli/stdin@0.2.3" "get-stdin" (func $stdin (result i32)))
    (import "wasi:cli/stdout@0.2.3" "get-stdout" (func $stdout (result i32)))
    (import "wasi:clocks/monotonic-clock@0.2.3" "now" (func $now (result i64)))
    (import "wasi:clocks/monotonic-clock@0.2.3" "subscribe-duration" (func $alarm (param i64) (result i32)))
    (import "wasi:filesystem/preopens@0.2.3" "get-directories" (func $directories (param i32)))
    (import "wasi:io/poll@0.2.3" "[method]pollable.block" (func $block (param i32)))
    (import "wasi:io/poll@0.2.3" "poll" (func $poll (param i32 i32 i32)))
    (import "wasi:io/streams@0.2.3" "[method]input-stream.blocking-read" (func $read (param i32 i64 i32)))
    (import "wasi:io/streams@0.2.3" "[method]output-stream.check-write" (func $room (param i32 i32)))
    (import "wasi:io/streams@0.2.3" "[method]output-stream.write" (func $write (param i32 i32 i32 i32)))
    (import "wasi:random/random@0.2.3" "get-random-bytes" (func $bytes (param i64 i32)))
    (import "wasi:random/random@0.2.3" "get-random-u64" (func $random (result i64)))
"#;

/// One that runs this code, in which `$at` is a place for results, and says `wait`.
fn animal(code: &str) -> Guest {
    let mut guest = Guest::of(&WASI, IMPORTS);
    let at = guest.put(&[0; 64]);
    let result = outcome(1, guest.text("done"));
    let result = guest.put(&result);
    let code = code.replace("$at", &format!("(i32.const {at})"));
    guest.parts = format!("(func $run {code})");
    guest.answer(&format!("(call $run) (i32.const {result})"));
    guest
}

/// That a number is as it should be.
fn is(wanted: &str, found: &str) -> String {
    let ty = &wanted[1..4];
    format!("(if ({ty}.ne {wanted} {found}) (then unreachable))")
}

fn is_done(code: &str) {
    let mapper = load(&animal(code)).unwrap();
    let mapped = mapper.map(&subject("p"));
    assert!(
        matches!(&mapped, Ok(Outcome::Wait(reason)) if reason == "done"),
        "{mapped:?}"
    );
}

#[test]
fn there_is_no_environment_and_no_directory() {
    for list in ["$environment", "$directories"] {
        is_done(&format!(
            "(i32.store offset=4 $at (i32.const 7)) (call {list} $at) {}",
            is("(i32.const 0)", "(i32.load offset=4 $at)")
        ));
    }
}

#[test]
fn time_stands_still_and_nothing_is_waited_for() {
    let year = 365 * 24 * 3600 * 1_000_000_000_u64;
    is_done(&format!(
        "(call $block (call $alarm (i64.const {year})))
         (i32.store $at (call $alarm (i64.const {year})))
         (i32.store offset=4 $at (call $alarm (i64.const {year})))
         (call $poll $at (i32.const 2) (i32.add $at (i32.const 16)))
         {} {} {}",
        is("(i64.const 0)", "(call $now)"),
        is("(i32.const 2)", "(i32.load offset=20 $at)"),
        is(
            "(i32.const 1)",
            "(i32.load offset=4 (i32.load offset=16 $at))"
        ),
    ));
}

#[test]
fn what_is_printed_is_taken_and_nothing_can_be_read() {
    is_done(&format!(
        "(call $room (call $stdout) $at) {} {}
         (call $write (call $stdout) (i32.const 0) (i32.const 64) $at) {}
         (call $read (call $stdin) (i64.const 64) $at) {} {}",
        is("(i32.const 0)", "(i32.load8_u $at)"),
        is("(i64.const 65536)", "(i64.load offset=8 $at)"),
        is("(i32.const 0)", "(i32.load8_u $at)"),
        is("(i32.const 1)", "(i32.load8_u $at)"),
        is("(i32.const 1)", "(i32.load8_u offset=4 $at)"),
    ));
}

#[test]
fn random_numbers_follow_from_what_is_mapped() {
    // Eight letters, four bits of the number in each.
    let mut guest = Guest::of(&WASI, IMPORTS);
    let letters = guest.put(&[0; 8]);
    let result = outcome(1, pair(letters, 8));
    let result = guest.put(&result);
    guest.parts = format!(
        "(func $run
            (call $bytes (i64.const 3) (i32.const {letters}))
            (i64.store (i32.const {letters}) (i64.or (i64.const 0x4040404040404040)
                (i64.and (i64.const 0x0f0f0f0f0f0f0f0f) (call $random)))))"
    );
    guest.answer(&format!("(call $run) (i32.const {result})"));
    let mapper = load(&guest).unwrap();
    let number = |name| match mapper.map(&subject(name)) {
        Ok(Outcome::Wait(letters)) => letters,
        other => panic!("{other:?}"),
    };
    let first = number("first");
    assert_eq!(number("first"), first);
    assert_ne!(number("second"), first);
}

#[test]
fn its_calls_end_with_its_fuel() {
    for call in [
        "(drop (call $random))",
        "(drop (call $stdout))",
        "(call $block (call $alarm (i64.const 1)))",
        "(call $bytes (i64.const 65536) $at)",
    ] {
        let error = fails(&animal(&format!("(loop {call} (br 0))")));
        assert!(matches!(error, MapError::OutOfFuel { .. }), "{error}");
    }
}

#[test]
fn what_makes_no_sense_is_an_error_of_its_own() {
    for (code, said) in [
        ("(call $exit (i32.const 0))", "exit"),
        ("(call $bytes (i64.const -1) $at)", "random bytes"),
    ] {
        let error = fails(&animal(code));
        let MapError::Trap(message) = &error else {
            panic!("{error}")
        };
        assert!(message.contains(said), "{message}");
        nobody_else_is_hurt();
    }
}
