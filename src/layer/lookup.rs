//! From a `tracing` span to the engines that record it.

use std::sync::Arc;

use opentelemetry::Context;
use tracing::span::Id;
use tracing::{Dispatch, Span, dispatcher};
use tracing_subscriber::Registry;
use tracing_subscriber::registry::LookupSpan as _;

use crate::layer::engine::Engine;
use crate::layer::record::Identity;
use crate::layer::thread::{with_known, with_local};
use crate::layer::{BridgeLayer, SetParentError};
use crate::propagation::{Carried, TraceParent};

/// The engines behind a dispatch.
enum Engines<'a> {
    One(&'a Arc<Engine>),
    /// Two layers on one registry, or one that a wrapper such as `reload` hides, or none.
    Listed(Vec<Arc<Engine>>),
}

impl<'a> Engines<'a> {
    fn behind(dispatch: &'a Dispatch, id: Option<u64>) -> Self {
        match dispatch.downcast_ref::<BridgeLayer>() {
            Some(layer) if !layer.engine.has_siblings() => Self::One(&layer.engine),
            _ => Self::Listed(Engine::of(dispatch, id)),
        }
    }
}

/// Runs `f` for every engine behind `dispatch`. False if there is none.
pub(crate) fn for_each_engine(
    dispatch: &Dispatch,
    id: Option<u64>,
    mut f: impl FnMut(&Arc<Engine>),
) -> bool {
    match Engines::behind(dispatch, id) {
        Engines::One(engine) => {
            f(engine);
            true
        }
        Engines::Listed(engines) => {
            engines.iter().for_each(&mut f);
            !engines.is_empty()
        }
    }
}

/// Runs `f` for every engine of ours that the span went through. False if there is none.
pub(crate) fn for_each_engine_of(span: &Span, mut f: impl FnMut(&Arc<Engine>, u64)) -> bool {
    span.with_subscriber(|(id, dispatch)| {
        let id = id.into_u64();
        for_each_engine(dispatch, Some(id), |engine| f(engine, id))
    })
    .unwrap_or(true)
}

/// The same with something to give away, which is cloned only where there are several, and comes back
/// where there is none.
pub(crate) fn give_to_each_engine_of<T: Clone>(
    span: &Span,
    given: T,
    mut f: impl FnMut(&Arc<Engine>, u64, T),
) -> Result<(), T> {
    let mut left = Some(given);
    span.with_subscriber(|(id, dispatch)| {
        let id = id.into_u64();
        match Engines::behind(dispatch, Some(id)) {
            Engines::One(engine) => f(engine, id, left.take()?),
            Engines::Listed(engines) => {
                let (last, others) = engines.split_last()?;
                let given = left.take()?;
                for engine in others {
                    f(engine, id, given.clone());
                }
                f(last, id, given);
            }
        }
        Some(())
    });
    match left {
        Some(given) if !span.is_disabled() => Err(given),
        _ => Ok(()),
    }
}

/// What `f` makes of the first engine behind `dispatch` for which it makes anything.
fn first<R>(
    dispatch: &Dispatch,
    id: Option<u64>,
    mut f: impl FnMut(&Arc<Engine>) -> Option<R>,
) -> Option<R> {
    let mut found = None;
    for_each_engine(dispatch, id, |engine| {
        if found.is_none() {
            found = f(engine);
        }
    });
    found
}

/// The span's record, or that of its nearest ancestor with one; for a disabled span the thread's
/// current one takes its place.
fn with_recorded<R>(span: &Span, f: impl Fn(&Arc<Engine>, u64) -> Option<R>) -> Option<R> {
    if Engine::is_none_made() {
        return None;
    }
    let found = span.with_subscriber(|(id, dispatch)| {
        // An ancestor's engine may be the one, so an unplaced engine is asked whatever it knows.
        first(dispatch, None, |engine| {
            let id = id.into_u64();
            f(engine, id).or_else(|| f(engine, nearest_above(engine, dispatch, id)?))
        })
    });
    match found {
        Some(found) => found,
        None => dispatcher::get_default(|dispatch| {
            first(dispatch, None, |engine| {
                let top = with_local(engine, |local| local.current(engine))??;
                f(engine, nearest(engine, dispatch, top.id)?)
            })
        }),
    }
}

/// The span, if the engine has a record of it, or its nearest ancestor with one.
fn nearest(engine: &Engine, dispatch: &Dispatch, id: u64) -> Option<u64> {
    match engine.find(id) {
        Some(_) => Some(id),
        None => nearest_above(engine, dispatch, id),
    }
}

/// The span's nearest ancestor that the engine has a record of.
fn nearest_above(engine: &Engine, dispatch: &Dispatch, id: u64) -> Option<u64> {
    let registry = dispatch.downcast_ref::<Registry>()?;
    let mut ancestor = registry.span(&Id::from_u64(id))?.parent();
    while let Some(span) = ancestor {
        let id = span.id().into_u64();
        if engine.find(id).is_some() {
            return Some(id);
        }
        ancestor = span.parent();
    }
    None
}

/// What a request made from within `span` carries, if a layer of ours knows. Where that is ids alone,
/// [`lone_ids`] is sooner done.
pub(crate) fn carried_by(span: &Span) -> Option<Carried> {
    with_recorded(span, Engine::carried)
}

/// What the usual span passes on, its ids and nothing else, from now on final; `None` where it is not
/// one layer of ours that has a record of it or, in a trace that is not sampled, of what it was made in
/// by this thread just now; and where there is more.
#[inline]
pub(crate) fn lone_ids(span: &Span) -> Option<TraceParent> {
    // Handed out part by part: a processor waits where it is to copy in one go what was just written
    // in parts.
    let mut found = Identity::NONE;
    span.with_subscriber(|(id, dispatch)| {
        let id = id.into_u64();
        let engine = &dispatch.downcast_ref::<BridgeLayer>()?.engine;
        if engine.has_siblings() {
            return None;
        }
        found = match engine.find(id) {
            Some(slot) => engine.resolve(slot, id)?,
            None => with_known(engine, |local| local.unsampled_above(engine, id))??,
        };
        Some(())
    });
    (found != Identity::NONE && !found.has_entries).then(|| found.into())
}

/// The span's context, if a layer of ours records it or an ancestor of it.
pub(crate) fn context_of(span: &Span) -> Option<Context> {
    with_recorded(span, Engine::otel_context)
}

/// Whether a layer of ours sits behind the span.
pub(crate) fn is_served(span: &Span) -> bool {
    span.with_subscriber(|(id, dispatch)| for_each_engine(dispatch, Some(id.into_u64()), |_| {}))
        .unwrap_or(false)
}

/// Whether a layer of ours records the span, or may yet come to; `None` if there is no such layer.
pub(crate) fn is_recording(span: &Span) -> Option<bool> {
    let mut is_recording = false;
    let is_served = for_each_engine_of(span, |engine, id| is_recording |= engine.is_recording(id));
    is_served.then_some(is_recording)
}

/// Sets the span's parent in every layer of ours; `None` if there is none.
pub(crate) fn set_parent(span: &Span, cx: &Context) -> Option<Result<(), SetParentError>> {
    span.with_subscriber(|(id, dispatch)| {
        let mut result = None;
        let id = id.into_u64();
        for_each_engine(dispatch, Some(id), |engine| {
            let set = engine.set_parent(id, cx);
            // A layer whose filter hides the span has no say where another layer has the span.
            result = match (result, set) {
                (None | Some(Err(SetParentError::LayerNotFound)), set) => Some(set),
                (Some(before), Err(SetParentError::LayerNotFound)) => Some(before),
                (Some(before), set) => Some(before.and(set)),
            };
        });
        result
    })
    .flatten()
}
