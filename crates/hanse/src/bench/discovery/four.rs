//! Four domains with everything that `hanse up` starts: how soon a domain that publishes is visible.

use std::collections::BTreeMap;

use anyhow::Context;

use super::rounds::{Place, say, until_all_see_all, withdraw};
use super::sight::Sight;
use crate::bench::quantiles::Quantiles;
use crate::config::Admission;
use crate::up::folder::{Folder, Plan};
use crate::up::league::League;

const DOMAINS: usize = 4;

/// Identity applied → Peer visible on all others, `rounds` times, by each domain in turn.
pub async fn visible(rounds: usize, say_what: &impl Fn(&str)) -> anyhow::Result<Quantiles> {
    let temporary = tempfile::tempdir().context("there is no folder for temporary files")?;
    let catalogue = temporary.path().join("catalogue");
    std::fs::create_dir(&catalogue)?;
    let plan = Plan {
        admission: Admission::ByHand,
        domains: DOMAINS,
        first_api_port: None,
        ledger_url: None,
        catalogue: &catalogue,
        images: &BTreeMap::new(),
    };
    let folder = Folder::create(&temporary.path().join("league"), &plan).await?;
    let league = League::start(&folder, |name| say_what(&format!("{name} is ready"))).await?;
    let measured = measure(&league, rounds, say_what).await;
    league.stop().await;
    measured
}

async fn measure(league: &League, rounds: usize, say_what: &impl Fn(&str)) -> anyhow::Result<Quantiles> {
    let mut sights = Vec::new();
    for domain in &league.domains {
        sights.push((domain.name.as_str(), Sight::open(&domain.kubeconfig).await?));
    }
    let places: Vec<Place<'_>> = sights.iter().map(|(name, sight)| (*name, sight)).collect();
    until_all_see_all(&places).await?;
    let mut millis = Vec::new();
    for round in 0..rounds {
        say_what(&format!("4 domains, {} of {rounds}", round + 1));
        let author = places[round % places.len()];
        withdraw(&places, author).await?;
        millis.push(say(&places, author, &format!("round {round}")).await?);
    }
    Quantiles::of(&millis).context("--rounds 0 measures nothing")
}
