//! A lab of network namespaces in which the demo and the end-to-end tests run the real command with
//! real traffic, and a bench that runs the BPF programs over single packets, and the conformance
//! suite for 1:1 NAT gateways.

pub mod apps;
pub mod conformance;
pub mod lab;
pub mod prog;
pub mod report;
pub mod speed;
