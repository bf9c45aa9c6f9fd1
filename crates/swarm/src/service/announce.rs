//! The domain's own record: signed, written down, told and given to holders, as [`Schedule`](crate::record::Schedule) says.

use libp2p::PeerId;
use libp2p::kad::{self, QueryId, Quorum};

use super::command::PublishError;
use super::run::Run;
use super::{now, off_thread};
use crate::model::{Statement, UnixMillis};
use crate::record::{IpnsRecord, Own, Step, routing_key};
use crate::store::{Store, StoreError};

/// What is said, and how far that got.
#[derive(Debug, Default)]
pub(super) struct Publishing {
    /// What is to be published.
    said: Option<Statement>,
    own: Option<Own>,
    /// The highest number that was seen under the own name.
    seen: u64,
    putting: Option<QueryId>,
}

impl Publishing {
    /// Goes on with what the domain signed last.
    pub async fn load(store: &Store, name: PeerId) -> Result<Self, StoreError> {
        let store = store.clone();
        let bytes = off_thread(move || store.own_record()).await?;
        // A record that has ended still says which number was used.
        let checked = bytes.map(|bytes| IpnsRecord::check(&name, &bytes, UnixMillis(0)));
        let own = checked.and_then(Result::ok).map(|record| Own {
            record,
            put_at: None,
            failed_at: None,
        });
        let said = own
            .as_ref()
            .and_then(|own| Statement::from_path(own.record.value()).ok());
        Ok(Self {
            said,
            own,
            ..Self::default()
        })
    }

    /// The own record, if it is valid.
    pub fn record(&self, now: UnixMillis) -> Option<&IpnsRecord> {
        let own = self.own.as_ref().filter(|own| own.record.valid_until() > now);
        own.map(|own| &own.record)
    }

    /// A valid record of the own name that somebody else had.
    pub fn saw_own(&mut self, sequence: u64) {
        self.seen = self.seen.max(sequence);
    }

    /// A new peer may be a holder: what nobody took can be given to it.
    pub fn somebody_came(&mut self) {
        if let Some(own) = &mut self.own
            && own.put_at.is_none()
        {
            own.failed_at = None;
        }
    }

    /// Whether this was about the own record, and a holder took it.
    fn put_over(&mut self, query: QueryId, taken: bool, now: UnixMillis) -> bool {
        if self.putting != Some(query) {
            return false;
        }
        self.putting = None;
        if let Some(own) = &mut self.own {
            *(if taken { &mut own.put_at } else { &mut own.failed_at }) = Some(now);
        }
        taken
    }

    pub fn is_put(&self) -> Option<bool> {
        self.own.as_ref().map(|own| own.put_at.is_some())
    }
}

impl Run {
    /// Says `statement` from now on.
    pub(super) async fn say(&mut self, statement: &Statement) -> Result<(), PublishError> {
        let own_key = self.config.sealing.public();
        if statement
            .identity()
            .is_some_and(|identity| identity.sealing_key() != own_key)
        {
            return Err(PublishError::SealingKey);
        }
        // Whoever can't be published must not take the place of what is.
        let addresses = self.own_addresses();
        statement.clone().with_addresses(addresses).to_path()?;
        self.publishing.said = Some(statement.clone());
        self.go_on_publishing(now()).await
    }

    /// Does what is due.
    pub(super) async fn publish(&mut self, now: UnixMillis) {
        if let Err(error) = self.go_on_publishing(now).await {
            tracing::warn!(%error, "this domain's record could not be renewed; it will be tried again");
        }
    }

    async fn go_on_publishing(&mut self, now: UnixMillis) -> Result<(), PublishError> {
        let Some(said) = self.publishing.said.clone() else {
            return Ok(());
        };
        let value = said.with_addresses(self.own_addresses()).to_path()?;
        let schedule = self.config.schedule;
        let mut step = schedule.next(&value, self.publishing.own.as_ref(), self.publishing.seen, now);
        if let Step::Sign { sequence, valid_until } = step {
            let record = IpnsRecord::sign(&self.config.domain, &value, sequence, valid_until, schedule.ttl)?;
            let (store, bytes) = (self.store.clone(), record.bytes().to_vec());
            off_thread(move || store.keep_own_record(&bytes)).await?;
            self.publishing.putting = None;
            self.publishing.own = Some(Own {
                record,
                put_at: None,
                failed_at: None,
            });
            self.choose_neighbours();
            self.talk(|member, own| own.map_or(Vec::new(), |own| member.publish(own)));
            step = schedule.next(&value, self.publishing.own.as_ref(), self.publishing.seen, now);
        }
        if step == Step::Put && self.publishing.putting.is_none() {
            self.put_own_record(now);
        }
        Ok(())
    }

    fn put_own_record(&mut self, now: UnixMillis) {
        let Some(own) = &mut self.publishing.own else {
            return;
        };
        let record = kad_record(&self.name, own);
        if self.swarm.connected_peers().next().is_none() {
            own.failed_at = Some(now);
            return;
        }
        match self.swarm.behaviour_mut().kad.put_record(record, Quorum::One) {
            Ok(query) => self.publishing.putting = Some(query),
            Err(error) => {
                tracing::warn!(%error, "this domain's record could not be given to holders");
                own.failed_at = Some(now);
            }
        }
    }

    /// A holder took the record, or nobody did. libp2p ends there; the rest of those that are nearest to the name are given it too, or
    /// it would be lost with the few that were quickest.
    pub(super) fn put_over(&mut self, query: QueryId, taken: bool) {
        if !self.publishing.put_over(query, taken, now()) {
            return;
        }
        let Some(own) = &self.publishing.own else { return };
        let record = kad_record(&self.name, own);
        let key = kad::KBucketKey::new(record.key.clone());
        let kad = &mut self.swarm.behaviour_mut().kad;
        let nearest: Vec<_> = kad
            .get_closest_local_peers(&key)
            .take(kad::K_VALUE.get())
            .map(kad::KBucketKey::into_preimage)
            .collect();
        // Who does not answer is given it the next time.
        kad.put_record_to(record, nearest.into_iter(), Quorum::All);
    }
}

fn kad_record(name: &PeerId, own: &Own) -> kad::Record {
    kad::Record::new(routing_key(name), own.record.bytes().to_vec())
}
