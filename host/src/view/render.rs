//! Traces for a terminal of any width.

use std::collections::BTreeMap;

use anstyle::{AnsiColor, Style};

use super::bar::bar;
use super::model::{Node, Trace, View};
use super::share::shares;
use super::text::{cut, duration, fit, sanitised, width};

/// Narrower terminals get lines of this many cells, which they wrap.
const NARROWEST: usize = 40;
/// Longer lines are hard to follow with the eye.
const WIDEST: usize = 300;
/// How many kinds of span the summary names.
const KINDS: usize = 5;
/// How many failures the summary names.
const FAILURES: usize = 10;

const FAILED: Style = AnsiColor::Red.on_default();
const FAINT: Style = Style::new().dimmed();
const BOLD: Style = Style::new().bold();
/// By service, in the order of their first spans.
const PALETTE: [AnsiColor; 6] = [
    AnsiColor::Cyan,
    AnsiColor::Blue,
    AnsiColor::Green,
    AnsiColor::Magenta,
    AnsiColor::Yellow,
    AnsiColor::BrightBlue,
];

/// Draws traces as trees in lines of at most `width` cells (40 to 300), each span with its bar over the time of its
/// trace, when it began and how long it took, and below the tree where the time went. `colour` is for terminals
/// only; without it marks say the same.
#[must_use]
pub fn render(view: &View, width: usize, colour: bool) -> String {
    let width = width.clamp(NARROWEST, WIDEST);
    if view.traces.is_empty() {
        return "No spans.\n".to_owned();
    }
    let mut text = String::new();
    for (place, trace) in view.traces.iter().enumerate() {
        if place > 0 {
            text.push('\n');
        }
        Page {
            text: &mut text,
            width,
            colour,
        }
        .trace(trace);
    }
    text
}

struct Page<'a> {
    text: &'a mut String,
    width: usize,
    colour: bool,
}

/// A line of the tree.
struct Row<'a> {
    node: &'a Node,
    /// Lines that join it to its parent.
    branches: String,
    service: String,
    offset: String,
    duration: String,
    style: Style,
}

/// Cells of the columns; zero for one that is left out.
struct Columns {
    label: usize,
    service: usize,
    bar: usize,
    offset: usize,
    duration: usize,
}

impl Page<'_> {
    fn trace(&mut self, trace: &Trace) {
        let rows = self.rows(trace);
        let columns = self.columns(&rows);
        self.title(trace);
        self.axis(trace, &columns);
        let mut noted = false;
        for row in &rows {
            if row.node.parent_missing && !noted {
                noted = true;
                self.line(&[(FAINT, "  below a span that is not here:")]);
            }
            self.row(trace, row, &columns);
        }
        self.failures(trace);
        self.summary(trace);
    }

    fn title(&mut self, trace: &Trace) {
        let nodes: Vec<_> = trace.walk().map(|(_, node)| node).collect();
        let failed = nodes.iter().filter(|node| node.failed()).count();
        let whole = trace.roots.iter().find(|root| !root.parent_missing);
        let name = whole.or(trace.roots.first());
        let name = name.map(|root| sanitised(&root.span.name));
        let name = cut(&name.unwrap_or_default(), self.width / 2);
        let total = duration(trace.end.since(trace.start));
        let spans = match nodes.len() {
            1 => "1 span".to_owned(),
            count => format!("{count} spans"),
        };
        let mut parts = vec![(BOLD, name), (BOLD, total), (Style::new(), spans)];
        if failed > 0 {
            parts.push((FAILED, format!("{failed} failed")));
        }
        parts.push((FAINT, Seconds(trace).to_string()));
        parts.push((FAINT, format!("trace {}", trace.id)));
        let mut used = 0;
        let mut line = String::new();
        for (style, part) in parts {
            let cells = width(&part);
            if used > 0 && used + 3 + cells > self.width {
                line.push('\n');
                used = 0;
            }
            if used > 0 {
                line.push_str(" · ");
                used += 3;
            }
            used += cells;
            line.push_str(&self.styled(style, &cut(&part, self.width)));
        }
        line.push('\n');
        self.text.push_str(&line);
    }

    fn rows<'a>(&self, trace: &'a Trace) -> Vec<Row<'a>> {
        let mut services: BTreeMap<&str, usize> = BTreeMap::new();
        let mut rows = Vec::new();
        let (torn, whole): (Vec<_>, Vec<_>) =
            trace.roots.iter().partition(|root| root.parent_missing);
        let mut left: Vec<(String, Branch, &Node)> = torn
            .into_iter()
            .rev()
            .chain(whole.into_iter().rev())
            .map(|root| (String::new(), Branch::None, root))
            .collect();
        let (inner, last, through, past) = if self.width >= 60 {
            ("├ ", "└ ", "│ ", "  ")
        } else {
            ("├", "└", "│", " ")
        };
        while let Some((indent, branch, node)) = left.pop() {
            let (own, below) = match branch {
                Branch::None => ("", ""),
                Branch::Inner => (inner, through),
                Branch::Last => (last, past),
            };
            let count = services.len();
            let colour = *services.entry(&node.service).or_insert(count);
            let colour = PALETTE.get(colour % PALETTE.len());
            let style = if node.failed() {
                FAILED
            } else {
                colour.map_or(Style::new(), |colour| colour.on_default())
            };
            rows.push(Row {
                node,
                branches: format!("{indent}{own}"),
                service: sanitised(&node.service),
                offset: format!("+{}", duration(node.start().since(trace.start))),
                duration: duration(node.end().since(node.start())),
                style,
            });
            let children = node.children.iter().enumerate().rev();
            left.extend(children.map(|(place, child)| {
                let branch = if place + 1 == node.children.len() {
                    Branch::Last
                } else {
                    Branch::Inner
                };
                (format!("{indent}{below}"), branch, child)
            }));
        }
        rows
    }

    /// The label and the bar share what the numbers leave; service and offset are the first to go.
    fn columns(&self, rows: &[Row<'_>]) -> Columns {
        let widest = |cells: &dyn Fn(&Row<'_>) -> usize| rows.iter().map(cells).max().unwrap_or(0);
        let duration = widest(&|row| width(&row.duration));
        let offset = match self.width {
            ..72 => 0,
            _ => widest(&|row| width(&row.offset)),
        };
        let service = match self.width {
            ..90 => 0,
            _ => widest(&|row| width(&row.service)).min(22),
        };
        let gaps = 2 + usize::from(offset > 0) + 2 * usize::from(service > 0);
        let rest = self
            .width
            .saturating_sub(duration + offset + service + gaps);
        let wanted = widest(&|row| width(&row.branches) + 2 + width(&label(row.node)));
        let label = wanted.min(rest * 3 / 5).max(rest.min(12));
        Columns {
            label,
            service,
            bar: rest - label,
            offset,
            duration,
        }
    }

    fn axis(&mut self, trace: &Trace, columns: &Columns) {
        let end = duration(trace.end.since(trace.start));
        let middle = duration(trace.end.since(trace.start) / 2);
        let mut axis = "0s".to_owned();
        if columns.bar >= 30 {
            let at = (columns.bar / 2).saturating_sub(width(&middle) / 2);
            axis = fit(&axis, at) + &middle;
        }
        let room = columns.bar.saturating_sub(width(&end));
        axis = fit(&axis, room) + &end;
        let mut before = columns.label + 1;
        if columns.service > 0 {
            before += columns.service + 2;
        }
        let line = format!("{}{axis}", " ".repeat(before));
        self.line(&[(FAINT, &line)]);
    }

    fn row(&mut self, trace: &Trace, row: &Row<'_>, columns: &Columns) {
        let (mark, mark_style) = mark(row.node);
        // However deep it lies, something of its name is to be seen.
        let room = columns.label.saturating_sub(2 + 6);
        let mark = format!("{mark} ");
        let branches: String = match row.branches.chars().count().checked_sub(room) {
            Some(surplus) if surplus > 0 => row.branches.chars().skip(surplus).collect(),
            _ => row.branches.clone(),
        };
        let name_room = columns.label.saturating_sub(width(&branches) + 2);
        let name = sanitised(&row.node.span.name);
        let detail = detail(row.node).map(|detail| format!(" {detail}"));
        let name = cut(&name, name_room);
        let detail = fit(&detail.unwrap_or_default(), name_room - width(&name));
        let name_style = if row.node.failed() {
            FAILED
        } else {
            Style::new()
        };
        let bounds = (trace.start.nanoseconds(), trace.end.nanoseconds());
        let bar = bar(row.node, bounds, columns.bar);
        let service = fit(&row.service, columns.service);
        let offset = format!("{:>1$}", row.offset, columns.offset);
        let duration = format!("{:>1$}", row.duration, columns.duration);
        let mut parts = vec![
            (mark_style, mark.as_str()),
            (FAINT, branches.as_str()),
            (name_style, name.as_str()),
            (FAINT, detail.as_str()),
            (Style::new(), " "),
        ];
        if columns.service > 0 {
            parts.extend([(FAINT, service.as_str()), (Style::new(), "  ")]);
        }
        parts.extend([(row.style, bar.as_str()), (Style::new(), " ")]);
        if columns.offset > 0 {
            parts.extend([(FAINT, offset.as_str()), (Style::new(), " ")]);
        }
        parts.push((BOLD, duration.as_str()));
        self.line(&parts);
    }

    /// The failures that none below explains, each with the way to it.
    fn failures(&mut self, trace: &Trace) {
        let mut path: Vec<&Node> = Vec::new();
        let mut failures = Vec::new();
        for (depth, node) in trace.walk() {
            path.truncate(depth);
            path.push(node);
            if node.failed() && !node.children.iter().any(Node::failed) {
                let way = path.iter().skip(1.min(depth)).map(|node| label(node));
                let way: Vec<_> = way.collect();
                failures.push((way.join(" › "), node.failure().map(sanitised)));
            }
        }
        if failures.is_empty() {
            return;
        }
        self.text.push('\n');
        self.line(&[(BOLD, "Failed")]);
        for (way, message) in failures.iter().take(FAILURES) {
            let message = message.as_deref().unwrap_or_default();
            let one = format!("✗ {way}: {message}");
            if message.is_empty() || width(&one) > self.width {
                let way = cut(&format!("✗ {way}"), self.width);
                self.line(&[(FAILED, &way)]);
                let message = cut(&format!("    {message}"), self.width);
                if !message.trim().is_empty() {
                    self.line(&[(Style::new(), &message)]);
                }
            } else {
                self.line(&[
                    (FAILED, &format!("✗ {way}")),
                    (Style::new(), &format!(": {message}")),
                ]);
            }
        }
        if failures.len() > FAILURES {
            let line = format!("  and {} more", failures.len() - FAILURES);
            self.line(&[(FAINT, &line)]);
        }
    }

    fn summary(&mut self, trace: &Trace) {
        let shares = shares(trace);
        if trace.walk().count() < 2 || shares.is_empty() {
            return;
        }
        let total = trace.end.since(trace.start).as_secs_f64();
        self.text.push('\n');
        let mut title = "Where the time went".to_owned();
        let explained = format!("{title}; pipelines side by side share it");
        if width(&explained) <= self.width {
            title = explained;
        }
        self.line(&[(BOLD, &title)]);
        let shown: Vec<_> = shares.iter().take(KINDS).collect();
        let durations: Vec<_> = shown.iter().map(|share| duration(share.time)).collect();
        let cells = durations.iter().map(|text| width(text)).max().unwrap_or(0);
        for (share, text) in shown.iter().zip(&durations) {
            let part = format!("{:>3.0}%", 100.0 * share.time.as_secs_f64() / total);
            let name = format!("{} · {}", sanitised(&share.service), sanitised(&share.name));
            let count = match share.spans {
                1 => String::new(),
                count => format!(" ×{count}"),
            };
            let room = self.width.saturating_sub(cells + 10 + width(&count));
            let text = format!("  {text:>cells$}  ");
            let part = format!("{part}  ");
            let name = cut(&name, room);
            self.line(&[
                (BOLD, &text),
                (FAINT, &part),
                (Style::new(), &name),
                (FAINT, &count),
            ]);
        }
    }

    fn line(&mut self, parts: &[(Style, &str)]) {
        let mut line = String::new();
        for (style, part) in parts {
            line.push_str(&self.styled(*style, part));
        }
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }

    fn styled(&self, style: Style, text: &str) -> String {
        if self.colour && style != Style::new() && !text.trim().is_empty() {
            format!("{style}{text}{style:#}")
        } else {
            text.to_owned()
        }
    }
}

/// How a span hangs from its parent.
enum Branch {
    None,
    Inner,
    Last,
}

/// Start of the trace to the second, as RFC 3339.
struct Seconds<'a>(&'a Trace);

impl std::fmt::Display for Seconds<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = self.0.start.to_string();
        match text.split_once('.') {
            Some((seconds, _)) => write!(formatter, "{seconds}Z"),
            None => formatter.write_str(&text),
        }
    }
}

/// What happened to a span that did not simply succeed, by its status and the result attributes of the
/// OpenTelemetry CI/CD conventions.
fn mark(node: &Node) -> (char, Style) {
    if node.failed() {
        return ('✗', FAILED);
    }
    let result = node
        .text("cicd.pipeline.result")
        .or_else(|| node.text("cicd.pipeline.task.run.result"));
    match result {
        Some("skip") => ('○', FAINT),
        Some("cancellation") => ('⊘', FAINT),
        _ => (' ', Style::new()),
    }
}

fn label(node: &Node) -> String {
    let name = sanitised(&node.span.name);
    match detail(node) {
        Some(detail) => format!("{name} {detail}"),
        None => name,
    }
}

/// Names are of low cardinality; which one it is stands in an attribute.
fn detail(node: &Node) -> Option<String> {
    let detail = node.text("cicd.pipeline.task.name")?;
    (!node.span.name.contains(detail)).then(|| sanitised(detail))
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span, Status};
    use proptest::prelude::*;

    use super::*;
    use crate::view::model::tests::{attribute, received, span};

    const SECOND: u64 = 1_000_000_000;
    const ORIGIN: u64 = 1_763_805_600 * SECOND;

    fn at(id: &str, parent: &str, start: f64, end: f64) -> Span {
        let time = |seconds: f64| ORIGIN + (seconds * 1000.0) as u64 * 1_000_000;
        span(id, parent, time(start), time(end))
    }

    fn with(mut span: Span, name: &str, attributes: &[(&str, &str)]) -> Span {
        span.name = name.to_owned();
        let attributes = attributes.iter().map(|(key, text)| attribute(key, text));
        span.attributes.extend(attributes);
        span
    }

    fn failed(mut span: Span, message: &str) -> Span {
        span.status = Some(Status {
            message: message.to_owned(),
            code: 2,
        });
        span
    }

    fn pipeline() -> Vec<ResourceSpans> {
        let task = "cicd.pipeline.task.name";
        let container = "k8s.container.name";
        vec![
            received(
                "WebHookEvent",
                [with(at("e", "", 0.0, 252.0), "LighthouseEvent", &[])],
            ),
            received(
                "LighthouseJob",
                [
                    with(failed(at("j", "e", 0.4, 247.0), ""), "pr-build", &[]),
                    with(at("q", "j", 0.4, 3.0), "queue", &[]),
                ],
            ),
            received(
                "Tekton.TaskRun",
                [
                    with(
                        failed(at("t", "j", 3.0, 245.0), "step test exited with code 1"),
                        "TaskRun",
                        &[(task, "build")],
                    ),
                    failed(with(at("s", "t", 60.0, 244.0), "test", &[]), "exit code 1"),
                    with(
                        at("u", "t", 244.0, 244.0),
                        "publish",
                        &[("cicd.pipeline.task.run.result", "skip")],
                    ),
                ],
            ),
            received(
                "Pod",
                [
                    with(at("p", "t", 3.2, 245.0), "Pod", &[]),
                    with(at("c", "p", 3.2, 14.0), "schedule", &[]),
                    with(
                        at("i", "p", 14.0, 58.5),
                        "pull step-test",
                        &[(container, "step-test")],
                    ),
                    with(
                        at("k", "p", 58.5, 58.587),
                        "start step-test",
                        &[(container, "step-test")],
                    ),
                    with(
                        at("r", "p", 58.587, 244.0),
                        "run step-test",
                        &[(container, "step-test")],
                    ),
                ],
            ),
        ]
    }

    #[test]
    fn a_pipeline_in_eighty_cells() {
        insta::assert_snapshot!(render(&View::new(&pipeline()), 80, false));
    }

    #[test]
    fn a_pipeline_in_a_wide_terminal() {
        insta::assert_snapshot!(render(&View::new(&pipeline()), 140, false));
    }

    #[test]
    fn a_pipeline_in_a_narrow_terminal() {
        insta::assert_snapshot!(render(&View::new(&pipeline()), 40, false));
    }

    #[test]
    fn colours_do_not_change_the_text() {
        let view = View::new(&pipeline());
        let coloured = render(&view, 100, true);
        assert!(coloured.contains("\u{1b}[31m"));
        let stripped = anstream::adapter::strip_str(&coloured).to_string();
        let trimmed: Vec<_> = stripped.lines().map(str::trim_end).collect();
        let plain = render(&view, 100, false);
        assert_eq!(trimmed, plain.lines().collect::<Vec<_>>());
    }

    #[test]
    fn spans_without_their_parent_stand_under_a_note() {
        let spans = [at("root", "", 1.0, 2.0), at("torn", "gone", 0.0, 0.5)];
        insta::assert_snapshot!(render(&View::of(spans), 60, false));
    }

    #[test]
    fn no_spans_is_said() {
        assert_eq!(render(&View::default(), 80, false), "No spans.\n");
    }

    proptest! {
        #[test]
        fn no_line_is_wider_than_the_terminal(
            width in 40usize..=300,
            spans in prop::collection::vec((any::<String>(), 0u64..1000, 0u64..1000, 0usize..12), 1..12),
        ) {
            let view = View::of(spans.iter().enumerate().map(|(place, (name, start, length, parent))| {
                let parent = if *parent < place { format!("s{parent}") } else { String::new() };
                let start = *start * SECOND;
                let span = span(&format!("s{place}"), &parent, start, start + length * SECOND);
                failed(with(span, name, &[("cicd.pipeline.task.name", name)]), name)
            }));
            for line in render(&view, width, false).lines() {
                prop_assert!(super::width(line) <= width, "{line:?}");
                prop_assert!(!line.chars().any(char::is_control), "{line:?}");
            }
        }
    }
}
