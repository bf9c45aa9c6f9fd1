//! Agents that know several endpoints of a chain, of which the one in use is cut off in the midst of a federation.

use serde_json::{Value, json};

use crate::league::{League, wait};
use crate::node::{Line, Node};

fn edit(league: &League, index: usize, change: impl FnOnce(&mut Value)) {
    let path = &league.agents[index].config;
    let mut config: Value = serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    change(&mut config);
    // JSON is YAML.
    std::fs::write(path, serde_json::to_vec_pretty(&config).unwrap()).unwrap();
}

fn both(first: &Line, second: &Line) -> Value {
    json!([
        format!("ws://127.0.0.1:{}", first.port),
        format!("http://127.0.0.1:{}", second.port)
    ])
}

/// The consumer is in the midst of it when the line is cut.
fn a_component_moves_while_the_line_is_cut(mut league: League, lines: &[(Line, Line)]) {
    // The consumer last: where it has no node of its own, it needs those of the others.
    for index in (0..league.agents.len()).rev() {
        if index == 0 {
            (1..league.agents.len()).for_each(|other| league.wait_ready(other));
        }
        league.spawn(index);
    }
    league.wait_ready(0);
    league.deploy_example(0, 1);
    let id = league.federate(0, &json!({ "service": "object-detection", "scenario": "component" }));
    wait("the announcement", || {
        let page = league.agreement(0, &id)?;
        page["timeline"]
            .as_array()?
            .iter()
            .any(|mark| mark["step"] == "service_announced")
            .then_some(())
    });
    for (first, _) in lines {
        assert!(first.is_used(), "the first endpoint is the one in use");
        first.cut();
    }
    assert_eq!(league.wait_complete(0, &id)["verified"], true);
    for (_, second) in lines {
        assert!(second.is_used());
    }
    let (status, page) = league.post(0, &format!("/api/v1/agreements/{id}/terminate"), &json!({}));
    assert_eq!(status, 202, "{page}");
    league.wait_nothing_left();
}

#[test]
fn the_next_endpoint_of_anvil_takes_over_for_every_agent() {
    let node = Node::anvil(&[]);
    let league = League::prepare_with(3, &["--ledger-url", &node.url()]);
    let lines: Vec<_> = (0..3).map(|_| (Line::to(node.port), Line::to(node.port))).collect();
    for (index, (first, second)) in lines.iter().enumerate() {
        edit(&league, index, |config| config["ledger"]["urls"] = both(first, second));
    }
    a_component_moves_while_the_line_is_cut(league, &lines);
}

/// One agent without a node of its own, which uses those of two other members. (Three of four validators are up.)
#[test]
fn the_next_embedded_node_takes_over_for_an_agent_without_one() {
    // It is one of the consortium before it loses its node.
    let mut league = League::start(4);
    (0..4).for_each(|index| league.kill(index));
    let port = |index: usize| -> u16 {
        let text = std::fs::read_to_string(&league.agents[index].config).unwrap();
        let config: Value = serde_saphyr::from_str(&text).unwrap();
        let listen = config["ledger"]["embedded"]["rpcListen"].as_str().unwrap();
        listen.rsplit(':').next().unwrap().parse().unwrap()
    };
    let lines = [(Line::to(port(1)), Line::to(port(2)))];
    edit(&league, 0, |config| {
        config["ledger"]["embedded"] = Value::Null;
        config["ledger"]["urls"] = both(&lines[0].0, &lines[0].1);
    });
    a_component_moves_while_the_line_is_cut(league, &lines);
}
