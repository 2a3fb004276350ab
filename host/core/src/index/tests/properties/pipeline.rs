//! What a cluster may go through, in words: git events, what they set off, and what strays in between. Its strategies shrink
//! to fewer and plainer things.

use proptest::collection::vec;
use proptest::prelude::*;

/// Everything that happens in one case.
#[derive(Clone, Debug)]
pub(super) struct Pipeline {
    pub(super) events: Vec<EventShape>,
    pub(super) strays: Vec<Stray>,
}

/// A git event.
#[derive(Clone, Debug)]
pub(super) struct EventShape {
    /// Which form its key has: by delivery, push or change.
    pub(super) form: u8,
    /// Webhooks of it, by the milliseconds at which they were received.
    pub(super) webhooks: Vec<u16>,
    pub(super) jobs: Vec<JobShape>,
}

/// A job of an event.
#[derive(Clone, Debug)]
pub(super) struct JobShape {
    pub(super) context: ContextShape,
    pub(super) life: Life,
    /// The label by which others find it comes only with the last version.
    pub(super) late_label: bool,
    pub(super) runs: Vec<RunShape>,
}

/// The context that stands in the annotations of a job when it is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ContextShape {
    None,
    Foreign,
    /// That of another job, which it repeats.
    Rerun(u8),
}

/// A run of a job.
#[derive(Clone, Debug)]
pub(super) struct RunShape {
    pub(super) hangs: Hangs,
    pub(super) life: Life,
    pub(super) tasks: Vec<TaskShape>,
    /// Links to the run of this number.
    pub(super) link: Option<u8>,
    pub(super) notes: u8,
}

/// How an object names its parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hangs {
    Owner,
    Name,
    NameAndUid,
    Label,
    /// Through so many owners that no mapper watches.
    Through(u8),
    /// The owner reference comes with the last version.
    LateOwner,
    /// The first candidate never comes, the second is the owner.
    SecondChoice,
    /// The owner never comes; what comes in its stead is a trace of its own.
    OwnerOrRoot,
    /// The owner never comes.
    Orphan,
}

/// A task, with one child span an attempt.
#[derive(Clone, Debug)]
pub(super) struct TaskShape {
    pub(super) life: Life,
    pub(super) attempts: Vec<Vec<PodShape>>,
}

/// A Pod of an attempt.
#[derive(Clone, Debug)]
pub(super) struct PodShape {
    pub(super) life: Life,
}

/// What an object goes through.
#[derive(Clone, Debug)]
pub(super) struct Life {
    /// Versions before the last.
    pub(super) history: Vec<Moment>,
    pub(super) last: Last,
    pub(super) ends: bool,
    pub(super) fails: bool,
    pub(super) deleted: bool,
    /// How many versions each of its Events has.
    pub(super) events: Vec<u8>,
}

/// A version of an object before the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    /// Under way, with all its child spans.
    Open,
    /// Under way, without child spans yet.
    Bare,
    Waiting,
    /// The mapper fails.
    Nonsense,
    NotOurs,
    /// The other mapper's.
    Others,
    /// It says that it has ended, but that is not its last word.
    Ended,
}

/// What the mappers make of the last version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Last {
    Spans,
    /// Spans by the second mapper, where that is asked.
    Second,
    Waiting,
    Nonsense,
    NotOurs,
}

/// What belongs to no git event.
#[derive(Clone, Debug)]
pub(super) enum Stray {
    /// Runs that own each other in a circle, and one that hangs from it.
    Circle(u8, Life),
    /// Pods whose owner never comes; by uid or by name.
    Orphans(bool, Vec<Life>),
    /// An object of several runs, with Pods that start during one of them, and its fate.
    Reconciler(Vec<bool>, Vec<(u8, Life)>, Life),
    /// A Pod whose owners lead to nobody.
    OfNobody(u8, Life),
    /// Objects of one uid, by their kinds and ages, each with a Pod of its own. All are deleted, or none.
    Twins(bool, Vec<(u8, u8, Life)>),
}

fn life() -> impl Strategy<Value = Life> {
    let moment = prop_oneof![
        4 => Just(Moment::Open),
        3 => Just(Moment::Bare),
        2 => Just(Moment::Waiting),
        1 => Just(Moment::Nonsense),
        1 => Just(Moment::NotOurs),
        1 => Just(Moment::Others),
        1 => Just(Moment::Ended),
    ];
    let last = prop_oneof![
        24 => Just(Last::Spans),
        1 => Just(Last::Second),
        1 => Just(Last::Waiting),
        1 => Just(Last::Nonsense),
        1 => Just(Last::NotOurs),
    ];
    (
        vec(moment, 0..4),
        last,
        prop::bool::weighted(0.92),
        prop::bool::weighted(0.15),
        prop::bool::weighted(0.15),
        vec(1..4u8, 0..3),
    )
        .prop_map(|(history, last, ends, fails, deleted, events)| Life {
            history,
            last,
            ends,
            fails,
            // A Pod that never ends is mostly one that is gone.
            deleted,
            events,
        })
}

fn task() -> impl Strategy<Value = TaskShape> {
    let pod = life().prop_map(|life| PodShape { life });
    let attempt = vec(pod, 0..2);
    (life(), vec(attempt, 1..3)).prop_map(|(life, attempts)| TaskShape { life, attempts })
}

fn run() -> impl Strategy<Value = RunShape> {
    let hangs = prop_oneof![
        6 => Just(Hangs::Owner),
        1 => Just(Hangs::Name),
        1 => Just(Hangs::NameAndUid),
        2 => Just(Hangs::Label),
        1 => (1..3u8).prop_map(Hangs::Through),
        1 => Just(Hangs::LateOwner),
        1 => Just(Hangs::SecondChoice),
        1 => Just(Hangs::OwnerOrRoot),
        1 => Just(Hangs::Orphan),
    ];
    (
        hangs,
        life(),
        vec(task(), 0..3),
        prop::option::weighted(0.15, any::<u8>()),
        0..2u8,
    )
        .prop_map(|(hangs, life, tasks, link, notes)| RunShape {
            hangs,
            life,
            tasks,
            link,
            notes,
        })
}

fn job() -> impl Strategy<Value = JobShape> {
    let context = prop_oneof![
        6 => Just(ContextShape::None),
        1 => Just(ContextShape::Foreign),
        1 => any::<u8>().prop_map(ContextShape::Rerun),
    ];
    (context, life(), prop::bool::weighted(0.2), vec(run(), 0..2)).prop_map(
        |(context, life, late_label, runs)| JobShape {
            context,
            life,
            late_label,
            runs,
        },
    )
}

fn event() -> impl Strategy<Value = EventShape> {
    (0..3u8, vec(0..2000u16, 0..3), vec(job(), 0..3)).prop_map(|(form, webhooks, jobs)| {
        EventShape {
            form,
            webhooks,
            jobs,
        }
    })
}

fn stray() -> impl Strategy<Value = Stray> {
    prop_oneof![
        (1..4u8, life()).prop_map(|(length, life)| Stray::Circle(length, life)),
        (any::<bool>(), vec(life(), 1..3))
            .prop_map(|(by_name, lives)| Stray::Orphans(by_name, lives)),
        (
            vec(any::<bool>(), 1..4),
            vec((any::<u8>(), life()), 0..3),
            life()
        )
            .prop_map(|(runs, pods, life)| Stray::Reconciler(runs, pods, life)),
        (0..2u8, life()).prop_map(|(owners, life)| Stray::OfNobody(owners, life)),
        (any::<bool>(), vec((0..3u8, 0..3u8, life()), 2..4))
            .prop_map(|(deleted, twins)| Stray::Twins(deleted, twins)),
    ]
}

/// All that may happen in a cluster within a few minutes.
pub(super) fn pipeline() -> impl Strategy<Value = Pipeline> {
    (vec(event(), 0..3), vec(stray(), 0..2))
        .prop_map(|(events, strays)| Pipeline { events, strays })
}
