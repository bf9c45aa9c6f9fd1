//! Discovery as the configuration says.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::sync::Arc;

use anyhow::Context;
use hanse_discovery::{DefaultSwarm, Discovery, OwnIdentity, Settings};
use hanse_swarm::{SealingSecret, Swarm};
use zeroize::Zeroizing;

use super::agreements::Told;
use super::credentials::credentials;
use super::start::key;
use crate::config::Config;
use crate::keys::DomainKeys;

/// Starts the controllers of SwarmPool, Identity and Peer for this agent's cluster. What is `told` of membership and
/// capacity is published with the Identity of the default swarm.
///
/// # Errors
/// If the swarm's key can't be read.
pub fn discover(
    config: &Config,
    keys: &DomainKeys,
    swarm: &Arc<Swarm>,
    client: kube::Client,
    told: Told,
) -> anyhow::Result<Discovery> {
    let identity = config.swarm.identity.as_ref().map(|identity| OwnIdentity {
        description: identity.description.clone().map(String::from).unwrap_or_default(),
        url: identity
            .url
            .clone()
            .map_or_else(|| config.api.public_url(), String::from),
        categories: identity.categories.iter().map(ToString::to_string).collect(),
    });
    let sealing = SealingSecret::from_bytes(Zeroizing::new(keys.sealing.to_bytes()));
    // A development cluster is on this machine, and takes no other address.
    let listen = match config.cluster.development {
        Some(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        None => config.swarm.listen.ip(),
    };
    let (membership, party) = (told.membership.clone(), told.party.clone());
    let settings = Settings {
        namespace: config.cluster.namespace.clone().unwrap_or_else(|| "default".into()),
        identity,
        listen,
        credentials: told.into_credentials(credentials(config)?),
        party,
        addresses: vec![reachable(listen)],
        ..Settings::new(
            config.domain.clone(),
            keys.swarm.clone(),
            sealing,
            config.data_dir.clone(),
        )
    };
    let default_swarm = DefaultSwarm {
        swarm: swarm.clone(),
        key: key(config)?.context("the swarm's key was removed while the agent started")?,
        bootstrap: config.swarm.bootstrap.clone(),
        port: config.swarm.listen.port(),
    };
    Ok(Discovery::start(settings, client, Some(default_swarm), membership))
}

/// Where the cluster reaches this agent: the address of its pod or machine.
fn reachable(listen: IpAddr) -> IpAddr {
    if !listen.is_unspecified() {
        return listen;
    }
    // Nothing is sent: this only asks the system which address it would use. The other one is of documentation (RFC 5737).
    let asked = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).and_then(|socket| {
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9))?;
        socket.local_addr()
    });
    asked.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |address| address.ip())
}
