//! `hanse swarm find`: which domains offer something, and why the others don't.

use clap::Args;
use hanse_agreement::Terms;
use hanse_agreement::policy::{Candidate, Capacity, Wish};
use serde::Serialize;

use super::command::peer_table;
use super::pages::PeerPage;
use crate::cli::ApiArguments;
use crate::output;

/// Options of `hanse swarm find`.
#[derive(Debug, Args)]
pub struct Find {
    /// What they must offer, as they write it; may be repeated, then they must offer all of it.
    #[arg(long)]
    category: Vec<String>,
    #[command(flatten)]
    requirements: Requirements,
    #[command(flatten)]
    api: ApiArguments,
}

/// What a service needs, as in an agreement's `requirements`.
#[derive(Debug, Args)]
struct Requirements {
    /// Availability, at least (percent, with up to two decimals).
    #[arg(long, value_name = "PERCENT", value_parser = basis_points, default_value = "0")]
    availability: u16,
    /// Latency, at most (ms); 0: any.
    #[arg(long, value_name = "MS", default_value_t = 0)]
    latency: u32,
    /// Jitter, at most (ms); 0: any.
    #[arg(long, value_name = "MS", default_value_t = 0)]
    jitter: u32,
    /// Bandwidth, at least (Mbit/s).
    #[arg(long, value_name = "MBPS", default_value_t = 0)]
    bandwidth: u32,
    /// CPU of each replica, at least (millicores: 1000 are one core).
    #[arg(long, value_name = "MILLICORES", default_value_t = 0)]
    cpu: u32,
    /// Memory of each replica, at least (MiB).
    #[arg(long, value_name = "MIB", default_value_t = 0)]
    ram: u32,
    /// Replicas; one if CPU or memory is given.
    #[arg(long, default_value_t = 0)]
    replicas: u32,
}

impl Requirements {
    fn terms(&self) -> Terms {
        let is_for_each = self.cpu > 0 || self.ram > 0;
        Terms {
            availability_bps: self.availability,
            latency_ms: self.latency,
            jitter_ms: self.jitter,
            bandwidth_mbps: self.bandwidth,
            cpu_millicores: self.cpu,
            ram_mb: self.ram,
            replicas: self.replicas.max(u32::from(is_for_each)),
        }
    }
}

/// A percentage with up to two decimals in hundredths of a percent.
fn basis_points(text: &str) -> Result<u16, String> {
    let wrong = || format!("{text:?} is no percentage from 0 to 100 with at most two decimals, such as 99.9");
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) || !is_number(part) || part.len() > 2 || whole.len() > 3 {
        return Err(wrong());
    }
    let digits = format!("{whole}{part:0<2}");
    let value: u32 = digits.parse().map_err(|_| wrong())?;
    u16::try_from(value)
        .ok()
        .filter(|value| *value <= 10_000)
        .ok_or_else(wrong)
}

/// What was found.
#[derive(Debug, Serialize)]
struct FoundPage {
    /// Domains that say that they offer it.
    domains: Vec<PeerPage>,
    /// All others.
    others: Vec<UnfitPage>,
}

/// A domain that does not say that it offers what was looked for.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct UnfitPage {
    name: String,
    peer_id: String,
    /// What is in the way, in words.
    reasons: Vec<String>,
}

/// What is looked for.
struct Sought {
    categories: Vec<String>,
    required: Terms,
}

impl Sought {
    fn sift(&self, pages: Vec<PeerPage>) -> FoundPage {
        let mut found = FoundPage {
            domains: Vec::new(),
            others: Vec::new(),
        };
        for page in pages {
            let reasons = self.reasons(&page);
            if reasons.is_empty() {
                found.domains.push(page);
            } else {
                found.others.push(UnfitPage {
                    name: page.name,
                    peer_id: page.peer_id,
                    reasons,
                });
            }
        }
        found
    }

    fn reasons(&self, page: &PeerPage) -> Vec<String> {
        let wish = Wish {
            categories: &self.categories,
            domains: &[],
        };
        let candidate = Candidate {
            name: &page.name,
            account: None,
            categories: Some(page.categories.iter().map(String::as_str).collect()),
            capacity: match &page.party {
                None => Capacity::Unknown,
                Some(party) => party.capacity().copied().map_or(Capacity::Nothing, Capacity::UpTo),
            },
            // The table shows that.
            reachable: true,
        };
        let unfit = wish.unfit(&self.required, &candidate);
        unfit.iter().map(ToString::to_string).collect()
    }
}

/// Runs the command.
pub async fn find(arguments: Find) -> anyhow::Result<()> {
    let pages: Vec<PeerPage> = arguments.api.client()?.get("api/v1/swarm/peers").await?;
    let sought = Sought {
        categories: arguments.category,
        required: arguments.requirements.terms(),
    };
    output::print(arguments.api.output, &sought.sift(pages), text)
}

fn text(found: &FoundPage) -> String {
    let mut text = match (found.domains.is_empty(), found.others.is_empty()) {
        (true, true) => {
            return "no other domain is known in the swarm; `hanse swarm status` shows whether anybody answers".into();
        }
        (true, false) => "no domain of the swarm says that it offers this\n".into(),
        (false, _) => peer_table(&found.domains),
    };
    if !found.others.is_empty() {
        let mut rows = vec![vec!["NOT".to_owned(), "BECAUSE IT".to_owned()]];
        let row = |it: &UnfitPage| vec![it.name.clone(), it.reasons.join("; ")];
        rows.extend(found.others.iter().map(row));
        text.push('\n');
        text.push_str(&output::table(&rows));
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_percentage_is_read_exactly_or_refused() {
        for (text, value) in [
            ("0", 0),
            ("99.9", 9_990),
            ("99.95", 9_995),
            ("100", 10_000),
            ("7.05", 705),
        ] {
            assert_eq!(basis_points(text), Ok(value));
        }
        for text in ["", "100.01", "99.999", "-1", "a", "1e3", "99.", ".5", "65536"] {
            assert!(basis_points(text).unwrap_err().contains("percentage"), "{text}");
        }
    }
}
