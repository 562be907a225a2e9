//! From what is carried to the headers of a request.

use actix_http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_http::{RequestHead, RequestHeadType};
use awc::ConnectRequest;

use super::settings::Settings;
use crate::propagation::{self, Carried, Field, HeaderInjector};

/// Writes `carried` over whatever trace context the request has already.
pub(super) fn inject(settings: &Settings, carried: &Carried, request: &mut ConnectRequest) {
    if carried.is_empty() {
        return;
    }
    match request {
        ConnectRequest::Client(head, ..) => inject_into(settings, carried, head),
        ConnectRequest::Tunnel(head, _) => overwrite(settings, carried, &mut head.headers),
    }
}

/// Takes trace context and baggage out of a request, whoever has put them there.
pub(super) fn remove(settings: &Settings, request: &mut ConnectRequest) {
    let names: Vec<HeaderName> = match &settings.http.propagator {
        None => [Field::TraceParent, Field::TraceState, Field::Baggage]
            .map(|field| field.header_name().clone())
            .to_vec(),
        Some(propagator) => {
            propagator.fields().filter_map(|f| HeaderName::from_bytes(f.as_bytes()).ok()).collect()
        }
    };
    match request {
        ConnectRequest::Client(head, ..) => remove_from(&names, head),
        ConnectRequest::Tunnel(head, _) => names.iter().for_each(|n| drop(head.headers.remove(n))),
    }
}

fn remove_from(names: &[HeaderName], head: &mut RequestHeadType) {
    let (shared, extra) = match head {
        RequestHeadType::Owned(head) => {
            return names.iter().for_each(|name| drop(head.headers.remove(name)));
        }
        RequestHeadType::Rc(shared, extra) => (shared, extra),
    };
    if let Some(extra) = extra {
        names.iter().for_each(|name| drop(extra.remove(name)));
    }
    if names.iter().any(|name| shared.headers.contains_key(name)) {
        let mut own = own(shared, extra.as_ref());
        names.iter().for_each(|name| drop(own.headers.remove(name)));
        *head = RequestHeadType::Owned(own);
    }
}

/// A copy of a shared head, with the headers that take the place of its own.
fn own(shared: &RequestHead, extra: Option<&HeaderMap>) -> RequestHead {
    let mut own = shared.clone();
    for name in extra.into_iter().flat_map(HeaderMap::keys) {
        own.headers.remove(name);
    }
    for (name, value) in extra.into_iter().flat_map(HeaderMap::iter) {
        own.headers.append(name.clone(), value.clone());
    }
    own
}

fn inject_into(settings: &Settings, carried: &Carried, head: &mut RequestHeadType) {
    let (shared, extra) = match head {
        RequestHeadType::Owned(head) => return overwrite(settings, carried, &mut head.headers),
        RequestHeadType::Rc(shared, extra) => (shared, extra.get_or_insert_default()),
    };
    overwrite(settings, carried, extra);
    // The head of a frozen request is shared. Extra headers take the place of those of the same
    // name, but a stale one that nothing takes the place of has to be removed from a copy.
    let mut is_stale = false;
    for_each_stale_name(settings, carried, |name| {
        is_stale |= shared.headers.contains_key(name) && !extra.contains_key(name);
    });
    if is_stale {
        let stale = {
            let mut stale = Vec::new();
            for_each_stale_name(settings, carried, |name| stale.push(name.clone()));
            stale.retain(|name| !extra.contains_key(name));
            stale
        };
        let mut own = own(shared, Some(extra));
        stale.iter().for_each(|name| drop(own.headers.remove(name)));
        *head = RequestHeadType::Owned(own);
    }
}

fn overwrite(settings: &Settings, carried: &Carried, headers: &mut HeaderMap) {
    for_each_stale_name(settings, carried, |name| drop(headers.remove(name)));
    match &settings.http.propagator {
        None => inject_w3c(carried, headers),
        Some(propagator) => {
            let cx = carried.clone().into_context();
            propagator.inject_context(&cx, &mut HeaderInjector(headers));
        }
    }
}

/// The headers that must say what `carried` says, or not be there.
fn for_each_stale_name(settings: &Settings, carried: &Carried, mut f: impl FnMut(&HeaderName)) {
    match &settings.http.propagator {
        None => {
            f(Field::Baggage.header_name());
            if carried.parent.is_some() {
                f(Field::TraceParent.header_name());
                f(Field::TraceState.header_name());
            }
        }
        // Which of its headers hold the trace, the propagator does not say.
        Some(_) if carried.parent.is_none() => {}
        Some(propagator) => {
            for field in propagator.fields() {
                if let Ok(name) = HeaderName::from_bytes(field.as_bytes()) {
                    f(&name);
                }
            }
        }
    }
}

/// The W3C headers.
fn inject_w3c(carried: &Carried, headers: &mut HeaderMap) {
    propagation::inject(carried, |field, value| {
        if let Some(value) = value.and_then(|value| HeaderValue::from_bytes(value).ok()) {
            headers.insert(field.header_name().clone(), value);
        }
    });
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use opentelemetry::baggage::BaggageExt as _;
    use opentelemetry::trace::{SpanId, TraceFlags, TraceId};
    use opentelemetry::{Context, KeyValue};

    use super::*;
    use crate::propagation::TraceParent;

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
    fn trace_set_by_hand_stays_where_there_is_only_baggage() {
        for head in heads() {
            let carried = Carried { parent: None, entries: baggage() };
            let [parent, state, baggage, _] = sent(&carried, head);
            assert_eq!(parent.as_deref(), Some("old"));
            assert_eq!(state.as_deref(), Some("old"));
            assert_eq!(baggage.as_deref(), Some("user=a"));
        }
    }

    #[test]
    fn nothing_to_carry_leaves_the_request_alone() {
        for head in heads() {
            let mut request = ConnectRequest::Tunnel(head.as_ref().clone(), None);
            inject(&Settings::default(), &Carried::default(), &mut request);
            let ConnectRequest::Tunnel(head, _) = request else { unreachable!("made above") };
            assert_eq!(head.headers.get_all("traceparent").count(), 2);
            assert_eq!(head.headers.len(), 8);
        }
    }

    #[test]
    fn trace_context_is_removed_from_whatever_head_it_is_in() {
        let names = [Field::TraceParent, Field::TraceState, Field::Baggage]
            .map(|field| field.header_name().clone());
        for mut head in heads() {
            remove_from(&names, &mut head);
            for name in &names {
                let extra = head.extra_headers().is_some_and(|extra| extra.contains_key(name));
                assert!(!extra && !head.as_ref().headers.contains_key(name), "{name}");
            }
            assert!(head.as_ref().headers.contains_key("accept"));
        }
    }
}
