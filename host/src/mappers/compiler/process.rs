//! Starts the process that compiles, and ends it if it takes too long.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread::{self, Builder};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use thiserror::Error;

use super::child::{CompileLimits, NO_MEMORY, REFUSED};
use super::frame::{self, FrameError};

/// More of what the process says is not read, in bytes.
const SAID_BYTES: u64 = 4096;
/// What Rust's allocator says before it ends a process that gets no memory.
const NO_ALLOCATION: &str = "memory allocation of";
/// What has said all it has to say ends at once; how often that is looked for.
const PAUSE: Duration = Duration::from_millis(1);

/// A program that compiles.
#[derive(Clone, Debug)]
pub struct Program {
    /// Where it is.
    pub path: PathBuf,
    /// What it is told before the limits.
    pub arguments: Vec<OsString>,
}

impl Program {
    /// This one: the very file that runs, even if there is another one in its place by now.
    pub(super) fn own() -> Self {
        let path = if cfg!(target_os = "linux") {
            PathBuf::from("/proc/self/exe")
        } else {
            std::env::current_exe().unwrap_or_default()
        };
        Self {
            path,
            arguments: vec!["compile".into()],
        }
    }
}

/// A process has not compiled a component.
#[derive(Debug, Error)]
pub enum ProcessError {
    /// It does not start.
    #[error(
        "a module of this size is compiled in a process of its own, which cannot be started ({path}): {reason}; see whether the \
         number of processes or the memory is limited", path = path.display()
    )]
    Start {
        /// The program.
        path: PathBuf,
        /// Why not.
        reason: io::Error,
    },
    /// The component is refused, with these words.
    #[error("{0}")]
    Refused(String),
    /// It has no memory left.
    #[error(
        "compiling it takes more than {limit} bytes of memory: raise --mapper-compile-memory, and with it the memory of the Pod, or \
         build a smaller module"
    )]
    Memory {
        /// What it may take, in bytes of address space.
        limit: u64,
    },
    /// It is too much work.
    #[error("compiling it takes more than {seconds} s of a processor: build a smaller module")]
    Processor {
        /// What it may take, in seconds.
        seconds: u64,
    },
    /// It takes too long, though within its time of a processor.
    #[error(
        "compiling it has not ended within {0:?}: give the plugin more of a processor, or build a smaller module"
    )]
    Patience(Duration),
    /// Somebody else has ended it.
    #[error(
        "the process that compiles it was killed, most likely as the Pod has no memory left: raise its limit, or build a smaller module"
    )]
    Killed,
    /// What it has written cannot be used.
    #[error("the process that compiles it failed: {0}")]
    Frame(#[from] FrameError),
    /// The compiler is at fault.
    #[error("the compiler failed over it ({status}): {said}; please report this bug")]
    Failed {
        /// How it ended.
        status: ExitStatus,
        /// What it said.
        said: String,
    },
}

/// Compiles a component in a process of its own.
pub fn compile(
    program: &Program,
    limits: CompileLimits,
    patience: Duration,
    component: &[u8],
) -> Result<Vec<u8>, ProcessError> {
    let deadline = Instant::now() + patience;
    let failed = |reason| ProcessError::Start {
        path: program.path.clone(),
        reason,
    };
    let (mut running, pipes) = start(program, limits).map_err(failed)?;
    let told = thread::scope(|scope| {
        let (tell, told) = mpsc::channel();
        let Pipes {
            mut stdin,
            stdout,
            stderr,
        } = pipes;
        let write = move || {
            // If it does not listen any more it says why, or how it ended does.
            let _ = stdin.write_all(component);
        };
        let read = move || {
            let _ = tell.send(read(stdout, stderr));
        };
        let started = Builder::new()
            .spawn_scoped(scope, write)
            .and_then(|_| Builder::new().spawn_scoped(scope, read));
        let told = match started {
            Ok(_) => told.recv_timeout(patience),
            Err(error) => {
                // The other thread ends with it.
                running.end();
                return Err(failed(error));
            }
        };
        if told.is_err() {
            running.end();
        }
        Ok(told)
    })?;
    let told = told.map_err(|_| ProcessError::Patience(patience))?;
    let status = running.ended_by(deadline).map_err(failed)?;
    let status = status.ok_or(ProcessError::Patience(patience))?;
    judge(status, told, limits)
}

/// What a process has written.
struct Told {
    native: Result<Vec<u8>, FrameError>,
    said: String,
}

fn judge(status: ExitStatus, told: Told, limits: CompileLimits) -> Result<Vec<u8>, ProcessError> {
    let Told { native, said } = told;
    let signal = status.signal();
    let is = |wanted: Signal| signal == Some(wanted.as_raw());
    let no_memory = status.code() == Some(NO_MEMORY.into())
        || is(Signal::ABORT) && said.contains(NO_ALLOCATION);
    match native {
        Ok(native) if status.success() => Ok(native),
        _ if no_memory => Err(ProcessError::Memory {
            limit: limits.memory,
        }),
        _ if status.code() == Some(REFUSED.into()) => Err(ProcessError::Refused(said)),
        _ if is(Signal::XCPU) => Err(ProcessError::Processor {
            seconds: limits.seconds,
        }),
        _ if is(Signal::KILL) => Err(ProcessError::Killed),
        // It is not asked for more, and so ends over the rest.
        Err(error @ FrameError::TooLarge(_)) => Err(error.into()),
        Err(error) if status.success() => Err(error.into()),
        _ => Err(ProcessError::Failed { status, said }),
    }
}

/// Reads all that a process says.
fn read(mut stdout: ChildStdout, stderr: ChildStderr) -> Told {
    let native = frame::read(&mut stdout);
    // If there was more to read the process hears that nobody does.
    drop(stdout);
    let mut said = Vec::new();
    let _ = stderr.take(SAID_BYTES).read_to_end(&mut said);
    Told {
        native,
        said: String::from_utf8_lossy(&said).trim().to_owned(),
    }
}

/// A process that does not outlive this.
struct Running(Child);

struct Pipes {
    stdin: ChildStdin,
    stdout: ChildStdout,
    stderr: ChildStderr,
}

/// It has none of the environment, which holds secrets, and no file but its pipes: all that this process opens is closed in others.
fn start(program: &Program, limits: CompileLimits) -> io::Result<(Running, Pipes)> {
    let mut running = Running(
        Command::new(&program.path)
            .args(&program.arguments)
            .arg(format!("--memory={}", limits.memory))
            .arg(format!("--seconds={}", limits.seconds))
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?,
    );
    let child = &mut running.0;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    match (stdin, stdout, stderr) {
        (Some(stdin), Some(stdout), Some(stderr)) => Ok((
            running,
            Pipes {
                stdin,
                stdout,
                stderr,
            },
        )),
        _ => Err(io::Error::other("it has no pipes")),
    }
}

impl Running {
    /// How it ended; none if it has not at that time.
    fn ended_by(&mut self, deadline: Instant) -> io::Result<Option<ExitStatus>> {
        loop {
            if let Some(status) = self.0.try_wait()? {
                return Ok(Some(status));
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            thread::sleep(PAUSE);
        }
    }

    /// Ends it, and waits until it is gone.
    fn end(&mut self) {
        // If it has ended by itself there is nothing to kill.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests;
