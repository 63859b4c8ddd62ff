//! A lab of network namespaces in which the demo and the end-to-end tests run the real command with real traffic.

pub mod lab;
