//! A scenario on the embedded API, with something going wrong in the middle: the trace must be as if nothing had, and the
//! host must say what is wrong while it is, and not any longer.

// Clippy takes only `#[test]` functions for tests, not what they share.
#![allow(clippy::expect_used)]

use std::sync::LazyLock;
use std::time::Duration;

use http::{Method, StatusCode};
use lighthouse_telemetry::embedded::{Answer, Fault, FaultId, Resource, Server};
use lighthouse_telemetry::mappers::Mappers;
use lighthouse_telemetry::run::Settings;
use lighthouse_telemetry_tests::embedded::{Disturbance, Said, play_disturbed};
use lighthouse_telemetry_tests::scenario::{ANYWHERE, Scenario};

static MAPPERS: LazyLock<Mappers> =
    LazyLock::new(|| Mappers::builtin().expect("the built-in mappers"));

const SCENARIO: &str = "pull-request";
/// From a PipelineRun that starts until a Pod has done its first step: objects of every kind come to be, and none ends.
const STEPS: std::ops::Range<usize> = 8..24;

/// Tries again at once, or the tests would take as long as the faults that they are about.
fn impatient(settings: &mut Settings) {
    settings.watch.first_pause = Duration::from_millis(10);
    settings.watch.answer = Duration::from_secs(1);
    settings.patches.first_pause = Duration::from_millis(10);
    settings.patches.forbidden_pause = Duration::from_millis(50);
    settings.patches.timeout = Duration::from_millis(500);
}

async fn disturbed(
    settings: impl Fn(&mut Settings),
    begin: impl Fn(&Server) -> Vec<FaultId>,
    said: &[Said<'_>],
) {
    let scenarios = Scenario::all(ANYWHERE).expect("scenarios");
    let mut scenarios = scenarios.into_iter();
    let scenario = scenarios
        .find(|scenario| scenario.name == SCENARIO)
        .expect("the scenario");
    let disturbance = Disturbance {
        steps: STEPS,
        settings: &|all| {
            impatient(all);
            settings(all);
        },
        begin: &begin,
        said,
    };
    let play = play_disturbed(
        &MAPPERS,
        Resource::of_jenkins_x(),
        &scenario,
        Some(disturbance),
    );
    let outcome = play.await.expect("an outcome");
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(SCENARIO, outcome.to_string()));
}

/// All requests of this method whose path contains this meet a fault from now on; watches begin anew.
fn fault(
    method: Option<Method>,
    path: &'static str,
    answer: Answer,
) -> impl Fn(&Server) -> Vec<FaultId> {
    move |server| {
        let id = server.break_with(Fault {
            method: method.clone(),
            path: path.to_owned(),
            times: None,
            answer: answer.clone(),
        });
        server.drop_watches();
        vec![id]
    }
}

const ERRORS: Said = Said::Metric("watch_events_total{kind=\"Pod\",event=\"error\"}");

fn failing(detail: &str) -> [Said<'_>; 3] {
    let kinds = ["Pod", "TaskRun.tekton.dev"];
    let [one, other] = kinds.map(|kind| Said::Trouble(kind, "failing", detail));
    [one, other, ERRORS]
}

#[tokio::test]
async fn nothing() {
    disturbed(|_| {}, |_| Vec::new(), &[]).await;
}

#[tokio::test]
async fn watches_end() {
    let begin = |server: &Server| {
        server.drop_watches();
        Vec::new()
    };
    disturbed(|_| {}, begin, &[]).await;
}

#[tokio::test]
async fn the_history_is_gone() {
    let begin = |server: &Server| {
        server.drop_watches();
        let refused = Answer::Refuse(StatusCode::GONE, "Expired");
        vec![server.break_with(Fault {
            method: Some(Method::GET),
            path: "watch=true".to_owned(),
            times: Some(20),
            answer: refused,
        })]
    };
    disturbed(|_| {}, begin, &[ERRORS]).await;
}

#[tokio::test]
async fn the_history_is_compacted() {
    // Other watches hold all of it, and one asks for what is gone when it is taken up again.
    let begin = |server: &Server| {
        let hanging = server.break_with(Fault {
            method: Some(Method::GET),
            path: "watch=true".to_owned(),
            times: None,
            answer: Answer::Delay(Duration::from_millis(300)),
        });
        server.drop_watches();
        server
            .apply(serde_json::json!({
                "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "jx", "uid": "other"},
            }))
            .expect("an object of no interest");
        server.compact();
        vec![hanging]
    };
    disturbed(|_| {}, begin, &[ERRORS]).await;
}

#[tokio::test]
async fn too_many_requests() {
    let begin = fault(None, "", Answer::TooMany(1));
    disturbed(|_| {}, begin, &failing("(429)")).await;
}

#[tokio::test]
async fn internal_errors() {
    let refused = Answer::Refuse(StatusCode::INTERNAL_SERVER_ERROR, "InternalError");
    disturbed(|_| {}, fault(None, "", refused), &failing("(500)")).await;
}

#[tokio::test]
async fn connections_of_which_the_other_end_is_gone() {
    let begin = fault(None, "", Answer::Hang);
    disturbed(|_| {}, begin, &failing("does not answer")).await;
}

#[tokio::test]
async fn answers_that_come_too_late() {
    let begin = fault(None, "", Answer::Delay(Duration::from_secs(3_600)));
    disturbed(|_| {}, begin, &failing("does not answer")).await;
}

#[tokio::test]
async fn watches_that_go_silent() {
    let begin = |server: &Server| {
        server.silence_watches();
        Vec::new()
    };
    let settings = |settings: &mut Settings| settings.watch.silence = Duration::from_secs(1);
    let silent = Said::Metric("watch_events_total{kind=\"Pod\",event=\"silent\"}");
    disturbed(settings, begin, &[silent]).await;
}

#[tokio::test]
async fn a_token_that_has_expired() {
    let begin = fault(None, "", Answer::Demand("a new one".to_owned()));
    disturbed(|_| {}, begin, &failing("Unauthorized (401)")).await;
}

#[tokio::test]
async fn a_kind_that_is_removed_and_installed_again() {
    let gone = Answer::Refuse(StatusCode::NOT_FOUND, "NotFound");
    let begin = fault(None, "/apis/jenkins.io/", gone);
    let missing = Said::Trouble("PipelineActivity.jenkins.io", "missing", "install it");
    disturbed(|_| {}, begin, &[missing]).await;
}

#[tokio::test]
async fn a_right_to_read_that_is_taken_away_and_given_back() {
    let forbidden = Answer::Refuse(StatusCode::FORBIDDEN, "Forbidden");
    let begin = fault(Some(Method::GET), "", forbidden);
    let rule = "resources: [\"taskruns\"], verbs: [\"list\", \"watch\"]";
    let said = [
        Said::Trouble("TaskRun.tekton.dev", "forbidden", rule),
        Said::Trouble("Pod", "forbidden", "add this rule to the ClusterRole"),
    ];
    disturbed(|_| {}, begin, &said).await;
}

#[tokio::test]
async fn a_right_to_annotate_that_is_taken_away_and_given_back() {
    let forbidden = Answer::Refuse(StatusCode::FORBIDDEN, "Forbidden");
    let begin = fault(Some(Method::PATCH), "", forbidden);
    let said = [
        Said::Metric("patches_forbidden{kind=\"TaskRun\"}"),
        Said::Metric("patches_forbidden{kind=\"PipelineActivity\"}"),
        Said::Metric("patches_total{outcome=\"forbidden\"}"),
    ];
    disturbed(|_| {}, begin, &said).await;
}

#[tokio::test]
async fn annotations_that_cannot_be_set_for_a_while() {
    for answer in [
        Answer::TooMany(1),
        Answer::Refuse(StatusCode::INTERNAL_SERVER_ERROR, "InternalError"),
        Answer::Demand("a new one".to_owned()),
        Answer::Hang,
    ] {
        let said = [
            Said::Metric("patches_total{outcome=\"retry\"}"),
            Said::Metric("patches_waiting"),
        ];
        disturbed(|_| {}, fault(Some(Method::PATCH), "", answer), &said).await;
    }
}
