//! What two runs of a program have in common, whatever ids they drew and how long they took.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::RangeInclusive;
use std::time::SystemTime;

use opentelemetry::trace::{Event, SpanContext, SpanId, SpanKind, Status, TraceId};
use opentelemetry::{KeyValue, Value};
use opentelemetry_sdk::trace::SpanData;

use crate::program::Limits;
use crate::run::Facts;
use crate::spans::{REMOTES, remote};

/// Spans by the numbers that they were given.
#[derive(Debug)]
pub(crate) struct Normal {
    spans: BTreeMap<i64, Span>,
    /// How many attributes of each may be said to be dropped.
    dropped: BTreeMap<i64, RangeInclusive<u32>>,
    /// Starts, ends and events, as they follow each other in time.
    order: Vec<Moment>,
}

#[derive(Debug, PartialEq)]
struct Span {
    name: String,
    kind: SpanKind,
    status: Status,
    /// The first exported span of the same trace, or the remote context that it began with.
    trace: Place,
    parent: Option<Place>,
    parent_is_remote: bool,
    is_sampled: bool,
    trace_state: String,
    scope: String,
    attributes: BTreeMap<String, String>,
    /// The last of each is how many attributes it lost.
    events: Vec<(String, BTreeMap<String, String>, u32)>,
    links: Vec<(Place, BTreeMap<String, String>, u32)>,
    dropped: [u32; 3],
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    Remote(u8),
    Span(i64),
    /// One that was never exported.
    Unknown,
}

#[derive(Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Moment {
    Start(i64),
    End(i64),
    Event(i64, usize),
}

/// Whose spans they are.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Layer {
    Ours,
    Theirs,
}

impl Normal {
    /// What is not the same in `other`, `None` where all is.
    pub(crate) fn difference(&self, other: &Self) -> Option<String> {
        if self.spans == other.spans && self.order == other.order {
            return None;
        }
        let numbers: BTreeSet<_> = self.spans.keys().chain(other.spans.keys()).collect();
        let differing = numbers.into_iter().find(|n| self.spans.get(n) != other.spans.get(n));
        Some(match differing {
            Some(n) => format!("{n}: {:#?}\nis not {:#?}", self.spans.get(n), other.spans.get(n)),
            None => format!("order {:?}\nis not {:?}", self.order, other.order),
        })
    }

    /// The normal form of exported spans.
    ///
    /// # Panics
    ///
    /// If a span was exported twice, or ends before it starts.
    pub(crate) fn new(spans: &[SpanData], layer: Layer, limits: &Limits) -> Self {
        let numbers: HashMap<SpanId, i64> =
            spans.iter().map(|span| (span.span_context.span_id(), number(span))).collect();
        let mut firsts: HashMap<TraceId, i64> = HashMap::new();
        for span in spans {
            let first = firsts.entry(span.span_context.trace_id()).or_insert(i64::MAX);
            *first = number(span).min(*first);
        }
        let mut normal =
            Self { spans: BTreeMap::new(), dropped: BTreeMap::new(), order: Vec::new() };
        let mut moments: Vec<(SystemTime, Moment)> = Vec::new();
        for span in spans {
            let n = number(span);
            assert!(span.start_time <= span.end_time, "{n} ends before it starts");
            moments.push((span.start_time, Moment::Start(n)));
            moments.push((span.end_time, Moment::End(n)));
            for (at, event) in span.events.iter().enumerate() {
                // Those of the extension trait bring a time of their own.
                if event.attributes.iter().any(|attribute| attribute.key.as_str() == "level") {
                    moments.push((event.timestamp, Moment::Event(n, at)));
                }
            }
            let mut span = span.clone();
            if layer == Layer::Theirs {
                normal.dropped.insert(n, limit(&mut span, limits));
            }
            let before = normal.spans.insert(n, Span::new(&span, layer, &numbers, &firsts));
            assert!(before.is_none(), "{n} was exported twice");
        }
        moments.sort();
        normal.order = moments.into_iter().map(|(_, moment)| moment).collect();
        normal
    }

    /// Takes over how many attributes are dropped by `ours`, where that is right: a key that is
    /// dropped twice counts once or twice.
    pub(crate) fn accept_counts(&mut self, ours: &Self) {
        for (n, span) in &mut self.spans {
            let count = ours.spans.get(n).map(|span| span.dropped[0]);
            if let Some(count) = count.filter(|count| self.dropped[n].contains(count)) {
                span.dropped[0] = count;
            }
        }
    }

    /// Spans, and those that lost attributes, events, links, attributes of events, and of links.
    pub(crate) fn counts(&self) -> [usize; 6] {
        let count = |f: fn(&Span) -> bool| self.spans.values().filter(|span| f(span)).count();
        [
            self.spans.len(),
            count(|span| span.dropped[0] > 0),
            count(|span| span.dropped[1] > 0),
            count(|span| span.dropped[2] > 0),
            count(|span| span.events.iter().any(|(_, _, dropped)| *dropped > 0)),
            count(|span| span.links.iter().any(|(_, _, dropped)| *dropped > 0)),
        ]
    }

    /// Leaves out when spans were closed, where the registry closes them in another order. Those that
    /// were entered end with their last exit.
    pub(crate) fn forget_closes(&mut self, facts: &Facts) {
        let was_entered = |n: i64| facts.models[usize::try_from(n).unwrap()].was_entered;
        if facts.is_odd {
            self.order.retain(|moment| !matches!(*moment, Moment::End(n) if !was_entered(n)));
        }
    }

    /// Puts in what a span's settings come to where tracing-opentelemetry is known to lose some.
    pub(crate) fn correct(&mut self, facts: &Facts) {
        for (&n, span) in &mut self.spans {
            let model = &facts.models[usize::try_from(n).unwrap()];
            // Difference 2.
            if model.is_named_late {
                span.name.clone_from(&model.name);
            }
            if model.has_late_kind {
                span.kind = match model.kind {
                    Some("client") => SpanKind::Client,
                    Some("SERVER") => SpanKind::Server,
                    _ => SpanKind::Internal,
                };
            }
            // Differences 4 and 9.
            if model.status_settings > 1 || model.has_failed_by_text {
                span.status = model.status();
            }
        }
    }
}

impl Span {
    fn new(
        span: &SpanData,
        layer: Layer,
        numbers: &HashMap<SpanId, i64>,
        firsts: &HashMap<TraceId, i64>,
    ) -> Self {
        let place = |id: SpanId| match numbers.get(&id) {
            Some(&number) => Place::Span(number),
            None => remote_place(|remote| remote.span_id() == id).unwrap_or(Place::Unknown),
        };
        let sc = &span.span_context;
        let trace = remote_place(|remote| remote.trace_id() == sc.trace_id());
        // Difference 6.
        let is_shown =
            |linked: &SpanContext| linked.is_valid() && (linked.is_remote() || linked.is_sampled());
        Self {
            name: span.name.to_string(),
            kind: span.span_kind.clone(),
            status: span.status.clone(),
            trace: trace.unwrap_or_else(|| Place::Span(firsts[&sc.trace_id()])),
            parent: (span.parent_span_id != SpanId::INVALID).then(|| place(span.parent_span_id)),
            parent_is_remote: span.parent_span_is_remote,
            is_sampled: sc.is_sampled(),
            trace_state: sc.trace_state().header(),
            scope: span.instrumentation_scope.name().to_owned(),
            attributes: attributes(&span.attributes, layer),
            events: span.events.iter().map(|event| normal_event(event, layer)).collect(),
            links: span
                .links
                .iter()
                .filter(|link| is_shown(&link.span_context))
                .map(|link| {
                    (
                        place(link.span_context.span_id()),
                        attributes(&link.attributes, layer),
                        link.dropped_attributes_count,
                    )
                })
                .collect(),
            dropped: [
                span.dropped_attributes_count,
                span.events.dropped_count,
                span.links.dropped_count,
            ],
        }
    }
}

/// Puts a span of the other layer within the limits of attributes, which it was spared: by the
/// specification a key counts once (difference 7), and the first ones stay, whose order is ours
/// (difference 14). Says how many attributes are dropped.
fn limit(span: &mut SpanData, limits: &Limits) -> RangeInclusive<u32> {
    for event in &mut span.events.events {
        let all = std::mem::take(&mut event.attributes);
        let of_callsite = all.iter().any(|attribute| attribute.key.as_str() == "level");
        let (kept, dropped) = if of_callsite {
            first(all, limits.event_attributes, false)
        } else {
            let over = (all.len() as u32).saturating_sub(limits.event_attributes);
            (all.into_iter().take(limits.event_attributes as usize).collect(), over..=over)
        };
        (event.attributes, event.dropped_attributes_count) = (kept, *dropped.end());
    }
    let all = std::mem::take(&mut span.attributes);
    let (kept, dropped) = first(all, limits.attributes, true);
    (span.attributes, span.dropped_attributes_count) = (kept, *dropped.end());
    dropped
}

/// The attributes that stay, values before what the callsite says or after it, and how many do not:
/// keys, and tries to set one.
fn first(
    mut all: Vec<KeyValue>,
    limit: u32,
    values_first: bool,
) -> (Vec<KeyValue>, RangeInclusive<u32>) {
    const CALLSITE: [&str; 7] = [
        "level",
        "target",
        "code.file.path",
        "code.module.name",
        "code.line.number",
        "thread.id",
        "thread.name",
    ];
    all.sort_by_key(|attribute| {
        match CALLSITE.iter().position(|key| *key == attribute.key.as_str()) {
            Some(at) => 1 + at,
            None if values_first => 0,
            None => 1 + CALLSITE.len(),
        }
    });
    let mut kept: Vec<KeyValue> = Vec::new();
    let (mut keys, mut tries) = (BTreeSet::new(), 0);
    for attribute in all {
        if let Some(before) = kept.iter_mut().find(|kept| kept.key == attribute.key) {
            before.value = attribute.value;
        } else if kept.len() < limit as usize {
            kept.push(attribute);
        } else {
            keys.insert(attribute.key.to_string());
            tries += 1;
        }
    }
    (kept, keys.len() as u32..=tries)
}

fn number(span: &SpanData) -> i64 {
    match span.attributes.iter().find(|attribute| attribute.key.as_str() == "n") {
        Some(KeyValue { value: Value::I64(number), .. }) => *number,
        other => panic!("a span has n={other:?}"),
    }
}

fn remote_place(is_it: impl Fn(&SpanContext) -> bool) -> Option<Place> {
    (0..REMOTES).find(|&number| is_it(&remote(number))).map(Place::Remote)
}

/// The last value of each key (difference 7), and its type.
fn attributes(attributes: &[KeyValue], layer: Layer) -> BTreeMap<String, String> {
    let mut normal = BTreeMap::new();
    for KeyValue { key, value, .. } in attributes {
        let value = match (layer, key.as_str(), value) {
            // Difference 8.
            (_, "thread.id", _) => continue,
            // Difference 1.
            (Layer::Theirs, "u" | "w", Value::String(text)) => match text.as_str().parse::<i64>() {
                Ok(number) => Value::I64(number),
                Err(_) => value.clone(),
            },
            _ => value.clone(),
        };
        normal.insert(key.to_string(), format!("{value:?}"));
    }
    normal
}

fn normal_event(event: &Event, layer: Layer) -> (String, BTreeMap<String, String>, u32) {
    let mut all = event.attributes.clone();
    if is_returned_text(event, layer) {
        for attribute in &mut all {
            if attribute.key.as_str() == "exception.message" {
                attribute.value = unquoted(&attribute.value.as_str()).into();
            }
        }
    }
    (event.name.to_string(), attributes(&all, layer), event.dropped_attributes_count)
}

/// Difference 9: only `ReturnedText` is an exception at that level.
fn is_returned_text(event: &Event, layer: Layer) -> bool {
    let is_info = |attribute: &KeyValue| {
        attribute.key.as_str() == "level" && attribute.value.as_str() == "INFO"
    };
    layer == Layer::Theirs && event.name == "exception" && event.attributes.iter().any(is_info)
}

/// What `Debug` made of it, undone.
fn unquoted(text: &str) -> String {
    let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    inner.map_or_else(|| text.to_owned(), |inner| inner.replace("\\\"", "\""))
}
