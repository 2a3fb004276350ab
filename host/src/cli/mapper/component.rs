//! `mapper component`: the last step of a build.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;

use super::bytes;
use crate::cli::say;
use crate::mappers::component;

pub(super) const EXAMPLES: &str = "Example:
  cargo build --release --target wasm32-unknown-unknown
  lighthouse-telemetry mapper component target/wasm32-unknown-unknown/release/build_mapper.wasm --output build.wasm";

/// What `mapper component` takes.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Core module that was built with the contract's bindings, such as by the SDK
    #[arg(value_name = "MODULE")]
    pub module: PathBuf,
    /// Where to write the component: NAME.wasm is the mapper NAME
    #[arg(long, short, value_name = "FILE")]
    pub output: PathBuf,
}

/// Makes the component.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { module, output } = arguments;
    let code =
        std::fs::read(module).with_context(|| format!("cannot read {}", module.display()))?;
    let component = component(&code).map_err(|error| {
        anyhow::anyhow!(
            "{} does not become a component: {error}; give the core module of a crate that exports a mapper",
            module.display()
        )
    })?;
    std::fs::write(output, &component)
        .with_context(|| format!("cannot write {}", output.display()))?;
    say(&format!("{}: {}", output.display(), bytes(component.len())));
    Ok(ExitCode::SUCCESS)
}
