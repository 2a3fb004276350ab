//! What belongs to no git event, as the API server would tell it.

use super::mapper::{Candidate, RunSpec, Spec};
use super::pipeline::{Life, Stray};
use super::story::{Draft, Story, Twin, once};

impl Story {
    pub(super) fn stray(&mut self, number: usize, stray: &Stray) {
        let run = |uid: String, owner: &str, life: &Life, story: &mut Self| {
            story.tell(
                Draft {
                    kind: "Run",
                    uid,
                    owner: Some(("Run", owner)),
                    spec: Spec {
                        safe: true,
                        parents: vec![Candidate::Owner {
                            span: String::new(),
                        }],
                        runs: vec![once(2, 80, &[])],
                        ..Spec::default()
                    },
                    ..Draft::default()
                },
                life,
            )
        };
        match stray {
            Stray::Circle(length, life) => {
                let name = |place: u8| format!("s{number}c{place}");
                for place in 0..*length {
                    run(name(place), &name((place + 1) % length), life, self);
                }
                run(format!("s{number}tail"), &name(0), life, self);
            }
            Stray::Orphans(by_name, lives) => {
                for (place, life) in lives.iter().enumerate() {
                    let uid = format!("s{number}o{place}");
                    let owner = format!("s{number}gone");
                    if *by_name {
                        self.orphan_by_name(uid, &owner, life);
                    } else {
                        self.pod(
                            &uid,
                            Some(("Task", &owner)),
                            None,
                            4 + place as u64,
                            "",
                            life,
                        );
                    }
                }
            }
            Stray::Reconciler(runs, pods, life) => {
                let uid = format!("s{number}k");
                let runs = (0..).zip(runs).map(|(place, failed)| RunSpec {
                    run: format!("run{place}"),
                    failed: *failed,
                    ..once(20 * place, 20 * place + 15, &[("part", 20 * place)])
                });
                let owner = format!("{uid}k");
                self.tell(
                    Draft {
                        kind: "Task",
                        uid: uid.clone(),
                        owner: Some(("Run", &owner)),
                        spec: Spec {
                            safe: true,
                            parents: vec![Candidate::Root],
                            runs: runs.collect(),
                            ..Spec::default()
                        },
                        ..Draft::default()
                    },
                    life,
                );
                for (place, (start, life)) in pods.iter().enumerate() {
                    let pod = format!("{uid}p{place}");
                    let start = u64::from(start % 60);
                    self.pod(&pod, Some(("Task", &uid)), None, start, "part", life);
                }
            }
            Stray::Twins(deleted, twins) => self.twins(&format!("s{number}t"), *deleted, twins),
            Stray::OfNobody(owners, life) => {
                let uid = format!("s{number}p");
                let owner = self.owners(&uid, *owners, None);
                let owner = (*owners > 0).then_some(("ReplicaSet", owner.as_str()));
                self.pod(&uid, owner, None, 4, "", life);
            }
        }
    }

    fn twins(&mut self, uid: &str, deleted: bool, twins: &[(u8, u8, Life)]) {
        let kind = |kind: u8| ["Run", "Task", "Pod"][usize::from(kind)];
        let group = |kind: u8| if kind == 2 { "" } else { "test" };
        let first = (0..)
            .zip(twins)
            .map(|(place, (of, age, _))| (age, group(*of), kind(*of), place))
            .min();
        for (place, (of, age, life)) in twins.iter().enumerate() {
            let name = format!("twin{place}");
            let is_first = first.is_some_and(|(_, _, _, first)| first == place);
            let identity = if is_first {
                uid.to_owned()
            } else {
                format!("{uid}:{}:{}:jx:{name}", group(*of), kind(*of))
            };
            let life = Life {
                deleted,
                ..life.clone()
            };
            self.tell(
                Draft {
                    kind: kind(*of),
                    uid: uid.to_owned(),
                    twin: Some(Twin {
                        name: name.clone(),
                        created: u64::from(*age),
                        identity,
                    }),
                    spec: Spec {
                        safe: true,
                        parents: vec![Candidate::Root],
                        runs: vec![once(4, 60, &[("part", 4)])],
                        ..Spec::default()
                    },
                    ..Draft::default()
                },
                &life,
            );
            self.pod_of_twin(&format!("{uid}-pod{place}"), kind(*of), uid, name, &life);
        }
    }

    fn pod_of_twin(&mut self, uid: &str, kind: &str, owner: &str, name: String, life: &Life) {
        self.tell(
            Draft {
                kind: "Pod",
                uid: uid.to_owned(),
                owner: Some((kind, owner)),
                owner_name: Some(name),
                spec: Spec {
                    parents: vec![Candidate::Owner {
                        span: "part".to_owned(),
                    }],
                    runs: vec![once(5, 50, &[])],
                    ..Spec::default()
                },
                ..Draft::default()
            },
            life,
        );
    }

    fn orphan_by_name(&mut self, uid: String, parent: &str, life: &Life) {
        self.tell(
            Draft {
                kind: "Task",
                uid,
                spec: Spec {
                    parents: vec![Candidate::Named {
                        kind: "Job".to_owned(),
                        name: parent.to_owned(),
                        uid: None,
                        span: String::new(),
                    }],
                    runs: vec![once(3, 20, &[])],
                    ..Spec::default()
                },
                ..Draft::default()
            },
            life,
        );
    }
}
