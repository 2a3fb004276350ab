//! The process that compiles: it limits itself, reads a component, and writes its native code.

use std::io::{self, Read, Write};
use std::process::ExitCode;

use lighthouse_telemetry_engine::LoadError;
use rustix::process::{Resource, Rlimit, getrlimit, nice, setrlimit};

use super::super::directory::MODULE_BYTES;
use super::frame;

/// What the process ends with when the component cannot be compiled; standard error says why.
pub const REFUSED: u8 = 3;
/// What it ends with when it has no memory left, and lives to say so.
pub const NO_MEMORY: u8 = 4;

/// Behind the plugin, but not starved where all is busy: a third of the share of others. With the last niceness, 19, less than a second of work
/// took minutes on such a machine.
const NICENESS: i32 = 5;

/// What compiling may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::Args)]
pub struct CompileLimits {
    /// Bytes of address space
    #[arg(long, value_name = "BYTES")]
    pub memory: u64,
    /// Seconds of processor time
    #[arg(long, value_name = "SECONDS")]
    pub seconds: u64,
}

/// Compiles what comes from standard input. This is all that its process does.
#[must_use]
pub fn run(limits: &CompileLimits) -> ExitCode {
    let compiled = restrict(limits)
        .and_then(|()| read())
        .map(|component| lighthouse_telemetry_engine::compile(&component));
    let (code, reason) = match compiled {
        Ok(Ok(native)) => match frame::write(&mut io::stdout().lock(), &native) {
            Ok(()) => return ExitCode::SUCCESS,
            Err(error) => (
                ExitCode::FAILURE,
                format!("cannot write native code: {error}"),
            ),
        },
        Ok(Err(error @ LoadError::NoMemory)) => (ExitCode::from(NO_MEMORY), error.to_string()),
        Ok(Err(error)) => (ExitCode::from(REFUSED), error.to_string()),
        Err(error) if error.kind() == io::ErrorKind::OutOfMemory => {
            (ExitCode::from(NO_MEMORY), error.to_string())
        }
        Err(error) => (ExitCode::FAILURE, error.to_string()),
    };
    // Where nobody listens there is nobody to tell that.
    let _ = writeln!(io::stderr(), "{reason}");
    code
}

/// What this process may do is decided before it sees any of the component.
fn restrict(limits: &CompileLimits) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{Signal, set_parent_process_death_signal};
        // Nobody waits for it then.
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // Where memory ends, this process goes before the one that traces. Some systems do not let it say so.
        let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    }
    limit(Resource::Core, 0, 0)?;
    limit(Resource::As, limits.memory, limits.memory)?;
    // At the first it is told, at the second it is ended.
    limit(
        Resource::Cpu,
        limits.seconds,
        limits.seconds.saturating_add(1),
    )?;
    nice(NICENESS)?;
    Ok(())
}

/// A limit is never raised: who started the plugin may have set a lower one.
fn limit(resource: Resource, soft: u64, hard: u64) -> io::Result<()> {
    let most = getrlimit(resource).maximum.unwrap_or(u64::MAX);
    let limit = Rlimit {
        current: Some(soft.min(most)),
        maximum: Some(hard.min(most)),
    };
    Ok(setrlimit(resource, limit)?)
}

fn read() -> io::Result<Vec<u8>> {
    let mut component = Vec::new();
    io::stdin()
        .lock()
        .take(MODULE_BYTES)
        .read_to_end(&mut component)?;
    Ok(component)
}
