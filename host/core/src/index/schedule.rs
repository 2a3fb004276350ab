//! What is to be done later, and when.

use std::collections::BTreeSet;

use crate::identity::TraceKey;
use crate::object::{SubjectName, Uid};
use crate::time::Time;

/// Something that is due at some time. Firing one that no longer applies does nothing, so that none needs to be
/// taken back.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Deadline {
    /// Map an object that has changed since it was mapped last.
    Map(Uid),
    /// The settle window of a run of an object has passed.
    Settle(Uid),
    /// The settle window of an object that is gone and has no spans has passed.
    Silent(Uid),
    /// The parent of an object has not turned up.
    Orphan(Uid),
    /// The settle window of a git event has passed.
    Event(TraceKey),
    /// A webhook has waited for a job long enough.
    Jobless(TraceKey),
    /// Attached objects have waited for their subject long enough.
    Unclaimed(Box<SubjectName>),
    /// An exported object that is gone from the cluster need not be remembered.
    Forget(Uid),
    /// Events have been over for so long that they need not be remembered.
    ForgetEvents,
    /// A look-up need not be remembered.
    ForgetLookup(Uid),
    /// The jobs of an exported event need not be remembered.
    ForgetJobs(TraceKey),
    /// Whoever took over from the mapper of an object has not seen it.
    LetGo(Uid),
    /// Mappers that were replaced may not be needed any more.
    Replaced,
}

/// Deadlines in order of time.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    deadlines: BTreeSet<(Time, Deadline)>,
    /// When the first is due. Each fact asks for it, mostly in vain, and the first of many lies deep in the set.
    first: Option<Time>,
}

impl Schedule {
    pub(super) fn add(&mut self, at: Time, deadline: Deadline) {
        self.deadlines.insert((at, deadline));
        self.first = Some(self.first.map_or(at, |first| first.min(at)));
    }

    /// Takes out the earliest deadline that is due.
    pub(super) fn due(&mut self, now: Time) -> Option<Deadline> {
        if self.first? > now {
            return None;
        }
        let due = self.deadlines.pop_first();
        self.first = self.deadlines.first().map(|(at, _)| *at);
        due.map(|(_, deadline)| deadline)
    }

    /// When the next deadline is due.
    pub(super) fn next(&self) -> Option<Time> {
        self.first
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_due_comes_in_order_and_nothing_else_does(
            steps in prop::collection::vec((any::<bool>(), 0..20u64), 0..40),
        ) {
            let mut schedule = Schedule::default();
            let mut waiting = BTreeSet::new();
            for (adds, second) in steps {
                let at = Time::from_nanoseconds(second);
                if adds {
                    let deadline = Deadline::Map(second.to_string().into());
                    waiting.insert((at, deadline.clone()));
                    schedule.add(at, deadline);
                } else {
                    while let Some(deadline) = schedule.due(at) {
                        prop_assert_eq!(Some(deadline), waiting.pop_first().map(|(_, first)| first));
                    }
                    prop_assert!(waiting.first().is_none_or(|(first, _)| *first > at));
                }
                prop_assert_eq!(schedule.next(), waiting.first().map(|(first, _)| *first));
            }
        }
    }
}
