//! The contracts in this crate's words: typed values instead of ABI structures, and one intent key for each decision, so that
//! a decision that is carried out again after a crash takes effect once.

use alloy::primitives::{Address, B256, Bytes, U256};
use futures::{Stream, StreamExt};
use hanse_agreement::{Account, Agreement, AgreementId, Announcement, Bid};
use hanse_contracts::{IConsortium, IFederation};
use hanse_ledger::{Cursor, IntentKey, Ledger, LedgerError, Refusal};
use hanse_swarm::PeerId;
use sha2::{Digest, Sha256};

use crate::events::{Happening, Told};
use crate::model::ProviderRecord;

/// A member of the consortium, as far as federation needs to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub account: Account,
    pub name: String,
    /// Base URL of its REST API.
    pub url: String,
    /// X25519 public key.
    pub sealing_key: [u8; 32],
    /// Ed25519 public key.
    pub validator_key: [u8; 32],
    /// Multiaddr of its ledger node.
    pub consensus_address: String,
    /// Its name in the swarm, if it has told a usable one.
    pub peer: Option<PeerId>,
}

/// The federation protocol over a ledger.
#[derive(Clone)]
pub struct Federation {
    ledger: Ledger,
}

impl Federation {
    /// Over this client.
    pub fn new(ledger: Ledger) -> Self {
        Self { ledger }
    }

    /// This domain's account.
    pub fn account(&self) -> Account {
        account(self.ledger.account())
    }

    /// Address of the Federation contract.
    pub fn address(&self) -> Account {
        account(self.ledger.config().federation)
    }

    /// Ends the ledger client; what is in flight is taken up by the next start.
    pub async fn shutdown(&self) {
        self.ledger.shutdown().await;
    }

    /// Announces; a repetition of the same announcement takes effect once.
    pub async fn announce(&self, announcement: &Announcement) -> Result<(), LedgerError> {
        let key = key(announcement.id, "announce")?;
        self.ledger.announce(key, announcement.clone()).await.map(drop)
    }

    /// Places or replaces this domain's bid.
    pub async fn place_bid(&self, record: &ProviderRecord, location: &str) -> Result<(), LedgerError> {
        let (id, price) = (record.id, record.price_per_hour);
        let key = key(id, &format!("bid/{}/{price}", record.bid_round))?;
        self.ledger
            .place_bid(key, word(id), price.0, location.to_owned(), record.offer)
            .await
            .map(drop)
    }

    /// Takes a bid and pays `hours` in advance.
    pub async fn choose(&self, id: AgreementId, bid: &Bid, hours: u32, sealed: &[u8]) -> Result<(), LedgerError> {
        let key = key(id, &format!("choose/{}", bid.sequence))?;
        let value = U256::from_be_bytes(bid.price_per_hour.for_hours(hours).to_be_bytes());
        let (bidder, sealed) = (Address::from(bid.bidder.0), Bytes::copy_from_slice(sealed));
        self.ledger
            .choose(key, word(id), bidder, bid.sequence, hours, sealed, value)
            .await
            .map(drop)
    }

    /// Says where the service answers.
    pub async fn deployed(&self, id: AgreementId, sealed_endpoint: &[u8]) -> Result<(), LedgerError> {
        self.ledger
            .deployed(key(id, "deployed")?, word(id), Bytes::copy_from_slice(sealed_endpoint))
            .await
            .map(drop)
    }

    /// Says that the service works.
    pub async fn confirm(&self, id: AgreementId) -> Result<(), LedgerError> {
        self.ledger.confirm(key(id, "confirm")?, word(id)).await.map(drop)
    }

    /// Calls an own announcement off.
    pub async fn cancel(&self, id: AgreementId, reason: &str) -> Result<(), LedgerError> {
        let key = key(id, &format!("cancel/{}", digest(reason)))?;
        self.ledger.cancel(key, word(id), reason.to_owned()).await.map(drop)
    }

    /// Gives an award back.
    pub async fn decline(&self, id: AgreementId, reason: &str) -> Result<(), LedgerError> {
        let key = key(id, &format!("decline/{}", digest(reason)))?;
        self.ledger.decline(key, word(id), reason.to_owned()).await.map(drop)
    }

    /// Ends what missed a deadline.
    pub async fn expire(&self, id: AgreementId) -> Result<(), LedgerError> {
        self.ledger.expire(key(id, "expire")?, word(id)).await.map(drop)
    }

    /// Claims what was neither confirmed nor cancelled in time.
    pub async fn settle(&self, id: AgreementId) -> Result<(), LedgerError> {
        self.ledger.settle(key(id, "settle")?, word(id)).await.map(drop)
    }

    /// Ends a confirmed agreement.
    pub async fn terminate(&self, id: AgreementId) -> Result<(), LedgerError> {
        self.ledger.terminate(key(id, "terminate")?, word(id)).await.map(drop)
    }

    /// Takes everything that the contract owes this domain, if anything.
    pub async fn collect(&self) -> Result<(), LedgerError> {
        if self.ledger.owed(self.ledger.account()).await?.is_zero() {
            return Ok(());
        }
        match self.ledger.withdraw(IntentKey::random()).await {
            // Another agreement that ended at the same time took it all.
            Err(LedgerError::Refused(Refusal::NothingOwed { .. })) => Ok(()),
            result => result.map(drop),
        }
    }

    /// An agreement, if the ledger knows it.
    pub async fn agreement(&self, id: AgreementId) -> Result<Option<Agreement>, LedgerError> {
        Ok(known(self.ledger.agreement(word(id)).await)?.and_then(understood))
    }

    /// An agreement and its bids, of one block.
    pub async fn details(&self, id: AgreementId) -> Result<(Option<Agreement>, Vec<Bid>), LedgerError> {
        let Some((agreement, bids)) = known(self.ledger.details(word(id)).await)? else {
            return Ok((None, Vec::new()));
        };
        Ok((understood(agreement), bids.into_iter().map(Into::into).collect()))
    }

    /// The newest agreements, newest last.
    pub async fn newest_agreements(&self, limit: u64) -> Result<Vec<Agreement>, LedgerError> {
        let count = self.ledger.agreement_count().await?;
        let found = self.ledger.agreements(count.saturating_sub(limit), limit).await?;
        Ok(found.into_iter().filter_map(understood).collect())
    }

    /// All members, in the contract's order.
    pub async fn members(&self) -> Result<Vec<Member>, LedgerError> {
        Ok(self
            .ledger
            .members()
            .await?
            .into_iter()
            .map(|member| member_in(member.info))
            .collect())
    }

    /// A member, if the account is one.
    pub async fn member(&self, who: Account) -> Result<Option<Member>, LedgerError> {
        match self.ledger.member(Address::from(who.0)).await {
            Ok(member) => Ok(Some(member_in(member.info))),
            Err(LedgerError::Refused(Refusal::NotMember { .. })) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Height of the newest block.
    pub async fn height(&self) -> Result<u64, LedgerError> {
        Ok(self.ledger.tip().await?.number)
    }

    /// Settled blocks whose events have not been dealt with yet; `None` until a block was seen.
    pub fn event_lag(&self) -> Option<u64> {
        self.ledger.event_lag()
    }

    /// Whether the ledger's endpoint answers and is in step with the chain.
    pub fn is_connected(&self) -> bool {
        self.ledger.status().borrow().link == hanse_ledger::Link::Connected
    }

    /// Everything that happened after `from`, for ever.
    pub fn events(&self, from: Cursor) -> impl Stream<Item = Result<Told, LedgerError>> + Send + Unpin + use<> {
        self.ledger.events(from).map(|event| {
            let event = event?;
            Ok(Told {
                cursor: event.cursor,
                digest: event.digest().0,
                tx: event.tx.to_string(),
                what: Happening::from(event.kind),
            })
        })
    }
}

/// The name of a decision about an agreement.
fn key(id: AgreementId, decision: &str) -> Result<IntentKey, LedgerError> {
    IntentKey::new(format!("{id}/{decision}"))
}

fn digest(text: &str) -> String {
    hex::encode(&Sha256::digest(text)[..8])
}

fn word(id: AgreementId) -> B256 {
    id.0.into()
}

pub(crate) fn account(address: Address) -> Account {
    Account(address.into_array())
}

/// Nothing for what the ledger does not know.
fn known<T>(result: Result<T, LedgerError>) -> Result<Option<T>, LedgerError> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(LedgerError::Refused(Refusal::UnknownAgreement { .. })) => Ok(None),
        Err(error) => Err(error),
    }
}

/// An agreement in a state that only a later version of the contract has is none of ours.
fn understood(agreement: IFederation::Agreement) -> Option<Agreement> {
    agreement.try_into().ok()
}

fn member_in(info: IConsortium::MemberInfo) -> Member {
    Member {
        account: account(info.account),
        name: info.name,
        url: info.url,
        sealing_key: info.sealingKey.0,
        validator_key: info.validatorKey.0,
        consensus_address: info.consensusAddress,
        peer: info.peerId.parse().ok(),
    }
}
