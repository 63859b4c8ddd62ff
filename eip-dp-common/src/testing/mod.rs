//! The packet path on the host: a packet in a buffer, tables in collections, and what must hold
//! whatever comes.
//!
//! [`site`] says who stands where, [`World`] holds the tables for it, [`craft`] and [`dice`] make
//! frames, and [`hold`] runs one through the path and checks the outcome against a reading of the
//! frame of its own ([`wire`]), which shares no code with the path. Property tests and fuzz targets
//! are both built of these.

mod answers;
mod buffer;
pub mod craft;
pub mod decay;
pub mod dice;
mod hold;
pub mod mirror;
pub mod partial;
pub mod pieces;
pub mod site;
pub mod wire;
mod world;

pub use buffer::Buffer;
pub use hold::{hold, run, run_fast_path};
pub use world::{Addressed, World, world};
