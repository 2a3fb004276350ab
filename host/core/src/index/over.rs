//! Git events that are over: what a late job needs to know of them and no more, since there are as many as a day has
//! webhooks.

use std::collections::HashMap;
use std::time::Duration;

use super::Index;
use super::event::Event;
use super::names::shrink;
use super::schedule::Deadline;
use crate::identity::{TraceId, TraceKey};
use crate::time::Time;

/// An exported event is remembered so long, so that a late job does not export its root again.
const MEMORY: Duration = Duration::from_secs(24 * 3600);

/// Those of so many nanoseconds are forgotten together: what all are looked through for happens a hundred times a day.
const TOGETHER: u64 = 900_000_000_000;

/// Events whose roots and jobs are exported, by their traces.
#[derive(Debug, Default)]
pub(super) struct Over {
    events: HashMap<TraceId, Known>,
    /// When the first are to be forgotten.
    next: Option<Time>,
}

/// What is known of an event that is over.
#[derive(Clone, Copy, Debug)]
struct Known {
    until: Time,
    /// When its webhook was received, if that is known.
    received: Option<Time>,
}

impl Over {
    pub(super) fn traces(&self) -> impl Iterator<Item = TraceId> {
        self.events.keys().copied()
    }

    /// Until when an event is remembered.
    pub(super) fn until(&self, trace: TraceId) -> Option<Time> {
        self.events.get(&trace).map(|known| known.until)
    }
}

impl Index {
    /// An event that is known to be over, as far as it is known.
    pub(super) fn over(&self, key: &TraceKey) -> Option<Event> {
        if self.over.events.is_empty() {
            return None;
        }
        let known = self.over.events.get(&key.trace_id())?;
        Some(Event::over(known.received))
    }

    /// Nothing is left of an exported event that could still change.
    pub(super) fn remember(&mut self, now: Time, trace: TraceId, received: Option<Time>) {
        let until = now.plus(MEMORY).nanoseconds();
        let until = until.checked_next_multiple_of(TOGETHER).unwrap_or(until);
        self.remember_until(Time::from_nanoseconds(until), trace, received);
    }

    /// As [`Self::remember`], until a time that was said before.
    pub(super) fn remember_until(&mut self, until: Time, trace: TraceId, received: Option<Time>) {
        if self.over.events.contains_key(&trace) {
            return;
        }
        self.over.events.insert(trace, Known { until, received });
        self.changed.over(trace);
        if self.over.next.is_none_or(|next| until < next) {
            self.over.next = Some(until);
            self.schedule.add(until, Deadline::ForgetEvents);
        }
    }

    /// Events have been over for long enough.
    pub(super) fn forget_events_due(&mut self, now: Time) {
        let changed = &mut self.changed;
        self.over.events.retain(|trace, known| {
            let stays = known.until > now;
            if !stays {
                changed.over(*trace);
            }
            stays
        });
        shrink(&mut self.over.events);
        self.over.next = self.over.events.values().map(|known| known.until).min();
        if let Some(next) = self.over.next {
            self.schedule.add(next, Deadline::ForgetEvents);
        }
    }
}
