//! Record bytes -> [`SpanData`].

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use opentelemetry::trace::{Event, Link, SpanContext, SpanKind, Status};
use opentelemetry::{Array, InstrumentationScope, Key, KeyValue, StringValue, TraceFlags, Value};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use tracing::{Level, Metadata};

use crate::export::callsite::{ByAddress, Callsite, Field, MetadataAttributes, address, key};
use crate::export::chunk::Chunk;
use crate::export::closed_span::ClosedSpan;
use crate::layer::encoded::{Record, Recorded, StatusCode, records, records_and_replaced};
use crate::layer::{Body, Calibration, Engine, Limits};
use crate::propagation::RawTraceState;

/// Turns chunks into spans. One for each exporter's thread.
#[derive(Debug)]
pub(crate) struct Decoder {
    engine: Arc<Engine>,
    scope: InstrumentationScope,
    with: MetadataAttributes,
    callsites: ByAddress<Arc<Callsite>>,
    thread_names: HashMap<u32, Option<StringValue>>,
}

/// A span's parts while its record is read.
#[derive(Debug, Default)]
struct Parts {
    name: Option<Cow<'static, str>>,
    /// Whether `update_name` has given the name; what fields say later does not change it then.
    is_renamed: bool,
    kind: Option<SpanKind>,
    status: Status,
    attributes: Bounded,
    events: Vec<Event>,
}

impl Parts {
    fn rename(&mut self, name: &str) {
        self.name = Some(name.to_owned().into());
        self.is_renamed = true;
    }
}

/// Attributes up to a limit; the last value of a key wins.
#[derive(Debug, Default)]
struct Bounded {
    kept: Vec<KeyValue>,
    /// Keys that have a place, and whose value comes later.
    awaited: Vec<Key>,
    dropped: u32,
}

impl Bounded {
    fn with_capacity(capacity: usize) -> Self {
        Self { kept: Vec::with_capacity(capacity), ..Self::default() }
    }

    /// Keeps a place for a key that was set here first, and again later.
    fn await_value(&mut self, key: Key, limit: u32) {
        let is_known = self.awaited.contains(&key) || self.kept.iter().any(|kept| kept.key == key);
        if !is_known && self.has_room(limit) {
            self.awaited.push(key);
        }
    }

    fn has_room(&self, limit: u32) -> bool {
        self.kept.len() + self.awaited.len() < limit as usize
    }

    fn set(&mut self, attribute: KeyValue, limit: u32) {
        if let Some(kept) = self.kept.iter_mut().find(|kept| kept.key == attribute.key) {
            kept.value = attribute.value;
        } else if let Some(at) = self.awaited.iter().position(|key| *key == attribute.key) {
            self.awaited.swap_remove(at);
            self.kept.push(attribute);
        } else if self.has_room(limit) {
            self.kept.push(attribute);
        } else {
            self.dropped += 1;
        }
    }
}

impl Decoder {
    pub(crate) fn new(
        engine: Arc<Engine>,
        scope: InstrumentationScope,
        with: MetadataAttributes,
    ) -> Self {
        Self { engine, scope, with, callsites: ByAddress::default(), thread_names: HashMap::new() }
    }

    #[cfg(any(feature = "otlp-grpc", feature = "otlp-http"))]
    pub(super) fn scope(&self) -> &InstrumentationScope {
        &self.scope
    }

    #[cfg(any(feature = "otlp-grpc", feature = "otlp-http"))]
    pub(super) fn limits(&self) -> Limits {
        self.engine.limits
    }

    #[cfg(any(feature = "otlp-grpc", feature = "otlp-http"))]
    /// Whether spans say which thread made them.
    pub(super) fn adds_threads(&self) -> bool {
        self.with.threads
    }

    /// The chunk's spans, in the order in which they were closed.
    pub(crate) fn decode(
        &mut self,
        chunk: &mut Chunk,
        calibration: Calibration,
        out: &mut Vec<SpanData>,
    ) {
        out.extend(chunk.drain().map(|closed| self.span(closed, calibration)));
    }

    pub(super) fn span(
        &mut self,
        ClosedSpan { mut record, bytes, events }: ClosedSpan<'_>,
        calibration: Calibration,
    ) -> SpanData {
        let limits = self.engine.limits;
        let site = self.callsite(record.metadata);
        let side = record.side.take().map(|side| *side).unwrap_or_default();
        let trace_state = side.entries.as_ref().map(RawTraceState::of).unwrap_or_default();
        let start_time = side.start.unwrap_or_else(|| calibration.wall(record.head.start));
        let end_time = side.end.unwrap_or_else(|| calibration.wall(record.end)).max(start_time);
        let mut parts = Parts {
            attributes: Bounded::with_capacity(site.fields.len() + site.attributes.len()),
            ..Parts::default()
        };
        let mut reader = Reader {
            decoder: self,
            limits,
            calibration,
            events: events.iter(),
            side_attributes: side.attributes.into_iter(),
            side_events: side.events.into_iter(),
        };
        reader.read(&site, bytes, &mut parts);
        for attribute in &site.attributes {
            parts.attributes.set(attribute.clone(), limits.attributes);
        }
        if self.with.threads {
            self.add_thread(record.head.thread, &mut parts.attributes, limits.attributes);
        }
        let mut span_events = SpanEvents::default();
        span_events.events = parts.events;
        span_events.dropped_count = record.head.dropped_events;
        let mut span_links = SpanLinks::default();
        span_links.links = bounded_links(side.links, &limits);
        span_links.dropped_count = record.head.dropped_links;
        SpanData {
            span_context: SpanContext::new(
                record.head.identity.trace_id.into(),
                record.head.identity.span_id.into(),
                TraceFlags::new(record.head.identity.flags),
                false,
                trace_state,
            ),
            parent_span_id: record.head.parent.span_id.into(),
            parent_span_is_remote: record.head.parent.is_remote,
            span_kind: parts.kind.unwrap_or(SpanKind::Internal),
            name: parts.name.unwrap_or(Cow::Borrowed(site.name)),
            start_time,
            end_time,
            attributes: parts.attributes.kept,
            dropped_attributes_count: record.dropped_attributes + parts.attributes.dropped,
            events: span_events,
            links: span_links,
            status: parts.status,
            instrumentation_scope: self.scope.clone(),
        }
    }

    pub(super) fn callsite(&mut self, metadata: &'static Metadata<'static>) -> Arc<Callsite> {
        let with = self.with;
        let site = self
            .callsites
            .entry(address(metadata))
            .or_insert_with(|| Arc::new(Callsite::new(metadata, with)));
        Arc::clone(site)
    }

    fn add_thread(&mut self, number: u32, attributes: &mut Bounded, limit: u32) {
        attributes.set(KeyValue::new(key::THREAD_ID, i64::from(number)), limit);
        let engine = &self.engine;
        let name = self
            .thread_names
            .entry(number)
            .or_insert_with(|| engine.hand_over.thread_name(number).map(StringValue::from));
        if let Some(name) = name {
            attributes.set(KeyValue::new(key::THREAD_NAME, name.clone()), limit);
        }
    }
}

fn bounded_links(mut links: Vec<Link>, limits: &Limits) -> Vec<Link> {
    for link in &mut links {
        let over = link.attributes.len().saturating_sub(limits.link_attributes as usize);
        if over > 0 {
            link.attributes.truncate(limits.link_attributes as usize);
            link.dropped_attributes_count += over as u32;
        }
    }
    links
}

/// Reads one span's bytes.
struct Reader<'a> {
    decoder: &'a mut Decoder,
    limits: Limits,
    calibration: Calibration,
    events: std::slice::Iter<'a, &'static Metadata<'static>>,
    side_attributes: std::vec::IntoIter<KeyValue>,
    side_events: std::vec::IntoIter<Event>,
}

impl Reader<'_> {
    fn read(&mut self, site: &Callsite, bytes: &[u8], parts: &mut Parts) {
        for (is_replaced, record) in records_and_replaced(bytes) {
            match record {
                Record::Attribute { field, value } => {
                    let limit = self.limits.attributes;
                    match site.fields.get(usize::from(field)) {
                        Some(field) if is_replaced => await_field(field, &value, parts, limit),
                        Some(field) => set_field(field, value, parts, limit),
                        None => {}
                    }
                }
                _ if is_replaced => {}
                Record::Event { ticks, dropped, attributes } => {
                    if let Some(&metadata) = self.events.next() {
                        let site = self.decoder.callsite(metadata);
                        let mut event = self.event(&site, attributes, parts);
                        event.timestamp = self.calibration.wall(ticks);
                        event.dropped_attributes_count += dropped;
                        parts.events.push(event);
                    }
                }
                Record::Name(name) => parts.rename(name),
                Record::SideAttribute => {
                    if let Some(attribute) = self.side_attributes.next() {
                        parts.attributes.set(attribute, self.limits.attributes);
                    }
                }
                Record::SideEvent => {
                    if let Some(mut event) = self.side_events.next() {
                        let limit = self.limits.event_attributes as usize;
                        let over = event.attributes.len().saturating_sub(limit);
                        event.attributes.truncate(limit);
                        event.dropped_attributes_count += over as u32;
                        parts.events.push(event);
                    }
                }
                Record::Status(StatusCode::Unset, _) => {}
                Record::Status(StatusCode::Ok, _) => parts.status = Status::Ok,
                Record::Status(StatusCode::Error, description) => {
                    fail(&mut parts.status, description);
                }
            }
        }
    }

    /// An event, and what it says of the span: its status, its exception.
    fn event(&self, site: &Callsite, bytes: &[u8], parts: &mut Parts) -> Event {
        let limit = self.limits.event_attributes;
        let with = self.decoder.with;
        let mut name = None;
        let mut attributes = Bounded::with_capacity(site.attributes.len() + site.fields.len());
        for attribute in &site.attributes {
            attributes.set(attribute.clone(), limit);
        }
        let mut failure = None;
        for record in records(bytes) {
            let Record::Attribute { field, value } = record else { continue };
            let Some(field) = site.fields.get(usize::from(field)) else { continue };
            match (field, value) {
                (Field::Message, value) => name = Some(text(value).into_owned()),
                (Field::LogTarget, _) if !with.target => {}
                (Field::LogFile | Field::LogModule | Field::LogLine, _) if !with.location => {}
                (Field::LogTarget, value) => {
                    attributes.set(KeyValue::new(key::TARGET, to_value(value)), limit);
                }
                (Field::LogFile, value) => {
                    attributes.set(KeyValue::new(key::CODE_FILE_PATH, to_value(value)), limit);
                }
                (Field::LogModule, value) => {
                    attributes.set(KeyValue::new(key::CODE_MODULE_NAME, to_value(value)), limit);
                }
                (Field::LogLine, value) => {
                    attributes.set(KeyValue::new(key::CODE_LINE_NUMBER, to_value(value)), limit);
                }
                (Field::LogIgnored, _) => {}
                (field, Recorded::Error(chain)) => {
                    let (message, sources) = exception(&chain);
                    let exception = [
                        KeyValue::new(key::EXCEPTION_MESSAGE, message.clone()),
                        KeyValue::new(key::EXCEPTION_STACKTRACE, sources.clone()),
                    ];
                    for attribute in exception {
                        attributes.set(attribute.clone(), limit);
                        parts.attributes.set(attribute, self.limits.attributes);
                    }
                    attributes.set(KeyValue::new(field.key(), message), limit);
                    attributes.set(KeyValue::new(format!("{}.chain", field.key()), sources), limit);
                }
                // What `#[instrument(err)]` records: an event that is only an error.
                (Field::Error, value) if name.is_none() => failure = Some(text(value).into_owned()),
                (field, value) => {
                    attributes.set(KeyValue::new(field.key(), to_value(value)), limit)
                }
            }
        }
        if site.level == Level::ERROR {
            fail(&mut parts.status, "");
        }
        match (failure, name) {
            (Some(failure), None) => {
                fail(&mut parts.status, &failure);
                attributes.set(KeyValue::new(key::EXCEPTION_MESSAGE, failure), limit);
                name = Some(key::EXCEPTION.to_owned());
            }
            (Some(failure), Some(message)) => {
                attributes.set(KeyValue::new("error", failure), limit);
                name = Some(message);
            }
            (None, message) => name = message,
        }
        let name = name.map_or(Cow::Borrowed(site.name), Cow::Owned);
        Event::new(name, std::time::UNIX_EPOCH, attributes.kept, attributes.dropped)
    }
}

/// What an event says of its span.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) exception: Option<[KeyValue; 2]>,
    /// With what is known of it.
    pub(crate) failure: Option<String>,
}

/// What an event says of its span, as [`Reader::event`] has it where the event is kept.
pub(crate) fn outcome(metadata: &Metadata<'_>, values: &[u8]) -> Outcome {
    let mut outcome = Outcome::default();
    let mut has_message = false;
    for record in records(values) {
        let Record::Attribute { field, value } = record else { continue };
        match (metadata.fields().iter().nth(field.into()).map(|field| field.name()), value) {
            (Some("message"), _) => has_message = true,
            (_, Recorded::Error(chain)) => {
                let (message, sources) = exception(&chain);
                outcome.exception = Some([
                    KeyValue::new(key::EXCEPTION_MESSAGE, message),
                    KeyValue::new(key::EXCEPTION_STACKTRACE, sources),
                ]);
            }
            (Some("error"), value) => outcome.failure = Some(text(value).into_owned()),
            _ => {}
        }
    }
    if has_message {
        outcome.failure = None;
    }
    if *metadata.level() == Level::ERROR {
        outcome.failure.get_or_insert_default();
    }
    outcome
}

/// Ok stands once it is set; a later error replaces an earlier one, but not its description with
/// none.
pub(super) fn fail(status: &mut Status, description: &str) {
    match status {
        Status::Ok => {}
        Status::Error { .. } if description.is_empty() => {}
        status => *status = Status::error(description.to_owned()),
    }
}

/// What the field `otel.status_code` says.
pub(super) fn set_status_code(status: &mut Status, code: &str) {
    if code.eq_ignore_ascii_case("ok") {
        *status = Status::Ok;
    } else if code.eq_ignore_ascii_case("error") {
        fail(status, "");
    }
}

/// Keeps the place of a value that was replaced.
fn await_field(field: &Field, value: &Recorded<'_>, parts: &mut Parts, limit: u32) {
    let Field::Attribute(key) = field else { return };
    if matches!(value, Recorded::Error(_)) {
        for key in [key::EXCEPTION_MESSAGE, key::EXCEPTION_STACKTRACE] {
            parts.attributes.await_value(Key::from_static_str(key), limit);
        }
    }
    parts.attributes.await_value(key.clone(), limit);
    if matches!(value, Recorded::Error(_)) {
        parts.attributes.await_value(format!("{key}.chain").into(), limit);
    }
}

fn set_field(field: &Field, value: Recorded<'_>, parts: &mut Parts, limit: u32) {
    match field {
        Field::OtelName if parts.is_renamed => {}
        Field::OtelName => parts.name = Some(text(value).into_owned().into()),
        Field::OtelKind => parts.kind = kind(text(value).as_bytes()),
        Field::OtelStatusCode => set_status_code(&mut parts.status, &text(value)),
        Field::OtelStatusDescription => fail(&mut parts.status, &text(value)),
        field => match value {
            Recorded::Error(chain) => {
                let (message, sources) = exception(&chain);
                let attributes = &mut parts.attributes;
                attributes.set(KeyValue::new(key::EXCEPTION_MESSAGE, message.clone()), limit);
                attributes.set(KeyValue::new(key::EXCEPTION_STACKTRACE, sources.clone()), limit);
                attributes.set(KeyValue::new(field.key(), message), limit);
                attributes.set(KeyValue::new(format!("{}.chain", field.key()), sources), limit);
            }
            value => parts.attributes.set(KeyValue::new(field.key(), to_value(value)), limit),
        },
    }
}

pub(super) fn kind(text: &[u8]) -> Option<SpanKind> {
    let kinds = [
        ("client", SpanKind::Client),
        ("consumer", SpanKind::Consumer),
        ("internal", SpanKind::Internal),
        ("producer", SpanKind::Producer),
        ("server", SpanKind::Server),
    ];
    kinds
        .into_iter()
        .find(|(name, _)| text.eq_ignore_ascii_case(name.as_bytes()))
        .map(|(_, kind)| kind)
}

pub(super) fn text(value: Recorded<'_>) -> Cow<'_, str> {
    match value {
        Recorded::Str(text) => Cow::Borrowed(text),
        value => to_value(value).to_string().into(),
    }
}

/// Integers beyond 64 bits, for which OTLP has no type, become text.
fn to_value(value: Recorded<'_>) -> Value {
    match value {
        Recorded::Bool(value) => value.into(),
        Recorded::I64(value) => value.into(),
        Recorded::U64(value) => integer(value),
        Recorded::F64(value) => value.into(),
        Recorded::I128(value) => integer(value),
        Recorded::U128(value) => integer(value),
        Recorded::Str(value) => value.to_owned().into(),
        Recorded::Error(chain) => exception(&chain).0,
    }
}

pub(super) fn integer<T: TryInto<i64> + ToString + Copy>(value: T) -> Value {
    value.try_into().map_or_else(|_| value.to_string().into(), Value::I64)
}

/// An error's message and the messages of its sources.
fn exception(chain: &[&str]) -> (Value, Value) {
    let (message, sources) = chain.split_first().unwrap_or((&"", &[]));
    let sources = sources.iter().map(|source| StringValue::from((*source).to_owned())).collect();
    ((*message).to_owned().into(), Value::Array(Array::String(sources)))
}

/// What a sampler is told of a span that has just started.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) name: Cow<'static, str>,
    pub(crate) kind: SpanKind,
    pub(crate) attributes: Vec<KeyValue>,
    pub(crate) links: Vec<Link>,
}

pub(crate) fn snapshot(body: &Body, limits: &Limits) -> Snapshot {
    let mut parts = Parts::default();
    let side = body.side.as_deref();
    if let Some(metadata) = body.metadata {
        let none =
            MetadataAttributes { level: false, location: false, target: false, threads: false };
        let site = Callsite::new(metadata, none);
        parts.name = Some(Cow::Borrowed(site.name));
        let mut side_attributes = side.into_iter().flat_map(|side| &side.attributes);
        for record in records(body.attributes.bytes()) {
            match record {
                Record::Attribute { field, value } => {
                    if let Some(field) = site.fields.get(usize::from(field)) {
                        set_field(field, value, &mut parts, limits.attributes);
                    }
                }
                Record::Name(name) => parts.rename(name),
                Record::SideAttribute => {
                    if let Some(attribute) = side_attributes.next() {
                        parts.attributes.set(attribute.clone(), limits.attributes);
                    }
                }
                Record::Event { .. } | Record::SideEvent | Record::Status(..) => {}
            }
        }
    }
    Snapshot {
        name: parts.name.unwrap_or_default(),
        kind: parts.kind.unwrap_or(SpanKind::Internal),
        attributes: parts.attributes.kept,
        links: side.map(|side| side.links.clone()).unwrap_or_default(),
    }
}
