//! The things this crate talks about.

mod providers;
mod records;
mod service;
mod timeline;

pub use providers::{Eligible, Providers};
pub use records::{
    Award, ConsumerRecord, Endpoint, ExternalAddress, ManifestCopy, NewAgreement, Outcome, Parameters, ProviderRecord,
    Stage, Want, WorkSeen, namespace_of,
};
pub use service::{LocalService, Probe, Scenario, ServiceDefinition};
pub use timeline::{Mark, Step, Timeline};
