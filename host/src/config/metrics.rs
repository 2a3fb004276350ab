//! Options of the metrics of pipeline runs.

use clap::Args;

use crate::pipelines::{self, Settings};

/// Names that the exposition has a use for.
const TAKEN: [&str; 2] = ["le", "otel_metric_overflow"];

/// By what the metrics of pipeline runs tell them apart.
#[derive(Debug, Args)]
pub struct MetricOptions {
    /// Attributes of pipeline runs, such as vcs.repository.name, that are labels of their metrics
    #[arg(
        long,
        value_name = "ATTRIBUTE",
        default_value = pipelines::ATTRIBUTES,
        value_delimiter = ',',
        value_parser = attribute
    )]
    pub metric_attributes: Vec<String>,

    /// At most so many series for each of these metrics; all others are counted together
    #[arg(
        long,
        value_name = "NUMBER",
        default_value = "1000",
        value_parser = clap::value_parser!(u32).range(1..=100_000)
    )]
    pub metric_series: u32,
}

impl MetricOptions {
    /// What these say.
    #[must_use]
    pub fn settings(&self) -> Settings {
        let mut attributes: Vec<String> = Vec::new();
        for attribute in &self.metric_attributes {
            let label = pipelines::label(attribute);
            if attributes
                .iter()
                .all(|known| pipelines::label(known) != label)
            {
                attributes.push(attribute.clone());
            }
        }
        Settings {
            attributes,
            series: self.metric_series as usize,
        }
    }
}

fn attribute(text: &str) -> Result<String, String> {
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let is_name = text.bytes().all(valid)
        && text.starts_with(|letter: char| letter.is_ascii_alphabetic())
        && !TAKEN.contains(&text);
    if is_name {
        Ok(text.to_owned())
    } else {
        Err("name attributes of docs/spans.md, such as cicd.pipeline.name".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::super::tests::Command;
    use super::*;

    fn settings(arguments: &[&str]) -> Result<Settings, String> {
        let all = [&["serve", "--insecure-webhooks"], arguments].concat();
        Command::try_parse_from(all)
            .map(|command| command.options.metrics.settings())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_label_is_there_once() {
        assert_eq!(settings(&[]), Ok(Settings::default()));
        let chosen =
            "--metric-attributes=vcs.repository.name,cicd.pipeline.name,vcs.repository_name";
        let expected = Settings {
            attributes: vec![
                "vcs.repository.name".to_owned(),
                "cicd.pipeline.name".to_owned(),
            ],
            series: 7,
        };
        assert_eq!(settings(&[chosen, "--metric-series=7"]), Ok(expected));
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for name in ["", "le", "1st", "a b", "ä"] {
            let error = settings(&["--metric-attributes", name]).expect_err(name);
            assert!(error.contains("docs/spans.md"), "{error}");
        }
    }
}
