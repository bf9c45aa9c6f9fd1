//! Tests of workloads with real processes: the contract suite (on a development cluster, or on a real one), what
//! only the development cluster promises, and the supervisor alone.
#![allow(clippy::unwrap_used)]

mod balancers;
mod commands;
mod contract;
#[path = "../support/kubectl.rs"]
mod kubectl;
mod local;
mod processes;
mod suite;
mod supervisor;
