//! The poor man's tracer for spans that exist already: trees of `tracing` spans that were slow, as
//! text.

mod builder;
mod clock;
mod limiter;
mod output;
mod print;
mod recording;
mod stats;
#[cfg(test)]
mod tests;
mod threshold;
mod tree;
mod values;

use std::borrow::Cow;
use std::sync::Arc;

use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::{LookupSpan, SpanRef};

pub use self::builder::SlowSpanLayerBuilder;
pub use self::output::SlowSpan;
pub use self::stats::SlowSpanStats;

use self::clock::Clock;
use self::output::Printing;
use self::print::Printer;
use self::recording::{Item, Limits, Node, Recording, or_callsites};
use self::threshold::{Rule, Thresholds};
use self::tree::{Place, Tree};
use self::values::{Value, Visitor};

/// A [`Layer`] that prints span trees whose root was slow, in the text form of
/// `k8s.io/utils/trace`: spans are its nested operations, events its steps.
///
/// It needs no collector and no OpenTelemetry, and works beside any other layers, on any
/// [`Registry`](tracing_subscriber::Registry), also within a per-layer filter and more than once.
///
/// ```text
/// Trace[774965115]: "GET /orders" user:7 (22-Nov-2025 07:30:00.123) (total time: 812ms):
/// Trace[774965115]: ["load rows" table:orders 640ms (07:30:00.140)
/// Trace[774965115]:  ---"connected" 310ms (07:30:00.450)]
/// Trace[774965115]: ---"rendered" rows:312 150ms (07:30:00.930)
/// Trace[774965115]: [812ms] [812ms] END
/// ```
///
/// # What is slow
///
/// A root is measured by its field `slow_after_ms`, else by its target's threshold, else by the
/// default. Spans below a root are measured if they have the field or their target a threshold: one
/// that is slow is printed by itself where its root was not.
///
/// A span ends when it is left for the last time, or when it closes if it was never entered, so
/// that a spawned child which keeps its parent open does not make it slow. A tree is printed when
/// its root closes, which is after all its children.
///
/// # What is printed
///
/// Of a slow tree, what took its share of the threshold, and warnings and errors, which have the
/// field `level`. A step's time is that since the step before it, or since the span that ended after
/// that one, shown or not. `otel.name` names a span;
/// `follows_from` is a field with the other span's name; a `log` record that has become an event is
/// shown like any other. Values are on one line and at most 1,024 bytes long.
///
/// Which span is within which is the registry's word: it is misled by a guard that is held across
/// an `.await`, as every layer is. Of an event whose explicit parent is hidden by a per-layer filter
/// nothing is known here.
///
/// # What is bounded
///
/// The open trees, the spans, events and bytes of each, and the prints over time. What does not fit
/// is counted, and the first line of the next print says so: see the
/// [builder's](SlowSpanLayerBuilder) options, and [`stats`](Self::stats). A span that does not fit
/// into its tree is the root of one of its own.
///
/// A span that is open for as long as a process or a connection is not an operation that can be
/// slow. Have its target [ignored](SlowSpanLayerBuilder::with_ignored_target), so that the spans
/// within it are roots.
///
/// # Performance
///
/// Values are copied as they are recorded, since whether the tree is slow is not yet known; numbers
/// are formatted only where they are printed. A span takes two or three short locks of its own tree
/// and of its `Extensions`. Nothing is locked while values are formatted or text is written.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use spanbridge::legacy::SlowSpanLayer;
/// use tracing_subscriber::filter::LevelFilter;
/// use tracing_subscriber::prelude::*;
///
/// // To standard error, from 500 milliseconds on; INFO and above.
/// let slow = SlowSpanLayer::new();
/// let stats = slow.stats();
/// let subscriber = tracing_subscriber::registry().with(slow.with_filter(LevelFilter::INFO));
/// tracing::subscriber::with_default(subscriber, || {
///     tracing::info_span!("quick").in_scope(|| tracing::info!("done"));
/// });
/// assert_eq!(stats.printed(), 0);
/// ```
///
/// With thresholds of one's own, and the text as a log record:
///
/// ```
/// use std::sync::mpsc;
/// use std::time::Duration;
///
/// use spanbridge::legacy::SlowSpanLayer;
/// use tracing_subscriber::prelude::*;
///
/// let (texts, printed) = mpsc::channel();
/// let slow = SlowSpanLayer::builder()
///     .with_threshold(Duration::from_secs(2))
///     .with_callback(move |slow| {
///         tracing::warn!(target: "slow", took = ?slow.duration(), "{}", slow.name());
///         let _ = texts.send(slow.text().to_owned());
///     })
///     .build();
/// tracing::subscriber::with_default(tracing_subscriber::registry().with(slow), || {
///     // Zero: always slow.
///     let span = tracing::info_span!("load rows", table = "orders", slow_after_ms = 0);
///     span.in_scope(|| tracing::info!(rows = 312, "done"));
/// });
/// assert!(printed.recv().unwrap().contains(r#": "load rows" table:orders ("#));
/// ```
#[derive(Debug)]
pub struct SlowSpanLayer {
    /// Tells this layer's places in a span from another's.
    number: u64,
    clock: Clock,
    limits: Limits,
    max_level: Level,
    max_trees: usize,
    thresholds: Thresholds,
    printer: Printer,
}

/// In a span's extensions: its place for each layer of this kind.
#[derive(Debug, Default)]
struct Places(Vec<(u64, Place)>);

impl SlowSpanLayer {
    /// With the default options: to standard error, from 500 milliseconds on.
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// With options.
    pub fn builder() -> SlowSpanLayerBuilder {
        SlowSpanLayerBuilder::new()
    }

    /// What this layer does from here on, for when it has been moved into a subscriber.
    pub fn stats(&self) -> SlowSpanStats {
        SlowSpanStats(Arc::clone(self.printer.counters()))
    }

    fn rule(&self, metadata: &Metadata<'_>) -> Option<Rule> {
        if *metadata.level() > self.max_level {
            return Some(Rule::Ignore);
        }
        self.thresholds.rule(metadata.target())
    }

    /// Whether anything is watched at all; if not, most callbacks have nothing to do.
    fn is_idle(&self) -> bool {
        self.printer.counters().live() == 0
    }

    fn visitor(&self) -> Visitor<'_> {
        Visitor::new(&self.thresholds.field)
    }

    /// What `f` makes of the place of `span` itself.
    fn at<'a, S, R>(&self, span: &SpanRef<'a, S>, f: impl FnOnce(&Place) -> R) -> Option<R>
    where
        S: LookupSpan<'a>,
    {
        let extensions = span.extensions();
        let places = extensions.get::<Places>()?;
        places.0.iter().find(|(number, _)| *number == self.number).map(|(_, place)| f(place))
    }

    /// The tree and node of `span`, or of the nearest ancestor that has one.
    fn nearest<'a, S>(&self, mut span: Option<SpanRef<'a, S>>) -> Option<(Option<Arc<Tree>>, usize)>
    where
        S: LookupSpan<'a>,
    {
        while let Some(ancestor) = span {
            let place = self.at(&ancestor, |place| (place.tree.clone(), place.node));
            if place.is_some() {
                return place;
            }
            span = ancestor.parent();
        }
        None
    }

    fn place_root(&self, mut node: Node) -> Place {
        node.threshold = node.threshold.or(Some(self.thresholds.default));
        let counters = self.printer.counters();
        let tree = Tree::plant(node, self.limits, self.clock.wall(), self.max_trees, counters);
        match tree {
            Some(tree) => Place::new(Arc::new(tree), Recording::ROOT),
            None => Place::unwatched(counters),
        }
    }
}

impl Default for SlowSpanLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for SlowSpanLayer
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attrs: &Attributes<'_>, id: &Id, ctx: Context<'_, S>) {
        let metadata = attrs.metadata();
        let rule = self.rule(metadata);
        if rule == Some(Rule::Ignore) || Printing::is_going_on() {
            return;
        }
        let Some(span) = ctx.span(id) else { return };
        let start = self.clock.now();
        // Within a root that is not watched, nothing is.
        let has_roots = self.printer.counters().has_roots();
        let parent = if has_roots { self.nearest(span.parent()) } else { None };
        if matches!(parent, Some((None, _))) {
            return;
        }
        // Before anything is locked: this runs the values' own code.
        let mut values = self.visitor();
        attrs.record(&mut values);
        let threshold = values.threshold.or(match rule {
            Some(Rule::SlowAfter(threshold)) => Some(threshold),
            _ => None,
        });
        let node = Node::new(metadata, values.name, values.fields, threshold, start);
        let place = match parent {
            Some((Some(tree), parent)) => match tree.add_span(parent, node) {
                Ok(at) => Place::new(tree, at),
                // By itself it can still be found slow.
                Err(node) => self.place_root(*node),
            },
            _ => self.place_root(node),
        };
        let mut extensions = span.extensions_mut();
        if extensions.get_mut::<Places>().is_none() {
            extensions.insert(Places::default());
        }
        if let Some(places) = extensions.get_mut::<Places>() {
            places.0.push((self.number, place));
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, ctx: Context<'_, S>) {
        if self.is_idle() {
            return;
        }
        let Some(span) = ctx.span(id) else { return };
        let place = self.at(&span, |place| (place.tree.clone(), place.node));
        let Some((Some(tree), node)) = place else { return };
        let mut late = self.visitor();
        values.record(&mut late);
        tree.with(|tree| tree.update(node, late.fields, late.name, late.threshold));
    }

    fn on_follows_from(&self, id: &Id, follows: &Id, ctx: Context<'_, S>) {
        if self.is_idle() {
            return;
        }
        let (Some(span), Some(followed)) = (ctx.span(id), ctx.span(follows)) else { return };
        let place = self.at(&span, |place| (place.tree.clone(), place.node));
        let Some((Some(tree), node)) = place else { return };
        let place = self.at(&followed, |place| (place.tree.clone(), place.node));
        // Read before the other tree is locked; it may be the same.
        let name = match place {
            Some((Some(tree), at)) => {
                tree.with(|tree| tree.node(at).map(|node| node.name.clone())).flatten()
            }
            _ => None,
        };
        let name = name.unwrap_or_else(|| Cow::Borrowed(followed.name()));
        tree.with(|tree| tree.follow(node, &name));
    }

    fn on_event(&self, event: &Event<'_>, ctx: Context<'_, S>) {
        let metadata = event.metadata();
        if self.is_idle() || event.is_root() || self.rule(metadata) == Some(Rule::Ignore) {
            return;
        }
        if Printing::is_going_on() {
            return;
        }
        let Some((Some(tree), node)) = self.nearest(ctx.event_span(event)) else { return };
        let at = self.clock.now();
        let mut values = self.visitor();
        event.record(&mut values);
        let is_ignored = |target: &str| self.thresholds.rule(target) == Some(Rule::Ignore);
        if values.log_target.is_some_and(|target| is_ignored(&target)) {
            return;
        }
        let mut fields = values.fields;
        let is_kept = *metadata.level() <= Level::WARN;
        if is_kept {
            fields.set("level", Value::Text(metadata.level().as_str().into()));
        }
        let name = or_callsites(values.message, metadata);
        tree.with(|tree| tree.add_event(node, Item::Event { name, fields, at, is_kept }));
    }

    fn on_exit(&self, id: &Id, ctx: Context<'_, S>) {
        if self.is_idle() {
            return;
        }
        if let Some(span) = ctx.span(id) {
            self.at(&span, |place| place.left(self.clock.now()));
        }
    }

    fn on_close(&self, id: Id, ctx: Context<'_, S>) {
        if self.is_idle() {
            return;
        }
        // The span itself is let go of before anything else is done.
        let place = ctx.span(&id).and_then(|span| {
            let mut extensions = span.extensions_mut();
            let places = &mut extensions.get_mut::<Places>()?.0;
            let at = places.iter().position(|(number, _)| *number == self.number)?;
            Some(places.swap_remove(at).1)
        });
        let Some(place) = place else { return };
        let Some(tree) = &place.tree else { return };
        let end = place.last_exit().unwrap_or_else(|| self.clock.now());
        tree.with(|tree| tree.end(place.node, end));
        if place.node != Recording::ROOT {
            return;
        }
        let recording = tree.uproot();
        // The tree no longer counts while its text is written.
        drop(place);
        if let Some(recording) = recording.filter(|recording| recording.has_slow) {
            self.printer.print(&recording, self.clock.now());
        }
    }
}
