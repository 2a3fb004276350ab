//! The child spans of one container: pull of its image, creation, start, and a run for each instance.
//!
//! Each phase lasts from the Event that ended the phase before to the Event that ends it. If an Event was lost, its
//! phase is part of the next one; a phase of which neither beginning is known is left out rather than guessed.

use span_mapper_sdk::{Span, Timestamp};

use crate::container::{Container, Instance};
use crate::pull::Pulled;
use crate::waiting::{self, Trouble};

/// The spans of a container. Those without an end last as long as the Pod.
#[derive(Debug)]
pub struct Phases<'p> {
    pub spans: Vec<Span<'p>>,
    /// When the container was first touched.
    pub first: Option<Timestamp>,
}

/// The spans of a container.
pub fn of<'p>(container: &Container<'p>) -> Phases<'p> {
    let mut phases = Builder {
        container,
        trouble: waiting::trouble(container.waiting()),
        instances: container.instances().collect(),
        spans: Vec::with_capacity(4),
        reached: None,
    };
    let started = phases.first_start();
    phases.pull(started);
    phases.create(started);
    phases.start(started);
    phases.runs(started);
    let first = phases.spans.iter().map(|span| span.start);
    Phases {
        first: first.chain(phases.reached).reduce(Timestamp::earliest),
        spans: phases.spans,
    }
}

struct Builder<'c, 'p> {
    container: &'c Container<'p>,
    trouble: Option<Trouble>,
    instances: Vec<Instance<'p>>,
    spans: Vec<Span<'p>>,
    /// When the last phase that is known to have ended did so.
    reached: Option<Timestamp>,
}

impl<'p> Builder<'_, 'p> {
    /// When the first instance started: as the status says, to the nanosecond if the Event agrees.
    fn first_start(&self) -> Option<Timestamp> {
        let first = self.instances.iter().find(|instance| instance.number == 0);
        let status = first.and_then(|instance| instance.started);
        let event = self.container.started.map(|seen| seen.time);
        match (status, event) {
            (Some(status), Some(event)) if status.covers(event) => Some(event),
            (status, event) => status.or(event),
        }
    }

    fn span(&self, does: &str, start: Timestamp) -> Span<'p> {
        let name = self.container.name;
        Span::new(
            [does, "/", name].concat(),
            [does, " ", name].concat(),
            start,
        )
        .and("k8s.container.name", name)
        .and("pod.container.role", self.container.role.as_str())
    }

    /// Adds a phase up to this time, from which the next one starts.
    fn until(&mut self, span: Span<'p>, end: Timestamp) {
        let end = end.latest(span.start);
        self.reached = Some(end);
        self.spans.push(span.until(Some(end)));
    }

    /// Adds a phase that goes on, or in which the container is stuck.
    fn open(&mut self, mut span: Span<'p>, trouble: Trouble) {
        if self.trouble == Some(trouble) {
            let reason = self.container.waiting();
            let message = self
                .container
                .status
                .and_then(|status| status.state.waiting.message.get())
                .or_else(|| {
                    self.container
                        .failed
                        .and_then(|seen| seen.event.message.get())
                });
            span.fail(reason, message.unwrap_or(reason));
        }
        self.spans.push(span);
    }

    fn pull(&mut self, started: Option<Timestamp>) {
        let container = self.container;
        let time = |seen: Option<&crate::events::Seen<'_>>| seen.map(|seen| seen.time);
        let pulled = container
            .pulled
            .map(|seen| Pulled::read(seen.event.message.as_str()))
            .unwrap_or_default();
        let end = time(container.pulled);
        self.reached = end;
        let stuck = self.trouble == Some(Trouble::Pull);
        let start = time(container.pulling)
            .or_else(|| Some(end?.minus(pulled.whole?)))
            .or_else(|| time(container.failed).filter(|_| stuck));
        let Some(start) = start else { return };
        let mut span = self.span("pull", start);
        let (image, tag) = name_and_tag(container.image);
        span.add("container.image.name", image);
        span.add("container.image.tags", tag.map(|tag| vec![tag]));
        span.add("image.pull.duration", pulled.pulling.map(seconds));
        span.add("image.pull.waiting", pulled.waiting().map(seconds));
        span.add("image.size", pulled.size);
        match end.or(time(container.created)).or(started) {
            Some(end) => self.until(span, end),
            None => self.open(span, Trouble::Pull),
        }
    }

    fn create(&mut self, started: Option<Timestamp>) {
        let Some(start) = self.reached else {
            self.reached = self.container.created.map(|seen| seen.time);
            return;
        };
        let span = self.span("create", start);
        match self.container.created {
            Some(created) => self.until(span, created.time),
            None if started.is_none() && self.instances.is_empty() => {
                self.open(span, Trouble::Create)
            }
            // The Event was lost: starting includes it.
            None => {}
        }
    }

    fn start(&mut self, started: Option<Timestamp>) {
        let Some(start) = self.reached else { return };
        let mut span = self.span("start", start);
        if let Some(started) = started {
            return self.until(span, started);
        }
        if let Some(ended) = self.instances.first().and_then(|instance| instance.ended) {
            // It ended without having started.
            let container = self.container;
            if let Some(reason) = container.failure(ended) {
                span.fail(reason, reason);
            }
            return match ended.finished() {
                Some(end) => self.until(span, end),
                None => self.spans.push(span),
            };
        }
        if self.container.created.is_some() && self.instances.is_empty() {
            self.open(span, Trouble::Start);
        }
    }

    fn runs(&mut self, first_start: Option<Timestamp>) {
        let instances = std::mem::take(&mut self.instances);
        for (place, instance) in instances.iter().enumerate() {
            let start = if instance.number == 0 {
                first_start.map(|start| self.reached.map_or(start, |reached| start.latest(reached)))
            } else {
                instance.started
            };
            let Some(start) = start else { continue };
            let end = instance.ended.and_then(|ended| {
                let next = instances.get(place + 1).and_then(|next| next.started);
                ended.finished().or(next)
            });
            if let Some(before) = place
                .checked_sub(1)
                .and_then(|before| instances.get(before))
                && let Some(ended) = before.ended.and_then(|ended| ended.finished())
            {
                let span = self.restart(instance.number, ended);
                self.spans.push(span.until(Some(start.latest(ended))));
            }
            let span = self.run(*instance, start);
            self.spans
                .push(span.until(end.map(|end| not_before(end, start))));
        }
        if self.trouble == Some(Trouble::Start)
            && let Some(last) = instances.last()
            && let Some(ended) = last.ended.and_then(|ended| ended.finished())
        {
            let span = self.restart(last.number + 1, ended);
            self.open(span, Trouble::Start);
        }
    }

    /// The wait for an instance that follows one that has ended.
    fn restart(&self, number: i64, ended: Timestamp) -> Span<'p> {
        let mut span = self.span("restart", ended);
        span.key = [&span.key, "/", &number.to_string()].concat().into();
        span.and("k8s.container.restart_count", number)
    }

    fn run(&self, instance: Instance<'p>, start: Timestamp) -> Span<'p> {
        let container = self.container;
        let mut span = self.span("run", start);
        if instance.number > 0 {
            span.key = [&span.key, "/", &instance.number.to_string()]
                .concat()
                .into();
        }
        let (image, tag) = name_and_tag(container.image);
        span.add("container.image.name", image);
        span.add("container.image.tags", tag.map(|tag| vec![tag]));
        span.add("k8s.container.restart_count", instance.number);
        let id = match instance.ended {
            Some(ended) => Some(&ended.id),
            None => container.status.map(|status| &status.id),
        };
        span.add("container.id", id.map(|id| without_scheme(id.as_str())));
        if let Some(ended) = instance.ended {
            span.add("exit-code", ended.exit_code);
            span.add("process.exit.code", ended.exit_code);
            span.add("reason", &ended.reason);
            if let Some(reason) = container.failure(ended) {
                span.fail(reason, how(reason, ended.exit_code.get()));
            }
        }
        span
    }
}

/// The end of something that started then. Within one second an end that is known to the second stays so: what
/// comes next may tell more.
fn not_before(end: Timestamp, start: Timestamp) -> Timestamp {
    if end.covers(start) {
        Timestamp {
            precision: end.precision,
            ..start
        }
    } else {
        end.latest(start)
    }
}

/// How a container ended, for people.
pub fn how(reason: &str, exit_code: Option<i64>) -> String {
    match exit_code {
        Some(code) => [reason, ", exit code ", &code.to_string()].concat(),
        None => reason.to_owned(),
    }
}

#[allow(clippy::cast_precision_loss)] // A pull that lasts 104 days loses a nanosecond.
fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}

/// `registry:5000/team/image:tag@sha256:…` without tag and digest, and the tag.
fn name_and_tag(image: &str) -> (&str, Option<&str>) {
    let image = image.split('@').next().unwrap_or_default();
    match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (image, None),
    }
}

/// `containerd://…` without the runtime.
fn without_scheme(id: &str) -> &str {
    let rest = id
        .split_once(':')
        .and_then(|(_, rest)| rest.strip_prefix("//"));
    rest.unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_has_a_name_and_perhaps_a_tag() {
        assert_eq!(name_and_tag("a/b:1"), ("a/b", Some("1")));
        assert_eq!(name_and_tag("host:5000/a/b"), ("host:5000/a/b", None));
        assert_eq!(
            name_and_tag("host:5000/a/b:1@sha256:00"),
            ("host:5000/a/b", Some("1"))
        );
    }
}
