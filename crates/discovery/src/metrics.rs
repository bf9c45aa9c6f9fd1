//! The figures of discovery for Prometheus: the original's two, and the swarms'.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use hanse_metrics::{Labels, Page, Reading};
use hanse_swarm::peers::Presence;

use crate::plan::{Owner, TargetReport};
use crate::swarms::{EntryKey, Member, Swarms};

/// One Identity in one swarm.
#[derive(Debug, Clone)]
pub struct Row {
    owner: Owner,
    entry: EntryKey,
    synchronized: u32,
    out_of_sync: u32,
    /// Of those, the ones with a valid record.
    domains_out_of_sync: u32,
}

impl Row {
    /// From what was found for its status.
    pub fn new(owner: &Owner, report: &TargetReport, member: Option<&Arc<Member>>) -> Self {
        let away = |member: &Arc<Member>| {
            let view = member.view();
            view.peers
                .iter()
                .filter(|peer| peer.presence != Presence::Online)
                .count()
        };
        Self {
            owner: owner.clone(),
            entry: report.entry.clone(),
            synchronized: report.synchronized,
            out_of_sync: report.out_of_sync,
            domains_out_of_sync: member.map_or(0, |member| u32::try_from(away(member)).unwrap_or(u32::MAX)),
        }
    }

    fn labels(&self, status: &str) -> Labels<6> {
        [
            ("identity_name", self.owner.name.clone()),
            ("identity_namespace", self.owner.namespace.clone()),
            ("status", status.to_owned()),
            ("swarm_name", self.entry.swarm.clone()),
            ("swarmpool_name", self.entry.pool.clone()),
            ("swarmpool_namespace", self.entry.namespace.clone()),
        ]
    }
}

/// Reads discovery at each scrape.
#[derive(Debug)]
pub struct DiscoveryReading {
    /// What runs.
    pub swarms: Arc<Swarms>,
    /// What was found of the Identities last.
    pub rows: Arc<Mutex<Vec<Row>>>,
}

impl Reading for DiscoveryReading {
    fn read(&self, page: &mut Page<'_>) -> fmt::Result {
        let rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let both = |count: fn(&Row) -> (u32, u32)| {
            let each = rows.iter().flat_map(move |row| {
                let (synchronized, out_of_sync) = count(row);
                [
                    (row.labels("Out of sync"), f64::from(out_of_sync)),
                    (row.labels("Synchronized"), f64::from(synchronized)),
                ]
            });
            each.collect::<Vec<_>>()
        };
        page.gauges(
            "cluster_discovery_controller_identity_controller_peers_number",
            "Number of known peer associated to a given identity",
            both(|row| (row.synchronized, row.out_of_sync)),
        )?;
        page.gauges(
            "cluster_discovery_controller_identity_controller_sync_peers_number",
            "Number of synchronized peers (peer with a valid published identity) associated to a given identity",
            both(|row| (row.synchronized, row.domains_out_of_sync)),
        )?;
        let members = self.swarms.now().members;
        let gauge = |count: fn(&Member) -> usize| {
            let each = members.values().map(move |member| {
                let labels = [
                    ("swarm", member.id.to_string()),
                    ("default", member.is_default.to_string()),
                ];
                (labels, count(member) as f64)
            });
            each.collect::<Vec<_>>()
        };
        page.gauges(
            "hanse_discovery_swarm_connected_peers",
            "Members of the swarm that are connected, domains and others",
            gauge(|member| member.view().connected),
        )?;
        page.gauges(
            "hanse_discovery_swarm_domains",
            "Other domains of the swarm that are known",
            gauge(|member| member.view().peers.len()),
        )?;
        page.gauges(
            "hanse_discovery_swarm_domains_online",
            "Other domains of the swarm that answered the last look",
            gauge(|member| {
                let view = member.view();
                view.peers
                    .iter()
                    .filter(|peer| peer.presence == Presence::Online)
                    .count()
            }),
        )?;
        page.gauges(
            "hanse_discovery_swarm_unreachable_bootstraps",
            "Members to begin with that do not answer",
            gauge(|member| member.view().unreachable.len()),
        )?;
        page.gauges(
            "hanse_discovery_swarm_held_records",
            "Records that this domain holds for the swarm",
            gauge(|member| member.view().held_records),
        )?;
        page.gauges(
            "hanse_discovery_swarm_relays",
            "Relays over which this domain can be called, if nobody can call it directly",
            gauge(|member| member.view().relays),
        )?;
        page.gauges(
            "hanse_discovery_swarm_relayed_domains",
            "Other domains that can be called over this one",
            gauge(|member| member.view().reservations_served),
        )?;
        page.gauges(
            "hanse_discovery_swarm_relayed_connections",
            "Connections of others that this domain carries",
            gauge(|member| member.view().circuits_served),
        )
    }
}
