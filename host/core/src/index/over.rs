//! Git events that are over: what a late job needs to know of them and no more, since there are as many as a day has
//! webhooks.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::Duration;

use super::Index;
use super::event::Event;
use super::names::shrink;
use super::schedule::Deadline;
use crate::identity::{TraceId, TraceKey};
use crate::time::Time;

/// An exported event is remembered so long, so that a late job does not export its root again.
const MEMORY: Duration = Duration::from_secs(24 * 3600);

/// Events whose roots and jobs are exported, by their traces.
#[derive(Debug, Default)]
pub(super) struct Over {
    events: HashMap<TraceId, Known>,
    /// Until when each is remembered, the first to be forgotten on top. A heap lies in one place: what outlives all around it
    /// must not keep pages of theirs.
    until: BinaryHeap<Reverse<(Time, TraceId)>>,
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
        self.remember_until(now.plus(MEMORY), trace, received);
    }

    /// As [`Self::remember`], until a time that was said before.
    pub(super) fn remember_until(&mut self, until: Time, trace: TraceId, received: Option<Time>) {
        if self.over.events.contains_key(&trace) {
            return;
        }
        self.over.events.insert(trace, Known { until, received });
        self.changed.over(trace);
        let entry = Reverse((until, trace));
        self.over.until.push(entry);
        if self.over.until.peek() == Some(&entry) {
            self.schedule.add(until, Deadline::ForgetEvents);
        }
    }

    /// Events have been over for long enough.
    pub(super) fn forget_events_due(&mut self, now: Time) {
        while let Some(Reverse((until, trace))) = self.over.until.peek().copied() {
            if until > now {
                self.schedule.add(until, Deadline::ForgetEvents);
                break;
            }
            self.over.until.pop();
            self.over.events.remove(&trace);
            self.changed.over(trace);
        }
        shrink(&mut self.over.events);
        let len = self.over.until.len();
        if self.over.until.capacity() > 8 * len.max(64) {
            self.over.until.shrink_to(2 * len);
        }
    }
}
