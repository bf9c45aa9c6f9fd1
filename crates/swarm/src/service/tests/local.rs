//! A local network without anybody who is named: members find each other by multicast.

use hanse_sandbox::must;

use super::*;

const NETWORK: &str = "10.77.3";

/// An interface with two addresses, at whose other end nobody listens.
fn make_network() {
    must("ip", &["link", "add", "lan0", "type", "veth", "peer", "name", "lan1"]);
    for host in [1, 2, 3] {
        let address = format!("{NETWORK}.{host}/24");
        must("ip", &["address", "add", &address, "dev", "lan0"]);
    }
    must("ip", &["link", "set", "lan1", "up"]);
    must("ip", &["link", "set", "lan0", "up"]);
}

async fn member(swarm_key: &SwarmKey, tag: u8, host: u8, mdns: bool) -> Domain {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(swarm_key, tag, &[], &folder);
    config.listen = vec![SwarmAddress::parse(&format!("/ip4/{NETWORK}.{host}/tcp/0")).unwrap()];
    config.mdns = mdns;
    let swarm = Swarm::start(config).await.unwrap();
    swarm.publish(statement(tag, "local")).await.unwrap();
    Domain { swarm, folder }
}

#[test]
fn members_of_one_local_network_find_each_other_and_nobody_else() {
    hanse_sandbox::run(
        "service::tests::local::members_of_one_local_network_find_each_other_and_nobody_else",
        || async {
            make_network();
            let swarm_key = SwarmKey::generate();
            let north = member(&swarm_key, 1, 1, true).await;
            // One of another swarm, and one that does not want to be found.
            let stranger = member(&SwarmKey::generate(), 2, 3, true).await;
            let silent = member(&swarm_key, 3, 3, false).await;
            let south = member(&swarm_key, 4, 2, true).await;
            north.until_online(south.swarm.name()).await;
            south.until_online(north.swarm.name()).await;
            assert_eq!(stranger.swarm.status().await.unwrap().connected, 0);
            assert_eq!(silent.swarm.status().await.unwrap().connected, 0);
            assert_eq!(north.swarm.status().await.unwrap().connected, 1);

            // It goes and comes back at another port: it is found again.
            let name = south.swarm.name();
            south.swarm.stop().await;
            drop(south);
            let south = member(&swarm_key, 4, 2, true).await;
            south.until_online(north.swarm.name()).await;
            north.until_online(name).await;
        },
    );
}
