//! What an owner does by hand, instead of leaving it to the policies.

use hanse_agreement::policy::NoBid;
use hanse_agreement::{Account, Agreement, AgreementId, Price, State};
use sha2::{Digest, Sha256};

use crate::clock::now_ms;
use crate::config::Bidding;
use crate::error::StepError;
use crate::follow::provider_record;
use crate::model::{ConsumerRecord, ProviderRecord};
use crate::request::{FederationRequest, RequestError};
use crate::service::{BIDDING, Orchestrator, Shared};
use crate::store::{Batch, StoreError};

const LONGEST_KEY: usize = 256;

impl Orchestrator {
    /// Changes how this domain bids.
    pub async fn set_bidding(&self, bidding: Bidding) -> Result<(), StoreError> {
        let party = bidding.party(self.shared.me());
        self.shared
            .store
            .commit(move |batch| batch.put_setting(BIDDING, &bidding))
            .await?;
        self.shared.party.send_replace(party);
        Ok(())
    }

    /// As [`Orchestrator::federate`], but a second request with the same key gives the first one's agreement, and one
    /// that asks for something else under the same key is refused.
    pub async fn federate_once(
        &self,
        request: &FederationRequest,
        key: Option<&str>,
    ) -> Result<ConsumerRecord, RequestError> {
        let Some(key) = key else {
            return self.federate(request).await;
        };
        if key.is_empty() || key.len() > LONGEST_KEY {
            let reason = format!("must have 1 to {LONGEST_KEY} bytes");
            return Err(RequestError::Invalid {
                field: "Idempotency-Key",
                reason,
            });
        }
        let wanted = fingerprint(request);
        let _one_at_a_time = self.shared.idempotency.lock().await;
        if let Some((made_for, id)) = self
            .shared
            .store
            .answered::<(String, AgreementId)>(key)
            .map_err(StepError::from)?
        {
            if made_for != wanted {
                let reason = "was used for another request; take a new one".into();
                return Err(RequestError::Invalid {
                    field: "Idempotency-Key",
                    reason,
                });
            }
            if let Some(record) = self.shared.store.consumer(id).map_err(StepError::from)? {
                return Ok(record);
            }
        }
        let key = key.to_owned();
        let remember = move |batch: &mut Batch, id: AgreementId| batch.put_answer(&key, &(wanted, id));
        self.shared.accept(request, remember).await
    }

    /// Bids on an announcement whether or not bidding is switched on, if there is room. A bid that was placed before is
    /// replaced by one of this price.
    pub async fn bid(&self, id: AgreementId, price_per_hour: Option<Price>) -> Result<(), StepError> {
        let shared = &self.shared;
        if shared.store.consumer(id)?.is_some() {
            return Err(StepError::Unusable(format!(
                "agreement {id} is this domain's own; others bid on it"
            )));
        }
        let agreement = shared.ledger.agreement(id).await?;
        let agreement = agreement.ok_or_else(|| StepError::Unusable(format!("the ledger knows no agreement {id}")))?;
        if let Some(before) = shared.store.provider(id)?.filter(|record| record.outcome.is_none()) {
            return shared.bid_anew(&agreement, &before, price_per_hour).await;
        }
        let refused = |reason: NoBid| StepError::Unusable(format!("no bid on agreement {id}: {reason}"));
        let mut offer = shared.offer_for(&agreement)?.map_err(refused)?;
        offer.price_per_hour = price_per_hour.unwrap_or(offer.price_per_hour);
        let record = provider_record(&agreement, agreement.creator, offer);
        shared.store.commit(move |batch| batch.put_provider(&record)).await?;
        shared.drive(id);
        Ok(())
    }

    /// Chooses a bid by hand.
    pub async fn choose_by_hand(&self, id: AgreementId, bidder: Account) -> Result<(), StepError> {
        let shared = &self.shared;
        if shared.store.consumer(id)?.is_none() {
            return Err(StepError::Unusable(format!(
                "agreement {id} was not announced by this domain"
            )));
        }
        let (_, bids) = shared.ledger.details(id).await?;
        if !bids.iter().any(|bid| bid.bidder == bidder) {
            return Err(StepError::Unusable(format!("{bidder} has not bid on agreement {id}")));
        }
        shared
            .update_consumer(id, move |record| record.chosen_by_hand = Some(bidder))
            .await
    }
}

impl Shared {
    /// Replaces this domain's bid by one of another price. Each replacement is a decision of its own, also when it goes back
    /// to an earlier price.
    async fn bid_anew(
        &self,
        agreement: &Agreement,
        before: &ProviderRecord,
        price_per_hour: Option<Price>,
    ) -> Result<(), StepError> {
        let id = before.id;
        if agreement.state != State::Open || now_ms() / 1000 > agreement.announcement.bid_deadline {
            return Err(StepError::Unusable(format!(
                "agreement {id} takes no more bids; the one that this domain has placed stands"
            )));
        }
        let Some(price) = price_per_hour.filter(|price| *price != before.price_per_hour) else {
            return Err(StepError::Unusable(format!(
                "this domain has already bid {} on agreement {id}; give another pricePerHour to replace the bid",
                before.price_per_hour
            )));
        };
        self.update_provider(id, move |record| {
            record.price_per_hour = price;
            record.bid_round += 1;
            record.bid_placed = false;
        })
        .await
    }
}

fn fingerprint(request: &FederationRequest) -> String {
    let bytes = serde_json::to_vec(request).expect("a request has string keys only, so it always serialises");
    hex::encode(Sha256::digest(bytes))
}
