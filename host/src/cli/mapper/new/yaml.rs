//! A mapper in YAML: a text, what it is tried on, and the spans that shall come of it.

use super::{File, Values, objects, template};

/// What it consists of.
pub(super) fn files(values: &Values) -> Vec<File> {
    let group = match values.get("group") {
        // The core group has no name.
        "" => String::new(),
        group => format!("group: {group}\n"),
    };
    let values = values.and([("group_line", group)]);
    let text = format!("{}.mapper.yaml", values.name());
    let filled = [
        (text.as_str(), template!("yaml/mapper.yaml")),
        ("recording.yaml", template!("yaml/recording.yaml")),
        ("expected.snap", template!("yaml/expected.snap")),
        ("Makefile", template!("yaml/Makefile")),
        ("README.md", template!("yaml/README.md")),
    ];
    let filled = filled.map(|(path, template)| (path.to_owned(), values.fill(template)));
    filled.into_iter().chain([objects(&values)]).collect()
}
