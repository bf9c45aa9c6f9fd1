//! When each step of an agreement happened, under the names that earlier federation experiments used, so that
//! measurements compare.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A step of an agreement. The serialised names, `winner_choosen` included, are those of the published data sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Consumer: the announcement is final on the ledger.
    ServiceAnnounced,
    /// Provider: saw the announcement.
    AnnounceReceived,
    /// Provider: its bid is final.
    BidOfferSent,
    /// Consumer: has the bids it waited for.
    BidOfferReceived,
    /// Consumer: its choice is final.
    WinnerChoosen,
    /// Provider: saw that it won.
    WinnerReceived,
    /// Provider: starts to deploy.
    DeploymentStart,
    /// Provider: everything is ready and has its address.
    DeploymentFinished,
    /// Provider: the deployment is recorded on the ledger.
    ConfirmDeploymentSent,
    /// Consumer: saw the deployment and opened the endpoint.
    ConfirmDeploymentReceived,
    /// Consumer: starts to look whether the federated service answers.
    CheckConnectivityFederatedServiceStart,
    /// Consumer: the federated service did its work before our eyes.
    CheckConnectivityFederatedServiceFinished,
}

impl Step {
    /// All steps in the order in which they happen.
    pub const ALL: [Self; 12] = [
        Self::ServiceAnnounced,
        Self::AnnounceReceived,
        Self::BidOfferSent,
        Self::BidOfferReceived,
        Self::WinnerChoosen,
        Self::WinnerReceived,
        Self::DeploymentStart,
        Self::DeploymentFinished,
        Self::ConfirmDeploymentSent,
        Self::ConfirmDeploymentReceived,
        Self::CheckConnectivityFederatedServiceStart,
        Self::CheckConnectivityFederatedServiceFinished,
    ];

    /// The serialised name.
    pub fn name(self) -> &'static str {
        match self {
            Self::ServiceAnnounced => "service_announced",
            Self::AnnounceReceived => "announce_received",
            Self::BidOfferSent => "bid_offer_sent",
            Self::BidOfferReceived => "bid_offer_received",
            Self::WinnerChoosen => "winner_choosen",
            Self::WinnerReceived => "winner_received",
            Self::DeploymentStart => "deployment_start",
            Self::DeploymentFinished => "deployment_finished",
            Self::ConfirmDeploymentSent => "confirm_deployment_sent",
            Self::ConfirmDeploymentReceived => "confirm_deployment_received",
            Self::CheckConnectivityFederatedServiceStart => "check_connectivity_federated_service_start",
            Self::CheckConnectivityFederatedServiceFinished => "check_connectivity_federated_service_finished",
        }
    }
}

/// One step and when it was first reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Mark {
    /// The step.
    pub step: Step,
    /// Unix time in milliseconds, by the clock of the domain that took the step.
    pub at_ms: u64,
}

/// The steps that one domain took in one agreement.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct Timeline(Vec<Mark>);

impl Timeline {
    /// Notes that `step` was reached; a repetition after a restart keeps the first time.
    pub fn mark(&mut self, step: Step, at_ms: u64) {
        if self.at(step).is_none() {
            self.0.push(Mark { step, at_ms });
        }
    }

    /// When `step` was first reached, in Unix milliseconds.
    pub fn at(&self, step: Step) -> Option<u64> {
        self.0.iter().find(|mark| mark.step == step).map(|mark| mark.at_ms)
    }

    /// All marks in the order in which they were made.
    pub fn marks(&self) -> &[Mark] {
        &self.0
    }

    /// The `step,timestamp` table of the published data sets; times in seconds since `origin_ms`.
    pub fn csv(&self, origin_ms: u64) -> String {
        let mut table = String::from("step,timestamp\n");
        for mark in &self.0 {
            let seconds = mark.at_ms.saturating_sub(origin_ms) as f64 / 1000.0;
            table.push_str(&format!("{},{seconds:.3}\n", mark.step.name()));
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_repeated_after_a_restart_keeps_its_first_time() {
        let mut timeline = Timeline::default();
        timeline.mark(Step::ServiceAnnounced, 1_000);
        timeline.mark(Step::ServiceAnnounced, 9_000);
        assert_eq!(timeline.at(Step::ServiceAnnounced), Some(1_000));
        assert_eq!(timeline.csv(500), "step,timestamp\nservice_announced,0.500\n");
    }

    #[test]
    fn names_are_the_serialised_names() {
        for step in Step::ALL {
            assert_eq!(
                serde_json::to_value(step).expect("a unit variant serialises"),
                step.name()
            );
        }
    }
}
