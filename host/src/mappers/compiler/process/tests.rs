use std::fs;
use std::os::fd::AsRawFd as _;
use std::path::Path;

use super::*;

const LONG: Duration = Duration::from_secs(3_600);
const LIMITS: CompileLimits = CompileLimits {
    memory: 1 << 30,
    seconds: 60,
};

/// A compiler of a few lines.
fn shell(script: &str) -> Program {
    Program {
        path: "/bin/sh".into(),
        arguments: ["-c", script, "compile"].map(Into::into).into(),
    }
}

fn compiled_within(patience: Duration, script: &str) -> Result<Vec<u8>, ProcessError> {
    compile(&shell(script), LIMITS, patience, b"component")
}

fn compiled(script: &str) -> Result<Vec<u8>, ProcessError> {
    compiled_within(LONG, script)
}

/// Writes these bytes, as a file has them.
fn writes(bytes: &[u8]) -> (tempfile::NamedTempFile, String) {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), bytes).unwrap();
    let script = format!("cat {}", file.path().display());
    (file, script)
}

#[test]
fn what_it_writes_is_taken_if_it_is_whole() {
    let mut framed = Vec::new();
    frame::write(&mut framed, b"native").unwrap();
    let (_file, script) = writes(&framed);
    assert_eq!(compiled(&script).unwrap(), b"native");
    // It need not read what it is given.
    let unread = format!("exec <&-; {script}");
    assert_eq!(compiled(&unread).unwrap(), b"native");
    let (_file, script) = writes(&framed[..framed.len() - 1]);
    let error = compiled(&script).unwrap_err();
    assert!(
        matches!(error, ProcessError::Frame(FrameError::Length { .. })),
        "{error}"
    );
    for nothing in ["true", "echo usage"] {
        let error = compiled(nothing).unwrap_err();
        assert!(
            matches!(error, ProcessError::Frame(FrameError::Other)),
            "{error}"
        );
    }
}

#[test]
fn it_is_not_asked_for_more_than_is_taken() {
    let header = [*b"native-1", u64::MAX.to_le_bytes()].concat();
    let (_file, script) = writes(&header);
    for goes_on in ["", "; exec cat /dev/zero"] {
        let error = compiled(&format!("{script}{goes_on}")).unwrap_err();
        assert!(
            matches!(error, ProcessError::Frame(FrameError::TooLarge(u64::MAX))),
            "{error}"
        );
    }
}

#[test]
fn it_is_ended_if_it_takes_too_long() {
    for hangs in [
        "exec sleep 10000",
        "exec cat /dev/stdin /dev/zero >/dev/null",
        "exec >&- 2>&-; exec sleep 10000",
    ] {
        let time = Duration::from_millis(50);
        let error = compiled_within(time, hangs).unwrap_err();
        assert!(
            matches!(error, ProcessError::Patience(said) if said == time),
            "{hangs}: {error}"
        );
    }
}

#[test]
fn how_it_ends_is_told_apart() {
    let refused = compiled("echo no component >&2; exit 3").unwrap_err();
    assert_eq!(refused.to_string(), "no component");
    for no_memory in [
        "exit 4",
        "echo memory allocation of 8 bytes failed >&2; kill -ABRT $$",
    ] {
        let error = compiled(no_memory).unwrap_err();
        assert!(
            matches!(error, ProcessError::Memory { limit: 0x4000_0000 }),
            "{error}"
        );
        let said = error.to_string();
        assert!(said.contains("--mapper-compile-memory"), "{said}");
    }
    let error = compiled("kill -XCPU $$").unwrap_err();
    assert!(
        matches!(error, ProcessError::Processor { seconds: 60 }),
        "{error}"
    );
    let error = compiled("kill -KILL $$").unwrap_err();
    assert!(matches!(error, ProcessError::Killed), "{error}");
    for fails in ["echo oh >&2; kill -ABRT $$", "echo oh >&2; exit 101"] {
        let error = compiled(fails).unwrap_err();
        assert!(
            matches!(&error, ProcessError::Failed { said, .. } if said == "oh"),
            "{error}"
        );
    }
    let nowhere = Program {
        path: "/nowhere/compile".into(),
        arguments: Vec::new(),
    };
    let error = compile(&nowhere, LIMITS, LONG, b"").unwrap_err();
    assert!(
        matches!(&error, ProcessError::Start { path, .. } if path == Path::new("/nowhere/compile")),
        "{error}"
    );
}

#[test]
fn it_gets_the_component_the_limits_and_nothing_else() {
    let said = |script: &str| match compiled(&format!("{{ {script}; }} >&2; exit 3")) {
        Err(ProcessError::Refused(said)) => said,
        other => panic!("{other:?}"),
    };
    assert_eq!(said("cat"), "component");
    assert_eq!(said("echo \"$@\""), "--memory=1073741824 --seconds=60");
    assert_eq!(said("pwd"), "/");
    assert_eq!(said("cat /proc/$$/environ"), "");
    let open = tempfile::tempfile().unwrap();
    let there = format!("[ -e /proc/$$/fd/{} ] && echo there", open.as_raw_fd());
    assert_eq!(said(&format!("{there} || echo closed")), "closed");
}
