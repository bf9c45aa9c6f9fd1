//! Where the traffic of a movable component goes, and how many replicas its owner keeps: both follow from the live
//! agreements alone, so that any number of them can come and go in any order.

use hanse_agreement::AgreementId;
use hanse_agreement::policy::Placement;

use crate::model::{ConsumerRecord, Scenario};

/// Replicas that the owner of a service keeps of its component.
pub fn own_replicas(wanted: u32, records: &[ConsumerRecord]) -> u32 {
    let shares = records.iter().filter(|record| record.stage.gives_share_away());
    let shares = shares.map(|record| match record.scenario {
        Scenario::Scale => record.announcement.requirements.replicas,
        Scenario::Component | Scenario::Whole => wanted,
    });
    let moved = shares.fold(Placement::at_home(wanted), |placement, share| {
        // Who has given away all can't give more.
        let moving = share.min(placement.consumer());
        placement.move_out(moving).unwrap_or(placement)
    });
    moved.consumer()
}

/// Whether the owner's own component still takes part of the traffic. `restoring` is an agreement that is being taken back
/// right now.
pub fn keeps_a_share(records: &[ConsumerRecord], restoring: Option<AgreementId>) -> bool {
    !in_use(records, restoring).any(|record| record.scenario == Scenario::Component)
}

/// The addresses over which the traffic is spread: the own one first, if there is one, then each provider to which
/// traffic was handed over.
pub fn destinations(
    own: Option<&str>,
    component: &str,
    records: &[ConsumerRecord],
    restoring: Option<AgreementId>,
) -> Vec<String> {
    let federated = in_use(records, restoring).filter_map(|record| record.endpoint.as_ref()?.services.get(component));
    own.map(str::to_owned)
        .into_iter()
        .chain(federated.map(|address| address.host.clone()))
        .collect()
}

fn in_use(records: &[ConsumerRecord], restoring: Option<AgreementId>) -> impl Iterator<Item = &ConsumerRecord> {
    records
        .iter()
        .filter(move |record| record.stage.uses_provider() && Some(record.id()) != restoring)
        .filter(|record| record.scenario != Scenario::Whole)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::model::{Endpoint, ExternalAddress, Stage};
    use crate::request::tests::record;

    fn handed_over(scenario: Scenario, replicas: u32, host: &str) -> ConsumerRecord {
        let mut record = record(scenario, replicas);
        let address = ExternalAddress {
            host: host.to_owned(),
            ports: BTreeMap::new(),
        };
        let services = BTreeMap::from([("detector".to_owned(), address)]);
        record.endpoint = Some(Endpoint {
            services,
            replicas: BTreeMap::new(),
        });
        record.stage = Stage::HandedOver;
        record
    }

    #[test]
    fn replicas_are_conserved_however_many_agreements_share_them() {
        let mut records = vec![
            handed_over(Scenario::Scale, 2, "192.0.2.1"),
            handed_over(Scenario::Scale, 3, "192.0.2.2"),
        ];
        assert_eq!(
            own_replicas(6, &records),
            6,
            "nothing is given up before the provider was seen to work"
        );
        records[0].stage = Stage::Releasing;
        assert_eq!(own_replicas(6, &records), 4);
        records[1].stage = Stage::Completed;
        assert_eq!(own_replicas(6, &records), 1);
        records[0].stage = Stage::Restored;
        assert_eq!(own_replicas(6, &records), 3, "what came back is here again");
    }

    #[test]
    fn a_moved_component_takes_all_traffic_and_a_scaled_one_shares_it() {
        let scaled = [handed_over(Scenario::Scale, 2, "192.0.2.1")];
        assert!(keeps_a_share(&scaled, None));
        assert_eq!(
            destinations(Some("10.0.0.1"), "detector", &scaled, None),
            ["10.0.0.1", "192.0.2.1"]
        );
        let moved = [handed_over(Scenario::Component, 1, "192.0.2.1")];
        assert!(!keeps_a_share(&moved, None));
        assert_eq!(destinations(None, "detector", &moved, None), ["192.0.2.1"]);
        let back = Some(moved[0].id());
        assert!(keeps_a_share(&moved, back));
        assert_eq!(destinations(Some("10.0.0.1"), "detector", &moved, back), ["10.0.0.1"]);
    }
}
