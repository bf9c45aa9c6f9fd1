//! What is looked at, and what is held, of all that others bring.

use libp2p::PeerId;
use libp2p::kad::store::RecordStore;
use libp2p::kad::{ProviderRecord, Record};

use super::holding::{Holding, Room};
use super::run::Run;
use crate::model::{SwarmAddress, UnixMillis};
use crate::network::Entry;
use crate::peers::{PeerTable, Presence};

/// How many addresses of somebody who has a blob are kept.
const MOST_ADDRESSES: usize = 8;

impl Run {
    /// Leaves those of the entries that `from` may bring now. What is known already costs nothing. `false` if some are not looked
    /// at; they come again when both compare.
    pub(super) fn admit(&mut self, entries: &mut Vec<Entry>, from: PeerId, now: UnixMillis) -> bool {
        let brought = entries.len();
        entries.retain(|entry| {
            let best = entry.name().and_then(|name| self.member.table.best(&name));
            best.is_some_and(|best| best.record().bytes() == entry.record) || self.rates.take(from, now)
        });
        if entries.len() < brought {
            tracing::debug!(%from, "brings more records than are looked at");
        }
        entries.len() == brought
    }

    /// Holds a checked record for others, if there is room.
    pub(super) fn hold_record(&mut self, source: PeerId, name: PeerId, record: Record) {
        let Some(goes) = room(&mut self.records, &self.member.table, record.key.as_ref(), name, source) else {
            return;
        };
        let store = self.swarm.behaviour_mut().kad.store_mut();
        if let Some(key) = goes {
            store.remove(&key.into());
        }
        if let Err(error) = store.put(record) {
            tracing::debug!(from = %source, %name, %error, "a record is not held");
        }
    }

    /// Holds that somebody has a blob, if there is room. libp2p takes a peer's word for itself only.
    pub(super) fn hold_provider(&mut self, mut record: ProviderRecord) {
        let provider = record.provider;
        let Some(goes) = room(
            &mut self.providers,
            &self.member.table,
            record.key.as_ref(),
            provider,
            provider,
        ) else {
            return;
        };
        record
            .addresses
            .retain(|address| SwarmAddress::new(address.clone()).is_ok());
        record.addresses.truncate(MOST_ADDRESSES);
        let store = self.swarm.behaviour_mut().kad.store_mut();
        if let Some(key) = goes.map(Into::into) {
            for other in store.providers(&key) {
                if other.provider != self.name {
                    store.remove_provider(&key, &other.provider);
                }
            }
        }
        if let Err(error) = store.add_provider(record) {
            tracing::debug!(from = %provider, %error, "a holder of a blob is not noted");
        }
    }
}

/// The key of what has to go, if anything has; `None` if there is no room.
fn room(
    holding: &mut Holding,
    table: &PeerTable,
    key: &[u8],
    about: PeerId,
    source: PeerId,
) -> Option<Option<Vec<u8>>> {
    let is_there = |name: &PeerId| table.get(name).is_some_and(|peer| peer.presence() == Presence::Online);
    match holding.hold(key, about, source, is_there) {
        Room::Yes => Some(None),
        Room::InPlaceOf(key) => Some(Some(key)),
        Room::No => None,
    }
}
