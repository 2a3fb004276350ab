//! `map`: what the mappers make of objects in files, without a cluster: the first tool of a mapper's author.
//!
//! The objects go the same way as in `serve`: through the catalog and the index, with virtual time. Only what
//! needs a cluster is answered from the files alone.

mod input;
mod mapping;
mod report;

use std::path::PathBuf;
use std::process::ExitCode;

use crate::config::CompilerOptions;
use crate::mappers::Mappers;
use crate::view::Terminal;

/// Options of `map`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// YAML, JSON or one JSON object a line: objects, lists of them, and their Events; '-' reads standard input
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Directory of mappers, as for `serve`; may be given several times
    #[arg(long, value_name = "DIRECTORY")]
    pub mappers: Vec<PathBuf>,
    /// How they are compiled.
    #[command(flatten)]
    pub compiler: CompilerOptions,
    /// Print JSON: what each mapper says of each object, and the traces
    #[arg(long)]
    pub json: bool,
}

/// Maps the objects and prints the spans. Its exit code is 1 if an object cannot be used or a mapping failed.
///
/// # Errors
/// If a file or a mapper cannot be read or understood.
pub async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let mut objects = Vec::new();
    for file in &arguments.files {
        objects.extend(input::read(file)?);
    }
    let mappers = Mappers::strictly(arguments.mappers, arguments.compiler.compiler())?;
    let mapped = mapping::map(&mappers.catalog, objects, |request| mappers.map(request));
    let text = if arguments.json {
        let mut text = serde_json::to_string_pretty(&report::to_json(&mapped))?;
        text.push('\n');
        text
    } else {
        report::to_text(&mapped, Terminal::of_stdout())
    };
    super::print(&text)?;
    Ok(if mapped.is_clean() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

#[cfg(test)]
mod tests;
