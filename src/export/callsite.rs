//! What a callsite's metadata says of its spans and events, worked out once for each callsite.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use opentelemetry::{Key, KeyValue};
use tracing::{Level, Metadata};

/// What is known of callsites, by the addresses of their metadata. `Metadata::callsite` is no key:
/// it compares the addresses of callsites, and those of zero-sized ones (`tracing-log` has five)
/// are one and the same.
pub(super) type ByAddress<T> = HashMap<usize, T, BuildHasherDefault<AddressHasher>>;

pub(super) fn address(metadata: &Metadata<'static>) -> usize {
    std::ptr::from_ref(metadata).addr()
}

/// Addresses are the program's own, so that nobody can choose them to collide.
#[derive(Debug, Default)]
pub(super) struct AddressHasher(u64);

impl Hasher for AddressHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_usize(usize::from(*byte));
        }
    }

    #[inline]
    fn write_usize(&mut self, address: usize) {
        // Fibonacci hashing: what differs in the middle bits differs in the upper ones after.
        self.0 = (self.0 ^ address as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    /// The map takes from both ends.
    #[inline]
    fn finish(&self) -> u64 {
        self.0.rotate_left(32)
    }
}

/// Which attributes are made from a callsite's metadata.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MetadataAttributes {
    pub(crate) level: bool,
    pub(crate) location: bool,
    pub(crate) target: bool,
    pub(crate) threads: bool,
}

impl Default for MetadataAttributes {
    fn default() -> Self {
        Self { level: false, location: true, target: true, threads: false }
    }
}

/// What a callsite's metadata says, worked out once.
#[derive(Debug)]
pub(crate) struct Callsite {
    pub(crate) fields: Vec<Field>,
    /// `target`, code location and level, as far as they are wanted.
    pub(crate) attributes: Vec<KeyValue>,
    pub(crate) level: Level,
    pub(crate) name: &'static str,
}

#[derive(Debug)]
pub(crate) enum Field {
    Attribute(Key),
    Error,
    /// What `tracing-log` says of a `log` record; its place is in the attributes above.
    LogFile,
    LogIgnored,
    LogLine,
    LogModule,
    LogTarget,
    Message,
    OtelKind,
    OtelName,
    OtelStatusCode,
    OtelStatusDescription,
}

/// Attribute keys made from metadata and errors.
pub(crate) mod key {
    pub(crate) const EXCEPTION: &str = "exception";
    pub(crate) const EXCEPTION_MESSAGE: &str = "exception.message";
    pub(crate) const EXCEPTION_STACKTRACE: &str = "exception.stacktrace";
    pub(crate) const CODE_FILE_PATH: &str = "code.file.path";
    pub(crate) const CODE_LINE_NUMBER: &str = "code.line.number";
    pub(crate) const CODE_MODULE_NAME: &str = "code.module.name";
    pub(crate) const LEVEL: &str = "level";
    pub(crate) const TARGET: &str = "target";
    pub(crate) const THREAD_ID: &str = "thread.id";
    pub(crate) const THREAD_NAME: &str = "thread.name";
}

impl Callsite {
    pub(crate) fn new(metadata: &'static Metadata<'static>, with: MetadataAttributes) -> Self {
        let is_event = metadata.is_event();
        let is_log = is_event && metadata.fields().field("log.target").is_some();
        let mut attributes = Vec::new();
        if with.level || is_event {
            attributes.push(KeyValue::new(key::LEVEL, metadata.level().as_str()));
        }
        if with.target && !is_log {
            attributes.push(KeyValue::new(key::TARGET, metadata.target()));
        }
        if with.location && !is_log {
            if let Some(file) = metadata.file() {
                attributes.push(KeyValue::new(key::CODE_FILE_PATH, file));
            }
            if let Some(module) = metadata.module_path() {
                attributes.push(KeyValue::new(key::CODE_MODULE_NAME, module));
            }
            if let Some(line) = metadata.line() {
                attributes.push(KeyValue::new(key::CODE_LINE_NUMBER, i64::from(line)));
            }
        }
        let fields = metadata
            .fields()
            .iter()
            .map(|field| {
                if is_event { Field::of_event(field.name()) } else { Field::of_span(field.name()) }
            })
            .collect();
        Self { fields, attributes, level: *metadata.level(), name: metadata.name() }
    }
}

impl Field {
    /// The attribute key of a field that is none of the special ones.
    pub(crate) fn key(&self) -> Key {
        match self {
            Self::Attribute(key) => key.clone(),
            Self::Error => Key::from_static_str("error"),
            _ => Key::from_static_str(""),
        }
    }

    fn of_span(name: &'static str) -> Self {
        match name {
            "otel.kind" => Self::OtelKind,
            "otel.name" => Self::OtelName,
            "otel.status_code" => Self::OtelStatusCode,
            "otel.status_description" => Self::OtelStatusDescription,
            name => Self::Attribute(Key::from_static_str(name)),
        }
    }

    fn of_event(name: &'static str) -> Self {
        match name {
            "error" => Self::Error,
            "message" => Self::Message,
            "log.file" => Self::LogFile,
            "log.line" => Self::LogLine,
            "log.module_path" => Self::LogModule,
            "log.target" => Self::LogTarget,
            name if name.starts_with("log.") => Self::LogIgnored,
            name => Self::Attribute(Key::from_static_str(name)),
        }
    }
}
