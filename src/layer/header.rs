//! `traceparent` as a value for the header map that actix-web and awc share.

use actix_http::header::HeaderValue;
use bytes::Bytes;

use crate::propagation::TraceParent;

/// Spares the value HTTP's look at each of its bytes, of which it takes as many instructions as a
/// span's entering and leaving.
#[allow(unsafe_code, reason = "no other way to a value is without the look")]
pub(crate) fn header_value(parent: TraceParent) -> HeaderValue {
    let text: Box<[u8]> = Box::new(parent.format());
    debug_assert!(text.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-')));
    // SAFETY: hexadecimal digits and dashes are allowed in the value of a header.
    unsafe { HeaderValue::from_maybe_shared_unchecked(Bytes::from(text)) }
}

#[cfg(test)]
mod tests {
    use opentelemetry::{SpanId, TraceFlags, TraceId};

    use super::*;

    #[test]
    fn it_is_what_http_would_have_made_of_it() {
        for (trace, span, flags) in
            [(0, 0, 0), (u128::MAX, u64::MAX, 0xff), (0x0123_4567_89ab_cdef, 0xfedc_ba98, 3)]
        {
            let (trace_id, span_id) = (TraceId::from(trace), SpanId::from(span));
            let parent = TraceParent { trace_id, span_id, flags: TraceFlags::new(flags) };
            let value = header_value(parent);
            assert_eq!(HeaderValue::from_bytes(&parent.format()).unwrap(), value);
            assert!(!value.is_sensitive());
        }
    }
}
