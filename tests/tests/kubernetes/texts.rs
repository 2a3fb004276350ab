//! A mapper in YAML, mounted as the kubelet mounts a ConfigMap, in a process that has the chart's rights and no others: it names
//! the rule that it needs, maps once that is there, and is replaced while its objects are under way.

use anyhow::{Context, Result, ensure};
use lighthouse_telemetry_tests::helm::RELEASE;
use lighthouse_telemetry_tests::mount::Mount;
use lighthouse_telemetry_tests::namespace::Namespace;
use lighthouse_telemetry_tests::process::Process;
use serde_json::{Value, json};

use super::chart::{grant, put};
use super::foreign::{build, definition, main_span, mapper, mappers, pod, spans, text};
use super::processes::receiver;
use super::{Ground, Test};

/// All tests of this file.
pub const ALL: &[(&str, Test)] = &[(
    "a_text_maps_with_the_rule_that_it_names_and_is_replaced",
    |ground| Box::pin(replaced(ground)),
)];

/// Of the objects.
const GROUP: &str = "texts.example.com";
const API_VERSION: &str = "texts.example.com/v1";

/// The only watch of the mapper.
fn watch(said: &Value) -> Option<&Value> {
    mapper(said, "build")?.pointer("/kinds/0/watches/0")
}

fn is_watched(said: &Value, state: &str) -> bool {
    watch(said).and_then(|watch| watch.get("state")) == Some(&json!(state))
}

/// The rule that stands at the end of what is said of a watch, as one pastes it into a Role.
fn rule(said: &Value) -> Result<Value> {
    let detail = watch(said).and_then(|watch| watch.get("detail")?.as_str());
    let rule = detail.and_then(|detail| detail.find("apiGroups:").and_then(|at| detail.get(at..)));
    let rule = rule.with_context(|| format!("no rule in {said}"))?;
    Ok(serde_saphyr::from_str(&format!("{{{rule}}}"))?)
}

fn refused(said: &Value) -> Option<&str> {
    mapper(said, "build")?.pointer("/refused/reason")?.as_str()
}

async fn replaced(ground: &Ground) -> Result<()> {
    let text = text(ground, &format!("{API_VERSION}/Build")).await?;
    let other = text.replace("service: Build", "service: Replaced");
    ensure!(other != text, "{text}");
    let broken = text.replace("type: failed.reason", "type: faild.reason");
    ensure!(broken != text, "{text}");

    let home = "texts";
    let mut namespace = Namespace::create(ground.new.client(), home).await?;
    put(ground, "install", home, json!({})).await?;
    let kubeconfig = ground.new.kubeconfig_of(home, RELEASE).await?;
    let receiver = receiver().await?;
    let mut mount = Mount::new()?;
    let directory = mount.path().display().to_string();
    let process = Process::start(
        &ground.binary,
        kubeconfig.path(),
        &receiver.grpc_endpoint(),
        &[
            "--namespace",
            home,
            "--settle",
            "1s",
            "--mappers",
            &directory,
        ],
    )
    .await?;
    process.ready().await?;

    ground
        .new
        .establish(&definition(GROUP, "v1", "Build"))
        .await?;
    mount.swap(&[("build.mapper.yaml", text.as_bytes())])?;
    let forbidden = |said: &Value| is_watched(said, "forbidden");
    let said = mappers(&process, "the kind may be read", forbidden).await?;
    grant(ground, home, home, &[rule(&said)?]).await?;
    let listed = |said: &Value| is_watched(said, "listed");
    mappers(&process, "the kind is not watched", listed).await?;
    namespace.apply(&build(API_VERSION, "first", true)?).await?;
    let first = main_span(&receiver, "first").await?;
    ensure!(
        (&*first.service, &*first.name) == ("Build", "build"),
        "{first:?}"
    );

    // A Build and its Pod are under way when the text is replaced: by one that says where it is wrong, and by one that is not.
    namespace
        .apply(&build(API_VERSION, "second", false)?)
        .await?;
    let owner = (API_VERSION, "Build", "second");
    namespace.apply(&pod("second-pod", owner)).await?;
    let pod_span = main_span(&receiver, "second-pod").await?;
    mount.swap(&[("build.mapper.yaml", broken.as_bytes())])?;
    let is_refused = |said: &Value| refused(said).is_some();
    let said = mappers(&process, "a broken text is not refused", is_refused).await?;
    let reason = refused(&said).context("not refused")?;
    let line = broken.lines().position(|line| line.contains("faild"));
    let line = format!("line {}, column ", line.context("no such line")? + 1);
    ensure!(
        reason.contains(&line) && reason.contains("faild"),
        "{reason}"
    );
    let in_use = mapper(&said, "build").and_then(|mapper| mapper.get("inUse"));
    ensure!(in_use == Some(&json!(true)), "{said}");
    mount.swap(&[("build.mapper.yaml", other.as_bytes())])?;
    mappers(&process, "the text is not replaced", |said| {
        !is_refused(said)
    })
    .await?;
    for name in ["third", "second"] {
        namespace.apply(&build(API_VERSION, name, true)?).await?;
        let span = main_span(&receiver, name).await?;
        ensure!(span.service == "Replaced", "{span:?}");
    }
    // The Pod was exported before the Build ended, and by its id the trace is whole.
    let second = main_span(&receiver, "second").await?;
    ensure!(pod_span.parent == second.id, "{pod_span:?} {second:?}");
    ensure!(pod_span.trace == second.trace, "{pod_span:?} {second:?}");

    let ended = process.terminate().await?;
    ensure!(ended.status.success(), "{}", ended.log);
    let spans = spans(&receiver.spans());
    let queues = spans.iter().filter(|span| span.name == "queue");
    let parents: Vec<&str> = queues.map(|queue| queue.parent.as_str()).collect();
    for name in ["first", "second", "third"] {
        let id = main_span(&receiver, name).await?.id;
        let below = parents.iter().filter(|parent| **parent == id).count();
        ensure!(below == 1, "{below} spans below {name}: {spans:?}");
    }
    Ok(())
}
