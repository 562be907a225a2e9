use opentelemetry::trace::{Tracer as _, TracerProvider as _};
use opentelemetry::{KeyValue, trace::SpanKind};
use opentelemetry_sdk::trace::{
    Sampler, SamplingDecision, SamplingResult, SdkTracerProvider, ShouldSample,
};
use proptest::prelude::*;

use super::*;
use crate::propagation::tests::Lines;

const VALID: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn extracted(headers: &[(&str, &str)]) -> Context {
    TraceContextPropagator::new().extract_with_context(&Context::new(), &Lines::new(headers))
}

fn injected(cx: &Context) -> Vec<(String, String)> {
    let mut out = Lines::default();
    TraceContextPropagator::new().inject_context(cx, &mut out);
    out.into_text()
}

/// The context that a span of the SDK gives its children when `cx` is its parent.
fn sdk_child(sampler: impl ShouldSample + 'static, cx: &Context) -> Context {
    let provider = SdkTracerProvider::builder().with_sampler(sampler).build();
    let span = provider.tracer("test").start_with_context("child", cx);
    cx.with_span(span)
}

#[test]
fn parses_ids_and_flags() {
    let parent = TraceParent::parse(VALID.as_bytes()).unwrap();
    assert_eq!(parent.trace_id(), TraceId::from_hex("0af7651916cd43dd8448eb211c80319c").unwrap());
    assert_eq!(parent.span_id(), SpanId::from_hex("b7ad6b7169203331").unwrap());
    assert_eq!(parent.flags(), TraceFlags::SAMPLED);
    assert_eq!(parent.to_string(), VALID);
}

#[test]
fn rejects_every_single_byte_that_does_not_belong() {
    for at in 0..VALID.len() {
        for byte in 0..=u8::MAX {
            let mut value = VALID.as_bytes().to_vec();
            value[at] = byte;
            let dash = matches!(at, 2 | 35 | 52);
            let hex = matches!(byte, b'0'..=b'9' | b'a'..=b'f');
            let belongs = if dash { byte == b'-' } else { hex };
            assert_eq!(TraceParent::parse(&value).is_some(), belongs, "byte {byte:#04x} at {at}");
        }
    }
}

#[test]
fn rejects_every_wrong_length_of_version_00() {
    let long = format!("{VALID}-");
    for len in (0..VALID.len()).chain([VALID.len() + 1]) {
        assert_eq!(TraceParent::parse(&long.as_bytes()[..len]), None, "length {len}");
    }
}

#[test]
fn keeps_the_known_flags_only() {
    for flags in 0..=u8::MAX {
        let value = format!("{}{flags:02x}", &VALID[..53]);
        let parent = TraceParent::parse(value.as_bytes()).unwrap();
        assert_eq!(parent.flags().to_u8(), flags & 3);
        assert!(parent.to_string().ends_with(&format!("-0{}", flags & 3)));
    }
}

#[test]
fn sends_no_unknown_flag_of_a_local_span() {
    let sc = SpanContext::new(
        TraceId::from(1),
        SpanId::from(2),
        TraceFlags::new(0xff),
        false,
        TraceState::NONE,
    );
    let sent = injected(&Context::new().with_remote_span_context(sc));
    assert_eq!(sent.len(), 1);
    assert!(sent[0].1.ends_with("-03"), "{sent:?}");
}

#[test]
fn sends_nothing_without_a_valid_span_context() {
    assert_eq!(injected(&Context::new()), []);
    assert_eq!(injected(&Context::new().with_remote_span_context(SpanContext::NONE)), []);
}

#[test]
fn invalid_header_leaves_the_context_as_it_was() {
    let cx = extracted(&[("traceparent", VALID), ("tracestate", "a=1")]);
    let same = TraceContextPropagator::new()
        .extract_with_context(&cx, &Lines::new(&[("traceparent", "00"), ("tracestate", "b=1")]));
    assert_eq!(injected(&same), injected(&cx));
}

#[test]
fn tracestate_of_an_earlier_extraction_does_not_leak() {
    let first = extracted(&[("traceparent", VALID), ("tracestate", "a=1")]);
    for trace in ["0af7651916cd43dd8448eb211c80319c", "0af7651916cd43dd8448eb211c80319d"] {
        let value = format!("00-{trace}-b7ad6b7169203332-00");
        let second = TraceContextPropagator::new()
            .extract_with_context(&first, &Lines::new(&[("traceparent", &value)]));
        assert_eq!(injected(&second), [("traceparent".to_owned(), value)]);
    }
}

#[test]
fn random_flag_of_an_earlier_extraction_does_not_leak() {
    let random = format!("{}03", &VALID[..53]);
    let first = extracted(&[("traceparent", &random)]);
    let second = TraceContextPropagator::new()
        .extract_with_context(&first, &Lines::new(&[("traceparent", VALID)]));
    assert_eq!(injected(&second), [("traceparent".to_owned(), VALID.to_owned())]);
}

#[test]
fn what_one_trace_received_is_not_sent_with_another() {
    let received = extracted(&[
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03"),
        ("tracestate", "a=1"),
    ]);
    let other = SpanContext::new(
        TraceId::from(1),
        SpanId::from(2),
        TraceFlags::SAMPLED,
        false,
        TraceState::NONE,
    );
    let sent = injected(&received.with_remote_span_context(other));
    let expected = "00-00000000000000000000000000000001-0000000000000002-01";
    assert_eq!(sent, [("traceparent".to_owned(), expected.to_owned())]);
}

#[test]
fn random_flag_survives_an_sdk_span_that_is_not_sampled() {
    for (flags, sampler, expected) in [
        ("02", Sampler::AlwaysOff, "-02"),
        ("03", Sampler::AlwaysOff, "-02"),
        ("02", Sampler::AlwaysOn, "-03"),
        ("00", Sampler::AlwaysOn, "-01"),
    ] {
        let value = format!("{}{flags}", &VALID[..53]);
        let cx = sdk_child(sampler, &extracted(&[("traceparent", &value)]));
        let sent = injected(&cx);
        assert!(sent[0].1.starts_with(&VALID[..36]), "{sent:?}");
        assert!(sent[0].1.ends_with(expected), "{flags} became {sent:?}");
    }
}

#[test]
fn received_tracestate_survives_an_sdk_span() {
    let headers = [("traceparent", VALID), ("tracestate", "foo@@bar=1,b= 2")];
    let cx = extracted(&headers);
    // What fits is there for samplers.
    assert_eq!(cx.span().span_context().trace_state().header(), "b= 2");
    for sampler in [Sampler::AlwaysOn, Sampler::AlwaysOff] {
        let sent = injected(&sdk_child(sampler, &cx));
        assert_eq!(sent[1], ("tracestate".to_owned(), "foo@@bar=1,b= 2".to_owned()));
    }
}

#[test]
fn sampler_that_changed_the_trace_state_wins() {
    #[derive(Clone, Debug)]
    struct Stamping;
    impl ShouldSample for Stamping {
        fn should_sample(
            &self,
            parent: Option<&Context>,
            _: TraceId,
            _: &str,
            _: &SpanKind,
            _: &[KeyValue],
            _: &[opentelemetry::trace::Link],
        ) -> SamplingResult {
            let state = parent.unwrap().span().span_context().trace_state().clone();
            SamplingResult {
                decision: SamplingDecision::RecordAndSample,
                attributes: Vec::new(),
                trace_state: state.insert("ot", "th:8").unwrap(),
            }
        }
    }
    let cx = extracted(&[("traceparent", VALID), ("tracestate", "foo@@bar=1,b=2,ot=th:c")]);
    let sent = injected(&sdk_child(Stamping, &cx));
    assert_eq!(sent[1], ("tracestate".to_owned(), "ot=th:8,b=2,foo@@bar=1".to_owned()));
}

#[test]
fn names_its_fields() {
    let propagator = TraceContextPropagator::new();
    assert_eq!(propagator.fields().collect::<Vec<_>>(), ["traceparent", "tracestate"]);
}

proptest! {
    #[test]
    fn parse_is_the_inverse_of_format(
        trace in 1u128..,
        span in 1u64..,
        flags in 0u8..4,
    ) {
        let parent = TraceParent {
            trace_id: TraceId::from(trace),
            span_id: SpanId::from(span),
            flags: TraceFlags::new(flags),
        };
        prop_assert_eq!(
            parent.to_string(),
            format!("00-{trace:032x}-{span:016x}-{flags:02x}")
        );
        prop_assert_eq!(TraceParent::parse(&parent.format()), Some(parent));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        let _ = TraceParent::parse(&bytes);
    }

    #[test]
    fn whatever_parses_is_sent_in_an_equal_form(
        value in "[ \t]?(00|01|cc|ff)-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-x)?[ \t]?",
    ) {
        if let Some(parent) = TraceParent::parse(value.as_bytes()) {
            let sent = parent.format();
            prop_assert_eq!(&sent[2..53], &value.trim().as_bytes()[2..53]);
            prop_assert_eq!(TraceParent::parse(&sent), Some(parent));
        }
    }
}
