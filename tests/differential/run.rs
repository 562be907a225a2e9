//! Runs a program under one layer or the other.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use opentelemetry::trace::{SpanContext, Status, TraceContextExt as _, TracerProvider as _};
use opentelemetry::{Context, ContextGuard, KeyValue};
use opentelemetry_sdk::trace::{
    InMemorySpanExporter, Sampler, SamplingDecision, SamplingResult, SdkTracerProvider,
    ShouldSample, SpanData,
};
use spanbridge::testing::InMemory;
use tracing::span::{Attributes, Id};
use tracing::{Dispatch, Span, Subscriber, dispatcher};
use tracing_opentelemetry::OpenTelemetrySpanExt as Theirs;
use tracing_subscriber::Layer;
use tracing_subscriber::layer;
use tracing_subscriber::prelude::*;

use crate::program::{
    Action, EventKind, Linked, NewParent, Op, Place, Program, StatusValue, THREADS, Value,
};
use crate::spans::{self, Explicit, remote, remote_context};

type Number = usize;

/// What became of a program under our layer: what its spans were, and how the other layer is to be
/// asked for the same.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    /// Parents set after a span was made, and accepted.
    parents: HashMap<Number, NewParent>,
    /// Spans to which a link was made when they were closed.
    followed_late: HashSet<Number>,
    /// Whether the registry took another span for the current one at some time, so that spans are
    /// not closed in the same order under both layers.
    pub(crate) is_odd: bool,
    pub(crate) models: Vec<Model>,
}

/// What a span's settings come to by OpenTelemetry's rules.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(crate) name: String,
    pub(crate) is_named_late: bool,
    is_renamed: bool,
    pub(crate) kind: Option<&'static str>,
    pub(crate) has_late_kind: bool,
    pub(crate) status_settings: usize,
    statuses: Vec<(By, Status)>,
    /// An event said so whose error was text, not a formatted value.
    pub(crate) has_failed_by_text: bool,
    pub(crate) was_entered: bool,
    /// Its ids were seen: no other parent can be set.
    ids_left: bool,
}

/// Where a status comes from: a field, or anything else.
#[derive(Clone, Copy, Debug, PartialEq)]
enum By {
    Call,
    Code,
    Description,
}

/// Spans under both layers.
pub(crate) struct Outcome {
    pub(crate) ours: Vec<SpanData>,
    pub(crate) theirs: Vec<SpanData>,
    pub(crate) facts: Facts,
}

pub(crate) fn run(program: &Program) -> Outcome {
    let (memory, layer) = InMemory::with(
        spanbridge::layer()
            .with_sampler(sampler(program.samples_all))
            .with_threads(true)
            .with_level(true)
            // One drain in all, so that all times are converted alike.
            .with_schedule_delay(std::time::Duration::from_secs(3600)),
    );
    let mut facts = Facts::default();
    let mut ours = Runner::new(program, tracing_subscriber::registry().with(layer), None);
    ours.run(&mut facts);
    if facts.is_odd {
        facts.followed_late.extend(0..facts.models.len());
    }

    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder()
        .with_simple_exporter(exporter.clone())
        .with_sampler(sampler(program.samples_all))
        .with_max_events_per_span(program.limits.events)
        .with_max_links_per_span(program.limits.links)
        .with_max_attributes_per_link(program.limits.link_attributes)
        // Differences 7 and 14: what the specification makes of these limits is for `Normal`.
        .with_max_attributes_per_span(u32::MAX)
        .with_max_attributes_per_event(u32::MAX)
        .build();
    let layer = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("spanbridge"))
        .with_level(true)
        .with_tracked_inactivity(false)
        .with_context_activation(program.activates);
    let registry = tracing_subscriber::registry().with(layer);
    Runner::new(program, registry, Some(&facts)).run(&mut Facts::default());
    let theirs = exporter.get_finished_spans().unwrap();
    Outcome { ours: memory.spans(), theirs, facts }
}

/// Follows parents; of the traces that start here, turns down those whose first span has a number
/// that four divides but for a rest of three, or none.
fn sampler(samples_all: bool) -> Sampler {
    #[derive(Clone, Debug)]
    struct ByNumber {
        samples_all: bool,
    }
    impl ShouldSample for ByNumber {
        fn should_sample(
            &self,
            _: Option<&Context>,
            _: opentelemetry::TraceId,
            _: &str,
            _: &opentelemetry::trace::SpanKind,
            attributes: &[KeyValue],
            _: &[opentelemetry::trace::Link],
        ) -> SamplingResult {
            let number = attributes.iter().find(|attribute| attribute.key.as_str() == "n");
            let number = match number.map(|attribute| &attribute.value) {
                Some(opentelemetry::Value::I64(number)) => *number,
                other => panic!("the sampler is told n={other:?}"),
            };
            let decision = if number % 4 == 3 && !self.samples_all {
                SamplingDecision::Drop
            } else {
                SamplingDecision::RecordAndSample
            };
            // Difference 10: the SDK loses what a sampler adds below `ParentBased`.
            SamplingResult { decision, attributes: Vec::new(), trace_state: Default::default() }
        }
    }
    Sampler::ParentBased(Box::new(ByNumber { samples_all }))
}

thread_local! {
    static ATTACHED: RefCell<Vec<ContextGuard>> = const { RefCell::new(Vec::new()) };
}

/// A thread that runs what it is sent, under a subscriber.
struct Worker {
    jobs: Option<Sender<Box<dyn FnOnce() + Send>>>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    fn new(number: u8, dispatch: Dispatch) -> Self {
        let (jobs, queue) = mpsc::channel::<Box<dyn FnOnce() + Send>>();
        let thread = std::thread::Builder::new().name(format!("worker {number}"));
        let thread = thread.spawn(move || {
            // Before tracing-opentelemetry's guards, so that it outlives those that got stuck: else
            // their destructors abort the process.
            drop(Context::current());
            dispatcher::with_default(&dispatch, || queue.into_iter().for_each(|job| job()));
        });
        Self { jobs: Some(jobs), thread: Some(thread.unwrap()) }
    }

    fn run<R: Send + 'static>(&self, f: impl FnOnce() -> R + Send + 'static) -> R {
        let (answer, result) = mpsc::channel();
        let job = Box::new(move || drop(answer.send(f())));
        self.jobs.as_ref().unwrap().send(job).unwrap();
        result.recv().expect("an operation panicked")
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.jobs.take());
        // What it has to tell is told already.
        let _ = self.thread.take().unwrap().join();
    }
}

/// Knows which spans are open.
#[derive(Clone, Default)]
struct Open(Arc<Mutex<HashSet<u64>>>);

impl<S: Subscriber> Layer<S> for Open {
    fn on_new_span(&self, _: &Attributes<'_>, id: &Id, _: layer::Context<'_, S>) {
        self.0.lock().unwrap().insert(id.into_u64());
    }

    fn on_close(&self, id: Id, _: layer::Context<'_, S>) {
        self.0.lock().unwrap().remove(&id.into_u64());
    }
}

struct Made {
    id: Id,
    handles: Vec<Span>,
    /// Where it is wanted later.
    context: Option<SpanContext>,
    /// Difference 13: the registry has another parent for it, or for one that it is below.
    is_elsewhere: bool,
}

/// An entry that has not ended.
struct Entry {
    number: Number,
    thread: u8,
    span: Span,
}

struct Runner<'a> {
    program: &'a Program,
    workers: Vec<Worker>,
    open: Open,
    spans: Vec<Made>,
    /// In the order of entering.
    entries: Vec<Entry>,
    attached: Vec<Vec<u8>>,
    /// Whether an entry of this thread ended on another one.
    was_left: Vec<bool>,
    has_forgotten: bool,
    is_odd: bool,
    /// What our layer made of the program, where this is tracing-opentelemetry's turn.
    facts: Option<&'a Facts>,
    models: Vec<Model>,
}

impl<'a> Runner<'a> {
    fn new<S>(program: &'a Program, subscriber: S, facts: Option<&'a Facts>) -> Self
    where
        S: Subscriber + Send + Sync + 'static,
        Open: Layer<S>,
    {
        let open = Open::default();
        let dispatch = Dispatch::new(subscriber.with(open.clone()));
        Self {
            program,
            workers: (0..THREADS).map(|number| Worker::new(number, dispatch.clone())).collect(),
            open,
            spans: Vec::new(),
            entries: Vec::new(),
            attached: vec![Vec::new(); usize::from(THREADS)],
            was_left: vec![false; usize::from(THREADS)],
            has_forgotten: false,
            is_odd: false,
            facts,
            models: Vec::new(),
        }
    }

    /// Runs all operations, then ends what is left.
    fn run(&mut self, facts: &mut Facts) {
        for op in &self.program.ops {
            self.step(op, facts);
        }
        while let Some(entry) = self.entries.pop() {
            let Entry { thread, span, .. } = entry;
            self.on(thread, move || exit(&span));
        }
        for number in 0..self.spans.len() {
            let handles = std::mem::take(&mut self.spans[number].handles);
            self.on(0, move || drop(handles));
        }
        for thread in 0..THREADS {
            self.on(thread, || ATTACHED.with_borrow_mut(Vec::clear));
        }
        facts.models = std::mem::take(&mut self.models);
        facts.is_odd = self.is_odd;
    }

    /// A remote context in place of one that is not sampled, where all is to be.
    fn sampled(&self, remote: u8) -> u8 {
        if self.program.samples_all && !spans::remote(remote).is_sampled() { 0 } else { remote }
    }

    fn is_theirs(&self) -> bool {
        self.facts.is_some()
    }

    fn on<R: Send + 'static>(&self, thread: u8, f: impl FnOnce() -> R + Send + 'static) -> R {
        self.workers[usize::from(thread)].run(f)
    }

    /// A span that somebody has a handle of.
    fn pick(&self, index: u8) -> Option<Number> {
        let held: Vec<_> = (0..self.spans.len())
            .filter(|&number| !self.spans[number].handles.is_empty())
            .collect();
        (!held.is_empty()).then(|| held[usize::from(index) % held.len()])
    }

    fn handle(&self, number: Number) -> Span {
        self.spans[number].handles[0].clone()
    }

    fn is_open(&self, number: Number) -> bool {
        self.open.0.lock().unwrap().contains(&self.spans[number].id.into_u64())
    }

    /// The innermost span that the thread has entered.
    fn current(&self, thread: u8) -> Option<Number> {
        let entry = self.entries.iter().rev().find(|entry| entry.thread == thread);
        entry.map(|entry| entry.number)
    }

    /// Whether the registry, or tracing-opentelemetry, takes another span for the current one.
    fn is_lost(&self, thread: u8) -> bool {
        let mut entered = self.entries.iter().rev().filter(|entry| entry.thread == thread);
        // Difference 13: a span that is entered again does not count.
        let is_again = entered.next().is_some_and(|top| entered.any(|e| e.number == top.number));
        // Difference 12: nor does the exit of an entry on another thread.
        is_again || self.was_left[usize::from(thread)]
    }

    /// Where something happens: what the layer is told, and which span that is.
    fn place(&self, thread: u8, place: Place) -> Option<(Explicit, Option<Number>)> {
        Some(match place {
            Place::Contextual => {
                let current = self.current(thread);
                let is_lost = self.is_theirs() && self.is_lost(thread);
                let explicit = is_lost.then(|| current.map(|number| self.spans[number].id.clone()));
                (explicit, current)
            }
            Place::Of(index) => {
                let number = self.pick(index)?;
                (Some(Some(self.spans[number].id.clone())), Some(number))
            }
            Place::Root => (Some(None), None),
        })
    }

    /// Whether our layer, which keeps nothing below a span that is not sampled, may have to ask the
    /// registry where the span belongs, and is told of another place than the span was made in.
    fn is_elsewhere(&self, span: Option<Number>) -> bool {
        !self.program.samples_all && span.is_some_and(|number| self.spans[number].is_elsewhere)
    }

    fn step(&mut self, op: &Op, facts: &mut Facts) {
        let thread = op.thread;
        let at = usize::from(thread);
        match &op.action {
            Action::Attach(number) => {
                // With a span entered, the two ways of tracing-opentelemetry differ themselves:
                // activated, the context that was attached last wins, else the span.
                let is_lost = self.was_left[at];
                if self.program.activates && (is_lost || self.current(thread).is_some()) {
                    return;
                }
                let number = self.sampled(*number);
                self.attached[at].push(number);
                let cx = remote_context(number);
                self.on(thread, move || ATTACHED.with_borrow_mut(|all| all.push(cx.attach())));
            }
            Action::Detach => {
                self.attached[at].pop();
                self.on(thread, || drop(ATTACHED.with_borrow_mut(Vec::pop)));
            }
            Action::New(place, site, values) => {
                let Some((explicit, parent)) = self.place(thread, *place) else { return };
                if self.is_elsewhere(parent) {
                    return;
                }
                self.new_span(op.thread, *place, explicit, parent, *site, values);
            }
            Action::Event(place, kind) => {
                let Some((explicit, target)) = self.place(thread, *place) else { return };
                if self.is_elsewhere(target) {
                    return;
                }
                let own = kind.clone();
                self.on(thread, move || spans::event(&own, explicit));
                if let Some(target) = target {
                    self.models[target].event(kind);
                }
            }
            Action::Exit(index, away) => self.exit(*index, away.then_some(thread)),
            Action::FollowsFrom(index, of) => self.follows_from(thread, *index, *of, facts),
            Action::AddEvent(index, ..)
            | Action::AddLink(index, ..)
            | Action::Clone(index)
            | Action::Context(index)
            | Action::Drop(index)
            | Action::Enter(index)
            | Action::Forget(index)
            | Action::Record(index, _)
            | Action::SetAttribute(index, ..)
            | Action::SetParent(index, _)
            | Action::SetStatus(index, _)
            | Action::UpdateName(index, _) => {
                if let Some(number) = self.pick(*index) {
                    self.act(thread, number, &op.action, facts);
                }
            }
        }
    }

    fn new_span(
        &mut self,
        thread: u8,
        place: Place,
        explicit: Explicit,
        parent: Option<Number>,
        site: crate::program::Site,
        values: &[Value],
    ) {
        let number = self.spans.len();
        let is_elsewhere = matches!(place, Place::Contextual) && self.is_lost(thread);
        // A parent that is attached, where tracing-opentelemetry does not see it any more.
        let is_lost = explicit.is_some() && matches!(place, Place::Contextual);
        let attached = self.attached[usize::from(thread)].last().copied();
        let lost = attached.filter(|_| is_lost && parent.is_none());
        // Difference 3: it is told of the parent at once.
        let late = self.facts.and_then(|facts| facts.parents.get(&number)).copied();
        let new_parent = late.map(|parent| self.context_of(parent));
        let is_followed = self.facts.is_some_and(|facts| facts.followed_late.contains(&number));
        let owned = values.to_vec();
        let (span, context) = self.on(thread, move || {
            let span = spans::new_span(site, explicit, number as i64, &owned);
            if let Some(number) = lost {
                Theirs::set_parent(&span, remote_context(number)).unwrap();
            }
            if let Some(cx) = new_parent {
                Theirs::set_parent(&span, cx).unwrap();
            }
            let context = is_followed.then(|| Theirs::context(&span).span().span_context().clone());
            (span, context)
        });
        let id = span.id().expect("every span is enabled");
        self.spans.push(Made { id, handles: vec![span], context, is_elsewhere });
        if let Some(parent) = parent {
            self.models[parent].ids_left = true;
        }
        let mut model = Model {
            name: match site {
                crate::program::Site::Failure => "failure".to_owned(),
                crate::program::Site::Request => "request".to_owned(),
            },
            ..Model::default()
        };
        // As the callsite sees them: one of each kind, in the order of its fields.
        let last = |wanted: fn(&Value) -> bool| values.iter().rev().find(|value| wanted(value));
        for value in [
            last(|value| matches!(value, Value::Name(_))),
            last(|value| matches!(value, Value::Kind(_))),
            last(|value| matches!(value, Value::StatusCode(_))),
            last(|value| matches!(value, Value::StatusDescription(_))),
        ] {
            value.into_iter().for_each(|value| model.record(value));
        }
        self.models.push(model);
    }

    fn context_of(&self, parent: NewParent) -> Context {
        match parent {
            NewParent::Local(number) => {
                let span = self.handle(usize::from(number));
                let is_theirs = self.is_theirs();
                self.on(0, move || {
                    if is_theirs {
                        Theirs::context(&span)
                    } else {
                        spanbridge::SpanExt::context(&span)
                    }
                })
            }
            NewParent::Nothing => Context::new(),
            NewParent::Remote(number) => remote_context(number),
        }
    }

    fn exit(&mut self, index: u8, away: Option<u8>) {
        if self.entries.is_empty() {
            return;
        }
        let at = usize::from(index) % self.entries.len();
        let Entry { number, thread, .. } = self.entries[at];
        // Who enters a span twice cannot tell the entries apart, nor can a layer: the last goes.
        let of_span = |entry: &Entry| entry.number == number;
        let at = self.entries.iter().rposition(|e| of_span(e) && e.thread == thread).unwrap_or(at);
        let is_only = self.entries.iter().filter(|entry| of_span(entry)).count() == 1;
        let may_travel = is_only && !self.has_forgotten;
        let on = away.filter(|_| may_travel).unwrap_or(thread);
        let entry = self.entries.remove(at);
        if on != thread {
            self.is_odd = true;
            self.was_left[usize::from(thread)] = true;
        }
        self.on(on, move || exit(&entry.span));
    }

    fn follows_from(&mut self, thread: u8, index: u8, of: u8, facts: &mut Facts) {
        let Some(number) = self.pick(index) else { return };
        let of = usize::from(of) % self.spans.len();
        // tracing-opentelemetry waits for ever where a span follows from itself.
        if of == number {
            return;
        }
        let span = self.handle(number);
        if self.is_open(of) {
            self.models[of].ids_left = true;
        } else if self.is_theirs() {
            // Difference 5: it knows nothing of a closed span.
            let context = self.spans[of].context.clone().expect("known to be followed");
            if context.is_sampled() {
                self.on(thread, move || Theirs::add_link(&span, context));
            }
            return;
        } else {
            facts.followed_late.insert(of);
        }
        let id = self.spans[of].id.clone();
        self.on(thread, move || {
            span.follows_from(id);
        });
    }

    /// An operation on a span whose handle is there.
    fn act(&mut self, thread: u8, number: Number, action: &Action, facts: &mut Facts) {
        let span = self.handle(number);
        let is_theirs = self.is_theirs();
        match action.clone() {
            Action::Clone(_) => self.spans[number].handles.push(span),
            Action::Context(_) => {
                self.models[number].ids_left = true;
                self.on(thread, move || {
                    if is_theirs {
                        Theirs::context(&span);
                    } else {
                        spanbridge::SpanExt::context(&span);
                    }
                });
            }
            Action::Drop(_) => {
                let handle = self.spans[number].handles.pop();
                self.on(thread, move || drop((handle, span)));
            }
            Action::Forget(_) if !self.is_odd => {
                self.has_forgotten = true;
                std::mem::forget(span);
            }
            Action::Forget(_) => {}
            Action::Enter(_) => {
                let is_entered = |entry: &Entry| entry.number == number && entry.thread == thread;
                let is_again = self.entries.iter().any(is_entered);
                if is_again && self.has_forgotten {
                    return;
                }
                self.is_odd |= is_again;
                self.models[number].was_entered = true;
                let own = span.clone();
                self.on(thread, move || enter(&own));
                self.entries.push(Entry { number, thread, span });
            }
            Action::Record(_, value) => {
                self.models[number].record_late(&value);
                self.on(thread, move || spans::record(&span, &value));
            }
            // Difference 16: the other would not count it.
            Action::AddLink(_, Linked::Invalid, _) if self.program.limits.are_tight() => {}
            Action::SetParent(_, parent) => self.set_parent(thread, number, parent, facts),
            action => {
                self.models[number].extend(&action);
                self.on(thread, move || extend(&span, action, is_theirs));
            }
        }
    }

    fn set_parent(&mut self, thread: u8, number: Number, parent: NewParent, facts: &mut Facts) {
        // The other was told when the span was made, and so may be the span that it is to follow.
        if self.is_theirs() {
            return;
        }
        let parent = match parent {
            NewParent::Local(index) => match self.pick(index) {
                Some(other) if other < number => {
                    NewParent::Local(u8::try_from(other).expect("programs are short"))
                }
                _ => return,
            },
            NewParent::Nothing => NewParent::Nothing,
            NewParent::Remote(number) => NewParent::Remote(self.sampled(number)),
        };
        if let NewParent::Local(other) = parent {
            self.models[usize::from(other)].ids_left = true;
        }
        let cx = self.context_of(parent);
        let span = self.handle(number);
        let set = self.on(thread, move || spanbridge::SpanExt::set_parent(&span, cx));
        match set {
            Ok(()) => {
                // A span that is not sampled and follows from this one has asked for nothing.
                let is_known = self.program.samples_all && self.models[number].ids_left;
                assert!(!is_known, "{number} got a parent after its ids left");
                facts.parents.insert(number, parent);
            }
            Err(spanbridge::SetParentError::AlreadyStarted) => {
                assert!(self.models[number].ids_left, "{number} got no parent, but no id has left");
            }
            // A child of a span that is not sampled.
            Err(error) => assert_eq!(error, spanbridge::SetParentError::LayerNotFound),
        }
    }
}

fn enter(span: &Span) {
    span.with_subscriber(|(id, dispatch)| dispatch.enter(id));
}

fn exit(span: &Span) {
    span.with_subscriber(|(id, dispatch)| dispatch.exit(id));
}

/// Calls the method of the extension trait.
fn extend(span: &Span, action: Action, is_theirs: bool) {
    macro_rules! call {
        ($method:ident($($argument:expr),*)) => {
            if is_theirs {
                Theirs::$method(span, $($argument),*);
            } else {
                spanbridge::SpanExt::$method(span, $($argument),*);
            }
        };
    }
    match action {
        Action::AddEvent(_, name, pairs) => call!(add_event(name, spans::attributes(&pairs))),
        Action::AddLink(_, linked, pairs) => {
            let cx = match linked {
                Linked::Invalid => SpanContext::NONE,
                Linked::Remote(number) => remote(number),
            };
            call!(add_link_with_attributes(cx, spans::attributes(&pairs)));
        }
        Action::SetAttribute(_, key, value) => call!(set_attribute(key, value)),
        Action::SetStatus(_, status) => call!(set_status(status.into())),
        Action::UpdateName(_, name) if is_theirs => Theirs::context(span).span().update_name(name),
        Action::UpdateName(_, name) => spanbridge::SpanExt::update_name(span, name),
        other => unreachable!("{other:?} is none of the trait's"),
    }
}

impl From<StatusValue> for Status {
    fn from(value: StatusValue) -> Self {
        match value {
            StatusValue::Error(description) => Self::error(description),
            StatusValue::Ok => Self::Ok,
            StatusValue::Unset => Self::Unset,
        }
    }
}

impl Model {
    /// `Ok` stands; a later error replaces an earlier one, but not its description with none.
    pub(crate) fn status(&self) -> Status {
        self.statuses.iter().fold(Status::Unset, |status, (_, next)| match (status, next) {
            (Status::Ok, _) | (_, Status::Ok) => Status::Ok,
            (status, Status::Unset) => status,
            (Status::Error { description }, Status::Error { description: next })
                if next.is_empty() =>
            {
                Status::Error { description }
            }
            (_, next) => next.clone(),
        })
    }

    fn set_status(&mut self, by: By, status: Status) {
        self.status_settings += 1;
        // What is recorded again has its last value alone.
        self.statuses.retain(|(before, _)| by == By::Call || *before != by);
        self.statuses.push((by, status));
    }

    /// A value that counts for more than an attribute.
    fn record(&mut self, value: &Value) {
        match value {
            Value::Kind(kind) => self.kind = Some(kind),
            Value::Name(name) if !self.is_renamed => self.name.clone_from(name),
            Value::StatusCode("ok") => self.set_status(By::Code, Status::Ok),
            Value::StatusCode("ERROR") => self.set_status(By::Code, Status::error("")),
            Value::StatusCode(_) => self.set_status(By::Code, Status::Unset),
            Value::StatusDescription(description) => {
                self.set_status(By::Description, Status::error(description.clone()));
            }
            _ => {}
        }
    }

    fn record_late(&mut self, value: &Value) {
        self.is_named_late |= matches!(value, Value::Name(_));
        self.has_late_kind |= matches!(value, Value::Kind(_));
        self.record(value);
    }

    fn event(&mut self, kind: &EventKind) {
        self.has_failed_by_text |= matches!(kind, EventKind::ReturnedText(_));
        match kind {
            EventKind::Failed => self.set_status(By::Call, Status::error("")),
            EventKind::Returned(text) | EventKind::ReturnedText(text) => {
                self.set_status(By::Call, Status::error(text.clone()));
            }
            EventKind::Caused(_) | EventKind::Plain(..) | EventKind::Unnamed(_) => {}
        }
    }

    fn extend(&mut self, action: &Action) {
        match action {
            Action::SetStatus(_, status) => self.set_status(By::Call, status.clone().into()),
            Action::UpdateName(_, name) => {
                self.name.clone_from(name);
                self.is_renamed = true;
            }
            _ => {}
        }
    }
}
