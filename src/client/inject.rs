//! From what is carried to the headers of a request.

use actix_http::header::{HeaderMap, HeaderName};
use actix_http::{RequestHead, RequestHeadType};
use awc::ConnectRequest;

use super::settings::Settings;
use crate::propagation::{self, Carried, Field, HeaderInjector};

/// Writes `carried` over whatever trace context and baggage the request has already.
///
/// What there is nothing to write for is removed: a request that was copied from an incoming one
/// has the headers of its caller, who need not be trusted.
pub(super) fn inject(settings: &Settings, carried: &Carried, request: &mut ConnectRequest) {
    match request {
        ConnectRequest::Client(head, ..) => inject_into(settings, carried, head),
        ConnectRequest::Tunnel(head, _) => overwrite(settings, carried, &mut head.headers),
    }
}

/// Takes trace context and baggage out of a request, whoever has put them there.
pub(super) fn remove(settings: &Settings, request: &mut ConnectRequest) {
    match request {
        ConnectRequest::Client(head, ..) => remove_from(settings, head),
        ConnectRequest::Tunnel(head, _) => remove_names(settings, &mut head.headers),
    }
}

fn remove_from(settings: &Settings, head: &mut RequestHeadType) {
    let (shared, extra) = match head {
        RequestHeadType::Owned(head) => return remove_names(settings, &mut head.headers),
        RequestHeadType::Rc(shared, extra) => (shared, extra),
    };
    if let Some(extra) = extra {
        remove_names(settings, extra);
    }
    let mut is_stale = false;
    for_each_name(settings, |name| is_stale |= shared.headers.contains_key(name));
    if is_stale {
        let mut own = own(shared, extra.as_ref());
        remove_names(settings, &mut own.headers);
        *head = RequestHeadType::Owned(own);
    }
}

fn remove_names(settings: &Settings, headers: &mut HeaderMap) {
    for_each_name(settings, |name| drop(headers.remove(name)));
}

/// A copy of a shared head, with the headers that take the place of its own.
fn own(shared: &RequestHead, extra: Option<&HeaderMap>) -> RequestHead {
    let mut own = shared.clone();
    if let Some(extra) = extra {
        put_over(extra, &mut own.headers);
    }
    own
}

/// Puts `extra` in the place of all headers with the same names.
fn put_over(extra: &HeaderMap, headers: &mut HeaderMap) {
    for name in extra.keys() {
        headers.remove(name);
    }
    for (name, value) in extra {
        headers.append(name.clone(), value.clone());
    }
}

fn inject_into(settings: &Settings, carried: &Carried, head: &mut RequestHeadType) {
    if carried.is_empty() {
        return remove_from(settings, head);
    }
    let (shared, extra) = match head {
        RequestHeadType::Owned(head) => return overwrite(settings, carried, &mut head.headers),
        RequestHeadType::Rc(shared, extra) => (shared, extra.get_or_insert_default()),
    };
    overwrite(settings, carried, extra);
    // The head of a frozen request is shared. Extra headers take the place of those of the same
    // name, but a stale one that nothing takes the place of has to be removed from a copy.
    let mut is_stale = false;
    for_each_name(settings, |name| {
        is_stale |= shared.headers.contains_key(name) && !extra.contains_key(name);
    });
    if is_stale {
        let mut own = own(shared, None);
        remove_names(settings, &mut own.headers);
        put_over(extra, &mut own.headers);
        *head = RequestHeadType::Owned(own);
    }
}

fn overwrite(settings: &Settings, carried: &Carried, headers: &mut HeaderMap) {
    let Some(propagator) = &settings.http.propagator else {
        return propagation::overwrite(carried, headers);
    };
    remove_names(settings, headers);
    if !carried.is_empty() {
        let cx = carried.clone().into_other();
        propagator.inject_context(&cx, &mut HeaderInjector(headers));
    }
}

/// The headers that must say what is carried, or not be there.
fn for_each_name(settings: &Settings, mut f: impl FnMut(&HeaderName)) {
    match &settings.http.propagator {
        None => {
            for field in [Field::TraceParent, Field::TraceState, Field::Baggage] {
                f(field.header_name());
            }
        }
        Some(propagator) => {
            for field in propagator.fields() {
                if let Ok(name) = HeaderName::from_bytes(field.as_bytes()) {
                    f(&name);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;
    use std::sync::Arc;

    use actix_http::header::HeaderValue;
    use opentelemetry::baggage::BaggageExt as _;
    use opentelemetry::propagation::TextMapCompositePropagator;
    use opentelemetry::trace::{SpanId, TraceFlags, TraceId};
    use opentelemetry::{Context, KeyValue};

    use super::*;
    use crate::propagation::{BaggagePropagator, TraceContextPropagator, TraceParent};

    const TRACE: &str = "00-00000000000000000000000000000001-0000000000000002-01";

    fn trace() -> Option<TraceParent> {
        Some(TraceParent {
            trace_id: TraceId::from(1),
            span_id: SpanId::from(2),
            flags: TraceFlags::SAMPLED,
        })
    }

    fn baggage() -> Option<Context> {
        Some(Context::new().with_baggage([KeyValue::new("user", "a")]))
    }

    /// The first line of each header that reaches the wire.
    fn sent(carried: &Carried, mut head: RequestHeadType) -> [Option<String>; 4] {
        inject_into(&Settings::default(), carried, &mut head);
        ["traceparent", "tracestate", "baggage", "accept"].map(|name| {
            let extra = head.extra_headers().and_then(|extra| extra.get(name));
            let value = extra.or_else(|| head.as_ref().headers.get(name));
            value.map(|value| value.to_str().expect("the tests send ASCII").to_owned())
        })
    }

    fn heads() -> [RequestHeadType; 3] {
        let stale = || {
            let mut head = RequestHead::default();
            for name in ["traceparent", "tracestate", "baggage", "accept"] {
                let name = HeaderName::from_static(name);
                head.headers.append(name.clone(), HeaderValue::from_static("old"));
                head.headers.append(name, HeaderValue::from_static("older"));
            }
            head
        };
        let mut extra = HeaderMap::new();
        extra.insert(HeaderName::from_static("tracestate"), HeaderValue::from_static("old"));
        extra.insert(HeaderName::from_static("accept"), HeaderValue::from_static("old"));
        [
            RequestHeadType::Owned(stale()),
            RequestHeadType::Rc(Rc::new(stale()), None),
            RequestHeadType::Rc(Rc::new(stale()), Some(extra)),
        ]
    }

    #[test]
    fn headers_of_another_trace_are_replaced_or_removed() {
        for head in heads() {
            let carried = Carried { parent: trace(), entries: None };
            let [parent, state, baggage, accept] = sent(&carried, head);
            assert_eq!(parent.as_deref(), Some(TRACE));
            assert_eq!(state.filter(|state| !state.is_empty()), None);
            assert_eq!(baggage, None);
            assert_eq!(accept.as_deref(), Some("old"));
        }
        for head in heads() {
            let carried = Carried { parent: trace(), entries: baggage() };
            let [parent, _, baggage, _] = sent(&carried, head);
            assert_eq!(parent.as_deref(), Some(TRACE));
            assert_eq!(baggage.as_deref(), Some("user=a"));
        }
    }

    #[test]
    fn trace_of_nobody_is_removed_where_there_is_only_baggage() {
        for head in heads() {
            let carried = Carried { parent: None, entries: baggage() };
            let [parent, state, baggage, accept] = sent(&carried, head);
            assert_eq!((parent, state), (None, None));
            assert_eq!(baggage.as_deref(), Some("user=a"));
            assert_eq!(accept.as_deref(), Some("old"));
        }
    }

    #[test]
    fn nothing_to_carry_leaves_nothing_of_another_trace() {
        let mut custom = Settings::default();
        custom.http.propagator = Some(Arc::new(TextMapCompositePropagator::new(vec![
            Box::new(TraceContextPropagator::new()),
            Box::new(BaggagePropagator::new()),
        ])));
        for settings in [Settings::default(), custom] {
            for mut head in heads() {
                let mut tunnel = ConnectRequest::Tunnel(head.as_ref().clone(), None);
                inject(&settings, &Carried::default(), &mut tunnel);
                let ConnectRequest::Tunnel(tunnel, _) = tunnel else { unreachable!("made above") };
                assert_eq!(tunnel.headers.len_keys(), 1);
                assert!(tunnel.headers.contains_key("accept"));

                inject_into(&settings, &Carried::default(), &mut head);
                assert!(!holds_trace_context(&head));
                assert!(head.as_ref().headers.contains_key("accept"));
            }
        }
    }

    #[test]
    fn trace_context_is_removed_from_whatever_head_it_is_in() {
        for mut head in heads() {
            remove_from(&Settings::default(), &mut head);
            assert!(!holds_trace_context(&head));
            assert!(head.as_ref().headers.contains_key("accept"));
        }
    }

    fn holds_trace_context(head: &RequestHeadType) -> bool {
        let extra = head.extra_headers();
        ["traceparent", "tracestate", "baggage"].into_iter().any(|name| {
            extra.is_some_and(|extra| extra.contains_key(name))
                || head.as_ref().headers.contains_key(name)
        })
    }
}
