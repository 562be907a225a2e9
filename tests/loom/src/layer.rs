//! The crate's files, with loom's types.

#[path = "../../../src/layer/buffer.rs"]
mod buffer;
#[path = "../../../src/layer/departures.rs"]
mod departures;
#[path = "../../../src/layer/encoding.rs"]
mod encoding;
pub(crate) mod models;
#[path = "../../../src/layer/record.rs"]
mod record;
#[path = "../../../src/layer/slots.rs"]
mod slots;
mod sync;
#[path = "../../../src/layer/table.rs"]
mod table;

pub(crate) use self::record::{Head, Side};
