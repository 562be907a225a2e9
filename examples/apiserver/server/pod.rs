//! The object that is served, and what makes one valid.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::error::ApiError;

/// A pod. Fields that the server does not know are kept as they are.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Pod {
    pub(crate) kind: String,
    pub(crate) api_version: String,
    pub(crate) metadata: Metadata,
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub(crate) spec: Map<String, Value>,
    #[serde(flatten)]
    pub(crate) rest: Map<String, Value>,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Metadata {
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) uid: String,
    /// Changes with every write; what a client sends back must be the newest, or empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) resource_version: String,
    #[serde(flatten)]
    pub(crate) rest: Map<String, Value>,
}

impl Pod {
    /// Reads a pod that a client sent to a namespace.
    ///
    /// # Errors
    ///
    /// Fails if it is no JSON, of another kind or namespace, or has no proper name.
    pub(crate) fn read(body: &[u8], namespace: &str) -> Result<Self, ApiError> {
        let mut pod: Self = serde_json::from_slice(body).map_err(|err| {
            ApiError::bad_request(format!("cannot read the body as a Pod: {err}"))
        })?;
        if pod.metadata.namespace.is_empty() {
            namespace.clone_into(&mut pod.metadata.namespace);
        }
        pod.check(namespace)?;
        Ok(pod)
    }

    /// What holds for every pod in a namespace.
    ///
    /// # Errors
    ///
    /// Fails, and says which field is wrong.
    pub(crate) fn check(&self, namespace: &str) -> Result<(), ApiError> {
        if (&*self.api_version, &*self.kind) != ("v1", "Pod") {
            return Err(ApiError::bad_request(format!(
                "no kind {:?} is registered for version {:?}",
                self.kind, self.api_version
            )));
        }
        let Metadata { name, namespace: own, .. } = &self.metadata;
        if own != namespace {
            return Err(ApiError::bad_request(format!(
                "the namespace of the object ({own}) is not the namespace of the request ({namespace})"
            )));
        }
        if name.is_empty() {
            return Err(ApiError::invalid(name, "metadata.name", "a name is required"));
        }
        if !name.split('.').all(is_label) || name.len() > 253 {
            let why = "must consist of lower case letters, digits, '-' and '.', and start and end \
                       with a letter or digit";
            return Err(ApiError::invalid(name, "metadata.name", why));
        }
        if !is_label(namespace) || namespace.len() > 63 {
            let why = "must consist of lower case letters, digits and '-', and start and end with \
                       a letter or digit";
            return Err(ApiError::invalid(name, "metadata.namespace", why));
        }
        self.version(name).map(drop)
    }

    /// The resource version that the client expects, if it expects one.
    ///
    /// # Errors
    ///
    /// Fails if it is none that this server has made.
    pub(crate) fn version(&self, name: &str) -> Result<Option<u64>, ApiError> {
        match &*self.metadata.resource_version {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| {
                ApiError::invalid(name, "metadata.resourceVersion", "must be one that was read")
            }),
        }
    }
}

/// Whether `text` is a label as host names have them.
fn is_label(text: &str) -> bool {
    let inner = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    !text.is_empty() && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

/// Applies a JSON merge patch (RFC 7396).
pub(crate) fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(fields) = target else { unreachable!("it was made one above") };
    for (key, value) in patch {
        if value.is_null() {
            fields.remove(&key);
        } else {
            merge(fields.entry(key).or_insert(Value::Null), value);
        }
    }
}
