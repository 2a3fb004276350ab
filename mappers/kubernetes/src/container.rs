//! The containers of a Pod: what the specification, the status and the Events say about each.

use span_mapper_sdk::Timestamp;

use crate::events::Seen;
use crate::resource::{ContainerSpec, ContainerStatus, Pod, Terminated};

/// What a container is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Runs to its end before the next one starts.
    Init,
    /// An init container that runs as long as the Pod.
    Sidecar,
    /// All others.
    App,
}

impl Role {
    /// For an attribute.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::Sidecar => "sidecar",
            Self::App => "app",
        }
    }
}

/// A container, with the first Event of each kind about it.
#[derive(Clone, Debug)]
pub struct Container<'p> {
    pub name: &'p str,
    pub role: Role,
    /// As the specification names it.
    pub image: &'p str,
    pub status: Option<&'p ContainerStatus<'p>>,
    pub pulling: Option<&'p Seen<'p>>,
    pub pulled: Option<&'p Seen<'p>>,
    pub created: Option<&'p Seen<'p>>,
    pub started: Option<&'p Seen<'p>>,
    /// The last that says that something failed.
    pub failed: Option<&'p Seen<'p>>,
}

/// One instance of a container: it may be restarted.
#[derive(Clone, Copy, Debug)]
pub struct Instance<'p> {
    /// How many there were before.
    pub number: i64,
    pub started: Option<Timestamp>,
    /// How it ended, if it did.
    pub ended: Option<&'p Terminated<'p>>,
}

/// The containers in the order in which they start. A name counts once.
pub fn of<'p>(pod: &'p Pod<'p>, seen: &'p [Seen<'p>]) -> Vec<Container<'p>> {
    let mut containers: Vec<Container<'p>> = Vec::new();
    let (spec, status) = (&pod.spec, &pod.status);
    let lists = [
        (true, &spec.init_containers, &status.init_containers),
        (false, &spec.containers, &status.containers),
    ];
    for (init, specs, statuses) in lists {
        for spec in specs {
            let role = match (init, spec.restart_policy == "Always") {
                (true, true) => Role::Sidecar,
                (true, false) => Role::Init,
                (false, _) => Role::App,
            };
            let status = statuses.iter().find(|status| status.name == spec.name);
            add(&mut containers, spec, role, status);
        }
    }
    for event in seen {
        let Some(container) = event
            .container
            .and_then(|name| containers.iter_mut().find(|known| known.name == name))
        else {
            continue;
        };
        // In order of time: the first of each, but the last failure.
        let first = match event.reason() {
            "Pulling" => &mut container.pulling,
            "Pulled" => &mut container.pulled,
            "Created" => &mut container.created,
            "Started" => &mut container.started,
            "Failed" | "BackOff" | "ErrImageNeverPull" | "InspectFailed" => {
                container.failed = Some(event);
                continue;
            }
            _ => continue,
        };
        first.get_or_insert(event);
    }
    containers
}

fn add<'p>(
    containers: &mut Vec<Container<'p>>,
    spec: &'p ContainerSpec<'p>,
    role: Role,
    status: Option<&'p ContainerStatus<'p>>,
) {
    let Some(name) = spec.name.get() else { return };
    // A slash, which no real name holds, would make keys of different spans equal.
    if name.contains('/') || containers.iter().any(|known| known.name == name) {
        return;
    }
    containers.push(Container {
        name,
        role,
        image: spec.image.as_str(),
        status,
        pulling: None,
        pulled: None,
        created: None,
        started: None,
        failed: None,
    });
}

impl<'p> Container<'p> {
    /// The instances that the status tells of, at most the newest two, the older one first.
    pub fn instances(&self) -> impl Iterator<Item = Instance<'p>> + use<'p> {
        let newest = self
            .status
            .and_then(|status| status.restarts.get())
            .unwrap_or_default()
            .max(0);
        let ended = |number: i64, ended: &'p Terminated<'p>| Instance {
            number,
            started: ended.started(),
            ended: Some(ended),
        };
        let current = self.status.and_then(|status| match status.state.ended() {
            Some(terminated) => Some(ended(newest, terminated)),
            None => status.state.running.started.get().map(|started| Instance {
                number: newest,
                started: Some(started),
                ended: None,
            }),
        });
        // A container that waits has not been restarted yet: its last state is that of the newest instance.
        let last = if current.is_some() {
            newest - 1
        } else {
            newest
        };
        let before = self
            .status
            .and_then(|status| status.last.ended())
            .filter(|_| last >= 0)
            .map(|terminated| ended(last, terminated));
        before.into_iter().chain(current)
    }

    /// How the container ended, if it did and does not run again.
    pub fn ended(&self) -> Option<&'p Terminated<'p>> {
        self.status.and_then(|status| status.state.ended())
    }

    /// Why it waits, if it does; empty if no reason is given.
    pub fn waiting(&self) -> &'p str {
        self.status
            .map_or("", |status| status.state.waiting.reason.as_str())
    }

    /// Whether an instance is in the state of having ended badly. A sidecar is killed when the others are done:
    /// that is no failure.
    pub fn failure(&self, ended: &'p Terminated<'p>) -> Option<&'p str> {
        let killed =
            matches!(ended.exit_code.get(), Some(137 | 143)) && ended.reason != "OOMKilled";
        if !ended.has_failed() || (self.role == Role::Sidecar && killed) {
            return None;
        }
        Some(ended.reason.get().unwrap_or("Error"))
    }
}
