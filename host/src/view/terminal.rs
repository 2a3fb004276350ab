//! What standard output can show.

use anstream::{AutoStream, ColorChoice};

/// What standard output can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terminal {
    /// Cells in a line: `COLUMNS`, else those of the terminal, else 100.
    pub width: usize,
    /// Whether to colour: in a terminal unless `NO_COLOR` is set, elsewhere if `CLICOLOR_FORCE` is.
    pub colour: bool,
}

impl Terminal {
    /// Looks at standard output and the environment.
    #[must_use]
    pub fn of_stdout() -> Self {
        let asked = std::env::var("COLUMNS").ok();
        let seen = terminal_size::terminal_size_of(std::io::stdout())
            .map(|(terminal_size::Width(width), _)| usize::from(width));
        Self {
            width: asked
                .and_then(|columns| columns.trim().parse().ok())
                .or(seen)
                .unwrap_or(100),
            colour: AutoStream::choice(&std::io::stdout()) != ColorChoice::Never,
        }
    }
}
