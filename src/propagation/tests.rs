//! Whole hops: headers in, headers out. One row or more for each test of the W3C harness.

use opentelemetry::baggage::KeyValueMetadata;
use opentelemetry::propagation::{
    Extractor, Injector, TextMapCompositePropagator, TextMapPropagator,
};
use opentelemetry::trace::{SpanId, TraceFlags, TraceId};
use proptest::prelude::*;

use super::*;

/// A carrier with several lines a header, names in any case.
#[derive(Clone, Debug, Default)]
pub(super) struct Lines(pub(super) Vec<(String, Vec<u8>)>);

impl Lines {
    pub(super) fn new(headers: &[(&str, &str)]) -> Self {
        Self(headers.iter().map(|(n, v)| ((*n).to_owned(), v.as_bytes().to_vec())).collect())
    }

    pub(super) fn into_text(self) -> Vec<(String, String)> {
        self.0.into_iter().map(|(n, v)| (n, String::from_utf8(v).unwrap())).collect()
    }
}

impl HeaderLines for Lines {
    fn lines(&self, field: Field) -> impl Iterator<Item = &[u8]> {
        self.0
            .iter()
            .filter(move |(name, _)| name.eq_ignore_ascii_case(field.name()))
            .map(|(_, value)| value.as_slice())
    }
}

impl Extractor for Lines {
    fn get(&self, _: &str) -> Option<&str> {
        unreachable!("a propagator that reads one line only misses the others")
    }

    fn keys(&self) -> Vec<&str> {
        self.0.iter().map(|(name, _)| name.as_str()).collect()
    }

    fn get_all(&self, key: &str) -> Option<Vec<&str>> {
        let lines: Vec<_> = self
            .0
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case(key))
            .map(|(_, value)| std::str::from_utf8(value).unwrap())
            .collect();
        (!lines.is_empty()).then_some(lines)
    }
}

impl Injector for Lines {
    fn set(&mut self, key: &str, value: String) {
        self.0.retain(|(name, _)| !name.eq_ignore_ascii_case(key));
        self.0.push((key.to_owned(), value.into_bytes()));
    }
}

fn composite() -> TextMapCompositePropagator {
    TextMapCompositePropagator::new(vec![
        Box::new(TraceContextPropagator::new()),
        Box::new(BaggagePropagator::new()),
    ])
}

const NEW_TRACE: &str = "00000000000000000000000000000abc";

/// A service between two others: it continues the trace or starts [`NEW_TRACE`], and calls out with
/// a span id of its own.
fn child_of(parent: Option<TraceParent>, span_id: u64) -> TraceParent {
    TraceParent {
        trace_id: parent.map_or_else(|| TraceId::from(0xabc), |p| p.trace_id),
        span_id: SpanId::from(span_id),
        flags: parent.map_or(TraceFlags::SAMPLED, |p| p.flags),
    }
}

fn text(value: &[u8]) -> String {
    std::str::from_utf8(value).unwrap().to_owned()
}

/// The text of a header.
fn text_of(value: Sent<'_>) -> String {
    match value {
        Sent::Parent(parent) => text(&parent.format()),
        Sent::Text(text) => text.to_owned(),
    }
}

/// The headers that the service sends, by way of the functions that the middleware uses.
fn hop(headers: &Lines, span_id: u64) -> Vec<(String, String)> {
    let received = extract(headers);
    let sent = Carried { parent: Some(child_of(received.parent, span_id)), ..received };
    let mut out = Vec::new();
    inject(&sent, |field, value| {
        out.extend(value.map(|value| (field.name().to_owned(), text_of(value))));
    });
    out
}

/// The same by way of the propagators.
fn hop_with_propagators(headers: &Lines, span_id: u64) -> Vec<(String, String)> {
    let cx = composite().extract_with_context(&Context::new(), headers);
    let child = child_of(TraceParent::of(&cx), span_id);
    let sc = SpanContext::new(
        child.trace_id,
        child.span_id,
        child.flags,
        false,
        cx.span().span_context().trace_state().clone(),
    );
    let mut out = Lines::default();
    composite().inject_context(&cx.with_remote_span_context(sc), &mut out);
    out.into_text()
}

const TRACE: &str = "12345678901234567890123456789012";
const PARENT: &str = "00-12345678901234567890123456789012-1234567890123456-00";

/// What a row expects to go out.
enum Expect<'a> {
    /// A new trace, and no tracestate.
    New,
    /// The incoming trace, with this tracestate.
    Same(Option<&'a str>),
}
use Expect::{New, Same};

#[track_caller]
fn check(test: &str, headers: &[(&str, &str)], expect: &Expect<'_>) {
    let headers = Lines::new(headers);
    let out = hop(&headers, 7);
    assert_eq!(out, hop_with_propagators(&headers, 7), "{test}: {headers:?}");
    let parent = &out[0];
    assert_eq!(parent.0, "traceparent", "{test}: {headers:?}");
    let trace_id = &parent.1[3..35];
    let state = out.get(1).map(|(name, value)| {
        assert_eq!(name, "tracestate");
        value.as_str()
    });
    assert!(out.len() <= 2, "{test}: {out:?}");
    let found = (trace_id, state);
    match *expect {
        New => assert_eq!(found, (NEW_TRACE, None), "{test}: {headers:?}"),
        Same(state) => assert_eq!(found, (TRACE, state), "{test}: {headers:?}"),
    }
    assert_eq!(&parent.1[35..53], "-0000000000000007-", "{test}: {headers:?}");
}

/// `(harness test, traceparent lines, expectation)`.
#[test]
fn harness_traceparent_tests_pass() {
    const ID: &str = "1234567890123456";
    let with = |version: &str, trace: &str, parent: &str, flags: &str| {
        vec![format!("{version}-{trace}-{parent}-{flags}")]
    };
    let version = |v: &str, suffix: &str| with(v, TRACE, ID, &format!("01{suffix}"));
    let trace = |trace: &str| with("00", trace, ID, "01");
    let parent = |parent: &str| with("00", TRACE, parent, "01");
    let flags = |flags: &str| with("00", TRACE, ID, flags);
    let one = |value: &str| vec![value.to_owned()];
    let padded = |before: &str, after: &str| vec![format!("{before}{PARENT}{after}")];

    let rows: &[(&str, Vec<String>, Expect<'_>)] = &[
        ("both_traceparent_and_tracestate_missing", vec![], New),
        ("traceparent_included_tracestate_missing", one(PARENT), Same(None)),
        (
            "traceparent_duplicated",
            vec![
                "00-12345678901234567890123456789011-1234567890123456-01".into(),
                "00-12345678901234567890123456789012-1234567890123456-01".into(),
            ],
            New,
        ),
        ("traceparent_duplicated", vec![PARENT.into(), PARENT.into()], New),
        ("traceparent_duplicated", vec![PARENT.into(), String::new()], New),
        ("traceparent_duplicated", one(&format!("{PARENT},{PARENT}")), New),
        ("traceparent_version_0x00", version("00", "."), New),
        ("traceparent_version_0x00", version("00", "-what-the-future-will-be-like"), New),
        ("traceparent_version_0x00", version("00", "-"), New),
        ("traceparent_version_0xcc", version("cc", ""), Same(None)),
        ("traceparent_version_0xcc", version("cc", "-what-the-future-will-be-like"), Same(None)),
        ("traceparent_version_0xcc", version("cc", ".what-the-future-will-not-be-like"), New),
        ("traceparent_version_0xff", version("ff", ""), New),
        ("traceparent_version_0xff", version("ff", "-extra"), New),
        ("traceparent_version_illegal_characters", version(".0", ""), New),
        ("traceparent_version_illegal_characters", version("0.", ""), New),
        ("traceparent_version_illegal_characters", version("+0", ""), New),
        ("traceparent_version_illegal_characters", version("CC", ""), New),
        ("traceparent_version_too_long", version("000", ""), New),
        ("traceparent_version_too_long", version("0000", ""), New),
        ("traceparent_version_too_short", version("0", ""), New),
        ("traceparent_trace_id_all_zero", trace(&"0".repeat(32)), New),
        ("traceparent_trace_id_illegal_characters", trace(".2345678901234567890123456789012"), New),
        ("traceparent_trace_id_illegal_characters", trace("1234567890123456789012345678901."), New),
        ("traceparent_trace_id_illegal_characters", trace("A2345678901234567890123456789012"), New),
        ("traceparent_trace_id_too_long", trace("123456789012345678901234567890123"), New),
        ("traceparent_trace_id_too_short", trace("1234567890123456789012345678901"), New),
        ("traceparent_parent_id_all_zero", parent("0000000000000000"), New),
        ("traceparent_parent_id_illegal_characters", parent(".234567890123456"), New),
        ("traceparent_parent_id_illegal_characters", parent("123456789012345."), New),
        ("traceparent_parent_id_illegal_characters", parent("A234567890123456"), New),
        ("traceparent_parent_id_too_long", parent("12345678901234567"), New),
        ("traceparent_parent_id_too_short", parent("123456789012345"), New),
        ("traceparent_trace_flags_illegal_characters", flags(".0"), New),
        ("traceparent_trace_flags_illegal_characters", flags("0."), New),
        ("traceparent_trace_flags_illegal_characters", flags("0A"), New),
        ("traceparent_trace_flags_too_long", flags("001"), New),
        ("traceparent_trace_flags_too_short", flags("1"), New),
        ("traceparent_ows_handling", padded(" ", ""), Same(None)),
        ("traceparent_ows_handling", padded("\t", ""), Same(None)),
        ("traceparent_ows_handling", padded("", " "), Same(None)),
        ("traceparent_ows_handling", padded("", "\t"), Same(None)),
        ("traceparent_ows_handling", padded("\t \t", " \t "), Same(None)),
        ("traceparent_ows_handling", padded("\u{b}", ""), New),
    ];
    for (test, lines, expect) in rows {
        let mut headers: Vec<_> = lines.iter().map(|line| ("traceparent", line.as_str())).collect();
        check(test, &headers, expect);
        // An unusable traceparent takes the tracestate with it, whatever that holds.
        if matches!(expect, New) {
            headers.push(("tracestate", "foo=1"));
            check(test, &headers, expect);
        }
    }
}

#[test]
fn harness_header_name_tests_pass() {
    for name in ["trace-parent", "trace.parent"] {
        check("traceparent_header_name", &[(name, PARENT)], &New);
    }
    for name in ["TraceParent", "TrAcEpArEnT", "TRACEPARENT"] {
        check("traceparent_header_name_valid_casing", &[(name, PARENT)], &Same(None));
    }
    for name in ["trace-state", "trace.state"] {
        let headers = [("traceparent", PARENT), (name, "foo=1")];
        check("tracestate_header_name", &headers, &Same(None));
    }
    for name in ["TraceState", "TrAcEsTaTe", "TRACESTATE"] {
        let headers = [("traceparent", PARENT), (name, "foo=1")];
        check("tracestate_header_name_valid_casing", &headers, &Same(Some("foo=1")));
    }
    check("tracestate_included_traceparent_missing", &[("tracestate", "foo=1")], &New);
}

/// `(harness test, tracestate lines, what is sent)`.
#[test]
fn harness_tracestate_tests_pass() {
    const KEYS: &str = "abcdefghijklmnopqrstuvwxyz0123456789_-*/=1";
    const VENDOR_KEYS: &str = "abcdefghijklmnopqrstuvwxyz0123456789_-*/@a-z0-9_-*/=1";
    const VALUE: &str = "foo= !\"#$%&'()*+-./0123456789:;<>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~";
    let rows: &[(&str, &[&str], Option<&str>)] = &[
        ("tracestate_included_traceparent_included", &["foo=1,bar=2"], Some("foo=1,bar=2")),
        ("tracestate_empty_header", &[""], None),
        ("tracestate_empty_header", &["foo=1", ""], Some("foo=1")),
        ("tracestate_empty_header", &["", "foo=1"], Some("foo=1")),
        (
            "tracestate_multiple_headers_different_keys",
            &["foo=1,bar=2", "rojo=1,congo=2", "baz=3"],
            Some("foo=1,bar=2,rojo=1,congo=2,baz=3"),
        ),
        ("tracestate_duplicated_keys", &["foo=1,foo=1"], Some("foo=1,foo=1")),
        ("tracestate_duplicated_keys", &["foo=1,foo=2"], Some("foo=1,foo=2")),
        ("tracestate_duplicated_keys", &["foo=1", "foo=1"], Some("foo=1,foo=1")),
        ("tracestate_duplicated_keys", &["foo=1", "foo=2"], Some("foo=1,foo=2")),
        ("tracestate_all_allowed_characters", &[KEYS], Some(KEYS)),
        ("tracestate_all_allowed_characters", &[VENDOR_KEYS], Some(VENDOR_KEYS)),
        ("tracestate_all_allowed_characters", &[VALUE], Some(VALUE)),
        ("tracestate_ows_handling", &["foo=1 \t , \t bar=2, \t baz=3"], Some("foo=1,bar=2,baz=3")),
        (
            "tracestate_ows_handling",
            &["foo=1\t \t,\t \tbar=2,\t \tbaz=3"],
            Some("foo=1,bar=2,baz=3"),
        ),
        ("tracestate_ows_handling", &[" foo=1"], Some("foo=1")),
        ("tracestate_ows_handling", &["\tfoo=1"], Some("foo=1")),
        ("tracestate_ows_handling", &["foo=1 "], Some("foo=1")),
        ("tracestate_ows_handling", &["foo=1\t"], Some("foo=1")),
        ("tracestate_ows_handling", &["\t foo=1 \t"], Some("foo=1")),
        ("tracestate_key_illegal_characters", &["foo =1"], None),
        ("tracestate_key_illegal_characters", &["FOO=1"], None),
        ("tracestate_key_illegal_characters", &["foo.bar=1"], None),
        ("tracestate_key_illegal_vendor_format", &["foo@=1,bar=2"], Some("foo@=1,bar=2")),
        ("tracestate_key_illegal_vendor_format", &["@foo=1,bar=2"], None),
        ("tracestate_key_illegal_vendor_format", &["foo@@bar=1,bar=2"], Some("foo@@bar=1,bar=2")),
        (
            "tracestate_key_illegal_vendor_format",
            &["foo@bar@baz=1,bar=2"],
            Some("foo@bar@baz=1,bar=2"),
        ),
        ("tracestate_value_illegal_characters", &["foo=bar=baz"], None),
        ("tracestate_value_illegal_characters", &["foo=,bar=3"], None),
        ("tracestate_value_illegal_characters", &["foo=\u{7f},bar=3"], None),
    ];
    for (test, lines, sent) in rows {
        check_tracestate(test, lines, *sent);
    }
}

#[track_caller]
fn check_tracestate(test: &str, lines: &[&str], sent: Option<&str>) {
    let mut headers = vec![("traceparent", PARENT)];
    headers.extend(lines.iter().map(|line| ("tracestate", *line)));
    check(test, &headers, &Same(sent));
}

#[test]
fn harness_tracestate_limit_tests_pass() {
    let members: Vec<_> = (0..33).map(|i| format!("bar{i:02}={i:02}")).collect();
    let lines: Vec<_> = members[..32].chunks(8).map(|chunk| chunk.join(",")).collect();
    let lines: Vec<_> = lines.iter().map(String::as_str).collect();
    let test = "tracestate_member_count_limit";
    check_tracestate(test, &lines, Some(&members[..32].join(",")));
    check_tracestate(test, &[&members[..32].join(",")], Some(&members[..32].join(",")));
    check_tracestate(test, &[&members.join(",")], None);
    check_tracestate(test, &[lines.as_slice(), &["bar32=32"]].concat(), None);

    let test = "tracestate_key_length_limit";
    let (t, v) = (|n| "t".repeat(n), |n| "v".repeat(n));
    for (key, is_valid) in [
        ("z".repeat(256), true),
        ("z".repeat(257), false),
        (format!("{}@{}", t(241), v(14)), true),
        (format!("{}@v", t(242)), true),
        (format!("t@{}", v(15)), true),
    ] {
        let text = format!("foo=1,{key}=1");
        check_tracestate(test, &[&text], is_valid.then_some(&*text));
    }
}

#[test]
fn harness_advanced_tests_pass() {
    type Row<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str);
    let rows: [Row<'_>; 3] = [
        ("multiple_requests_with_valid_traceparent", &[("traceparent", PARENT)], TRACE),
        ("multiple_requests_without_traceparent", &[], NEW_TRACE),
        (
            "multiple_requests_with_illegal_traceparent",
            &[("traceparent", "00-00000000000000000000000000000000-1234567890123456-01")],
            NEW_TRACE,
        ),
    ];
    for (test, headers, trace) in rows {
        let sent: Vec<_> = [1, 2, 3].map(|id| hop(&Lines::new(headers), id)[0].1.clone()).into();
        for (i, value) in sent.iter().enumerate() {
            assert_eq!(&value[3..35], trace, "{test}");
            assert_eq!(&value[36..52], format!("{:016x}", i + 1), "{test}");
        }
    }
}

#[test]
fn harness_level_2_test_propagates_random_flag() {
    for flags in ["00", "01", "02", "03"] {
        let value = format!("{}{flags}", &PARENT[..53]);
        for hop in [hop, hop_with_propagators] {
            let out = hop(&Lines::new(&[("traceparent", &value)]), 7);
            assert_eq!(&out[0].1[53..], flags);
        }
    }
}

#[test]
fn baggage_travels_with_or_without_a_parent() {
    for headers in [
        &[("baggage", "b=1;p"), ("baggage", "a=2")][..],
        &[("traceparent", PARENT), ("tracestate", "x=1"), ("baggage", "b=1;p,a=2")],
        &[("traceparent", "broken"), ("tracestate", "x=1"), ("Baggage", "b=1;p,a=2")],
    ] {
        let headers = Lines::new(headers);
        for hop in [hop, hop_with_propagators] {
            let out = hop(&headers, 7);
            assert_eq!(out.last().unwrap(), &("baggage".to_owned(), "b=1;p,a=2".to_owned()));
        }
    }
}

#[test]
fn every_field_is_told_even_when_there_is_nothing_to_send() {
    let told = |carried: &Carried| {
        let mut told = Vec::new();
        inject(carried, |field, value| told.push((field, value.is_some())));
        <[_; 3]>::try_from(told).unwrap()
    };
    let fields = [Field::TraceParent, Field::TraceState, Field::Baggage];
    assert_eq!(told(&Carried::default()), fields.map(|field| (field, false)));
    let full =
        extract(&Lines::new(&[("traceparent", PARENT), ("tracestate", "a=1"), ("baggage", "b=1")]));
    assert_eq!(told(&full), fields.map(|field| (field, true)));
    // The tracestate belongs to the parent: without one it stays.
    let cut = Carried { parent: None, ..full };
    assert_eq!(told(&cut).map(|(_, has_value)| has_value), [false, false, true]);
}

#[test]
fn context_with_the_span_of_another_trace_carries_no_received_tracestate() {
    let headers = [("traceparent", PARENT), ("tracestate", "a=1"), ("baggage", "b=1")];
    let cx = extract(&Lines::new(&headers)).into_context();
    let other = child_of(None, 2);
    let other =
        SpanContext::new(other.trace_id, other.span_id, other.flags, false, Default::default());
    let carried = Carried::from_context(&cx.with_remote_span_context(other));
    let mut sent = Vec::new();
    inject(&carried, |field, value| sent.extend(value.map(|_| field)));
    assert_eq!(sent, [Field::TraceParent, Field::Baggage]);
}

#[test]
fn usual_request_has_no_entries() {
    let carried = extract(&Lines::new(&[("traceparent", PARENT), ("host", "x")]));
    assert!(carried.entries.is_none());
    assert!(Carried::from_context(&carried.into_context()).entries.is_none());
}

#[test]
fn usual_request_does_not_allocate() {
    let headers = Lines::new(&[("host", "x"), ("traceparent", PARENT)]);
    let cx = extract(&headers).into_context();
    let allocations = allocation_counter::measure(|| {
        let carried = extract(&headers);
        inject(&carried, |_, value| {
            std::hint::black_box(value);
        });
        std::hint::black_box(Carried::from_context(&cx));
    });
    assert_eq!(allocations.count_total, 0);
    // The counter counts.
    assert_ne!(allocation_counter::measure(|| drop(headers.clone())).count_total, 0);
}

#[test]
fn absent_and_invalid_headers_do_not_allocate() {
    for headers in [
        &[][..],
        &[("tracestate", "a=1")],
        &[("traceparent", "00-0-0-0"), ("tracestate", "a=1"), ("baggage", "nonsense,,")],
        &[("traceparent", PARENT), ("tracestate", "A=1"), ("baggage", "a b=1")],
    ] {
        let lines = Lines::new(headers);
        let allocations = allocation_counter::measure(|| {
            std::hint::black_box(extract(&lines));
        });
        assert_eq!(allocations.count_total, 0, "{headers:?}");
    }
}

#[cfg(feature = "actix-web")]
#[test]
fn reading_a_header_map_does_not_allocate() {
    use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
    let mut headers = HeaderMap::new();
    headers.append(HeaderName::from_static("traceparent"), HeaderValue::from_static(PARENT));
    let allocations = allocation_counter::measure(|| {
        assert!(extract(&headers).parent.is_some());
    });
    assert_eq!(allocations.count_total, 0);
}

#[test]
fn context_without_a_parent_has_no_active_span() {
    let cx = extract(&Lines::new(&[("traceparent", PARENT), ("baggage", "a=1")])).into_context();
    let carried = Carried { parent: None, ..Carried::from_context(&cx) };
    let cx = carried.into_context();
    assert!(!cx.span().span_context().is_valid());
    assert_eq!(cx.baggage().len(), 1);
}

#[test]
fn composite_reads_and_writes_all_fields() {
    let headers = [
        ("traceparent", "00-12345678901234567890123456789012-1234567890123456-03"),
        ("tracestate", "foo@@bar= 1,b=2"),
        ("baggage", "z=%C3%A4;p=1,a=x=y"),
    ];
    let cx = composite().extract_with_context(&Context::new(), &Lines::new(&headers));
    let mut out = Lines::default();
    composite().inject_context(&cx, &mut out);
    assert_eq!(out.into_text(), headers.map(|(n, v)| (n.to_owned(), v.to_owned())));
    let propagator = composite();
    let mut fields: Vec<_> = propagator.fields().collect();
    fields.sort_unstable();
    assert_eq!(fields, ["baggage", "traceparent", "tracestate"]);
}

#[cfg(feature = "awc")]
#[test]
fn injection_into_a_header_map_removes_what_is_stale() {
    use awc::http::header::{HeaderMap, HeaderName, HeaderValue};
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("traceparent", "stale"),
        ("tracestate", "stale=1"),
        ("tracestate", "stale=2"),
        ("baggage", "stale=1"),
        ("host", "kept"),
    ] {
        headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    overwrite(&extract(&Lines::new(&[("traceparent", PARENT)])), &mut headers);
    assert_eq!(headers.len(), 2);
    assert_eq!(headers.get("traceparent").unwrap(), PARENT);
    assert_eq!(headers.get("host").unwrap(), "kept");
    // An extraction from the map itself sees what was sent.
    assert_eq!(extract(&headers).parent, TraceParent::parse(PARENT.as_bytes()));
    overwrite(&Carried::default(), &mut headers);
    assert_eq!(headers.len(), 1);
}

proptest! {
    #[test]
    fn extract_is_the_inverse_of_inject(
        trace in 1u128..,
        span in 1u64..,
        flags in 0u8..4,
        members in prop::collection::vec("[a-z0-9][a-z0-9_*/@-]{0,9}= ?[!-+.-<>-~]{1,9}", 0..32),
        baggage in prop::collection::btree_map("[a-zA-Z0-9!#$%]{1,9}", "\\PC{0,20}", 0..9),
    ) {
        let parent = TraceParent {
            trace_id: TraceId::from(trace),
            span_id: SpanId::from(span),
            flags: TraceFlags::new(flags),
        };
        let mut cx = Context::new().with_baggage(
            baggage
                .iter()
                .map(|(n, v)| KeyValueMetadata::new(n.clone(), v.clone(), ""))
                .collect::<Vec<_>>(),
        );
        if !members.is_empty() {
            cx = cx.with_value(RawTraceState(members.join(",").into()));
        }
        let carried = Carried { parent: Some(parent), entries: Some(cx) };

        // By the functions of the middleware, by a context, and by the propagators.
        let mut first = Lines::default();
        inject(&carried, |field, value| {
            if let Some(value) = value {
                first.set(field.name(), text_of(value));
            }
        });
        let back = extract(&first);
        prop_assert_eq!(back.parent, Some(parent));
        let raw = back.entries.as_ref().and_then(|cx| cx.get::<RawTraceState>());
        prop_assert_eq!(raw.map_or("", |raw| &*raw.0), members.join(","));
        let back_baggage = back.entries.as_ref().map(|cx| cx.baggage());
        prop_assert_eq!(back_baggage.map_or(0, |b| b.len()), baggage.len());
        for (name, value) in &baggage {
            let found = back_baggage.and_then(|b| b.get(name)).map(|v| v.as_str());
            prop_assert_eq!(found, Some(value.as_str()));
        }

        let mut second = Lines::default();
        composite().inject_context(&back.into_context(), &mut second);
        prop_assert_eq!(second.into_text(), first.clone().into_text());
        let mut third = Lines::default();
        let cx = composite().extract_with_context(&Context::new(), &first);
        composite().inject_context(&cx, &mut third);
        prop_assert_eq!(third.into_text(), first.into_text());
    }

    #[test]
    fn arbitrary_headers_never_panic_and_what_is_sent_is_valid(
        lines in prop::collection::vec(
            (
                prop::sample::select(&["traceparent", "tracestate", "baggage"][..]),
                prop_oneof![
                    prop::collection::vec(any::<u8>(), 0..100),
                    "(00|cc)-[0-9a-f]{32}-[0-9a-f]{16}-0[0-3]".prop_map(String::into_bytes),
                    "[a-c]=[%0-9a-z;= ]{0,9}(,[ a-z=%]{0,9}){0,4}".prop_map(String::into_bytes),
                ],
            ),
            0..5,
        ),
    ) {
        let lines = Lines(lines.into_iter().map(|(n, v)| (n.to_owned(), v)).collect());
        let carried = extract(&lines);
        inject(&carried, |_, value| {
            if let Some(value) = value {
                let value = text_of(value);
                assert!(!value.is_empty());
                assert!(value.bytes().all(|b| matches!(b, b' '..=b'~' | b'\t')), "{value:?}");
            }
        });
        let _ = Carried::from_context(&carried.into_context());
    }
}
