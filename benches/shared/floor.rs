//! What hardly a layer can go below that sees every value and passes trace context on by header maps,
//! and what one cannot that keeps the values too.
//!
//! Of what is done here only HTTP's check of the value that is written can be avoided, as ours does.

use std::cell::RefCell;
use std::hint::black_box;

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use spanbridge::propagation::TraceParent;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::prelude::*;
use tracing_subscriber::registry::LookupSpan;

use super::ours::on_tracing;
use super::spans;
use super::stack::{self, Running, Stack};
use super::work::{Op, Work};

/// A registry, a layer that looks at all values and keeps none, and for the request its headers read
/// and written, with the same ids again and again.
pub(crate) const FLOOR: Stack = Stack {
    name: "registry, values and headers",
    set_up: |work| {
        stack::install(tracing_subscriber::registry().with(Looks), work);
        Running::without_spans(|work| {
            let works = [Work::Span, Work::Span8, Work::Span9, Work::Child8, Work::Request];
            works.contains(&work).then(|| on_tracing(work, request))
        })
    },
};

/// The same with a layer that keeps the values, and copies those of a closed span to a chunk, as if
/// to hand them over. It does so for one thread, whose spans end in the reverse order of their
/// beginning, and for nobody else: there is no clock, no lock, no table, no limit, no sampler, no
/// count, no error, and nothing is exported.
pub(crate) const KEPT: Stack = Stack {
    name: "registry, values kept and headers",
    set_up: |work| {
        stack::install(tracing_subscriber::registry().with(Keeps), work);
        Running::without_spans(|work| (work == Work::Request).then(|| on_tracing(work, request)))
    },
};

struct Looks;

struct Nothing;

impl<S> Layer<S> for Looks
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attrs: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        attrs.record(&mut Nothing);
    }

    fn on_record(&self, _: &Id, values: &Record<'_>, _: Context<'_, S>) {
        values.record(&mut Nothing);
    }

    fn on_enter(&self, _: &Id, _: Context<'_, S>) {}

    fn on_exit(&self, _: &Id, _: Context<'_, S>) {}

    fn on_close(&self, _: Id, _: Context<'_, S>) {}
}

impl Visit for Nothing {
    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}

    fn record_str(&mut self, _: &Field, _: &str) {}

    fn record_i64(&mut self, _: &Field, _: i64) {}
}

struct Keeps;

#[derive(Default)]
struct Kept {
    open: Vec<Open>,
    /// Of spans that are closed, to be used again.
    buffers: Vec<Vec<u8>>,
    chunk: Vec<Open>,
    bytes: Vec<u8>,
    last_id: u64,
}

struct Open {
    id: u64,
    parent: u64,
    metadata: &'static Metadata<'static>,
    values: Vec<u8>,
}

/// As many spans as go in one of our chunks.
const CHUNK: usize = 64;

thread_local! {
    static KEPT_HERE: RefCell<Kept> = RefCell::default();
}

impl<S> Layer<S> for Keeps
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attrs: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        KEPT_HERE.with_borrow_mut(|kept| {
            kept.last_id += 1;
            let mut values = kept.buffers.pop().unwrap_or_default();
            attrs.record(&mut Keeper(&mut values));
            kept.open.push(Open {
                id: kept.last_id,
                parent: kept.open.last().map_or(0, |parent| parent.id),
                metadata: attrs.metadata(),
                values,
            });
        });
    }

    fn on_record(&self, _: &Id, values: &Record<'_>, _: Context<'_, S>) {
        KEPT_HERE.with_borrow_mut(|kept| {
            let open = kept.open.last_mut().expect("it is open");
            values.record(&mut Keeper(&mut open.values));
        });
    }

    fn on_close(&self, _: Id, _: Context<'_, S>) {
        KEPT_HERE.with_borrow_mut(|kept| {
            let mut closed = kept.open.pop().expect("it is open");
            kept.bytes.extend_from_slice(&closed.values);
            closed.values.clear();
            kept.buffers.push(std::mem::take(&mut closed.values));
            kept.chunk.push(closed);
            if kept.chunk.len() == CHUNK {
                for span in kept.chunk.drain(..) {
                    black_box((span.id, span.parent, span.metadata));
                }
                black_box(&kept.bytes);
                kept.bytes.clear();
            }
        });
    }
}

/// Each value with its type, its field and its length.
struct Keeper<'a>(&'a mut Vec<u8>);

impl Visit for Keeper<'_> {
    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}

    fn record_str(&mut self, field: &Field, value: &str) {
        let head = 1 | (field.index() as u64) << 8 | (value.len() as u64) << 16;
        self.0.extend_from_slice(&head.to_le_bytes());
        self.0.extend_from_slice(value.as_bytes());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        let head = 2 | (field.index() as u64) << 8;
        self.0.extend_from_slice(&head.to_le_bytes());
        self.0.extend_from_slice(&value.to_le_bytes());
    }
}

fn request() -> Op {
    static NAMES: [HeaderName; 3] = [
        HeaderName::from_static("traceparent"),
        HeaderName::from_static("tracestate"),
        HeaderName::from_static("baggage"),
    ];
    let headers = spans::incoming(true);
    let mut outgoing = HeaderMap::new();
    Box::new(move |iterations| {
        spans::repeat(iterations, || {
            let [parent, rest @ ..] = &NAMES;
            let parent = headers.get_all(parent).next().map(HeaderValue::as_bytes);
            let parent = parent.and_then(TraceParent::parse).expect("the caller sends one");
            assert!(rest.iter().all(|name| headers.get_all(name).next().is_none()));
            spans::request_within(&spans::server_span(), |_| {
                let value = HeaderValue::from_bytes(&parent.format()).expect("is ASCII");
                outgoing.insert(NAMES[0].clone(), value);
                assert!(rest.iter().all(|name| !outgoing.contains_key(name)));
            });
        })
    })
}
