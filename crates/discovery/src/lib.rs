//! Domains find each other, as custom resources of a Kubernetes cluster.
//!
//! # The protocol in words
//! * A [`SwarmPool`](model::SwarmPool) names swarms. The agent takes part in each of them itself: no image of IPFS is run. A
//!   pool's swarm without `swarmDefinition` is the default swarm of the agent's configuration; any other one is known by the key
//!   in a Secret, which is made when it is missing. Pools whose keys are equal share one running swarm. The domain has the same
//!   peer id in all of them.
//! * An [`Identity`](model::Identity) is what the domain publishes, and the only thing that makes it publish. In each swarm one
//!   Identity speaks for the domain: the oldest that names it. The others are told so. What has no Identity any more is
//!   withdrawn; an Identity that is deleted goes when its withdrawal was taken by others, or after a bound.
//! * A [`Peer`](model::Peer) is another domain. There is one for each domain of a swarm, in the namespace of the Identity that
//!   speaks for this domain there. Peers follow the swarm: what is edited or deleted by hand is set right again.
//! * Whatever is not as asked is said in a condition with a reason, and as an event when it changes. Nothing is ignored
//!   silently.
//! * What a peer may do in this domain's cluster, and what it gave in turn: [`credentials`].
//!
//! # What the caller must do
//! Give the running default swarm, if there is one, a client with the rights that `docs/discovery.md` lists, and a folder; call
//! [`Discovery::shutdown`] in the end. What peers say of themselves are their words, not facts.
//!
//! # Rooms
//! [`model`]: the custom resources. [`plan`]: pure decisions: which Identity speaks where, which Peers there are, which objects
//! make a swarm reachable, which conditions hold. `swarms`: the running swarms. `controller`: one task each for pools, Identities
//! and Peers; each looks at everything it knows and writes what differs. `api`: the read-only HTTP API. [`credentials`]: what
//! peers may do here. [`service`]: the wiring, the only room that knows all others.

mod api;
mod controller;
pub mod credentials;
mod metrics;
pub mod model;
pub mod plan;
pub mod service;
pub mod settings;
pub mod swarms;
mod watched;

pub use controller::definitions::definitions;
pub use service::Discovery;
pub use settings::{DefaultSwarm, OwnIdentity, Settings};
