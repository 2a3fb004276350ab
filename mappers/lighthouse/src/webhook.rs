//! The webhook as the root span of its event. When it ends is for the host to say: with the last job.

use span_mapper_sdk::url::{self, without_credentials};
use span_mapper_sdk::{Error, Outcome, Parent, Span, SpanTree, Timestamp, Webhook, read};

use crate::event_key::{self, Event, is_commit, short};
use crate::provider;
use crate::webhook_payload::{Payload, Repository};

/// The root span of a git event. A webhook that no job can belong to, as nothing tells its event, is not ours.
pub fn map(webhook: &Webhook) -> Result<Outcome<'_>, Error> {
    let (payload, mut diagnostics) = read::parse::<Payload<'_>>(&webhook.json)?;
    let payload = read::keep(payload);
    // Only a push has a text there; of branches and tags it is an object.
    diagnostics.retain(|odd| webhook.kind == "push" || odd.pointer != "/Ref");
    let repository = repository(payload);
    let (owner, name) = owner_and_name(repository);
    let addresses = [
        repository.link.as_str(),
        repository.clone.as_str(),
        payload.compare.as_str(),
    ];
    let event = Event {
        owner,
        name,
        addresses,
        guid: webhook
            .guid
            .as_deref()
            .or(payload.guid.get())
            .unwrap_or_default(),
        change: change(payload),
        push: (webhook.kind == "push")
            .then_some((payload.reference.as_str(), payload.after.as_str())),
    };
    let Some(key) = event_key::of(&event) else {
        return Ok(Outcome::NotOurs);
    };
    let mut main = Span::main("LighthouseEvent", webhook.received)
        .with("event.guid", event.guid)
        .with("event.kind", webhook.kind.as_str())
        .with("event.action", &payload.action)
        .with("event.sender", sender(payload))
        .with("event.label", &payload.label.name)
        .with("vcs.provider.name", provider::name(addresses))
        .with("vcs.owner.name", owner)
        .with("vcs.repository.name", name)
        .with(
            "vcs.repository.url.full",
            [&repository.link, &repository.clone]
                .into_iter()
                .find_map(|address| url::repository(address.as_str())),
        );
    if webhook.kind == "push" {
        describe_push(&mut main, payload);
    } else {
        describe_change(&mut main, payload, owner, name);
    }
    let tree = SpanTree::new("WebHookEvent", main)
        .under(Parent::root_of(key))
        .with_diagnostics(diagnostics);
    Ok(tree.into())
}

/// The repository of the event: a pull request's is the one that it is to be merged into, as in the jobs.
fn repository<'p, 'a>(payload: &'p Payload<'a>) -> &'p Repository<'a> {
    let base = &payload.pull_request.base.repository;
    if base.name.is_empty() || base.namespace.is_empty() {
        &payload.repository
    } else {
        base
    }
}

/// Owner and name, as Lighthouse gives them to the jobs.
fn owner_and_name<'r>(repository: &'r Repository<'_>) -> (&'r str, &'r str) {
    match (repository.namespace.get(), repository.name.get()) {
        (Some(owner), Some(name)) => (owner, name),
        _ => repository
            .full_name
            .as_str()
            .rsplit_once('/')
            .unwrap_or_default(),
    }
}

/// Number and head commit of the pull request that the event is about.
fn change<'p>(payload: &'p Payload<'_>) -> Option<(u64, &'p str)> {
    let pull_request = &payload.pull_request;
    let number =
        positive(pull_request.number.get()).or_else(|| positive(payload.issue.number.get()))?;
    let revision = pull_request.head.revision.get();
    Some((number, revision.unwrap_or(pull_request.revision.as_str())))
}

fn positive(number: Option<i64>) -> Option<u64> {
    number
        .and_then(|number| u64::try_from(number).ok())
        .filter(|number| *number > 0)
}

/// Who set the event off.
fn sender<'p>(payload: &'p Payload<'_>) -> Option<&'p str> {
    payload
        .sender
        .login
        .get()
        .or(payload.comment.author.login.get())
        .or(payload.review.author.login.get())
}

fn describe_push<'a>(span: &mut Span<'a>, payload: &'a Payload<'a>) {
    let reference = payload.reference.as_str();
    span.set("vcs.ref.head.name", short(reference));
    let kind = if reference.starts_with("refs/tags/") {
        "tag"
    } else {
        "branch"
    };
    span.set("vcs.ref.head.type", (!reference.is_empty()).then_some(kind));
    let commit = |revision: &str| is_commit(revision).then(|| revision.to_owned());
    span.set("vcs.ref.head.revision", commit(payload.after.as_str()));
    span.set("vcs.ref.base.revision", commit(payload.before.as_str()));
    span.set("event.url", without_credentials(payload.compare.as_str()));
}

fn describe_change<'a>(
    span: &mut Span<'a>,
    payload: &'a Payload<'a>,
    owner: &'a str,
    name: &'a str,
) {
    let (pull_request, issue) = (&payload.pull_request, &payload.issue);
    let comment_link = payload.comment.link.get().or(payload.review.link.get());
    span.set(
        "event.url",
        comment_link
            .or(pull_request.link.get())
            .or(issue.link.get()),
    );
    span.set("event.review.state", &payload.review.state);
    span.set("event.time", time(payload));
    let is_pull_request = positive(pull_request.number.get()).is_some();
    let number = if is_pull_request {
        pull_request.number
    } else if issue.pull_request.is_there() || is_link_to_pull_request(issue.link.as_str()) {
        issue.number
    } else {
        span.set(
            "issue.number",
            issue.number.get().filter(|number| *number > 0),
        );
        return;
    };
    let (title, link, author) = if is_pull_request {
        (
            &pull_request.title,
            &pull_request.link,
            &pull_request.author,
        )
    } else {
        (&issue.title, &issue.link, &issue.author)
    };
    span.set("pr.owner", owner);
    span.set("pr.repo", name);
    span.set("pr.number", number);
    span.set("pr.title", title);
    span.set("pr.author", &author.login);
    span.set("pr.link", link);
    span.set(
        "vcs.change.id",
        number.get().map(|number| number.to_string()),
    );
    span.set("vcs.change.title", title);
    let closed = pull_request.closed.is_true() || issue.closed.is_true();
    span.set(
        "vcs.change.state",
        match (
            pull_request.merged.is_true(),
            closed,
            pull_request.draft.is_true(),
        ) {
            (true, _, _) => "merged",
            (_, true, _) => "closed",
            (_, _, true) => "wip",
            _ => "open",
        },
    );
    let branch =
        |branch: Option<&str>, other: Option<&str>| branch.or(other).map(short).map(str::to_owned);
    let head = branch(pull_request.head.reference.get(), pull_request.source.get());
    span.set("vcs.ref.head.type", head.as_ref().map(|_| "branch"));
    span.set("vcs.ref.head.name", head);
    let revision = pull_request
        .head
        .revision
        .get()
        .or(pull_request.revision.get());
    span.set("vcs.ref.head.revision", revision);
    let base = branch(pull_request.base.reference.get(), pull_request.target.get());
    span.set("vcs.ref.base.type", base.as_ref().map(|_| "branch"));
    span.set("vcs.ref.base.name", base);
    span.set("vcs.ref.base.revision", &pull_request.base.revision);
}

/// When it happened at the provider, which may be well before the webhook came. A push does not say.
fn time<'p>(payload: &'p Payload<'_>) -> Option<&'p str> {
    [
        &payload.comment.updated,
        &payload.comment.created,
        &payload.review.updated,
        &payload.review.created,
        &payload.pull_request.updated,
        &payload.issue.updated,
    ]
    .into_iter()
    .map(|time| time.as_str())
    .find(|time| Timestamp::parse(time).is_some())
}

fn is_link_to_pull_request(link: &str) -> bool {
    [
        "/pull/",
        "/pulls/",
        "/pull-requests/",
        "/merge_requests/",
        "/pullrequest/",
    ]
    .iter()
    .any(|part| link.contains(part))
}

#[cfg(test)]
#[path = "webhook_tests.rs"]
mod tests;
