//! OpenTelemetry SDKs of other languages as callers and callees, over real HTTP.
//!
//! Each test puts our service, which is `ServerTracing` on actix-web and `ClientTracing` on awc,
//! into a chain of calls with services on the SDKs of Python (WSGI and requests), Node (node:http
//! and undici) and Go (otelhttp), whose sources are in the folders beside this one. Ours has our
//! layer, tracing-opentelemetry's in its place, or none. Spans go to receivers in this process.
//!
//! `../build.sh` gets ready what the services run with, the first time within half a minute, over
//! the network. Where a language's runtime is missing its tests say that they are skipped, unless
//! `SPANBRIDGE_REQUIRE_PYTHON`, `..._NODE` or `..._GO` is `1`.
#![cfg(unix)]

mod chain;
#[allow(dead_code, reason = "the Collector's tests write files, too")]
#[path = "../../collector/process.rs"]
mod process;
mod relay;
mod sdk;
mod stage;
#[path = "../../support/mod.rs"]
mod support;

use chain::{Caller, TRACE, expect_parents, expect_spans, is_sampled, traceparent};
use relay::Arrived;
use sdk::Sdk;
use stage::{Hop, Ours, RUST, Stage, rust};

/// Members that any level of the specification allows.
const TRACESTATE: &str = "rojo=00f067aa0ba902b7,t_e-n*t/a@sys=!\"#$%&'";
/// Keys that only level 2 allows: one begins with a digit, the other has two `@`.
const LEVEL_2: &str = "rojo=00f067aa0ba902b7,1a@2b@c= x y,9z=8";
const BAGGAGE: &str = "user=J%C3%BCrgen%20M;ttl=5;secret,plan=a=b,region=eu%2Cwest";

/// A test of each name for each SDK, in a module that has the SDK's name: with our layer, and, in
/// `their_layer` there, with tracing-opentelemetry's.
macro_rules! for_each_sdk {
    ($($test:ident)*) => {
        for_each_sdk!(@ go Go: $($test)*);
        for_each_sdk!(@ node Node: $($test)*);
        for_each_sdk!(@ python Python: $($test)*);
    };
    (@ $module:ident $sdk:ident: $($test:ident)*) => {
        mod $module {
            use crate::sdk::Sdk;
            use crate::stage::Ours;

            for_each_sdk!(with $sdk Layer: $($test)*);

            #[actix_web::test]
            async fn context_passes_through_without_a_layer() {
                crate::context_passes_through_without_a_layer(Sdk::$sdk).await;
            }

            mod their_layer {
                use super::{Ours, Sdk};

                for_each_sdk!(with $sdk TheirLayer: $($test)*);
            }
        }
    };
    (with $sdk:ident $ours:ident: $($test:ident)*) => {
        $(#[actix_web::test]
        async fn $test() {
            crate::$test(Sdk::$sdk, Ours::$ours).await;
        })*
    };
}

for_each_sdk! {
    caller_and_callee_share_one_trace
    tracestate_goes_through
    baggage_goes_through
    unsampled_caller_is_followed
    unsampled_root_is_followed
}

#[actix_web::test]
async fn one_trace_goes_through_all_languages() {
    one_trace_goes_through_all(Ours::Layer).await;
}

#[actix_web::test]
async fn one_trace_goes_through_all_languages_with_their_layer() {
    one_trace_goes_through_all(Ours::TheirLayer).await;
}

async fn one_trace_goes_through_all(ours: Ours) {
    let Some(stage) = Stage::set(&[Sdk::Python, Sdk::Node, Sdk::Go], ours) else { return };
    let chain = [
        Hop::from(Sdk::Python).setting("first", "python"),
        rust().setting("second", "rust"),
        Hop::from(Sdk::Node).setting("third", "node"),
        rust(),
        Hop::from(Sdk::Go).setting("fourth", "go"),
        rust(),
    ];
    let parent = traceparent("01");
    let arrived =
        stage.relay(&[("traceparent", &parent), ("tracestate", TRACESTATE)], &chain).await;
    let spans = stage.end().await;
    let spans = expect_spans(&spans, &chain, Caller::Traced);
    expect_parents(&arrived, &spans);
    for arrived in &arrived {
        assert_eq!(arrived.header("tracestate"), Some(TRACESTATE), "{arrived:?}");
    }
    let set = [
        ("first", "python", ""),
        ("fourth", "go", ""),
        ("second", "rust", ""),
        ("third", "node", ""),
    ];
    assert_eq!(arrived[5].baggage(), set);
}

/// The SDK starts the trace: its ids and its decision go to our service, through it, and come back.
async fn caller_and_callee_share_one_trace(sdk: Sdk, ours: Ours) {
    let Some(stage) = Stage::set(&[sdk], ours) else { return };
    let chain = [sdk.into(), rust(), sdk.into(), rust()];
    let arrived = stage.relay(&[], &chain).await;
    let spans = stage.end().await;
    let spans = expect_spans(&spans, &chain, Caller::None);
    expect_parents(&arrived, &spans);
    assert_eq!(arrived[0].header("traceparent"), None);
    // Our service sends the flags on that it is sent, the random one included.
    assert_eq!(arrived[1].parent()[3], arrived[2].parent()[3]);
}

async fn tracestate_goes_through(sdk: Sdk, ours: Ours) {
    let Some(stage) = Stage::set(&[sdk], ours) else { return };
    let parent = traceparent("01");
    let chain = [rust(), sdk.into(), rust(), sdk.into()];
    let arrived =
        stage.relay(&[("traceparent", &parent), ("tracestate", TRACESTATE)], &chain).await;
    assert_eq!(tracestates(&arrived), [Some(TRACESTATE); 4]);

    // In two lines, as headers may be.
    let (first, second) = TRACESTATE.split_once(',').unwrap();
    let lines = [("traceparent", &*parent), ("tracestate", first), ("tracestate", second)];
    let arrived = stage.relay(&lines, &chain).await;
    assert_eq!(tracestates(&arrived), [Some(TRACESTATE); 4]);

    // What the SDKs let through of level 2. Ours passes on what it is sent, before and after.
    let kept = match sdk {
        Sdk::Go | Sdk::Python => None,
        Sdk::Node => Some("rojo=00f067aa0ba902b7"),
    };
    let arrived = stage.relay(&[("traceparent", &parent), ("tracestate", LEVEL_2)], &chain).await;
    assert_eq!(tracestates(&arrived), [Some(LEVEL_2), Some(LEVEL_2), kept, kept]);

    // The first two requests, each with four spans of our service.
    let spans = stage.end().await;
    let ours = spans.iter().filter(|span| span.service_name() == RUST);
    assert_eq!(ours.filter(|span| span.trace_state == TRACESTATE).count(), 8);
}

fn tracestates(arrived: &[Arrived]) -> Vec<Option<&str>> {
    arrived.iter().map(|arrived| arrived.header("tracestate")).collect()
}

async fn baggage_goes_through(sdk: Sdk, ours: Ours) {
    let Some(stage) = Stage::set(&[sdk], ours) else { return };

    // Received, read, sent on, by ours, the SDK, and ours.
    let chain = [rust().setting("added", "50% \"ü\""), sdk.into(), rust()];
    let arrived = stage.relay(&[("baggage", BAGGAGE)], &chain).await;
    assert_eq!(
        arrived[1].header("baggage"),
        Some(&*format!("{BAGGAGE},added=50%25%20%22%C3%BC%22"))
    );
    let (user, properties) = match sdk {
        Sdk::Go | Sdk::Node => ("Jürgen M", "ttl=5;secret"),
        // Its API has no properties; they become a part of the value.
        Sdk::Python => ("Jürgen M;ttl=5;secret", ""),
    };
    let read = [
        ("added", "50% \"ü\"", ""),
        ("plan", "a=b", ""),
        ("region", "eu,west", ""),
        ("user", user, properties),
    ];
    assert_eq!(arrived[1].baggage(), read);
    // Python writes a space as `+`, as forms do, which the specification does not know.
    let sent = |text: &str| match sdk {
        Sdk::Go | Sdk::Node => text.to_owned(),
        Sdk::Python => text.replace(' ', "+"),
    };
    let read = read.map(|(name, value, properties)| (name, sent(value), properties));
    let read: Vec<_> = read.iter().map(|(name, value, rest)| (*name, &**value, *rest)).collect();
    assert_eq!(arrived[2].baggage(), read);

    // Made by the SDK, sent on by ours, and read by the SDK.
    let (plain, odd) = ("blue", "ü ,;\"\\%=é");
    let chain = [Hop::from(sdk).setting("plain", plain).setting("odd", odd), rust(), sdk.into()];
    let arrived = stage.relay(&[], &chain).await;
    assert_eq!(arrived[1].baggage(), [("odd", &*sent(odd), ""), ("plain", plain, "")]);
    assert_eq!(arrived[2].baggage(), [("odd", odd, ""), ("plain", plain, "")]);
    stage.end().await;
}

/// Nobody records what the caller did not, and everything is passed on all the same.
async fn unsampled_caller_is_followed(sdk: Sdk, ours: Ours) {
    let Some(stage) = Stage::set(&[sdk], ours) else { return };
    let parent = traceparent("00");
    let lines = [("traceparent", &*parent), ("tracestate", TRACESTATE), ("baggage", "a=1")];
    for chain in [[rust(), sdk.into(), rust()], [sdk.into(), rust(), sdk.into()]] {
        for arrived in stage.relay(&lines, &chain).await {
            let [_, trace, _, flags] = arrived.parent();
            assert_eq!((trace, is_sampled(flags)), (TRACE, false), "{arrived:?}");
            assert_eq!(arrived.header("tracestate"), Some(TRACESTATE));
            assert_eq!(arrived.baggage(), [("a", "1", "")]);
        }
    }
    assert_eq!(stage.end().await, []);
}

/// The same, where the SDK itself has decided.
async fn unsampled_root_is_followed(sdk: Sdk, ours: Ours) {
    let stage = Stage::with_sampler(&[sdk], ours, "parentbased_always_off");
    let Some(stage) = stage else { return };
    let chain = [Hop::from(sdk).setting("a", "1"), rust(), sdk.into(), rust()];
    let arrived = stage.relay(&[], &chain).await;
    let [_, root, ..] = arrived[1].parent();
    for arrived in &arrived[1..] {
        let [_, trace, _, flags] = arrived.parent();
        assert_eq!((trace, is_sampled(flags)), (root, false), "{arrived:?}");
        assert_eq!(arrived.baggage(), [("a", "1", "")]);
    }
    assert_eq!(stage.end().await, []);
}

/// The callee becomes a child of the caller, since nothing is recorded in between.
async fn context_passes_through_without_a_layer(sdk: Sdk) {
    let Some(stage) = Stage::set(&[sdk], Ours::NoLayer) else { return };
    let parent = traceparent("01");
    let lines = [("traceparent", &*parent), ("tracestate", TRACESTATE), ("baggage", "a=1;b")];
    let chain = [sdk.into(), rust(), sdk.into()];
    let arrived = stage.relay(&lines, &chain).await;
    for name in ["traceparent", "tracestate", "baggage"] {
        let (received, sent) = (arrived[1].header(name), arrived[2].header(name));
        assert!(received.is_some() && received == sent, "{name}: {received:?}, {sent:?}");
    }
    let spans = stage.end().await;
    expect_spans(&spans, &[sdk.into(), sdk.into()], Caller::Traced);
}
