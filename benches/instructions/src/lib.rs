//! What is counted besides the crate's own library: the importer, without the transports that its
//! feature brings.

#[allow(dead_code, unused_imports, reason = "not all of it is measured")]
#[path = "../../../src/import/mod.rs"]
pub mod import;
