//! The exported spans are a function of what happened, not of the order in which it became known.

use proptest::prelude::*;
use proptest::sample::Index as Pick;

use super::*;

/// A thing that happened: the versions of an object, of which only the last counts.
#[derive(Clone, Debug)]
enum Happening {
    Webhook(String),
    Object { versions: Vec<Value>, deleted: bool },
}

/// How much of everything there is.
#[derive(Clone, Debug)]
struct Shape {
    jobs: Vec<(u8, Vec<RunShape>)>,
}

#[derive(Clone, Debug)]
struct RunShape {
    pods: Vec<(u8, bool)>,
    named: bool,
}

fn shape() -> impl Strategy<Value = Shape> {
    let pod = (0..4u8, any::<bool>());
    let run = (prop::collection::vec(pod, 0..3), any::<bool>())
        .prop_map(|(pods, named)| RunShape { pods, named });
    let job = (0..2u8, prop::collection::vec(run, 0..3));
    prop::collection::vec(job, 1..4).prop_map(|jobs| Shape { jobs })
}

fn versions(kind: &str, uid: &str, owner: Option<(&str, &str)>, spec: &Value) -> Vec<Value> {
    let early = {
        let mut spec = spec.clone();
        spec["end"] = Value::Null;
        spec["children"] = Value::Null;
        spec
    };
    let waiting = {
        let mut spec = spec.clone();
        spec["wait"] = true.into();
        spec
    };
    [waiting, early.clone(), early, spec.clone()]
        .into_iter()
        .zip(1..)
        .map(|(spec, number)| version(object(kind, uid, owner, spec), number))
        .collect()
}

fn happenings(shape: &Shape) -> Vec<Happening> {
    let mut all = Vec::new();
    let mut all_guids = std::collections::BTreeSet::new();
    for (number, (guid, runs)) in shape.jobs.iter().enumerate() {
        let guid = format!("g{guid}");
        let job = format!("job{number}");
        let spec = json!({"guid": guid, "start": 1, "end": 90 + number, "safe": true});
        if all_guids.insert(guid.clone()) {
            all.push(Happening::Webhook(guid));
        }
        all.push(Happening::Object {
            versions: versions("Job", &job, None, &spec),
            deleted: false,
        });
        for (number, shape) in runs.iter().enumerate() {
            let run = format!("{job}-run{number}");
            let spec = json!({"start": 2, "end": 80, "safe": true, "children": ["a", "b"]});
            let mut by_name = spec.clone();
            by_name["parent"] = job.clone().into();
            all.push(Happening::Object {
                versions: if shape.named {
                    versions("Run", &run, None, &by_name)
                } else {
                    versions("Run", &run, Some(("Job", &job)), &spec)
                },
                deleted: false,
            });
            for (number, (events, deleted)) in shape.pods.iter().enumerate() {
                let pod = format!("{run}-pod{number}");
                let mut spec = json!({"start": 3, "end": 70, "under": "b"});
                if *deleted {
                    spec["end"] = Value::Null;
                }
                all.push(Happening::Object {
                    versions: versions("Pod", &pod, Some(("Run", &run)), &spec),
                    deleted: *deleted,
                });
                for number in 0..*events {
                    let uid = format!("{pod}-event{number}");
                    let mut second = event(&uid, &pod, 10 + u64::from(number));
                    second["count"] = 2.into();
                    all.push(Happening::Object {
                        versions: vec![event(&uid, &pod, 5), version(second, 2)],
                        deleted: false,
                    });
                }
            }
        }
    }
    all
}

/// What one schedule delivers: of each object the last version and some of the others, some of it twice.
fn deliveries(all: &[Happening], keep: &[bool], twice: &[bool]) -> Vec<(Happening, usize, bool)> {
    let mut keep = keep.iter().cycle();
    let mut twice = twice.iter().cycle();
    let mut deliveries = Vec::new();
    for happening in all {
        let last = match happening {
            Happening::Webhook(_) => 0,
            Happening::Object { versions, .. } => versions.len() - 1,
        };
        for place in 0..=last {
            let is_last = place == last;
            if !is_last && !keep.next().unwrap() {
                continue;
            }
            let is_gone = is_last && matches!(happening, Happening::Object { deleted: true, .. });
            deliveries.push((happening.clone(), place, is_gone));
            if *twice.next().unwrap() {
                deliveries.push((happening.clone(), place, is_gone));
            }
        }
    }
    deliveries
}

fn facts(world: &World, deliveries: &[(Happening, usize, bool)]) -> Vec<Fact> {
    let fact = |(happening, place, gone): &(Happening, usize, bool)| match happening {
        Happening::Webhook(guid) => world.webhook_fact(guid, at(0)),
        Happening::Object { versions, .. } => world.fact(&versions[*place], *gone),
    };
    deliveries.iter().map(fact).collect()
}

fn exported(mut world: World) -> Vec<Span> {
    world.pass(Duration::from_secs(3600));
    world
        .exported
        .sort_by_key(|span| (span.trace_id, span.span_id));
    world.exported
}

fn differences(left: &[Span], right: &[Span]) -> Vec<String> {
    let only = |these: &[Span], those: &[Span], side: &str| -> Vec<String> {
        let missing = these.iter().filter(|span| !those.contains(span));
        missing.map(|span| format!("{side}: {span:?}")).collect()
    };
    let mut all = only(left, right, "only here");
    all.extend(only(right, left, "only in order"));
    all
}

/// All in order, at once.
fn reference(all: &[Happening]) -> Vec<Span> {
    let mut world = World::new();
    for fact in facts(&world, &deliveries(all, &[true], &[false])) {
        world.observe(fact);
    }
    exported(world)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn order_repetition_and_gaps_change_nothing(
        shape in shape(),
        keep in prop::collection::vec(any::<bool>(), 8),
        twice in prop::collection::vec(any::<bool>(), 8),
        order in prop::collection::vec(any::<Pick>(), 1..200),
        pauses in prop::collection::vec(0..40u64, 8),
        late in prop::collection::vec(any::<bool>(), 8),
    ) {
        let all = happenings(&shape);
        let expected = reference(&all);
        let mut world = World::new();
        world.hold_mappings = true;
        let mut facts = facts(&world, &deliveries(&all, &keep, &twice));
        let mut order = order.iter().cycle();
        let mut pauses = pauses.iter().cycle();
        let mut late = late.iter().cycle();
        let deadline = world.now.plus(Duration::from_millis(4500));
        while !facts.is_empty() {
            let fact = facts.swap_remove(order.next().unwrap().index(facts.len()));
            world.observe(fact);
            if !late.next().unwrap() {
                while let Some(request) = world.mappings.pop_front() {
                    world.answer(request);
                }
            }
            let pause = Duration::from_millis(*pauses.next().unwrap());
            if world.now.plus(pause) < deadline {
                world.pass(pause);
            }
        }
        world.hold_mappings = false;
        while let Some(request) = world.mappings.pop_front() {
            world.answer(request);
        }
        let differences = differences(&exported(world), &expected);
        prop_assert!(differences.is_empty(), "{differences:#?}");
    }
}
