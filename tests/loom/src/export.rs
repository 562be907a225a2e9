//! The crate's files, with loom's types.

#[path = "../../../src/export/chunk.rs"]
pub(crate) mod chunk;
#[path = "../../../src/export/queue.rs"]
pub(crate) mod queue;
#[path = "../../../src/export/rounds.rs"]
pub(crate) mod rounds;
#[path = "../../../src/export/stats.rs"]
pub(crate) mod stats;
mod sync;
