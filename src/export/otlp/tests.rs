//! Our bytes against the messages that opentelemetry-proto makes of the same spans.

use std::collections::HashMap;
use std::fmt;

use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::{Event, Link, SpanContext, Status, TraceContextExt as _, TraceState};
use opentelemetry::{
    Array, Context, InstrumentationScope, KeyValue, SpanId, StringValue, TraceFlags, TraceId, Value,
};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue as Attribute;
use opentelemetry_proto::tonic::common::v1::any_value::Value as AnyValue;
use opentelemetry_proto::tonic::trace::v1::Span as Message;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SpanData;
use proptest::prelude::*;
use prost::Message as _;
use tracing::{Span, error_span, info, info_span, warn};
use tracing_subscriber::prelude::*;

use super::request::{Envelope, ROOM};
use super::{EncodedSpans, SpanEncoder};
use crate::SpanExt as _;
use crate::export::MetadataAttributes;
use crate::export::chunk::Chunk;
use crate::export::decode::Decoder;
use crate::layer::{Limits, without_worker};
use crate::propagation::TraceContextPropagator;

#[derive(Debug)]
struct Failure;

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it failed")
    }
}

impl std::error::Error for Failure {}

/// Choices that [`act`] tells apart, and those of [`make`].
pub(super) const ACTIONS: u8 = 32;
pub(super) const KINDS: u8 = 6;

/// What is done to a span; each of it is something that the encoder has to get right.
fn act(span: &Span, choice: u8) {
    let remote = SpanContext::new(
        TraceId::from(7),
        SpanId::from(8),
        TraceFlags::SAMPLED,
        true,
        TraceState::from_key_value([("k", "v")]).unwrap_or_default(),
    );
    match choice % ACTIONS {
        0 => drop(span.record("late", 5_i64)),
        1 => drop(span.record("late", u64::MAX)),
        2 => drop(span.record("late", "text")),
        3 => drop(span.record("otel.name", "another name")),
        4 => drop(span.record("otel.status_code", "error")),
        5 => drop(span.record("otel.status_description", "because")),
        6 => drop(span.record("otel.status_code", "OK")),
        7 => drop(span.record("otel.kind", "consumer")),
        8 => span.in_scope(|| info!(count = 3_u64, ratio = 0.5, "an event")),
        9 => span.in_scope(|| warn!(target: "elsewhere", flag = true, what = ?[1, 2])),
        10 => span.in_scope(|| tracing::error!("failed badly")),
        11 => span.in_scope(|| tracing::error!(error = %Failure)),
        12 => span.in_scope(|| info!(cause = &Failure as &dyn std::error::Error, "with a cause")),
        13 => span.set_attribute("late", array(vec![StringValue::from("a"), long().into()])),
        14 => span.add_event("by hand", vec![KeyValue::new("a", 1)]),
        15 => span.add_link(remote),
        16 => span.set_status(Status::error("by hand")),
        17 => span.update_name("renamed"),
        18 => span.in_scope(|| info!(level = "mine", "a key of our own")),
        19 => drop(span.record("late", long().as_str())),
        20 => span.in_scope(|| info!(text = long(), "with a long text")),
        21 => drop(span.record("late", &b"\x01\xff"[..])),
        22 => span.in_scope(|| info!(bytes = &b"\0"[..], "with bytes")),
        23 => drop(span.record("late", i128::MIN)),
        24 => span.set_attribute("flags", array(vec![true, false])),
        25 => span.set_attribute("numbers", array(vec![i64::MIN, 0, 300])),
        26 => span.set_attribute("ratios", array(vec![0.0, -1.5, f64::MAX])),
        27 => span.set_attribute("none", array(Vec::<i64>::new())),
        28 => span.add_link_with_attributes(remote, two_attributes()),
        29 => span.add_event("by hand", two_attributes()),
        30 => span.set_attribute("text", long()),
        _ => span.set_attribute("n", 1.5),
    }
}

/// Text for whose length one byte is not enough.
fn long() -> String {
    "ü".repeat(100)
}

fn two_attributes() -> Vec<KeyValue> {
    vec![KeyValue::new("first", 1), KeyValue::new("second", long())]
}

fn array(values: impl Into<Array>) -> Value {
    Value::Array(values.into())
}

fn make(choice: u8) -> Span {
    match choice % KINDS {
        0 => info_span!("plain", late = tracing::field::Empty, a = 1_i64, b = true, c = -2.5),
        1 => info_span!(
            "http",
            otel.name = "GET /",
            otel.kind = "server",
            otel.status_code = tracing::field::Empty,
            otel.status_description = tracing::field::Empty,
            late = tracing::field::Empty,
            http.request.method = "GET",
        ),
        2 => info_span!("own target", target = "mine", late = 0_u64),
        3 => {
            let least = i128::MIN;
            error_span!(
                "wide",
                least,
                big = i128::MAX,
                huge = u128::MAX,
                small = 3_i128,
                late = "x"
            )
        }
        4 => info_span!("err", error = &Failure as &dyn std::error::Error),
        _ => {
            info_span!("debug", value = ?Some("ü"), empty = "", otel.kind = "unknown", late = long())
        }
    }
}

/// The chunk that a program of spans leaves behind, and the decoder that knows its engine, with
/// threads or without.
pub(super) fn run(
    program: &[(u8, Vec<u8>)],
    limits: Limits,
) -> (Chunk, impl Fn(bool) -> Decoder + use<>) {
    let (layer, engine) = without_worker(limits);
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        let parent = Context::new().with_remote_span_context(SpanContext::new(
            TraceId::from(1),
            SpanId::from(2),
            TraceFlags::SAMPLED,
            true,
            TraceState::from_key_value([("vendor", "1")]).unwrap_or_default(),
        ));
        for (at, (kind, actions)) in program.iter().enumerate() {
            let span = make(*kind);
            if at % 2 == 0 {
                span.set_parent(parent.clone()).unwrap();
            }
            for action in actions {
                act(&span, *action);
            }
            let child = span.in_scope(|| make(kind.wrapping_add(1)));
            drop(child);
        }
    });
    engine.hand_over.collect();
    let mut chunk = Chunk::default();
    while let Some(mut more) = engine.hand_over.queue.pop() {
        chunk.append(&mut more);
    }
    let scope = InstrumentationScope::builder("test")
        .with_version("1")
        .with_schema_url("https://example.com/scope")
        .with_attributes([KeyValue::new("a", "b")])
        .build();
    let decoder = move |threads| {
        let with = MetadataAttributes { level: true, threads, ..MetadataAttributes::default() };
        Decoder::new(engine.clone(), scope.clone(), with)
    };
    (chunk, decoder)
}

fn messages(spans: &EncodedSpans) -> Vec<Message> {
    let mut behind_room = vec![0; ROOM];
    behind_room.extend_from_slice(spans.bytes());
    let request = Envelope::default().around(behind_room).into_message();
    let request = ExportTraceServiceRequest::decode(request).expect("is OTLP");
    request.resource_spans.into_iter().flat_map(|r| r.scope_spans).flat_map(|s| s.spans).collect()
}

/// By field, in one order: protobuf leaves the order of attributes open.
pub(super) fn sorted(mut message: Message) -> Message {
    message.attributes.sort_by(|a, b| a.key.cmp(&b.key));
    for event in &mut message.events {
        event.attributes.sort_by(|a, b| a.key.cmp(&b.key));
    }
    message
}

/// Compares what is sent of a program of spans, and returns it.
fn check(program: &[(u8, Vec<u8>)], limits: Limits, has_threads: bool) -> Vec<Message> {
    let (mut chunk, decoder) = run(program, limits);
    let decoder = || decoder(has_threads);
    let mut copy = chunk.clone();
    let calibration = crate::layer::Calibration::for_tests();
    let mut data = Vec::new();
    decoder().decode(&mut copy, calibration, &mut data);
    let expected: Vec<_> = data.iter().cloned().map(|data| sorted(data.into())).collect();
    assert_eq!(expected.len(), program.len() * 2);

    let mut spans = EncodedSpans::default();
    SpanEncoder::new(decoder()).encode(&mut chunk, calibration, &mut spans);
    let sent: Vec<_> = messages(&spans).into_iter().map(sorted).collect();
    assert_eq!(sent, expected);

    let by_data = messages(&EncodedSpans::from_span_data(&data));
    let by_data: Vec<_> = by_data.into_iter().map(sorted).collect();
    assert_eq!(by_data, expected);
    sent
}

/// With counts of one or few where `is_tight`, and characters in a value where `is_short`.
fn limits(is_tight: bool, is_short: bool) -> Limits {
    let mut limits = Limits::default();
    if is_tight {
        limits.attributes = 3;
        limits.events = 2;
        limits.event_attributes = 2;
        limits.links = 1;
        limits.link_attributes = 1;
    }
    if is_short {
        limits.values.length = SHORT;
    }
    limits
}

const SHORT: usize = 4;

proptest! {
    #[test]
    fn our_bytes_are_what_opentelemetry_proto_would_send(
        program in prop::collection::vec((any::<u8>(), prop::collection::vec(any::<u8>(), 0..6)), 1..6),
        is_tight in any::<bool>(),
        is_short in any::<bool>(),
        has_threads in any::<bool>(),
    ) {
        check(&program, limits(is_tight, is_short), has_threads);
    }
}

/// Every kind of span, each with everything that can be done to one.
pub(super) fn everything() -> Vec<(u8, Vec<u8>)> {
    (0..KINDS).map(|kind| (kind, (0..ACTIONS).collect())).collect()
}

/// The values of the attributes that have this key.
fn values<'a>(attributes: &'a [Attribute], key: &str) -> Vec<&'a AnyValue> {
    let with_key = attributes.iter().filter(|attribute| attribute.key == key);
    with_key.filter_map(|attribute| attribute.value.as_ref()?.value.as_ref()).collect()
}

#[test]
fn what_is_compared_is_there() {
    let sent = check(&everything(), limits(false, false), false);
    let spans = || sent.iter().filter(|span| !span.links.is_empty());
    assert_eq!(spans().count(), usize::from(KINDS));
    let is_long = |value: &&AnyValue| **value == AnyValue::StringValue(long());
    for span in spans() {
        for key in ["flags", "numbers", "ratios", "none"] {
            let found = values(&span.attributes, key);
            assert!(matches!(found[..], [AnyValue::ArrayValue(_)]), "{key} {found:?}");
        }
        assert!(values(&span.attributes, "text").iter().all(is_long));
        assert!(span.events.iter().any(|e| values(&e.attributes, "text").iter().any(is_long)));
        assert!(span.links.iter().any(|link| link.attributes.len() == 2));
        assert!(values(&span.attributes, "thread.id").is_empty());
    }
    let with_threads = check(&everything(), limits(false, false), true);
    assert!(with_threads.iter().all(|span| values(&span.attributes, "thread.id").len() == 1));

    let tight = check(&everything(), limits(true, false), false);
    for span in tight.iter().filter(|span| !span.links.is_empty()) {
        assert_eq!((span.links.len(), span.dropped_links_count), (1, 1));
        assert!(span.dropped_attributes_count > 0 && span.dropped_events_count > 0);
    }
    let with_attributes = [(0, vec![28, 15])];
    let tight = check(&with_attributes, limits(true, false), false);
    let link = tight.iter().find_map(|span| span.links.first()).unwrap();
    assert_eq!((link.attributes.len(), link.dropped_attributes_count), (1, 1));
}

#[test]
fn bytes_are_told_in_hexadecimal() {
    let sent = check(&[(0, vec![21, 22])], limits(false, false), false);
    let span = sent.iter().find(|span| !span.events.is_empty()).unwrap();
    let text = |text: &str| AnyValue::StringValue(text.to_owned());
    assert_eq!(values(&span.attributes, "late"), [&text("[01 ff]")]);
    assert_eq!(values(&span.events[0].attributes, "bytes"), [&text("[00]")]);
}

pub(super) fn resource() -> Resource {
    Resource::builder_empty()
        .with_schema_url(
            [
                KeyValue::new("service.name", "shop"),
                KeyValue::new("list", Value::Array(vec![1_i64, 2].into())),
                KeyValue::new("flags", Value::Array(vec![true].into())),
                KeyValue::new("ratios", Value::Array(vec![0.5, -1.0].into())),
            ],
            "https://example.com/resource",
        )
        .build()
}

#[test]
fn the_envelope_is_that_of_opentelemetry_proto() {
    let resource = resource();
    let scope = InstrumentationScope::builder("spanbridge")
        .with_version("1")
        .with_schema_url("https://example.com/scope")
        .with_attributes([KeyValue::new("a", "b")])
        .build();
    let (mut chunk, _) = run(&[(0, vec![8]), (1, vec![15])], Limits::default());
    let (_, engine) = without_worker(Limits::default());
    let with = MetadataAttributes::default();
    let mut data: Vec<SpanData> = Vec::new();
    let calibration = crate::layer::Calibration::for_tests();
    Decoder::new(engine, scope.clone(), with).decode(&mut chunk, calibration, &mut data);

    let mut envelope = Envelope::default();
    envelope.set_resource(&resource);
    envelope.set_scope(&scope);
    let request = EncodedSpans::from_span_data(&data).lend(&envelope).into_message();
    let mut sent = ExportTraceServiceRequest::decode(request).unwrap();
    let mut expected = ExportTraceServiceRequest {
        resource_spans: group_spans_by_resource_and_scope(
            data,
            &ResourceAttributesWithSchema::from(&resource),
        ),
    };
    for request in [&mut sent, &mut expected] {
        for spans in &mut request.resource_spans {
            let resource = spans.resource.as_mut().unwrap();
            resource.attributes.sort_by(|a, b| a.key.cmp(&b.key));
        }
    }
    assert_eq!(sent, expected);
}

#[cfg(feature = "otlp-grpc")]
#[test]
fn an_envelope_of_any_length_stands_before_the_spans() {
    let data = [opentelemetry_sdk::testing::trace::new_test_export_span_data()];
    for length in [0, 1, 100, ROOM - 100, ROOM, 3 * ROOM] {
        let text = "x".repeat(length);
        let resource =
            Resource::builder_empty().with_attribute(KeyValue::new("text", text.clone())).build();
        let mut envelope = Envelope::default();
        envelope.set_resource(&resource);
        let framed = EncodedSpans::from_span_data(&data).lend(&envelope).into_framed();
        let (prefix, message) = framed.split_at(5);
        assert_eq!(prefix[0], 0, "is not compressed");
        assert_eq!(prefix[1..], (message.len() as u32).to_be_bytes(), "{length}");
        let sent = ExportTraceServiceRequest::decode(message).unwrap();
        let spans = &sent.resource_spans[0];
        assert_eq!(spans.scope_spans[0].spans[0].name, data[0].name, "{length}");
        let attribute = &spans.resource.as_ref().unwrap().attributes[0];
        let expected = Value::from(text);
        assert_eq!(attribute.value, Some(expected.into()), "{length}");
    }
}

#[test]
fn memory_is_used_again_from_batch_to_batch() {
    let envelope = Envelope::default();
    let (mut waiting, mut batch) = (EncodedSpans::default(), EncodedSpans::default());
    let calibration = crate::layer::Calibration::for_tests();
    let (layer, engine) = without_worker(Limits::default());
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        for number in 0..512 {
            info_span!("plain", number, path = "/api/v1/pods").in_scope(|| ());
        }
    });
    engine.hand_over.collect();
    let mut chunk = Chunk::default();
    while let Some(mut more) = engine.hand_over.queue.pop() {
        chunk.append(&mut more);
    }
    let scope = InstrumentationScope::default();
    let mut encoder = SpanEncoder::new(Decoder::new(engine, scope, MetadataAttributes::default()));
    let mut allocated = Vec::new();
    for _ in 0..4 {
        let mut chunk = chunk.clone();
        let info = allocation_counter::measure(|| {
            encoder.encode(&mut chunk, calibration, &mut waiting);
            assert!(waiting.take_batch(&mut batch, 512, usize::MAX, false));
            let request = batch.lend(&envelope);
            batch.give_back(request);
        });
        allocated.push(info.bytes_total);
    }
    // The waiting one and the batch change places, and each has its size by then.
    assert!(allocated[3] < 1_024, "{allocated:?}");
}

#[test]
fn batches_are_cut_by_number_and_by_bytes() {
    let (mut chunk, decoder) = run(&vec![(0, vec![]); 10], Limits::default());
    let mut spans = EncodedSpans::default();
    let calibration = crate::layer::Calibration::for_tests();
    SpanEncoder::new(decoder(false)).encode(&mut chunk, calibration, &mut spans);
    let all = messages(&spans);
    assert_eq!(all.len(), 20);
    let take = |spans: &mut EncodedSpans, max_spans, max_bytes, all| {
        let mut batch = EncodedSpans::default();
        spans.take_batch(&mut batch, max_spans, max_bytes, all).then_some(batch)
    };
    assert!(take(&mut spans, 21, usize::MAX, false).is_none(), "there is no whole batch");

    let mut taken = Vec::new();
    taken.push(take(&mut spans, 8, usize::MAX, false).unwrap());
    assert_eq!((taken[0].len(), spans.len()), (8, 12));
    // Every second one is a child, so that it takes pairs to have one length.
    let bytes_of_four = taken[0].bytes().len() / 2;
    taken.push(take(&mut spans, 8, bytes_of_four, false).unwrap());
    assert_eq!((taken[1].len(), spans.len()), (4, 8));
    taken.push(take(&mut spans, 100, 1, true).unwrap());
    assert_eq!((taken[2].len(), spans.len()), (1, 7), "one that is too long goes alone");
    taken.push(take(&mut spans, 100, usize::MAX, true).unwrap());
    assert!(take(&mut spans, 100, usize::MAX, true).is_none());
    let taken: Vec<_> = taken.iter().flat_map(messages).collect();
    assert_eq!(taken, all, "none is lost, and their order stays");
}

#[test]
fn an_event_of_the_api_has_its_own_time() {
    let (layer, engine) = without_worker(Limits::default());
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_nanos(123_456_789);
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        let span = info_span!("a");
        span.add_event_with_timestamp("then", time, vec![]);
        span.add_link_with_attributes(SpanContext::NONE, vec![KeyValue::new("k", true)]);
    });
    engine.hand_over.collect();
    let mut chunk = engine.hand_over.queue.pop().unwrap();
    let scope = InstrumentationScope::default();
    let decoder = Decoder::new(engine, scope, MetadataAttributes::default());
    let mut spans = EncodedSpans::default();
    let calibration = crate::layer::Calibration::for_tests();
    SpanEncoder::new(decoder).encode(&mut chunk, calibration, &mut spans);
    let sent = messages(&spans);
    let Event { name, .. } = Event::new("then", time, vec![], 0);
    assert_eq!(
        (sent[0].events[0].name.as_str(), sent[0].events[0].time_unix_nano),
        (&*name, 123_456_789)
    );
    let link = Link::with_context(SpanContext::NONE);
    assert_eq!(sent[0].links[0].span_id, link.span_context.span_id().to_bytes());
    assert_eq!(sent[0].links[0].attributes.len(), 1);
}

#[test]
fn what_is_set_by_the_api_is_bounded_in_bytes_and_what_is_lost_is_counted() {
    const KIB: usize = 1024;
    let limits = Limits::default();
    let max_bytes = limits.values.span_bytes;
    let (layer, engine) = without_worker(limits);
    let with_value = |bytes: usize| vec![KeyValue::new("k", "v".repeat(bytes))];
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        let attributes = info_span!("attributes");
        for number in 0..100 {
            attributes.set_attribute(format!("{number:03}"), "v".repeat(KIB - 3));
        }
        // In place of one that is there: as long, then longer, for which there is no room.
        attributes.set_attribute("000", "w".repeat(KIB - 3));
        attributes.set_attribute("001", "w".repeat(KIB));
        let events = info_span!("events");
        let links = info_span!("links");
        for _ in 0..100 {
            events.add_event("e", with_value(KIB));
            links.add_link_with_attributes(SpanContext::NONE, with_value(KIB));
        }
    });
    engine.hand_over.collect();
    let mut chunk = engine.hand_over.queue.pop().unwrap();
    let scope = InstrumentationScope::default();
    let none = MetadataAttributes { level: false, location: false, target: false, threads: false };
    let mut spans = Vec::new();
    let calibration = crate::layer::Calibration::for_tests();
    Decoder::new(engine, scope, none).decode(&mut chunk, calibration, &mut spans);
    let named = |name| spans.iter().find(|span| span.name == name).unwrap();
    let attributes = named("attributes");
    assert_eq!(attributes.attributes.len(), max_bytes / KIB);
    assert_eq!(attributes.dropped_attributes_count as usize, 100 - max_bytes / KIB + 1);
    assert!(attributes.attributes[0].value.as_str().starts_with('w'));
    assert!(attributes.attributes[1].value.as_str().starts_with('v'));
    let (events, links) = (&named("events").events, &named("links").links);
    for (kept, dropped) in
        [(events.len(), events.dropped_count), (links.len(), links.dropped_count)]
    {
        assert!(kept > 40 && kept < max_bytes / KIB, "{kept}");
        assert_eq!(kept + dropped as usize, 100);
    }
}

#[test]
fn text_that_is_set_by_the_api_is_as_long_as_a_field_may_be() {
    let (layer, engine) = without_worker(limits(false, true));
    let long = || vec![KeyValue::new("text", "übermut"), KeyValue::new("number", 12_345)];
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        let span = info_span!("a", field = "übermut", debug = ?"übermut");
        span.set_attribute("text", "übermut");
        span.set_attribute("texts", array(vec![StringValue::from("übermut"), "üb".into()]));
        span.add_event("übermut", long());
        span.add_link_with_attributes(SpanContext::NONE, long());
    });
    engine.hand_over.collect();
    let mut chunk = engine.hand_over.queue.pop().unwrap();
    let none = MetadataAttributes { level: false, location: false, target: false, threads: false };
    let mut spans = Vec::new();
    Decoder::new(engine, InstrumentationScope::default(), none).decode(
        &mut chunk,
        crate::layer::Calibration::for_tests(),
        &mut spans,
    );
    let kept = |attributes: &[KeyValue]| {
        let pairs = attributes.iter().map(|kv| format!("{}={}", kv.key, kv.value));
        pairs.collect::<Vec<_>>().join(" ")
    };
    let [span] = &spans[..] else { panic!("one span: {spans:?}") };
    let expected = r#"field=über debug="übe text=über texts=["über","üb"]"#;
    assert_eq!(kept(&span.attributes), expected);
    // Names are no values.
    assert_eq!(span.events[0].name, "übermut");
    assert_eq!(kept(&span.events[0].attributes), "text=über number=12345");
    assert_eq!(kept(&span.links[0].attributes), "text=über number=12345");
}

#[test]
fn a_received_trace_state_is_exported_as_it_came() {
    let (layer, engine) = without_worker(Limits::default());
    let headers = HashMap::from([
        (
            "traceparent".to_owned(),
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into(),
        ),
        // A second `@` is level 2's, and more than `TraceState` can hold.
        ("tracestate".to_owned(), "a@b@c=x,k=v".into()),
    ]);
    let parent = TraceContextPropagator::new().extract(&headers);
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        let span = info_span!("s");
        span.set_parent(parent).unwrap();
        drop(info_span!(parent: &span, "child"));
    });
    engine.hand_over.collect();
    let mut chunk = engine.hand_over.queue.pop().expect("two spans");
    let decoder = Decoder::new(
        engine.clone(),
        InstrumentationScope::builder("test").build(),
        MetadataAttributes::default(),
    );
    let mut spans = EncodedSpans::default();
    SpanEncoder::new(decoder).encode(&mut chunk, engine.clock.calibrate(), &mut spans);
    let states: Vec<_> = messages(&spans).into_iter().map(|span| span.trace_state).collect();
    assert_eq!(states, ["a@b@c=x,k=v"; 2]);
}
