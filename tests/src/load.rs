//! A scenario on its way in a namespace of a real cluster.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use lighthouse_telemetry_core::context::Mark;
use lighthouse_telemetry_core::time::Time;
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;

use crate::namespace::Namespace;
use crate::outcome::Annotations;
use crate::process::KEY;
use crate::scenario::{Scenario, Step, What, is_pause};
use crate::webhook;

/// The recorded times begin so much after now: later than any time that the server stamps while a test runs, and within
/// the replay window of one hour, so that an object that ended when it was created is not too old for the pure ground.
const AHEAD: Duration = Duration::from_secs(1_800);

/// A webhook's way: when it was sent and when the answer had arrived.
type Window = (Time, Time);

/// A scenario, as far as it has been played.
pub struct Load {
    namespace: Namespace,
    steps: Vec<Step>,
    windows: Vec<Window>,
}

impl Load {
    /// In a namespace of this name, which is created.
    ///
    /// # Errors
    /// If the server refuses, or the scenario cannot be read.
    pub async fn create(client: &kube::Client, name: &str, scenario: &Scenario) -> Result<Self> {
        let steps = scenario.steps()?;
        let first = steps.first().context("an empty scenario")?.at;
        let shift = now().plus(AHEAD).since(first).as_secs();
        Ok(Self {
            namespace: Namespace::create(client, name).await?,
            steps: scenario.later(shift).steps()?,
            windows: Vec::new(),
        })
    }

    /// Name of its namespace.
    #[must_use]
    pub fn name(&self) -> &str {
        self.namespace.name()
    }

    /// The scenario, now.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// When a step begins before which all that was due has happened.
    #[must_use]
    pub fn pause_before(&self, place: usize) -> Option<Time> {
        let (earlier, later) = self.steps.split_at_checked(place)?;
        let (last, next) = (earlier.last()?, later.first()?);
        is_pause(last, next).then_some(next.at)
    }

    /// Whether a step is a webhook.
    #[must_use]
    pub fn is_webhook(&self, place: usize) -> bool {
        let step = self.steps.get(place);
        step.is_some_and(|step| matches!(step.what, What::Webhook { .. }))
    }

    /// Plays one step; webhooks go there.
    ///
    /// # Errors
    /// If it is refused.
    pub async fn act(&mut self, place: usize, webhooks: Option<SocketAddr>) -> Result<()> {
        let step = self.steps.get(place).context("no such step")?;
        match &step.what {
            What::Webhook { kind, body, .. } => {
                let to = webhooks.context("a webhook before there is a process")?;
                let sent = now();
                let status = webhook::send(to, kind, KEY, body).await?;
                ensure!(
                    status == 202,
                    "a webhook of kind {kind} was answered {status}"
                );
                self.windows.push((sent, now()));
                Ok(())
            }
            What::Applied(object) => self.namespace.apply(object).await,
            What::Deleted(object) => self.namespace.delete(object).await,
        }
    }

    /// The annotations that its objects have now and it did not give them.
    ///
    /// # Errors
    /// If one cannot be read.
    pub async fn annotations(&self) -> Result<Annotations> {
        self.namespace.annotations().await
    }

    /// The steps before this place, with what the server made of them; what is stamped at the receipt of webhooks is not
    /// known yet.
    ///
    /// # Errors
    /// If they were not played.
    pub fn served_before(&self, place: usize) -> Result<Vec<Step>> {
        let steps = self.steps.get(..place).context("no such step")?;
        let receipts: Vec<Time> = self.windows.iter().map(|(sent, _)| *sent).collect();
        self.as_served(steps, &receipts)
    }

    /// All steps, with what the server made of them, and the process of the webhooks.
    ///
    /// # Errors
    /// If they were not played.
    pub fn served(
        &self,
        annotations: &Annotations,
        exported: &[ResourceSpans],
    ) -> Result<Vec<Step>> {
        let receipts = receipts(&self.windows, annotations, exported);
        self.as_served(&self.steps, &receipts)
    }

    fn as_served(&self, steps: &[Step], receipts: &[Time]) -> Result<Vec<Step>> {
        let mut receipts = receipts.iter();
        let served = steps.iter().map(|step| {
            let what = match &step.what {
                What::Webhook { kind, body, .. } => What::Webhook {
                    kind: kind.clone(),
                    body: body.clone(),
                    received: *receipts.next().context("a webhook without a receipt")?,
                },
                What::Applied(object) => What::Applied(self.namespace.as_served(object)?),
                What::Deleted(object) => What::Deleted(self.namespace.as_deleted(object)?),
            };
            Ok(Step { at: step.at, what })
        });
        served.collect()
    }
}

/// When the process says it received each webhook: what it wrote into the annotations, or else the start of a root span,
/// if that was while the webhook was on its way. One that neither tells of has set off nothing, and any time does.
fn receipts(
    windows: &[Window],
    annotations: &BTreeMap<String, BTreeMap<String, String>>,
    exported: &[ResourceSpans],
) -> Vec<Time> {
    let written = annotations
        .values()
        .flat_map(BTreeMap::values)
        .filter_map(|value| Mark::parse(value)?.received);
    let roots = exported
        .iter()
        .flat_map(|resource| &resource.scope_spans)
        .flat_map(|scoped| &scoped.spans)
        .filter(|span| span.parent_span_id.is_empty())
        // One that starts with a whole second starts with the creation of a job.
        .filter(|span| !span.start_time_unix_nano.is_multiple_of(1_000_000_000))
        .map(|span| Time::from_nanoseconds(span.start_time_unix_nano));
    let known: Vec<Time> = written.chain(roots).collect();
    let within = |(sent, answered): &Window| {
        let mut matching = known.iter().copied();
        matching
            .find(|time| (sent..=answered).contains(&time))
            .unwrap_or(*sent)
    };
    windows.iter().map(within).collect()
}

fn now() -> Time {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Time::EPOCH.plus(since.unwrap_or_default())
}
