//! Where domains publish nothing in a swarm, providers are asked for by name.

use serde_json::{Value, json};

use crate::league::League;
use crate::node::Node;

#[test]
fn without_a_swarm_categories_are_refused_and_named_domains_may_provide() {
    let node = Node::anvil(&[]);
    let mut league = League::prepare_with(2, &["--ledger-url", &node.url()]);
    for index in 0..2 {
        let config = &league.agents[index].config;
        let text = std::fs::read_to_string(config).unwrap();
        let mut value: Value = serde_saphyr::from_str(&text).unwrap();
        let swarm = value["swarm"].as_object_mut().unwrap();
        assert!(swarm.remove("identity").is_some());
        std::fs::write(config, serde_json::to_vec_pretty(&value).unwrap()).unwrap();
        league.spawn(index);
    }
    league.wait_all_ready();
    league.deploy_example(0, 1);
    let ask =
        |providers: Value| json!({ "service": "object-detection", "scenario": "component", "providers": providers });
    let (status, problem) = league.post(0, "/api/v1/agreements", &ask(json!({ "categories": ["edge"] })));
    assert_eq!(status, 409, "{problem}");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("is not known in the swarm"), "{detail}");
    assert_eq!(league.get(1, "/api/v1/agreements"), json!([]));

    let name = league.agents[1].name.clone();
    let id = league.federate(0, &ask(json!({ "domains": [name] })));
    let page = league.wait_complete(0, &id);
    assert_eq!(league.by_account(&page["provider"]), 1);
}
