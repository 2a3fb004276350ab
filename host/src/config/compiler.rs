//! Options of how mappers are compiled.

use clap::Args;

use super::size::size_from;
use crate::mappers::Compiler;

/// In bytes; the program by itself takes half of that.
const LEAST: u64 = 64 << 20;

/// What compiling may take.
#[derive(Clone, Copy, Debug, Args)]
pub struct CompilerOptions {
    /// Memory for compiling a mapper of more than 1 MiB, which is done in a process of its own; it is counted as address space
    #[arg(long, value_name = "SIZE", default_value = "1GiB", value_parser = memory)]
    pub mapper_compile_memory: u64,
}

impl CompilerOptions {
    /// What these say.
    #[must_use]
    pub fn compiler(self) -> Compiler {
        Compiler::with_memory(self.mapper_compile_memory)
    }
}

fn memory(text: &str) -> Result<u64, String> {
    size_from(LEAST, text)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::super::tests::Command;

    #[test]
    fn memory_is_a_size_that_a_compiler_fits_into() {
        let parse = |memory: &str| {
            let arguments = ["serve", "--mapper-compile-memory", memory];
            Command::try_parse_from(arguments)
                .map(|command| command.options.compiler.mapper_compile_memory)
        };
        assert_eq!(parse("512MiB").unwrap(), 512 << 20);
        let error = parse("8MiB").unwrap_err().to_string();
        assert!(error.contains("64MiB is the least"), "{error}");
    }
}
