//! The crate's files, with loom's types.

#[path = "../../../src/layer/buffer.rs"]
mod buffer;
#[path = "../../../src/layer/departures.rs"]
mod departures;
#[path = "../../../src/layer/encoded.rs"]
mod encoded;
#[path = "../../../src/layer/encoding.rs"]
mod encoding;
#[path = "../../../src/layer/hand_over.rs"]
mod hand_over;
pub(crate) mod hand_over_models;
pub(crate) mod models;
#[path = "../../../src/layer/outbound.rs"]
mod outbound;
#[path = "../../../src/layer/prefetch.rs"]
mod prefetch;
#[path = "../../../src/layer/record.rs"]
mod record;
#[path = "../../../src/layer/slots.rs"]
mod slots;
mod sync;
#[path = "../../../src/layer/table.rs"]
mod table;

pub(crate) use self::hand_over::HandOver;
pub(crate) use self::record::{Head, Side};
