//! The crate's files, with loom's types.

#[path = "../../../src/export/chunk.rs"]
pub(crate) mod chunk;
pub(crate) mod models;
#[path = "../../../src/export/queue.rs"]
mod queue;
mod sync;
