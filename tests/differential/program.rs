//! Programs of span operations, as a random source makes them up.
//!
//! Indices are taken modulo what there is when an operation runs, and an operation without anything
//! to act on does nothing, so that every sub-list of a program is a program too: it shrinks well.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

pub(crate) const THREADS: u8 = 3;

#[derive(Clone, Debug)]
pub(crate) struct Program {
    /// Whether tracing-opentelemetry makes the entered span OpenTelemetry's current one, which is
    /// its default and another way to find parents.
    pub(crate) activates: bool,
    /// Whether every trace is sampled, or but some.
    pub(crate) samples_all: bool,
    pub(crate) limits: &'static Limits,
    pub(crate) ops: Vec<Op>,
}

/// How much a span may hold.
#[derive(Debug)]
pub(crate) struct Limits {
    pub(crate) attributes: u32,
    pub(crate) events: u32,
    pub(crate) event_attributes: u32,
    pub(crate) links: u32,
    pub(crate) link_attributes: u32,
}

/// The defaults, which no program comes near.
pub(crate) static WIDE: Limits = Limits {
    attributes: 128,
    events: 128,
    event_attributes: 128,
    links: 128,
    link_attributes: 128,
};

/// Such as programs do come up against. Of attributes, an event has its level and place first, a
/// span its number.
pub(crate) static TIGHT: [Limits; 2] = [
    Limits { attributes: 4, events: 2, event_attributes: 6, links: 1, link_attributes: 1 },
    Limits { attributes: 7, events: 1, event_attributes: 1, links: 2, link_attributes: 0 },
];

impl Limits {
    pub(crate) fn are_tight(&self) -> bool {
        self.links < WIDE.links
    }

    pub(crate) fn variables(&self) -> [(&'static str, String); 5] {
        [
            ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", self.attributes),
            ("OTEL_SPAN_EVENT_COUNT_LIMIT", self.events),
            ("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", self.event_attributes),
            ("OTEL_SPAN_LINK_COUNT_LIMIT", self.links),
            ("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", self.link_attributes),
        ]
        .map(|(name, limit)| (name, limit.to_string()))
    }
}

/// One operation on one of the threads.
#[derive(Clone, Debug)]
pub(crate) struct Op {
    pub(crate) thread: u8,
    pub(crate) action: Action,
}

/// Spans are told by `u8`: those that somebody holds a handle of, modulo their number.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    AddEvent(u8, String, Vec<(&'static str, i64)>),
    AddLink(u8, Linked, Vec<(&'static str, i64)>),
    /// Makes a remote context OpenTelemetry's current one.
    Attach(u8),
    Clone(u8),
    Context(u8),
    Detach,
    Drop(u8),
    Enter(u8),
    Event(Place, EventKind),
    /// Ends an entry, on the operation's thread if the flag is set and on its own else.
    Exit(u8, bool),
    /// The second is any span that there ever was.
    FollowsFrom(u8, u8),
    Forget(u8),
    New(Place, Site, Vec<Value>),
    Record(u8, Value),
    SetAttribute(u8, &'static str, i64),
    SetParent(u8, NewParent),
    SetStatus(u8, StatusValue),
    UpdateName(u8, String),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    Contextual,
    Of(u8),
    Root,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Site {
    Failure,
    Request,
}

#[derive(Clone, Debug)]
pub(crate) enum EventKind {
    /// An error as a value, with this many sources.
    Caused(u8),
    Failed,
    Plain(i64, String),
    /// What `#[instrument(err)]` makes of an error.
    Returned(String),
    /// The same with text in place of a formatted value.
    ReturnedText(String),
    Unnamed(bool),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum NewParent {
    /// A span made before this one.
    Local(u8),
    Nothing,
    Remote(u8),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Linked {
    Invalid,
    Remote(u8),
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum StatusValue {
    Error(String),
    Ok,
    Unset,
}

/// A value of a field that every span has.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Bool(bool),
    Debug(Option<i8>),
    /// With this many sources.
    Error(u8),
    Float(f64),
    Int(i64),
    Kind(&'static str),
    Name(String),
    StatusCode(&'static str),
    StatusDescription(String),
    Text(String),
    Unsigned(u64),
    Wide(i128),
}

pub(crate) fn programs(limits: &'static Limits) -> impl Strategy<Value = Program> {
    (any::<bool>(), any::<bool>(), vec(op(), 1..60)).prop_map(move |(activates, samples, ops)| {
        // Difference 6: a link that only one layer makes would take the place of another.
        let samples_all = samples || limits.are_tight();
        Program { activates, samples_all, limits, ops }
    })
}

fn op() -> impl Strategy<Value = Op> {
    (0..THREADS, action()).prop_map(|(thread, action)| Op { thread, action })
}

fn action() -> impl Strategy<Value = Action> {
    let span = || any::<u8>();
    prop_oneof![
        8 => (place(), site(), vec(value(), 0..4)).prop_map(|(p, s, v)| Action::New(p, s, v)),
        8 => span().prop_map(Action::Enter),
        7 => (span(), prop::bool::weighted(0.15)).prop_map(|(g, away)| Action::Exit(g, away)),
        5 => span().prop_map(Action::Drop),
        4 => (span(), value()).prop_map(|(s, v)| Action::Record(s, v)),
        4 => (place(), event()).prop_map(|(p, e)| Action::Event(p, e)),
        2 => (span(), span()).prop_map(|(s, of)| Action::FollowsFrom(s, of)),
        2 => (span(), key(), any::<i64>()).prop_map(|(s, k, v)| Action::SetAttribute(s, k, v)),
        2 => (span(), new_parent()).prop_map(|(s, p)| Action::SetParent(s, p)),
        1 => (span(), status()).prop_map(|(s, status)| Action::SetStatus(s, status)),
        1 => (span(), text()).prop_map(|(s, name)| Action::UpdateName(s, name)),
        1 => (span(), linked(), attributes()).prop_map(|(s, l, a)| Action::AddLink(s, l, a)),
        1 => (span(), text(), attributes()).prop_map(|(s, n, a)| Action::AddEvent(s, n, a)),
        1 => span().prop_map(Action::Clone),
        1 => span().prop_map(Action::Context),
        1 => span().prop_map(Action::Forget),
        1 => any::<u8>().prop_map(Action::Attach),
        1 => Just(Action::Detach),
    ]
}

fn place() -> impl Strategy<Value = Place> {
    prop_oneof![
        6 => Just(Place::Contextual),
        2 => any::<u8>().prop_map(Place::Of),
        1 => Just(Place::Root),
    ]
}

fn site() -> impl Strategy<Value = Site> {
    prop_oneof![4 => Just(Site::Request), 1 => Just(Site::Failure)]
}

fn event() -> impl Strategy<Value = EventKind> {
    prop_oneof![
        4 => (any::<i64>(), text()).prop_map(|(i, text)| EventKind::Plain(i, text)),
        1 => (0..3_u8).prop_map(EventKind::Caused),
        1 => Just(EventKind::Failed),
        1 => text().prop_map(EventKind::Returned),
        1 => text().prop_map(EventKind::ReturnedText),
        1 => any::<bool>().prop_map(EventKind::Unnamed),
    ]
}

fn new_parent() -> impl Strategy<Value = NewParent> {
    prop_oneof![
        2 => any::<u8>().prop_map(NewParent::Local),
        1 => Just(NewParent::Nothing),
        3 => any::<u8>().prop_map(NewParent::Remote),
    ]
}

fn linked() -> impl Strategy<Value = Linked> {
    prop_oneof![1 => Just(Linked::Invalid), 3 => any::<u8>().prop_map(Linked::Remote)]
}

fn status() -> impl Strategy<Value = StatusValue> {
    prop_oneof![
        3 => text().prop_map(StatusValue::Error),
        2 => Just(StatusValue::Ok),
        1 => Just(StatusValue::Unset),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        1 => any::<bool>().prop_map(Value::Bool),
        1 => any::<Option<i8>>().prop_map(Value::Debug),
        1 => (0..3_u8).prop_map(Value::Error),
        1 => any::<f64>().prop_map(Value::Float),
        3 => any::<i64>().prop_map(Value::Int),
        1 => select(&["client", "SERVER", "internal", "no kind"]).prop_map(Value::Kind),
        1 => text().prop_map(Value::Name),
        1 => select(&["ok", "ERROR", "no code"]).prop_map(Value::StatusCode),
        1 => text().prop_map(Value::StatusDescription),
        1 => text().prop_map(Value::Text),
        1 => any::<u64>().prop_map(Value::Unsigned),
        1 => any::<i128>().prop_map(Value::Wide),
    ]
}

fn attributes() -> impl Strategy<Value = Vec<(&'static str, i64)>> {
    vec((key(), any::<i64>()), 0..3)
}

/// Keys of attributes that are set; the last is a field's too.
fn key() -> impl Strategy<Value = &'static str> {
    select(&["x", "y", "z", "q", "i", "i"])
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![9 => "[ab\"é]{0,4}", 1 => "[ab\"é]{100,600}"]
}
