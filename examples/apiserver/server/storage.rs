//! Where the pods are kept: in memory, encoded, with a version that grows with every write.
//!
//! Each operation is a span of its own below the request's, and says by events how far it came.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tracing::field::Empty;
use tracing::{Span, info, info_span};

use super::pod::Pod;

/// All pods of all namespaces.
#[derive(Debug, Default)]
pub(crate) struct Storage {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Of the newest write.
    version: u64,
    pods: BTreeMap<Key, Stored>,
}

/// Namespace and name.
type Key = (String, String);

#[derive(Debug)]
struct Stored {
    /// JSON, without the resource version.
    bytes: Vec<u8>,
    version: u64,
}

/// Why an operation was not carried out.
#[derive(Debug)]
pub(crate) enum StorageError {
    AlreadyExists,
    Conflict { expected: u64, current: u64 },
    Encoding(serde_json::Error),
    NotFound,
    OtherObject,
}

impl Storage {
    /// Adds a pod that is not there yet.
    pub(crate) fn create(&self, pod: Pod) -> Result<Pod, StorageError> {
        let (namespace, name) = key(&pod);
        let span =
            info_span!("storage.create", namespace, name, resource_version = Empty).entered();
        let bytes = encode(&pod)?;
        let mut inner = self.lock();
        if inner.pods.contains_key(&(namespace.clone(), name.clone())) {
            info!("already there");
            return Err(StorageError::AlreadyExists);
        }
        inner.write(&span, (namespace, name), bytes, pod)
    }

    /// Finds a pod.
    pub(crate) fn get(&self, namespace: &str, name: &str) -> Result<Pod, StorageError> {
        let span = info_span!("storage.get", namespace, name, resource_version = Empty).entered();
        let inner = self.lock();
        let stored = inner.find(namespace, name)?;
        span.record("resource_version", stored.version);
        stored.decode()
    }

    /// Finds all pods of a namespace, and says as of which version.
    pub(crate) fn list(&self, namespace: &str) -> Result<(Vec<Pod>, u64), StorageError> {
        let span = info_span!("storage.list", namespace, items = Empty, resource_version = Empty)
            .entered();
        let inner = self.lock();
        let range = inner.pods.range((namespace.to_owned(), String::new())..);
        let found: Vec<&Stored> =
            range.take_while(|((of, _), _)| of == namespace).map(|(_, stored)| stored).collect();
        info!(items = found.len(), "range read");
        let pods = found.into_iter().map(Stored::decode).collect::<Result<Vec<_>, _>>()?;
        info!("objects decoded");
        span.record("items", pods.len());
        span.record("resource_version", inner.version);
        Ok((pods, inner.version))
    }

    /// Replaces a pod; only if it is still at `expected`, where that is given.
    pub(crate) fn update(&self, pod: Pod, expected: Option<u64>) -> Result<Pod, StorageError> {
        let (namespace, name) = key(&pod);
        let span =
            info_span!("storage.update", namespace, name, resource_version = Empty).entered();
        let mut inner = self.lock();
        let old = inner.find(&namespace, &name)?;
        old.check_version(expected)?;
        let old = old.decode()?;
        let pod = old.succeeded_by(pod)?;
        let bytes = encode(&pod)?;
        inner.write(&span, (namespace, name), bytes, pod)
    }

    /// Replaces a pod with what `change` makes of it.
    ///
    /// # Errors
    ///
    /// Fails with the error of `change`, or what `storage_error` makes of one of storage's own.
    pub(crate) fn patch<E>(
        &self,
        namespace: &str,
        name: &str,
        change: impl FnOnce(&Pod) -> Result<(Pod, Option<u64>), E>,
        storage_error: impl Fn(StorageError) -> E,
    ) -> Result<Pod, E> {
        let span = info_span!("storage.patch", namespace, name, resource_version = Empty).entered();
        let mut inner = self.lock();
        let stored = inner.find(namespace, name).map_err(&storage_error)?;
        let old = stored.decode().map_err(&storage_error)?;
        let (pod, expected) = change(&old)?;
        info!("patch applied");
        stored.check_version(expected).map_err(&storage_error)?;
        let pod = old.succeeded_by(pod).map_err(&storage_error)?;
        let bytes = encode(&pod).map_err(&storage_error)?;
        let key = (namespace.to_owned(), name.to_owned());
        inner.write(&span, key, bytes, pod).map_err(storage_error)
    }

    /// Removes a pod and returns what it was.
    pub(crate) fn delete(
        &self,
        namespace: &str,
        name: &str,
        expected: Option<u64>,
    ) -> Result<Pod, StorageError> {
        let span =
            info_span!("storage.delete", namespace, name, resource_version = Empty).entered();
        let mut inner = self.lock();
        let stored = inner.find(namespace, name)?;
        stored.check_version(expected)?;
        let pod = stored.decode()?;
        inner.pods.remove(&(namespace.to_owned(), name.to_owned()));
        inner.version += 1;
        info!("removed");
        span.record("resource_version", inner.version);
        Ok(pod)
    }

    // Every write is complete before anything in it can panic.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn find(&self, namespace: &str, name: &str) -> Result<&Stored, StorageError> {
        let found = self.pods.get(&(namespace.to_owned(), name.to_owned()));
        info!(found = found.is_some(), "key read");
        found.ok_or(StorageError::NotFound)
    }

    fn write(
        &mut self,
        span: &Span,
        key: Key,
        bytes: Vec<u8>,
        mut pod: Pod,
    ) -> Result<Pod, StorageError> {
        self.version += 1;
        self.pods.insert(key, Stored { bytes, version: self.version });
        info!("written");
        span.record("resource_version", self.version);
        pod.metadata.resource_version = self.version.to_string();
        Ok(pod)
    }
}

impl Stored {
    fn check_version(&self, expected: Option<u64>) -> Result<(), StorageError> {
        match expected {
            Some(expected) if expected != self.version => {
                info!(expected, current = self.version, "stale resource version");
                Err(StorageError::Conflict { expected, current: self.version })
            }
            _ => Ok(()),
        }
    }

    fn decode(&self) -> Result<Pod, StorageError> {
        let mut pod: Pod = serde_json::from_slice(&self.bytes).map_err(StorageError::Encoding)?;
        pod.metadata.resource_version = self.version.to_string();
        Ok(pod)
    }
}

impl Pod {
    /// `next`, with the identity that a write does not change.
    fn succeeded_by(&self, mut next: Self) -> Result<Self, StorageError> {
        let (old, new) = (&self.metadata.uid, &mut next.metadata.uid);
        if new.is_empty() {
            new.clone_from(old);
        }
        if new == old { Ok(next) } else { Err(StorageError::OtherObject) }
    }
}

impl fmt::Display for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AlreadyExists => f.write_str("the object exists already"),
            Self::Conflict { expected, current } => write!(
                f,
                "the object has been modified: it is at version {current}, not {expected}; \
                 apply your changes to the newest and try again"
            ),
            Self::Encoding(err) => write!(f, "cannot encode or decode the object: {err}"),
            Self::NotFound => f.write_str("there is no such object"),
            Self::OtherObject => f.write_str("the uid is that of another object"),
        }
    }
}

impl std::error::Error for StorageError {}

fn key(pod: &Pod) -> Key {
    (pod.metadata.namespace.clone(), pod.metadata.name.clone())
}

/// What is stored: everything but the version, which the write decides.
fn encode(pod: &Pod) -> Result<Vec<u8>, StorageError> {
    let mut pod = pod.clone();
    pod.metadata.resource_version.clear();
    let bytes = serde_json::to_vec(&pod).map_err(StorageError::Encoding)?;
    info!(bytes = bytes.len(), "object encoded");
    Ok(bytes)
}
