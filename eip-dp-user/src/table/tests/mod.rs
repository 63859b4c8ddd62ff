//! The table's file: what it refuses, what it survives, and many writers at once.

mod files;
mod guard;
mod log;
mod many;
