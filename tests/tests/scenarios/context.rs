//! The context that a step computes is that of the span which is exported, in every scenario.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::LazyLock;

use lighthouse_telemetry::cli::context::{Arguments, Contexts};
use lighthouse_telemetry_tests::pure;
use lighthouse_telemetry_tests::scenario::{MALFORMED, ORPHANS, Scenario, Step, What};
use opentelemetry_proto::tonic::common::v1::any_value::Value as Attribute;
use serde_json::Value;

use super::{MAPPERS, all};

/// What is said where the trace derives from what no Pod knows.
const OWN_TRACE: &str = "whose trace derives from the uid of its LighthouseJob";

static CONTEXTS: LazyLock<Contexts> = LazyLock::new(|| Contexts::new().expect("the mapper"));

/// An exported span.
struct Exported {
    trace: String,
    id: String,
    parent: String,
    attributes: BTreeMap<String, String>,
}

fn exported(steps: &[Step]) -> Vec<Exported> {
    let resources = pure::exported(&MAPPERS, steps).expect("spans");
    let scopes = resources.iter().flat_map(|resource| &resource.scope_spans);
    let spans = scopes.flat_map(|scope| &scope.spans).map(|span| Exported {
        trace: hex::encode(&span.trace_id),
        id: hex::encode(&span.span_id),
        parent: hex::encode(&span.parent_span_id),
        attributes: span
            .attributes
            .iter()
            .filter_map(|attribute| {
                let value = match attribute.value.clone()?.value? {
                    Attribute::StringValue(text) => text,
                    Attribute::IntValue(number) => number.to_string(),
                    _ => return None,
                };
                Some((attribute.key.clone(), value))
            })
            .collect(),
    });
    spans.collect()
}

impl Exported {
    fn is(&self, key: &str, value: &str) -> bool {
        self.attributes.get(key).is_some_and(|own| own == value)
    }
}

/// The last state of each object of a scenario, by uid.
fn objects(steps: &[Step]) -> BTreeMap<String, Value> {
    let mut objects = BTreeMap::new();
    for step in steps {
        if let What::Applied(object) | What::Deleted(object) = &step.what {
            objects.insert(text(object, "/metadata/uid").to_owned(), object.clone());
        }
    }
    objects
}

fn text<'object>(object: &'object Value, pointer: &str) -> &'object str {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// Labels that Kubernetes lets in; of others Lighthouse takes what comes behind the last slash.
fn label(value: &str) -> String {
    value.rsplit('/').next().unwrap_or_default().to_owned()
}

/// What the Pod of a TaskRun knows: the labels and annotations that Lighthouse sets and Tekton hands down, and the parameters of
/// Lighthouse in variables.
#[derive(Clone, Default)]
struct Knows(Arguments);

impl Knows {
    fn set(&mut self, key: &str, value: &str) {
        self.0.label.push((key.to_owned(), value.to_owned()));
    }

    fn labels_of(&mut self, object: &Value) {
        let labels = object
            .pointer("/metadata/labels")
            .and_then(Value::as_object);
        for (key, value) in labels.into_iter().flatten() {
            self.set(key, value.as_str().unwrap_or_default());
        }
    }

    /// Lighthouse, of a job.
    fn job(&mut self, job: &Value) {
        let refs = |name: &str| text(job, &format!("/spec/refs/{name}"));
        let pull = |name: &str| job.pointer(&format!("/spec/refs/pulls/0/{name}"));
        self.labels_of(job);
        self.set("lighthouse.jenkins-x.io/id", text(job, "/metadata/name"));
        self.set("lighthouse.jenkins-x.io/type", text(job, "/spec/type"));
        self.set(
            "lighthouse.jenkins-x.io/refs.org",
            &label(refs("org")).to_lowercase(),
        );
        self.set("lighthouse.jenkins-x.io/refs.repo", &label(refs("repo")));
        self.set("lighthouse.jenkins-x.io/branch", &label(refs("base_ref")));
        self.set("lighthouse.jenkins-x.io/baseSHA", refs("base_sha"));
        let sha = pull("sha").and_then(Value::as_str);
        let number = pull("number").map(Value::to_string);
        if let Some(number) = &number {
            self.set("lighthouse.jenkins-x.io/refs.pull", number);
        }
        self.set(
            "lighthouse.jenkins-x.io/lastCommitSHA",
            sha.unwrap_or(refs("base_sha")),
        );
        let address = [refs("clone_uri"), refs("repo_link")];
        let address = address.into_iter().find(|address| !address.is_empty());
        // Lighthouse has one of each repository; a recording may do without.
        let address = address.unwrap_or("https://github.com/any/any").to_owned();
        let annotation = "lighthouse.jenkins-x.io/cloneURI".to_owned();
        self.0.annotation.push((annotation, address.clone()));
        self.0.owner = Some(refs("org").to_owned());
        self.0.repository = Some(refs("repo").to_owned());
        self.0.repository_url = Some(address);
        self.0.pull_number = number;
        self.0.pull_sha = sha.map(str::to_owned);
        self.0.base_ref = Some(refs("base_ref").to_owned());
        self.0.base_sha = Some(refs("base_sha").to_owned());
    }

    /// The same without variables.
    fn by_labels_alone(&self) -> Self {
        Self(Arguments {
            label: self.0.label.clone(),
            annotation: self.0.annotation.clone(),
            ..Arguments::default()
        })
    }

    /// The context; else what is missing.
    fn context(&self) -> Result<(String, String), String> {
        let found = CONTEXTS.find(&self.0).map_err(|error| error.to_string())?;
        let context = found.context;
        Ok((context.trace_id.to_string(), context.span_id.to_string()))
    }
}

/// What the Pod of a TaskRun knows.
fn pod(task_run: &Value, objects: &BTreeMap<String, Value>) -> Knows {
    let mut chain = vec![task_run];
    while let Some(owner) = chain
        .last()
        .and_then(|object| objects.get(text(object, "/metadata/ownerReferences/0/uid")))
    {
        chain.push(owner);
    }
    let mut knows = Knows::default();
    for object in chain.iter().rev() {
        if text(object, "/kind") == "LighthouseJob" {
            knows.job(object);
        } else {
            knows.labels_of(object);
        }
    }
    knows.set("tekton.dev/taskRunUID", text(task_run, "/metadata/uid"));
    let owner = text(task_run, "/metadata/ownerReferences/0/uid");
    if !owner.is_empty() {
        knows.set("tekton.dev/pipelineRunUID", owner);
    }
    knows
}

/// Scenarios with objects as Lighthouse and Tekton make them.
fn scenarios() -> impl Iterator<Item = Scenario> {
    let wrong = [MALFORMED, ORPHANS];
    all().into_iter().filter(move |scenario| {
        !wrong.contains(&scenario.folder.as_str()) && scenario.name != "bare-and-wrong"
    })
}

#[test]
fn a_step_computes_the_context_of_the_span_that_is_exported() {
    let mut agree = BTreeSet::new();
    let mut steps_agree = 0;
    let mut untold = BTreeSet::new();
    let mut wrong = Vec::new();
    for scenario in scenarios() {
        let steps = scenario.steps().expect("steps");
        let objects = objects(&steps);
        let spans = exported(&steps);
        let of = |uid: &str| {
            let mut spans = spans.iter();
            spans.find(|span| span.is("k8s.object.uid", uid))
        };
        let runs = objects
            .values()
            .filter(|object| text(object, "/kind") == "TaskRun");
        for task_run in runs {
            let (uid, name) = (
                text(task_run, "/metadata/uid"),
                text(task_run, "/metadata/name"),
            );
            let Some(span) = of(uid) else { continue };
            let knows = pod(task_run, &objects);
            let expected = Ok((span.trace.clone(), span.id.clone()));
            let what = format!("{}: {name}", scenario.name);
            let context = knows.context();
            // A label may be too short to tell; it never tells something else.
            let by_labels = knows.by_labels_alone().context();
            match context {
                Err(why) => {
                    assert!(by_labels.is_err(), "{what}");
                    assert!(why.contains(OWN_TRACE), "{what}: {why}");
                    untold.insert(what.clone());
                    let mut annotated = knows.clone();
                    annotated.0.annotation.push((
                        "lighthouse.jenkins-x.io/traceparent".to_owned(),
                        format!("00-{}-{}-01", span.trace, span.id),
                    ));
                    assert_eq!(annotated.context(), expected, "{what}, with its annotation");
                }
                told if told == expected => {
                    assert!(
                        by_labels.is_err() || by_labels == expected,
                        "{what}: {by_labels:?}"
                    );
                    agree.insert(what.clone());
                }
                _ => {
                    wrong.push(what);
                    continue;
                }
            }
            let retries = task_run.pointer("/spec/retries").map(Value::to_string);
            for step in spans
                .iter()
                .filter(|span| span.attributes.contains_key("tekton.step.name"))
            {
                let above = spans.iter().find(|above| above.id == step.parent);
                let above = above.expect("the span above a step");
                if above.id != span.id && above.parent != span.id {
                    continue;
                }
                let attempt = above.attributes.get("tekton.attempt");
                let attempt: u64 = attempt.map_or(1, |number| number.parse().expect("a number"));
                let mut knows = knows.clone();
                knows.0.step = step.attributes.get("tekton.step.name").cloned();
                knows.0.retries.clone_from(&retries);
                knows.0.retry_count = Some((attempt - 1).to_string());
                if let Ok(told) = knows.context() {
                    assert_eq!(
                        told,
                        (step.trace.clone(), step.id.clone()),
                        "{what}: {:?}",
                        knows.0.step
                    );
                    steps_agree += 1;
                }
            }
        }
    }
    for scenario in [
        "pull-request",
        "push",
        "retries",
        "standalone-pipelinerun",
        "release-and-promotion",
    ] {
        let mut of = agree.iter();
        assert!(
            of.any(|what| what.starts_with(scenario)),
            "{scenario}: {agree:?}"
        );
    }
    assert!(agree.len() >= 25, "{agree:?}");
    assert!(steps_agree >= 25, "{steps_agree} steps");
    assert_eq!(
        untold,
        [
            "cancelled: nightly-1-soak",
            "rerun: shop-main-lint-4c5rf-r-1-lint",
            "timeout: nightly-soak-3-soak",
            "v1beta1: old-1-build",
        ]
        .map(str::to_owned)
        .into()
    );
    // A pipeline in one that was started by hand cannot be told from one that was itself.
    assert_eq!(wrong, ["all-kinds-of-tasks: nightly-build-7-deploy-apply"]);
}

#[test]
fn the_trace_of_a_job_is_computed_for_every_provider() {
    let mut agree = Vec::new();
    let mut untold = BTreeSet::new();
    // That a job is a rerun is said by its PipelineRun.
    let reruns = |scenario: &Scenario| scenario.name == "rerun";
    for scenario in scenarios().filter(|scenario| !reruns(scenario)) {
        let steps = scenario.steps().expect("steps");
        let spans = exported(&steps);
        for (uid, job) in objects(&steps) {
            let mut of = spans.iter();
            let span = of.find(|span| span.is("k8s.object.uid", &uid));
            let Some(span) = span.filter(|_| text(&job, "/kind") == "LighthouseJob") else {
                continue;
            };
            let mut knows = Knows::default();
            knows.job(&job);
            knows.set("tekton.dev/taskRunUID", "any");
            let what = format!("{}: {}", scenario.name, text(&job, "/metadata/name"));
            match knows.context() {
                Ok((trace, _)) => {
                    assert_eq!(trace, span.trace, "{what}");
                    agree.push(what);
                }
                Err(why) => {
                    assert!(why.contains(OWN_TRACE), "{what}: {why}");
                    untold.insert(what);
                }
            }
        }
    }
    for job in [
        "providers: github-push",
        "providers: gitea-pull",
        "providers: bitbucket-pull",
        "providers: azure-push",
        "providers: azure-pull",
        "bitbucket-cloud: cloud-push-1",
        "bitbucket-cloud: cloud-pull",
        "gitlab-without-guid: tool-main",
        "gitlab-without-guid: tool-8",
    ] {
        assert!(agree.iter().any(|known| known == job), "{job}: {untold:?}");
    }
    assert_eq!(
        untold,
        [
            "cancelled: nightly",
            "contexts-of-others: release-train-17",
            "gitlab-without-guid: cleanup",
            "providers: nightly-sweep",
            "timeout: nightly-soak",
            "v1beta1: old",
        ]
        .map(str::to_owned)
        .into()
    );
}

#[test]
fn the_shell_of_the_guide_says_the_same_and_what_the_guide_shows() {
    let guide = include_str!("../../../docs/tracing-steps.md");
    let block = guide
        .split("```sh\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next());
    let block = block.expect("a shell script");
    let show = "printf 'TRACEPARENT=%s\nTRACESTATE=%s\n' \"$TRACEPARENT\" \"$TRACESTATE\"";
    let (guid, uid) = (
        "72d3162e-cc78-11e3-81ab-4c9367dc0958",
        "0b7d9c52-3f1e-4a64-9d0f-6a3c1b2e8f75",
    );
    let shell = Command::new("sh")
        .args(["-c", &format!("{block}{show}")])
        .envs([
            ("REPO_OWNER", "Acme"),
            ("REPO_NAME", "Shop"),
            ("EVENT_GUID", guid),
            ("TASK_RUN_UID", uid),
        ])
        .output()
        .expect("a shell");
    let said = String::from_utf8(shell.stdout).expect("text");

    let mut knows = Knows::default();
    knows.set("lighthouse.jenkins-x.io/id", "any");
    knows.set("event-GUID", guid);
    knows.0.owner = Some("Acme".to_owned());
    knows.0.repository = Some("Shop".to_owned());
    knows.0.repository_url = Some("https://github.com/Acme/Shop".to_owned());
    knows.0.task_run_uid = Some(uid.to_owned());
    knows.0.step = Some("build".to_owned());
    let context = CONTEXTS.find(&knows.0).expect("a context").context;
    let computed = format!(
        "TRACEPARENT={}\nTRACESTATE={}\n",
        context.traceparent(),
        context.tracestate(None)
    );
    assert_eq!(said, computed);
    assert!(guide.contains(&computed), "{computed}");
}
