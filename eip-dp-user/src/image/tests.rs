//! What is compiled for tables and hosts that are written out.
