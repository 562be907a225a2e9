//! The `tracestate` header: checked and kept as text.

use std::borrow::Cow;
use std::sync::Arc;

use opentelemetry::Context;
use opentelemetry::trace::{TraceContextExt as _, TraceState};

use super::carrier::trim_ows;
use super::trace_context::Origin;

const MAX_MEMBERS: usize = 32;
const MAX_KEY: usize = 256;
const MAX_VALUE: usize = 256;

/// A `tracestate` header as received: not all keys of level 2 fit [`TraceState`], so the text is
/// kept.
///
/// Rides in the [`Context`] as a value, next to the remote span context. Empty stands for none,
/// since a value cannot be taken out of a context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RawTraceState(pub(crate) Arc<str>);

impl RawTraceState {
    /// Joins the lines of a header. `None` if nothing is left, or if any member is invalid: what
    /// the remaining ones would mean without it is unknown.
    ///
    /// The white space between members goes, and so do empty members. The bytes of a member stay.
    pub(super) fn parse<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Option<Self> {
        let mut text = String::new();
        let mut count = 0;
        for line in lines {
            for member in line.split(|&b| b == b',').map(trim_ows).filter(|m| !m.is_empty()) {
                count += 1;
                if count > MAX_MEMBERS || !is_member(member) {
                    return None;
                }
                if text.is_empty() {
                    text.reserve(line.len().min(MAX_MEMBERS * (MAX_KEY + MAX_VALUE + 2)));
                } else {
                    text.push(',');
                }
                text.push_str(std::str::from_utf8(member).ok()?);
            }
        }
        (count > 0).then(|| Self(text.into()))
    }

    /// As much of the trace state in `cx` as a [`TraceState`] can hold.
    pub(crate) fn of(cx: &Context) -> TraceState {
        cx.get::<Self>().map(Self::to_trace_state).unwrap_or_default()
    }

    /// What to send in place of the trace state in `cx` where a sampler, which saw [`of`](Self::of)
    /// that, answered `state`. `None` where it has left it as it was: then all of it is sent,
    /// members included that no [`TraceState`] can hold.
    pub(crate) fn changed(cx: &Context, state: &TraceState) -> Option<Self> {
        let raw = cx.get::<Self>();
        let is_same = raw.is_some_and(|raw| raw.is_held_by(state));
        (!is_same).then(|| Self(merged(state, raw).into()))
    }

    /// As much of this as a [`TraceState`] can hold.
    pub(super) fn to_trace_state(&self) -> TraceState {
        TraceState::from_key_value(self.members()).unwrap_or_else(|_| {
            let fitting = self.members().filter(|&member| fits_trace_state(member));
            TraceState::from_key_value(fitting).unwrap_or_default()
        })
    }

    fn members(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.split(',').filter_map(|member| member.split_once('='))
    }

    /// Whether `state` is still what [`to_trace_state`](Self::to_trace_state) made of this.
    fn is_held_by(&self, state: &TraceState) -> bool {
        state.into_iter().eq(self.members()) || *state == self.to_trace_state()
    }
}

/// The text to send with the active span of `cx`: borrowed if it is the one received.
///
/// [`TraceContextPropagator`](super::TraceContextPropagator) documents which one is taken.
pub(super) fn outgoing(cx: &Context) -> Option<Cow<'_, str>> {
    let span = cx.span();
    let state = span.span_context().trace_state();
    let is_empty = state.into_iter().len() == 0;
    let raw = cx.get::<RawTraceState>().filter(|raw| !raw.0.is_empty() && Origin::matches(cx));
    match raw {
        Some(raw) if is_empty || raw.is_held_by(state) => Some(Cow::Borrowed(&*raw.0)),
        None if is_empty => None,
        raw => Some(merged(state, raw)).filter(|text| !text.is_empty()).map(Cow::Owned),
    }
}

/// The members of `state`, then those of `raw` that it could never hold.
fn merged(state: &TraceState, raw: Option<&RawTraceState>) -> String {
    let unheld = raw
        .into_iter()
        .flat_map(RawTraceState::members)
        .filter(|&member| !fits_trace_state(member));
    let mut text = String::new();
    // `TraceState` accepts more than may be sent: empty keys, and any character in a value.
    let members = state
        .into_iter()
        .chain(unheld)
        .filter(|(k, v)| is_key(k.as_bytes()) && is_value(v.as_bytes()));
    for (key, value) in members.take(MAX_MEMBERS) {
        if !text.is_empty() {
            text.push(',');
        }
        text.extend([key, "=", value]);
    }
    text
}

fn fits_trace_state(member: (&str, &str)) -> bool {
    TraceState::from_key_value([member]).is_ok()
}

fn is_member(member: &[u8]) -> bool {
    let mut halves = member.splitn(2, |&b| b == b'=');
    halves.next().is_some_and(is_key) && halves.next().is_some_and(is_value)
}

fn is_key(key: &[u8]) -> bool {
    let is_simple = |b: &u8| matches!(b, b'a'..=b'z' | b'0'..=b'9');
    key.len() <= MAX_KEY
        && key.first().is_some_and(is_simple)
        && key.iter().all(|b| is_simple(b) || matches!(b, b'_' | b'-' | b'*' | b'/' | b'@'))
}

fn is_value(value: &[u8]) -> bool {
    value.len() <= MAX_VALUE
        && value.last().is_some_and(|&b| b != b' ')
        && value.iter().all(|b| matches!(b, b' '..=b'~') && !matches!(b, b',' | b'='))
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId};
    use proptest::prelude::*;

    use super::*;

    fn parse(lines: &[&str]) -> Option<String> {
        RawTraceState::parse(lines.iter().map(|l| l.as_bytes())).map(|raw| raw.0.to_string())
    }

    fn context(state: TraceState) -> Context {
        Context::new().with_remote_span_context(SpanContext::new(
            TraceId::from(1),
            SpanId::from(2),
            TraceFlags::SAMPLED,
            false,
            state,
        ))
    }

    #[test]
    fn members_are_checked_and_joined() {
        let key_256 = format!("{}=1", "k".repeat(256));
        let value_256 = format!("k={}", "v".repeat(256));
        let rows: &[(&[&str], Option<&str>)] = &[
            (&[], None),
            (&[""], None),
            (&[" ,\t,, "], None),
            (&["a=1"], Some("a=1")),
            (&[" a=1\t,\t,b=2 "], Some("a=1,b=2")),
            (&["a=1,", "", ",b=2"], Some("a=1,b=2")),
            (&["c=3", "a=1", "b=2"], Some("c=3,a=1,b=2")),
            (&["a= 1"], Some("a= 1")),
            (&["a=1 2"], Some("a=1 2")),
            (&["a=1\t2"], None),
            (&["a"], None),
            (&["a="], None),
            (&["a= "], None),
            (&["=1"], None),
            (&["a=1=2"], None),
            (&["a=1", "B=2"], None),
            (&["a=é"], None),
            (&["a=\u{7f}"], None),
            (&["_a=1"], None),
            (&["0@a_-*/@=1"], Some("0@a_-*/@=1")),
            (&[&key_256, &value_256], Some(&format!("{key_256},{value_256}"))),
            (&[&format!("k{key_256}")], None),
            (&[&format!("{value_256}v")], None),
        ];
        for (lines, expected) in rows {
            assert_eq!(parse(lines).as_deref(), *expected, "{lines:?}");
        }
    }

    #[test]
    fn trace_state_that_user_code_set_is_sent() {
        let state = TraceState::from_key_value([("b", "2"), ("a", "1")]).unwrap();
        assert_eq!(outgoing(&context(state)).as_deref(), Some("b=2,a=1"));
        assert_eq!(outgoing(&context(TraceState::default())), None);
    }

    #[test]
    fn members_that_cannot_be_sent_are_left_out() {
        let state =
            TraceState::from_key_value([("a", "1\r\nx: y"), ("", "1"), ("b", ""), ("c", "é")]);
        assert_eq!(outgoing(&context(state.unwrap())), None);
        let state = TraceState::from_key_value([("a", "\n"), ("b", "2")]).unwrap();
        assert_eq!(outgoing(&context(state)).as_deref(), Some("b=2"));
    }

    #[test]
    fn merging_stays_within_the_member_limit() {
        let text: Vec<_> = (0..32).map(|i| format!("a@@{i}=1")).collect();
        let raw = RawTraceState(text.join(",").into());
        let state = TraceState::from_key_value([("new", "1")]).unwrap();
        let cx = context(state).with_value(raw);
        let sent = outgoing(&cx).unwrap();
        assert_eq!(sent.split(',').count(), 32);
        assert!(sent.starts_with("new=1,a@@0=1,") && sent.ends_with(",a@@30=1"), "{sent}");
    }

    #[test]
    fn received_text_is_sent_where_the_span_has_no_trace_state() {
        let cx = context(TraceState::default()).with_value(RawTraceState("a=1".into()));
        assert!(matches!(outgoing(&cx), Some(Cow::Borrowed("a=1"))));
    }

    proptest! {
        #[test]
        fn valid_lists_are_kept_byte_for_byte(
            members in prop::collection::vec("[a-z0-9][a-z0-9_*/@-]{0,20}=[ -+.-<>-~]{0,20}[!-+.-<>-~]", 1..33),
        ) {
            let text = members.join(",");
            prop_assert_eq!(parse(&[&text]), Some(text.clone()));
            let lines: Vec<_> = members.iter().map(String::as_str).collect();
            prop_assert_eq!(parse(&lines), Some(text));
        }

        #[test]
        fn whatever_parses_parses_to_itself(lines in prop::collection::vec("[a-c=@, \t1]{0,40}", 0..4)) {
            let lines: Vec<_> = lines.iter().map(String::as_str).collect();
            if let Some(text) = parse(&lines) {
                prop_assert_eq!(parse(&[&text]), Some(text.clone()));
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(
            lines in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..4),
        ) {
            let _ = RawTraceState::parse(lines.iter().map(Vec::as_slice));
        }
    }
}
