//! A mapper in JavaScript, built as the example of this repository is.

use super::{File, Values, objects, repository, template};

/// A file of the example.
macro_rules! example {
    ($path:literal) => {
        include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../mappers/examples/shipwright-buildrun/",
            $path
        ))
    };
}

/// What it consists of.
pub(super) fn files(values: &Values) -> Vec<File> {
    let module = format!("{}.wasm", values.name());
    let build = example!("build.mjs")
        .replace("../../../wit/v0.1.0/mapper.wit", "wit/v0.1.0/mapper.wit")
        .replace("shipwright.wasm", &module);
    let package = example!("package.json").replace(
        "\"shipwright-buildrun-mapper\"",
        &format!("\"{}-mapper\"", values.name()),
    );
    let files = [
        ("package.json", package),
        ("build.mjs", build),
        ("mapper.js", values.fill(template!("javascript/mapper.js"))),
        (
            "mapper.test.js",
            values.fill(template!("javascript/mapper.test.js")),
        ),
        ("spans.js", example!("spans.js").to_owned()),
        (
            "wit/v0.1.0/mapper.wit",
            repository!("wit/v0.1.0/mapper.wit").to_owned(),
        ),
        ("README.md", values.fill(template!("javascript/README.md"))),
        (".gitignore", example!(".gitignore").to_owned()),
    ];
    let files = files.map(|(path, content)| (path.to_owned(), content));
    files.into_iter().chain([objects(values)]).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::Language;
    use super::super::tests::{content, files_of};

    #[test]
    fn it_is_built_as_the_example_is() {
        let files = files_of(Language::JavaScript, "shop-build", "example.com/v1/Build");
        let package: Value = serde_json::from_str(content(&files, "package.json")).unwrap();
        let example: Value = serde_json::from_str(example!("package.json")).unwrap();
        assert_eq!(package["name"], "shop-build-mapper");
        for same in ["type", "scripts", "devDependencies"] {
            assert_eq!(package[same], example[same], "{same}");
        }
        let build = content(&files, "build.mjs");
        for there in ["here('wit/v0.1.0/mapper.wit')", "here('shop-build.wasm')"] {
            assert!(build.contains(there), "{build}");
        }
        assert!(!build.contains("shipwright"), "{build}");
        // All that is read in the folder comes along.
        for (path, _) in files.iter().filter(|(path, _)| path.ends_with("js")) {
            for imported in content(&files, path).split("from './").skip(1) {
                let (imported, _) = imported.split_once('\'').unwrap();
                assert!(!content(&files, imported).is_empty(), "{path}");
            }
        }
    }
}
