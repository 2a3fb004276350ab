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
}

impl Schedule {
    pub(super) fn add(&mut self, at: Time, deadline: Deadline) {
        self.deadlines.insert((at, deadline));
    }

    /// Takes out the earliest deadline that is due.
    pub(super) fn due(&mut self, now: Time) -> Option<Deadline> {
        if self.next()? > now {
            return None;
        }
        self.deadlines.pop_first().map(|(_, deadline)| deadline)
    }

    /// When the next deadline is due.
    pub(super) fn next(&self) -> Option<Time> {
        self.deadlines.first().map(|(at, _)| *at)
    }
}
