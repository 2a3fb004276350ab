//! `mapper`: the tools of those who write mappers, and of those who run them.

mod check;
mod component;
mod list;
mod new;
mod package;

use std::process::ExitCode;

/// What `mapper` takes.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Make a folder with a mapper that can be built and passes its tests, to go on from
    #[command(after_help = new::EXAMPLES)]
    New(new::Arguments),
    /// Say whether files can be used as mappers, what they want, and which rights the plugin needs for them
    #[command(after_help = check::EXAMPLES)]
    Check(check::Arguments),
    /// Make a component, which is what the plugin takes, of a core module, which is what a compiler makes
    #[command(after_help = component::EXAMPLES)]
    Component(component::Arguments),
    /// Show the mappers that a running plugin uses, what they watch, and what could not be loaded
    #[command(after_help = list::EXAMPLES)]
    List(list::Arguments),
    /// Write the manifest of a ConfigMap that holds mappers
    #[command(after_help = package::EXAMPLES)]
    Package(package::Arguments),
}

/// Runs the command.
///
/// # Errors
/// If it cannot do what it shall.
pub async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    match arguments.command {
        Command::Check(arguments) => check::run(&arguments),
        Command::Component(arguments) => component::run(&arguments),
        Command::List(arguments) => list::run(arguments).await,
        Command::New(arguments) => new::run(&arguments),
        Command::Package(arguments) => package::run(&arguments),
    }
}

/// What the values in a ConfigMap may have together, in bytes: `MaxSecretSize` of Kubernetes' validation.
const CONFIG_MAP: usize = 1 << 20;

/// A number of bytes for people.
fn bytes(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    format!("{text} bytes")
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn numbers_are_read_in_groups() {
        assert_eq!(bytes(7), "7 bytes");
        assert_eq!(bytes(123), "123 bytes");
        assert_eq!(bytes(1_048_576), "1,048,576 bytes");
    }
}
