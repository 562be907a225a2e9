//! What hardly a layer can go below that sees every value and passes trace context on by header maps:
//! of what is done here only HTTP's check of the value that is written can be avoided, as ours does.

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use spanbridge::propagation::TraceParent;
use tracing::Subscriber;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
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
