//! What the text says: which kinds, and for each of them how its objects become spans. `docs/mappers.md` is its reference.

use span_mapper_sdk::{Description, ObjectSource, Relation, SpanKind, Watch};

use crate::expression::{Expression, Text};
use crate::members::{Members, entries, list, scalar};
use crate::place::{Place, Wrong};
use crate::scope::Scope;
use crate::yaml::{self, Node, Value};

/// Where the annotations of an object's context are.
const ANNOTATIONS: &str = "lighthouse.jenkins-x.io";
/// The relation of objects that have a label with the subject's name.
const LABELLED: &str = "labelled ";

/// A text.
#[derive(Debug)]
pub struct Document {
    /// Of the mapper, for people.
    version: String,
    /// The kinds, in their order; a subject names its kind by its place.
    pub kinds: Vec<Kind>,
}

/// How objects of a kind become spans.
#[derive(Debug)]
pub struct Kind {
    watch: Watch,
    /// The kind's name.
    pub name: String,
    /// Names of what comes along, in the order of the watch.
    pub attached: Vec<String>,
    /// Values with names, for the expressions after them.
    pub values: Vec<(String, Expression)>,
    /// Whether an object is none of this mapper's.
    pub skip: Option<Expression>,
    /// Reasons why it is too early.
    pub wait: Vec<(String, Expression)>,
    /// Which runs there are, if not one.
    pub runs: Option<Runs>,
    /// Name of the service.
    pub service: String,
    /// Attributes of the service.
    pub resource: Vec<(String, Expression)>,
    /// Candidates for the parent, best first.
    pub parents: Vec<Candidate>,
    /// Whether the object may be annotated.
    pub annotate: Option<Expression>,
    /// The main span.
    pub span: SpanRule,
}

/// The runs of an object.
#[derive(Debug)]
pub struct Runs {
    /// What there is one run of each.
    pub each: Each,
    /// What tells one from another.
    pub key: Text,
}

/// For each element of a list.
#[derive(Debug)]
pub struct Each {
    /// The list; or an object, for each of its values.
    pub list: Expression,
    /// What an element is called.
    pub name: String,
}

/// How a span comes about.
#[derive(Debug)]
pub struct SpanRule {
    /// Its name.
    pub name: Text,
    /// Its kind.
    pub kind: SpanKind,
    /// When it started.
    pub start: Expression,
    /// When it ended.
    pub end: Option<Expression>,
    /// Whether it failed.
    pub failure: Option<Failure>,
    /// Whether it is said to be well.
    pub ok: Option<Expression>,
    /// What is told of it.
    pub attributes: Vec<(String, Expression)>,
    /// What happened in it.
    pub events: Vec<EventRule>,
    /// The spans below it.
    pub spans: Vec<ChildRule>,
}

/// How a span has failed.
#[derive(Debug)]
pub struct Failure {
    /// Whether it has.
    pub when: Expression,
    /// Class of the error.
    pub class: Option<Expression>,
    /// For people.
    pub message: Option<Expression>,
}

/// How events of a span come about.
#[derive(Debug)]
pub struct EventRule {
    /// One for each of these; else one.
    pub each: Option<Each>,
    /// Only where this holds.
    pub when: Option<Expression>,
    /// Name.
    pub name: Text,
    /// When it happened.
    pub time: Expression,
    /// What is told of it.
    pub attributes: Vec<(String, Expression)>,
}

/// How spans below a span come about.
#[derive(Debug)]
pub struct ChildRule {
    /// One for each of these; else one.
    pub each: Option<Each>,
    /// Only where this holds.
    pub when: Option<Expression>,
    /// What tells one from another.
    pub key: Text,
    /// The span.
    pub span: SpanRule,
}

/// A candidate for the parent.
#[derive(Debug)]
pub enum Candidate {
    /// None: the object starts a trace.
    Root,
    /// Its controller.
    Owner {
        /// Only of this group.
        group: Option<String>,
        /// Only of this kind.
        kind: Option<String>,
        /// Which of its spans.
        span: Option<Text>,
    },
    /// A context from outside.
    Remote {
        /// W3C.
        traceparent: Expression,
        /// W3C.
        tracestate: Option<Expression>,
    },
    /// An object by its name.
    Target {
        /// Its group.
        group: String,
        /// Its kind.
        kind: String,
        /// Its namespace, if it is not that of the subject.
        namespace: Option<Text>,
        /// Its name.
        name: Text,
        /// Its uid.
        uid: Option<Text>,
        /// Which of its spans.
        span: Option<Text>,
    },
    /// An object by its labels.
    Labelled {
        /// Its group.
        group: String,
        /// Its kind.
        kind: String,
        /// Its labels.
        labels: Vec<(String, Text)>,
        /// Which of its spans.
        span: Option<Text>,
    },
}

impl Document {
    /// Reads a text.
    pub fn read(text: &str) -> Result<Self, Wrong> {
        let mut version = None;
        let mut kinds = Vec::new();
        for node in yaml::read(text)? {
            let mut members = Members::of(node)?;
            let said = members.text("version")?;
            version = version.or(said);
            kinds.push(Kind::read(members)?);
        }
        if kinds.is_empty() {
            let nothing = Place { line: 1, column: 1 };
            return Err(nothing.wrong(
                "there is nothing in it: say at least kind, versions and service, name and start",
            ));
        }
        Ok(Self {
            version: version.unwrap_or_else(|| "0".to_owned()),
            kinds,
        })
    }

    /// What it wants of the host.
    pub fn describe(&self) -> Description {
        let watches = self.kinds.iter().map(|kind| kind.watch.clone());
        Description {
            keeps_state: true,
            ..watches.fold(Description::new(&self.version), Description::watch)
        }
    }
}

impl Kind {
    fn read(mut members: Members) -> Result<Self, Wrong> {
        let source = source(&mut members)?;
        let attachments = members.take("attach").map(entries).transpose()?;
        let attachments: Vec<Attachment> = attachments
            .unwrap_or_default()
            .into_iter()
            .map(|(key, node)| Attachment::read(key.text, node))
            .collect::<Result<_, _>>()?;
        let attached: Vec<String> = attachments.iter().map(|it| it.name.clone()).collect();
        let mut scope = Scope::new(attached.clone());
        let mut values = Vec::new();
        for (key, node) in members
            .take("let")
            .map(entries)
            .transpose()?
            .unwrap_or_default()
        {
            let expression = scope.name_value(&key, &scalar(node)?)?;
            values.push((key.text, expression));
        }
        let skip = optional(&scope, members.take("skip"))?;
        let wait = expressions(&scope, members.take("wait"))?;
        let service = members.need_text("service")?;
        let resource = expressions(&scope, members.take("resource"))?;
        let annotate = optional(&scope, members.take("annotate"))?;
        let mut within = scope.clone();
        let runs = members
            .take("runs")
            .map(|node| Runs::read(&mut within, node));
        let runs = runs.transpose()?;
        let parents = match members.take("parents") {
            None => vec![Candidate::owner()],
            Some(node) => {
                let at = node.at;
                let candidates = list(node)?.into_iter();
                let candidates = candidates.map(|node| Candidate::read(&within, node));
                let candidates: Vec<Candidate> = candidates.collect::<Result<_, _>>()?;
                if candidates.is_empty() {
                    return Err(
                        at.wrong("at least one candidate is needed, such as 'owner' or 'root'")
                    );
                }
                candidates
            }
        };
        let span = SpanRule::read(&within, &mut members)?;
        members.done()?;
        let name = source.kind.clone();
        let mut watch = Watch::objects(source);
        watch.fields = scope.fields();
        for (place, attachment) in attachments.into_iter().enumerate() {
            let fields = scope.fields_attached(place);
            let fields = fields.iter().map(String::as_str);
            watch = watch.attach(attachment.source, attachment.relation, fields);
        }
        if annotate.is_some() {
            watch = watch.annotate_context(ANNOTATIONS);
        }
        Ok(Self {
            watch,
            name,
            attached,
            values,
            skip,
            wait,
            runs,
            service,
            resource,
            parents,
            annotate,
            span,
        })
    }
}

/// Objects that come along.
struct Attachment {
    name: String,
    source: ObjectSource,
    relation: Relation,
}

impl Attachment {
    fn read(name: String, node: Node) -> Result<Self, Wrong> {
        let mut members = Members::of(node)?;
        let mut source = source(&mut members)?;
        let relation = scalar(members.need("relation")?)?;
        let relation = match relation.text.as_str() {
            "involved" => Relation::Involved,
            "owned" => Relation::Owned,
            other => match other.strip_prefix(LABELLED) {
                Some(key) => Relation::Labelled(key.trim().to_owned()),
                None => {
                    return Err(relation.place(0).wrong(format!(
                        "'{other}' is no relation: say 'owned', 'involved' (for Events) or 'labelled KEY'"
                    )));
                }
            },
        };
        members.done()?;
        if source.versions.is_empty() {
            source.versions.push("v1".to_owned());
        }
        Ok(Self {
            name,
            source,
            relation,
        })
    }
}

/// A kind of object, and which of them.
fn source(members: &mut Members) -> Result<ObjectSource, Wrong> {
    let kind = members.need_text("kind")?;
    let versions = match members.take("versions") {
        None => vec!["v1".to_owned()],
        Some(node) => texts(node)?,
    };
    Ok(ObjectSource {
        group: members.text("group")?.unwrap_or_default(),
        versions,
        kind,
        label_selector: members.text("labelSelector")?,
        field_selector: members.text("fieldSelector")?,
    })
}

fn texts(node: Node) -> Result<Vec<String>, Wrong> {
    let elements = list(node)?.into_iter();
    let texts = elements.map(|node| Ok(scalar(node)?.text));
    texts.collect()
}

fn optional(scope: &Scope, node: Option<Node>) -> Result<Option<Expression>, Wrong> {
    node.map(|node| scope.expression(&scalar(node)?))
        .transpose()
}

fn optional_text(scope: &Scope, node: Option<Node>) -> Result<Option<Text>, Wrong> {
    node.map(|node| scope.text(&scalar(node)?)).transpose()
}

/// Expressions by keys that the author chooses.
fn expressions(scope: &Scope, node: Option<Node>) -> Result<Vec<(String, Expression)>, Wrong> {
    let members = node.map(entries).transpose()?.unwrap_or_default();
    let expressions = members.into_iter().map(|(key, node)| {
        let expression = scope.expression(&scalar(node)?)?;
        Ok((key.text, expression))
    });
    expressions.collect()
}

/// For each of what; its name is known in `scope` from then on.
fn each(scope: &mut Scope, members: &mut Members) -> Result<Option<Each>, Wrong> {
    let name = members.take("as").map(scalar).transpose()?;
    let Some(node) = members.take("forEach") else {
        return match name {
            None => Ok(None),
            Some(name) => Err(name
                .place(0)
                .wrong("'as' names what 'forEach' goes through, and there is none")),
        };
    };
    let name = match name {
        None => "item".to_owned(),
        Some(name) => scope.new_name(&name)?,
    };
    let list = scope.each(&scalar(node)?, &name)?;
    Ok(Some(Each { list, name }))
}

impl Runs {
    fn read(scope: &mut Scope, node: Node) -> Result<Self, Wrong> {
        let at = node.at;
        let mut members = Members::of(node)?;
        let each = each(scope, &mut members)?.ok_or_else(|| {
            at.wrong("the key 'forEach' is missing here: one run for each of what?")
        })?;
        let key = scope.text(&scalar(members.need("key")?)?)?;
        members.done()?;
        Ok(Self { each, key })
    }
}

impl SpanRule {
    fn read(scope: &Scope, members: &mut Members) -> Result<Self, Wrong> {
        let kind = match members.take("spanKind").map(scalar).transpose()? {
            None => SpanKind::Internal,
            Some(kind) => match kind.text.as_str() {
                "internal" => SpanKind::Internal,
                "server" => SpanKind::Server,
                "client" => SpanKind::Client,
                "producer" => SpanKind::Producer,
                "consumer" => SpanKind::Consumer,
                other => {
                    return Err(kind.place(0).wrong(format!(
                        "'{other}' is no kind of span: say internal, server, client, producer or consumer"
                    )));
                }
            },
        };
        Ok(Self {
            name: scope.text(&scalar(members.need("name")?)?)?,
            kind,
            start: scope.expression(&scalar(members.need("start")?)?)?,
            end: optional(scope, members.take("end"))?,
            failure: members
                .take("error")
                .map(|node| Failure::read(scope, node))
                .transpose()?,
            ok: optional(scope, members.take("ok"))?,
            attributes: expressions(scope, members.take("attributes"))?,
            events: each_of(members.take("events"), |node| EventRule::read(scope, node))?,
            spans: each_of(members.take("spans"), |node| ChildRule::read(scope, node))?,
        })
    }
}

fn each_of<T>(
    node: Option<Node>,
    read: impl FnMut(Node) -> Result<T, Wrong>,
) -> Result<Vec<T>, Wrong> {
    let elements = node.map(list).transpose()?.unwrap_or_default();
    elements.into_iter().map(read).collect()
}

impl Failure {
    fn read(scope: &Scope, node: Node) -> Result<Self, Wrong> {
        let mut members = Members::of(node)?;
        let failure = Self {
            when: scope.expression(&scalar(members.need("when")?)?)?,
            class: optional(scope, members.take("type"))?,
            message: optional(scope, members.take("message"))?,
        };
        members.done()?;
        Ok(failure)
    }
}

impl EventRule {
    fn read(scope: &Scope, node: Node) -> Result<Self, Wrong> {
        let mut members = Members::of(node)?;
        let mut scope = scope.clone();
        let event = Self {
            each: each(&mut scope, &mut members)?,
            when: optional(&scope, members.take("when"))?,
            name: scope.text(&scalar(members.need("name")?)?)?,
            time: scope.expression(&scalar(members.need("time")?)?)?,
            attributes: expressions(&scope, members.take("attributes"))?,
        };
        members.done()?;
        Ok(event)
    }
}

impl ChildRule {
    fn read(scope: &Scope, node: Node) -> Result<Self, Wrong> {
        let mut members = Members::of(node)?;
        let mut scope = scope.clone();
        let child = Self {
            each: each(&mut scope, &mut members)?,
            when: optional(&scope, members.take("when"))?,
            key: scope.text(&scalar(members.need("key")?)?)?,
            span: SpanRule::read(&scope, &mut members)?,
        };
        members.done()?;
        Ok(child)
    }
}

impl Candidate {
    const fn owner() -> Self {
        Self::Owner {
            group: None,
            kind: None,
            span: None,
        }
    }

    fn read(scope: &Scope, node: Node) -> Result<Self, Wrong> {
        const KINDS: &str =
            "say 'owner', 'root', or one of owner, target, labelled and remote with its keys";
        let at = node.at;
        if let Value::Scalar(scalar) = &node.value {
            return match scalar.text.as_str() {
                "owner" => Ok(Self::owner()),
                "root" => Ok(Self::Root),
                other => Err(at.wrong(format!("'{other}' is no candidate for a parent: {KINDS}"))),
            };
        }
        let mut kinds = Members::of(node)?;
        let candidate = if let Some(node) = kinds.take("owner") {
            let mut members = Members::of(node)?;
            let owner = Self::Owner {
                group: members.text("group")?,
                kind: members.text("kind")?,
                span: optional_text(scope, members.take("span"))?,
            };
            members.done()?;
            owner
        } else if let Some(node) = kinds.take("target") {
            let mut members = Members::of(node)?;
            let target = Self::Target {
                group: members.text("group")?.unwrap_or_default(),
                kind: members.need_text("kind")?,
                namespace: optional_text(scope, members.take("namespace"))?,
                name: scope.text(&scalar(members.need("name")?)?)?,
                uid: optional_text(scope, members.take("uid"))?,
                span: optional_text(scope, members.take("span"))?,
            };
            members.done()?;
            target
        } else if let Some(node) = kinds.take("labelled") {
            let mut members = Members::of(node)?;
            let labels = entries(members.need("labels")?)?.into_iter();
            let labels = labels.map(|(key, node)| Ok((key.text, scope.text(&scalar(node)?)?)));
            let labelled = Self::Labelled {
                group: members.text("group")?.unwrap_or_default(),
                kind: members.need_text("kind")?,
                labels: labels.collect::<Result<_, _>>()?,
                span: optional_text(scope, members.take("span"))?,
            };
            members.done()?;
            labelled
        } else if let Some(node) = kinds.take("remote") {
            let mut members = Members::of(node)?;
            let remote = Self::Remote {
                traceparent: scope.expression(&scalar(members.need("traceparent")?)?)?,
                tracestate: optional(scope, members.take("tracestate"))?,
            };
            members.done()?;
            remote
        } else {
            return Err(at.wrong(format!("this is no candidate for a parent: {KINDS}")));
        };
        kinds.done()?;
        Ok(candidate)
    }
}
