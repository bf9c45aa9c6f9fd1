//! What is said of a swarm beside whether it runs.

use crate::model::{SwarmPool, SwarmSpec};
use crate::plan::{Finding, bytes_of};

/// Whether the members to begin with answer. `all`: how many there are; `refused`: what is wrong with those that can't be called.
pub fn bootstrap(refused: &[String], unreachable: &[(String, String)], all: usize) -> Option<Finding> {
    const KIND: &str = "BootstrapReachable";
    if !refused.is_empty() {
        return Some(Finding::bad(KIND, "AddressRefused", refused.join("; ")));
    }
    if all == 0 {
        return None;
    }
    let texts: Vec<String> = unreachable
        .iter()
        .map(|(address, reason)| format!("{address}: {reason}"))
        .collect();
    Some(match unreachable.len() {
        0 => Finding::good(
            KIND,
            "Reachable",
            "every member to begin with answers, or has not been called yet",
        ),
        some if some < all => Finding::good(KIND, "PartlyReachable", texts.join("; ")),
        _ => Finding::bad(
            KIND,
            "NobodyAnswers",
            format!("they are called again and again: {}", texts.join("; ")),
        ),
    })
}

/// What is said about the version of IPFS.
pub fn version(pool: &SwarmPool, spec: &SwarmSpec) -> Finding {
    const KIND: &str = "VersionHonoured";
    let version = spec.ipfs_version.as_ref().or(pool.spec.ipfs_version.as_ref());
    let spoken = "the agent itself takes part in the swarm and speaks what kubo speaks on a private one: TCP, the swarm's key, noise, yamux, identify, Kademlia, IPNS records";
    match version {
        None => Finding::good(KIND, "SpokenByAgent", spoken),
        Some(version) => {
            let text = format!("no image of IPFS {version} is run: {spoken}");
            Finding::good(KIND, "SpokenByAgent", text)
        }
    }
}

/// How many bytes a swarm's blobs may have, where that is asked for as it should be.
pub fn capacity(spec: &SwarmSpec) -> Option<u64> {
    bytes_of(&spec.storage.as_ref()?.capacity).ok()
}

/// What is said about the capacity.
pub fn storage(spec: &SwarmSpec) -> Option<Finding> {
    const KIND: &str = "StorageBounded";
    let capacity = &spec.storage.as_ref()?.capacity;
    Some(match bytes_of(capacity) {
        Ok(_) if spec.swarm_definition.is_none() => Finding::bad(
            KIND,
            "DefaultSwarm",
            "the default swarm belongs to the agent, which bounds its blobs itself; a capacity holds for swarms with a swarmDefinition",
        ),
        Ok(bytes) => Finding::good(
            KIND,
            "Bounded",
            format!("blobs have at most {bytes} bytes; records are bounded by their number"),
        ),
        Err(error) => Finding::bad(KIND, "NotAQuantity", error.to_string()),
    })
}
