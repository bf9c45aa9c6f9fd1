//! Says something in one cluster and waits until all others show it.

use std::time::Instant;

use futures::future::try_join_all;

use super::sight::{AllSeen, Sight};

/// A domain's name and its cluster.
pub type Place<'a> = (&'a str, &'a Sight);

/// How long, in milliseconds, until all but `author` show what is `expected`: the slowest counts.
pub async fn all_see(
    places: &[Place<'_>],
    author: &str,
    since: Instant,
    what: &str,
    expected: impl Fn(&AllSeen) -> bool + Copy,
) -> anyhow::Result<u64> {
    let others = places.iter().filter(|(name, _)| *name != author);
    let waits = others.map(|(_, sight)| sight.until(since, what, expected));
    let slowest = try_join_all(waits).await?.into_iter().max().unwrap_or_default();
    Ok(u64::try_from(slowest.as_millis())?)
}

/// Has a domain say this, until all others show it.
pub async fn say(places: &[Place<'_>], author: Place<'_>, description: &str) -> anyhow::Result<u64> {
    let (name, sight) = author;
    let since = Instant::now();
    sight.apply_identity(name, description).await?;
    let what = format!("{name} says {description:?}");
    all_see(places, name, since, &what, |seen| {
        seen.get(name).is_some_and(|seen| seen.description == description)
    })
    .await
}

/// Has a domain withdraw, until no other shows it.
pub async fn withdraw(places: &[Place<'_>], author: Place<'_>) -> anyhow::Result<u64> {
    let (name, sight) = author;
    let since = Instant::now();
    sight.delete_identity(name).await?;
    let what = format!("{name} has withdrawn");
    let took = all_see(places, name, since, &what, |seen| !seen.contains_key(name)).await?;
    sight.until_identity_gone(name).await?;
    Ok(took)
}

/// Waits until everybody sees everybody online.
pub async fn until_all_see_all(places: &[Place<'_>]) -> anyhow::Result<()> {
    let since = Instant::now();
    let waits = places.iter().map(|(own, sight)| {
        sight.until(since, "all others are online", move |seen| {
            let mut others = places.iter().filter(|(name, _)| name != own);
            others.all(|(name, _)| seen.get(*name).is_some_and(|seen| seen.online))
        })
    });
    try_join_all(waits).await.map(drop)
}
