//! Many agents on this machine: how soon all see what one says, and what the swarm costs.

use std::time::{Duration, Instant};

use anyhow::Context;
use futures::future::try_join_all;
use tokio::time::sleep;

use super::agents::Agents;
use super::report::Document;
use super::rounds::{Place, all_see, say, until_all_see_all, withdraw};
use crate::bench::process;
use crate::bench::quantiles::{Quantiles, rounded};

/// How many are killed at the same moment.
const KILLED: usize = 3;
/// Memory is read when an agent had this long to settle.
const SETTLE: Duration = Duration::from_secs(5);

/// Measures with `agents` agents, with `rounds` publications, updates and withdrawals each.
pub async fn measure(
    document: &mut Document,
    agents: usize,
    rounds: usize,
    say_what: &impl Fn(&str),
) -> anyhow::Result<()> {
    let mut alone = Agents::new()?;
    let alone_holds = alone_holds(&mut alone).await;
    alone.stop().await;
    let alone_holds = alone_holds?;
    let mut running = Agents::new()?;
    let measured = with_all(document, &mut running, agents, rounds, say_what).await;
    running.stop().await;
    measured?;
    document.agents = Some(agents);
    document.rss_mb_swarm = document.agent_mb.map(|holds| rounded(holds - alone_holds));
    Ok(())
}

/// Memory of an agent that has published and sees nobody, in megabytes.
async fn alone_holds(agents: &mut Agents) -> anyhow::Result<f64> {
    agents.start().await?;
    let agent = agents.all.first().context("one was started")?;
    agent.sight.apply_identity(&agent.name, "alone").await?;
    sleep(SETTLE).await;
    Ok(process::resident(agent.pid()?)? as f64 / 1e6)
}

async fn with_all(
    document: &mut Document,
    running: &mut Agents,
    agents: usize,
    rounds: usize,
    say_what: &impl Fn(&str),
) -> anyhow::Result<()> {
    for number in 1..=agents {
        say_what(&format!("starting agent {number} of {agents}"));
        running.start().await?;
        let agent = running.all.last().context("one was started")?;
        agent.sight.apply_identity(&agent.name, "here").await?;
    }
    say_what("waiting until all see all");
    let places: Vec<Place<'_>> = places(running);
    until_all_see_all(&places).await?;
    sleep(SETTLE).await;
    let mut resident = Vec::new();
    for agent in &running.all {
        resident.push(process::resident(agent.pid()?)?);
    }
    let middle = Quantiles::of(&resident).context("there are agents")?.p50;
    document.agent_mb = Some(rounded(middle as f64 / 1e6));

    let (mut updates, mut withdrawals, mut visible) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        say_what(&format!("{agents} agents, {} of {rounds}", round + 1));
        let author = places[round % places.len()];
        updates.push(say(&places, author, &format!("update {round}")).await?);
        withdrawals.push(withdraw(&places, author).await?);
        visible.push(say(&places, author, &format!("back {round}")).await?);
    }
    document.update_50_ms = Quantiles::of(&updates);
    document.withdrawal_50_ms = Quantiles::of(&withdrawals);
    document.visible_50_ms = Quantiles::of(&visible);
    until_all_see_all(&places).await?;
    let killed = KILLED.min(agents.saturating_sub(2));
    say_what(&format!("{killed} agents are killed"));
    (document.offline_ms, document.removed_ms) = kill_last(running, killed).await?;
    Ok(())
}

fn places(agents: &Agents) -> Vec<Place<'_>> {
    agents
        .all
        .iter()
        .map(|agent| (agent.name.as_str(), &agent.sight))
        .collect()
}

/// How long until all others show those that were killed offline, and until none shows them: the longest.
async fn kill_last(agents: &mut Agents, count: usize) -> anyhow::Result<(Option<u64>, Option<u64>)> {
    let mut killed = agents.all.split_off(agents.all.len() - count);
    let since = Instant::now();
    for agent in &mut killed {
        agent.kill().await?;
    }
    let places = places(agents);
    let waits = killed.iter().map(async |killed| {
        let name = killed.name.as_str();
        let what = format!("{name} was killed");
        let offline = all_see(&places, name, since, &what, |seen| {
            seen.get(name).is_none_or(|seen| !seen.online)
        });
        let offline = offline.await?;
        let removed = all_see(&places, name, since, &what, |seen| !seen.contains_key(name)).await?;
        anyhow::Ok((offline, removed))
    });
    let took = try_join_all(waits).await?;
    let longest = |of: fn(&(u64, u64)) -> u64| took.iter().map(of).max();
    Ok((longest(|it| it.0), longest(|it| it.1)))
}
