//! `mapper check`: whether files can be used as mappers, and what the plugin needs for them.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use lighthouse_telemetry_core::description::{
    AnnotationValue, Description, ObjectSource, Relation, Source, Watch,
};
use lighthouse_telemetry_engine::Mapper;
use serde_json::{Value, json};

use super::{CONFIG_MAP, bytes};
use crate::cli::print;
use crate::config::CompilerOptions;
use crate::mappers::{Candidate, candidates, is_built_in, rules};
use crate::view::sanitised;

pub(super) const EXAMPLES: &str = "Examples:
  lighthouse-telemetry mapper check build.wasm
  lighthouse-telemetry mapper check --json mappers/ | jq '.[].rules'

The exit code is 1 if one of them cannot be used.";

/// What `mapper check` takes.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Files of mappers, and directories of such, as the plugin takes them
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// How they are compiled.
    #[command(flatten)]
    pub compiler: CompilerOptions,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Judges the files and says what came of it.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let candidates = candidates(&arguments.files, arguments.compiler.compiler())?;
    let text = if arguments.json {
        let all: Vec<Value> = candidates.iter().map(to_json).collect();
        format!("{:#}\n", Value::from(all))
    } else {
        to_text(&candidates)
    };
    print(&text)?;
    let is_refused = |candidate: &Candidate| candidate.refused.is_some();
    Ok(
        if candidates.is_empty() || candidates.iter().any(is_refused) {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        },
    )
}

fn to_text(candidates: &[Candidate]) -> String {
    let mut text = String::new();
    for candidate in candidates {
        let path = sanitised(&candidate.path.display().to_string());
        if let Some(reason) = &candidate.refused {
            let _ = writeln!(text, "{path} is refused: {}\n", sanitised(reason));
        } else if let Some(module) = &candidate.module
            && let Some(mapper) = &module.mapper
        {
            let _ = writeln!(text, "{path} is a mapper");
            describe(&mut text, mapper, &module.digest, module.bytes.len());
            text.push('\n');
        }
    }
    if text.is_empty() {
        text.push_str("There is no NAME.wasm in it.\n\n");
    }
    text.truncate(text.trim_end().len() + 1);
    text
}

fn describe(text: &mut String, mapper: &Mapper, digest: &str, size: usize) {
    let mut line = |title: &str, value: &str| {
        let _ = writeln!(text, "  {title:<10} {value}");
    };
    let description = mapper.description();
    line("name", &sanitised(mapper.name()));
    line("version", &sanitised(&description.version));
    line("contract", mapper.contract());
    line("digest", digest);
    let fits = if size > CONFIG_MAP {
        "too large for a ConfigMap"
    } else {
        "fits a ConfigMap"
    };
    line("size", &format!("{}, {fits}", bytes(size)));
    for watch in &description.watches {
        line("maps", &source(&watch.source, &watch.fields));
        for attachment in &watch.attachments {
            let relation = match &attachment.relation {
                Relation::Involved => "about it".to_owned(),
                Relation::Owned => "owned by it".to_owned(),
                Relation::Labelled(label) => {
                    format!("whose label {} has its name", sanitised(label))
                }
            };
            let attached = objects(&attachment.source);
            let read = fields(&attachment.fields);
            line("  with", &format!("{attached} {relation}, {read}"));
        }
        for annotation in &watch.annotations {
            let key = sanitised(&annotation.key);
            line("  sets", &format!("{key}: {}", meaning(annotation.value)));
        }
    }
    for note in notes(mapper, size) {
        line("note", &note);
    }
    let rules = rules(description);
    if !rules.is_empty() {
        text.push_str(
            "  rules      for the plugin's ClusterRole, or a Role in each namespace that it watches; resources are named as\n             \
             Kubernetes would name those of the kinds: compare with `kubectl api-resources`\n",
        );
    }
    for rule in rules {
        let rule = sanitised(&rule.served.rule(&rule.verbs));
        let _ = writeln!(text, "    - {{{rule}}}");
    }
}

fn source(source: &Source, read: &[String]) -> String {
    match source {
        Source::Objects(source) => format!("{}, {}", objects(source), fields(read)),
        Source::Webhooks(kinds) if kinds.is_empty() => {
            format!("all webhooks, {}", fields(read))
        }
        Source::Webhooks(kinds) => {
            format!(
                "webhooks {}, {}",
                sanitised(&kinds.join(", ")),
                fields(read)
            )
        }
    }
}

fn objects(source: &ObjectSource) -> String {
    let mut text = source.kind.clone();
    if !source.group.is_empty() {
        let _ = write!(text, ".{}", source.group);
    }
    let _ = write!(text, " ({})", source.versions.join(" or "));
    for (what, selector) in [
        ("labels", &source.label_selector),
        ("fields", &source.field_selector),
    ] {
        if let Some(selector) = selector {
            let _ = write!(text, " with {what} {selector}");
        }
    }
    sanitised(&text)
}

fn fields(fields: &[String]) -> String {
    match fields.len() {
        0 => "the whole object".to_owned(),
        1 => "1 field".to_owned(),
        number => format!("{number} fields"),
    }
}

fn meaning(value: AnnotationValue) -> &'static str {
    match value {
        AnnotationValue::Traceparent => "its context, as traceparent",
        AnnotationValue::Tracestate => "whose context it is, as tracestate",
        AnnotationValue::TraceId => "its trace's id",
        AnnotationValue::Exported => "its span's id, once the trace was exported",
    }
}

/// What its author should know, though the plugin takes it.
fn notes(mapper: &Mapper, size: usize) -> Vec<String> {
    let mut notes = Vec::new();
    if is_built_in(mapper.name()) {
        notes.push("the built-in mapper of that name is not used where this one is".to_owned());
    }
    if size > CONFIG_MAP {
        notes.push(format!(
            "too large for a ConfigMap, which holds {}: put it on a volume or into an image",
            bytes(CONFIG_MAP)
        ));
    }
    let whole = |watch: &Watch| {
        watch.fields.is_empty() || watch.attachments.iter().any(|it| it.fields.is_empty())
    };
    if mapper.description().watches.iter().any(whole) {
        notes.push(
            "it reads whole objects, and the plugin keeps them in memory: declare the fields that it reads".to_owned(),
        );
    }
    if mapper.description().watches.is_empty() {
        notes.push("it watches nothing, and so is never called".to_owned());
    }
    notes
}

fn to_json(candidate: &Candidate) -> Value {
    let mut all = json!({"path": candidate.path, "refused": candidate.refused});
    let Some(module) = &candidate.module else {
        return all;
    };
    let mut add = |key: &str, value: Value| {
        if let Some(members) = all.as_object_mut() {
            members.insert(key.to_owned(), value);
        }
    };
    let size = module.bytes.len();
    add("name", module.name.as_str().into());
    add("digest", module.digest.as_str().into());
    add("bytes", size.into());
    add("fitsConfigMap", (size <= CONFIG_MAP).into());
    if let Some(mapper) = &module.mapper {
        let description: &Description = mapper.description();
        add("version", description.version.as_str().into());
        add("contract", mapper.contract().into());
        add("watches", json!(description.watches));
        let rules = rules(description).into_iter().map(|rule| {
            json!({
                "apiGroups": [rule.served.resource.group],
                "resources": [rule.served.resource.plural],
                "verbs": rule.verbs,
            })
        });
        add("rules", rules.collect());
        add("notes", notes(mapper, size).into());
    }
    all
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::mappers::Compiler;

    /// Digests change with the compiler that builds the guests; sizes do.
    fn settled(text: &str) -> String {
        let lines = text.lines().map(|line| {
            let constant = ["digest", "size"];
            let title = constant
                .into_iter()
                .find(|it| line.trim_start().starts_with(it));
            title.map_or_else(|| line.to_owned(), |title| format!("  {title}"))
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn what_there_is_to_know_of_a_mapper_is_said() {
        const ARGO: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/argo-workflow.wasm"));
        const KUBERNETES: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/kubernetes.wasm"));
        let directory = tempfile::tempdir().unwrap();
        let paths = [
            ("argo.wasm", ARGO),
            ("kubernetes.wasm", KUBERNETES),
            ("none.wasm", b""),
        ];
        let mut files = Vec::new();
        for (name, bytes) in paths {
            let path = directory.path().join(name);
            fs::write(&path, bytes).unwrap();
            files.push(path);
        }
        let mut candidates = candidates(&files, Compiler::default()).unwrap();
        for candidate in &mut candidates {
            candidate.path = candidate.path.file_name().unwrap().into();
        }
        insta::assert_snapshot!(settled(&to_text(&candidates)));
        let json = candidates.iter().map(to_json).collect::<Vec<_>>();
        assert_eq!(json[0]["name"], "argo");
        assert_eq!(json[0]["rules"][0]["resources"][0], "workflows");
        assert_eq!(json[0]["refused"], Value::Null);
        assert_eq!(json[0]["fitsConfigMap"], true);
        assert_eq!(json[1]["watches"][0]["source"]["objects"]["kind"], "Pod");
        assert!(json[2]["refused"].as_str().unwrap().contains("cut off"));
        assert!(json[2].get("rules").is_none());
    }

    #[test]
    fn an_empty_directory_is_said_to_be_one() {
        assert!(to_text(&[]).contains("no NAME.wasm"));
    }
}
