//! What a test expects of a trace, and the comparison with what arrived.
//!
//! An expectation is a tree of spans: name, kind, service, attributes, event names, children. Spans
//! and attributes beyond it are allowed. It is met if one single trace satisfies all of it.

use std::{
    collections::BTreeSet,
    fmt::{self, Write as _},
};

use crate::spans::{Kind, Span, Value, tree};

#[derive(Debug)]
pub(crate) struct Expected {
    service: &'static str,
    kind: Kind,
    name: String,
    /// Of the root of the tree; empty if it has to be the root of the trace.
    parent_span_id: &'static str,
    attributes: Vec<(&'static str, Value)>,
    events: Option<BTreeSet<&'static str>>,
    children: Vec<Self>,
}

pub(crate) fn client(service: &'static str, name: &str) -> Expected {
    Expected::new(service, Kind::Client, name)
}

pub(crate) fn internal(service: &'static str, name: &str) -> Expected {
    Expected::new(service, Kind::Internal, name)
}

pub(crate) fn server(service: &'static str, name: &str) -> Expected {
    Expected::new(service, Kind::Server, name)
}

impl Expected {
    fn new(service: &'static str, kind: Kind, name: &str) -> Self {
        Self {
            service,
            kind,
            name: name.to_owned(),
            parent_span_id: "",
            attributes: Vec::new(),
            events: None,
            children: Vec::new(),
        }
    }

    /// The parent is this span of another process, which the Collector never sees.
    pub(crate) fn under(mut self, parent_span_id: &'static str) -> Self {
        self.parent_span_id = parent_span_id;
        self
    }

    pub(crate) fn with(mut self, key: &'static str, value: impl Into<Value>) -> Self {
        self.attributes.push((key, value.into()));
        self
    }

    /// The names of the span's events are these and no others, in any order.
    pub(crate) fn with_events(mut self, names: impl IntoIterator<Item = &'static str>) -> Self {
        self.events = Some(names.into_iter().collect());
        self
    }

    pub(crate) fn child(mut self, child: Self) -> Self {
        self.children.push(child);
        self
    }

    /// Everything in which `span` and what is below it differ from `self`; empty on a match.
    fn problems(&self, span: &Span, spans: &[Span]) -> Vec<String> {
        let mut problems = self.own_problems(span);
        let children: Vec<&Span> = spans
            .iter()
            .filter(|child| child.trace_id == span.trace_id && child.parent_span_id == span.span_id)
            .collect();
        problems.extend(fewest_problems(&self.children, &children, spans, &self.title()));
        problems
    }

    fn own_problems(&self, span: &Span) -> Vec<String> {
        let title = self.title();
        let mut problems = Vec::new();
        for (key, value) in &self.attributes {
            match span.attributes.get(*key) {
                Some(found) if found == value => {}
                Some(found) => problems.push(format!("{title}: {key} is {found}, not {value}")),
                None => problems.push(format!("{title}: {key} is absent, not {value}")),
            }
        }
        if let Some(events) = &self.events {
            let found: BTreeSet<&str> = span.events.iter().map(String::as_str).collect();
            if found != *events {
                problems.push(format!("{title}: events are {found:?}, not {events:?}"));
            }
        }
        problems
    }

    fn is_named_like(&self, span: &Span) -> bool {
        self.service == span.service && self.kind == span.kind && self.name == span.name
    }

    fn title(&self) -> String {
        format!("{} {} `{}`", self.service, self.kind, self.name)
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, depth: usize) -> fmt::Result {
        let indent = "  ".repeat(depth);
        write!(f, "{indent}{}", self.title())?;
        if !self.parent_span_id.is_empty() {
            write!(f, " (parent {})", self.parent_span_id)?;
        }
        writeln!(f)?;
        for (key, value) in &self.attributes {
            writeln!(f, "{indent}  | {key} = {value}")?;
        }
        for event in self.events.iter().flatten() {
            writeln!(f, "{indent}  | event {event:?}")?;
        }
        self.children.iter().try_for_each(|child| child.write(f, depth + 1))
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, 1)
    }
}

/// Gives each expectation a span of its own, in the way that leaves the fewest problems.
fn fewest_problems(
    expected: &[Expected],
    found: &[&Span],
    spans: &[Span],
    parent: &str,
) -> Vec<String> {
    let Some((first, rest)) = expected.split_first() else { return Vec::new() };
    let mut best = fewest_problems(rest, found, spans, parent);
    best.push(format!("{}: not found below {parent}", first.title()));
    for (index, span) in found.iter().enumerate() {
        if first.is_named_like(span) {
            let mut problems = first.problems(span, spans);
            let others = [&found[..index], &found[index + 1..]].concat();
            problems.extend(fewest_problems(rest, &others, spans, parent));
            // On a tie the later one: a span that differs says more than one that is not there.
            if problems.len() <= best.len() {
                best = problems;
            }
        }
    }
    best
}

/// The spans of the trace that satisfies `expected`, the one at the root of it first.
///
/// # Panics
///
/// If no trace satisfies it; the message shows what was expected, what comes closest, and all spans.
pub(crate) fn expect_trace<'a>(spans: &'a [Span], expected: &Expected) -> Vec<&'a Span> {
    let Some(root) = find(spans, expected) else {
        panic!("{}", unmet(spans, expected).expect("what is not found is not met"));
    };
    let others =
        spans.iter().filter(|span| span.trace_id == root.trace_id && span.span_id != root.span_id);
    std::iter::once(root).chain(others).collect()
}

/// Says why no trace satisfies `expected`; `None` if one does.
pub(crate) fn unmet(spans: &[Span], expected: &Expected) -> Option<String> {
    if find(spans, expected).is_some() {
        return None;
    }
    let mut report = format!("no trace has these spans:\n{expected}");
    let closest = candidates(spans, expected)
        .map(|root| (root, expected.problems(root, spans)))
        .min_by_key(|(_, problems)| problems.len());
    let written = match closest {
        None => writeln!(report, "not one has the first of them in that place"),
        Some((root, problems)) => {
            let problems = problems.join("\n  ");
            writeln!(report, "closest is trace {}, but:\n  {problems}", root.trace_id)
        }
    };
    written.expect("a String takes all that is written");
    report.push_str("received:\n");
    report.push_str(&tree(spans));
    Some(report)
}

fn find<'a>(spans: &'a [Span], expected: &Expected) -> Option<&'a Span> {
    candidates(spans, expected).find(|root| expected.problems(root, spans).is_empty())
}

fn candidates<'a>(spans: &'a [Span], expected: &Expected) -> impl Iterator<Item = &'a Span> {
    spans.iter().filter(|span| {
        expected.is_named_like(span) && span.parent_span_id == expected.parent_span_id
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::spans;

    fn span(id: &str, parent: &str, name: &str, attributes: &Json) -> Json {
        json!({
            "traceId": "01", "spanId": id, "parentSpanId": parent, "name": name, "kind": 1,
            "startTimeUnixNano": "1", "endTimeUnixNano": "2", "attributes": attributes,
            "events": [{"timeUnixNano": "1", "name": "read"}],
        })
    }

    fn received(spans: &[Json]) -> Vec<Span> {
        let service = json!({"key": "service.name", "value": {"stringValue": "s"}});
        let request = json!({"resourceSpans": [{
            "resource": {"attributes": [service]},
            "scopeSpans": [{"scope": {"name": "x"}, "spans": spans}],
        }]});
        spans::parse(&request.to_string())
    }

    #[test]
    fn one_tree_satisfies_only_what_it_holds() {
        let count = json!([{"key": "count", "value": {"intValue": "3"}}]);
        let spans = received(&[
            span("a", "", "root", &json!([])),
            span("b", "a", "step", &json!([])),
            span("c", "a", "step", &count),
            span("d", "c", "leaf", &json!([])),
        ]);
        let root = || internal("s", "root");
        let step = || internal("s", "step");
        let leaf = || internal("s", "leaf");
        // (expectation, part of the report; none if it is met)
        let cases: [(Expected, Option<&str>); 13] = [
            (root(), None),
            (root().with_events(["read"]), None),
            (root().child(step()).child(step().with("count", 3)), None),
            (root().child(step().with("count", 3)).child(step()), None),
            (root().child(step().child(leaf())), None),
            (step().under("a").with("count", 3), None),
            (root().with_events([]), Some(r#"events are {"read"}, not {}"#)),
            (root().child(step().with("count", "3")), Some(r#"count is 3, not "3""#)),
            (root().child(step()).child(step()).child(step()), Some("`step`: not found below s")),
            (root().child(leaf()), Some("s INTERNAL `leaf`: not found below s INTERNAL `root`")),
            (root().child(client("s", "step")), Some("s CLIENT `step`: not found")),
            (root().under("f"), Some("not one has the first of them")),
            (internal("t", "root"), Some("not one has the first of them")),
        ];
        for (expected, report) in cases {
            let found = unmet(&spans, &expected);
            match (&found, report) {
                (None, None) => {}
                (Some(found), Some(part)) => {
                    assert!(found.contains(part), "no {part:?} in:\n{found}");
                }
                _ => panic!("{expected}reported {found:?}"),
            }
        }
    }

    #[test]
    fn spans_of_two_traces_satisfy_nothing_together() {
        let mut child = span("b", "a", "step", &json!([]));
        child["traceId"] = "02".into();
        let spans = received(&[span("a", "", "root", &json!([])), child]);
        assert!(unmet(&spans, &internal("s", "root").child(internal("s", "step"))).is_some());
    }

    #[test]
    fn tree_shows_every_span_below_its_parent() {
        let attributes = json!([{"key": "on", "value": {"boolValue": true}}]);
        let spans =
            received(&[span("b", "a", "step", &attributes), span("a", "9", "root", &json!([]))]);
        let expected = "trace 01
  s INTERNAL `root` (parent 9)
    | event \"read\"
    s INTERNAL `step`
      | on = true
      | event \"read\"
";
        assert_eq!(tree(&spans), expected);
    }
}
