//! The association table's objects and every rule of the service, without any I/O.

pub mod objects;
