//! What it costs to have a record with all, and how long it takes.

use std::time::Duration;

use super::world::World;
use super::{Conditions, Figures};
use crate::peers::Limits;

/// A record that is not with all by then counts as lost.
const AT_THE_LATEST: Duration = Duration::from_secs(600);

/// How records spread in a swarm.
#[derive(Debug, Clone, PartialEq)]
pub struct Spread {
    /// How many domains there are.
    pub domains: usize,
    /// How many records were published, each by another domain.
    pub records: usize,
    /// How often a record was sent until it was with all, on average.
    pub messages_per_record: f64,
    /// The same for each domain.
    pub messages_per_domain: f64,
    /// Over how many hops a record came to a domain: median.
    pub hops_p50: u64,
    /// 99th percentile.
    pub hops_p99: u64,
    /// How long it took until a record was with a domain, in milliseconds: median.
    pub arrived_ms_p50: u64,
    /// 99th percentile.
    pub arrived_ms_p99: u64,
    /// How long it took until a record was with all, in milliseconds: the longest.
    pub with_all_ms: u64,
    /// Records that did not reach all within ten minutes.
    pub lost: usize,
}

/// Publishes `records` records one after another in a swarm of `domains`, which is connected already.
///
/// # Panics
/// If `records` is more than `domains`.
pub fn spread(domains: usize, records: usize, conditions: Conditions) -> Spread {
    assert!(records <= domains, "each record needs an author of its own");
    let mut world = World::new(domains, Limits::default(), conditions);
    let mut names: Vec<_> = world.domains.iter().map(|domain| domain.name).collect();
    names.sort_unstable();
    world.choose_among = Some(names);
    connect(&mut world);
    let (mut hops, mut arrived) = (Figures::default(), Figures::default());
    let (mut sent, mut with_all_ms, mut lost) = (0, 0, 0);
    for author in 0..records {
        let (from, name) = (world.now, world.domains[author].name);
        let statement = world.present(author, "it is new");
        world.publish(author, &statement, 1);
        let end = from.plus(AT_THE_LATEST);
        let is_with_all = world.run(end, |world| world.arrived[&name].len() == domains);
        lost += usize::from(!is_with_all);
        sent += world.sent[&name];
        for arrival in world.arrived[&name].values().filter(|arrival| arrival.hops > 0) {
            let took = u64::try_from(arrival.at.since(from).as_millis()).unwrap_or(u64::MAX);
            hops.saw(arrival.hops);
            arrived.saw(took);
            with_all_ms = with_all_ms.max(took);
        }
        // What comes later is not of this record.
        world.arrived.remove(&name);
        world.sent.remove(&name);
    }
    let messages_per_record = sent as f64 / records.max(1) as f64;
    Spread {
        domains,
        records,
        messages_per_record,
        messages_per_domain: messages_per_record / domains.max(1) as f64,
        hops_p50: hops.percentile(50),
        hops_p99: hops.percentile(99),
        arrived_ms_p50: arrived.percentile(50),
        arrived_ms_p99: arrived.percentile(99),
        with_all_ms,
        lost,
    }
}

/// Starts all, each with a connection to its neighbours.
fn connect(world: &mut World) {
    let by_name: std::collections::HashMap<_, _> = (0..)
        .zip(&world.domains)
        .map(|(index, domain): (usize, _)| (domain.name, index))
        .collect();
    for index in 0..world.domains.len() {
        world.start(index, None);
        world.choose_neighbours(index);
        let neighbours = world.domains[index].member.neighbours();
        let wanted: Vec<_> = match neighbours.is_full_mesh() {
            true => (0..world.domains.len()).filter(|other| *other != index).collect(),
            false => neighbours.told().map(|name| by_name[name]).collect(),
        };
        for other in wanted {
            world.connect(index, other);
        }
    }
}
