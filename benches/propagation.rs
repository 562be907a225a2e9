//! What propagation costs: parse and format, then extract and inject over four kinds of message,
//! beside the propagators of `opentelemetry_sdk`.
//!
//! Both sides go through `TextMapPropagator`, with the same carriers. Unequal: ours also reads
//! further lines of a header, keeps the random flag and a tracestate that the SDK's cannot hold,
//! and does not write an empty tracestate. The middleware does not go through this interface, so
//! it pays less than `extract` and `inject` here say: no `String` for a header, no context for a
//! request that carries ids only.

use std::collections::HashMap;
use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use opentelemetry::Context;
use opentelemetry::propagation::{TextMapCompositePropagator, TextMapPropagator};
use spanbridge::propagation::TraceParent;

type Propagator = Box<dyn TextMapPropagator + Send + Sync>;

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn propagators() -> [(&'static str, TextMapCompositePropagator); 2] {
    let ours: Vec<Propagator> = vec![
        Box::new(spanbridge::propagation::TraceContextPropagator::new()),
        Box::new(spanbridge::propagation::BaggagePropagator::new()),
    ];
    let stock: Vec<Propagator> = vec![
        Box::new(opentelemetry_sdk::propagation::TraceContextPropagator::new()),
        Box::new(opentelemetry_sdk::propagation::BaggagePropagator::new()),
    ];
    [
        ("spanbridge", TextMapCompositePropagator::new(ours)),
        ("opentelemetry_sdk", TextMapCompositePropagator::new(stock)),
    ]
}

/// Messages by name. `hostile` is within what servers accept, and as dear as we could make it.
fn messages() -> [(&'static str, Vec<(&'static str, String)>); 4] {
    let members = |n: usize, member: &str| vec![member; n].join(",");
    [
        ("absent", vec![]),
        ("valid", vec![("traceparent", PARENT.to_owned())]),
        (
            "with_tracestate_and_baggage",
            vec![
                ("traceparent", PARENT.to_owned()),
                ("tracestate", "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE".to_owned()),
                ("baggage", "user=J%C3%BCrgen;ttl=5,tenant=blue,plan=a=b".to_owned()),
            ],
        ),
        (
            "hostile",
            vec![
                ("traceparent", PARENT.to_owned()),
                ("tracestate", format!("{},broken", members(31, "k@k@k@k@k@k= ~~~~~~~~~~~~~~~"))),
                ("baggage", members(2000, "%=%,;")),
            ],
        ),
    ]
}

fn traceparent(c: &mut Criterion) {
    let mut group = c.benchmark_group("traceparent");
    let parent = TraceParent::parse(PARENT.as_bytes()).expect("the constant is valid");
    group.bench_function("parse", |b| b.iter(|| TraceParent::parse(black_box(PARENT.as_bytes()))));
    let invalid = PARENT.replace("7651", "765G");
    group
        .bench_function("reject", |b| b.iter(|| TraceParent::parse(black_box(invalid.as_bytes()))));
    group.bench_function("format", |b| b.iter(|| black_box(&parent).format()));
    group.finish();
}

fn extract(c: &mut Criterion) {
    for (message, headers) in messages() {
        let mut group = c.benchmark_group(format!("extract/{message}"));
        let map: HashMap<_, _> =
            headers.iter().map(|(n, v)| ((*n).to_owned(), v.clone())).collect();
        #[cfg(any(feature = "actix-web", feature = "awc"))]
        let header_map = header_map(&headers);
        for (who, propagator) in propagators() {
            group.bench_with_input(BenchmarkId::new("hash_map", who), &map, |b, map| {
                b.iter(|| propagator.extract_with_context(&Context::new(), black_box(map)));
            });
            #[cfg(any(feature = "actix-web", feature = "awc"))]
            group.bench_with_input(BenchmarkId::new("header_map", who), &header_map, |b, map| {
                let carrier = spanbridge::propagation::HeaderExtractor(map);
                b.iter(|| propagator.extract_with_context(&Context::new(), black_box(&carrier)));
            });
        }
        group.finish();
    }
}

fn inject(c: &mut Criterion) {
    for (message, headers) in messages() {
        // Each sends what it could read, so the hostile message says nothing here.
        if message == "hostile" {
            continue;
        }
        let mut group = c.benchmark_group(format!("inject/{message}"));
        let map: HashMap<_, _> = headers.into_iter().map(|(n, v)| (n.to_owned(), v)).collect();
        for (who, propagator) in propagators() {
            let cx = propagator.extract_with_context(&Context::new(), &map);
            // Filled before, so that only values are replaced.
            let mut out = map.clone();
            group.bench_function(BenchmarkId::new("hash_map", who), |b| {
                b.iter(|| propagator.inject_context(black_box(&cx), &mut out));
            });
            #[cfg(any(feature = "actix-web", feature = "awc"))]
            group.bench_function(BenchmarkId::new("header_map", who), |b| {
                let mut out = header_map(&[]);
                b.iter(|| {
                    let mut carrier = spanbridge::propagation::HeaderInjector(&mut out);
                    propagator.inject_context(black_box(&cx), &mut carrier);
                });
            });
        }
        group.finish();
    }
}

#[cfg(feature = "actix-web")]
use actix_web::http::header;
#[cfg(all(feature = "awc", not(feature = "actix-web")))]
use awc::http::header;

#[cfg(any(feature = "actix-web", feature = "awc"))]
fn header_map(headers: &[(&str, String)]) -> header::HeaderMap {
    let mut map = header::HeaderMap::new();
    for (name, value) in headers {
        let name = header::HeaderName::from_bytes(name.as_bytes()).expect("names are valid");
        map.append(name, value.parse().expect("values are valid"));
    }
    map
}

criterion_group!(benches, traceparent, extract, inject);
criterion_main!(benches);
