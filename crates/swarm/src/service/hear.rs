//! What others bring: records, by whichever way. Each is checked here before it counts.

use libp2p::PeerId;
use libp2p::kad::store::RecordStore;
use libp2p::kad::{self, QueryId};
use tokio::sync::oneshot;

use super::command::LookUpError;
use super::now;
use super::run::{LookUp, Run};
use crate::record::{Announcement, IpnsRecord, name_of_routing_key, routing_key};

impl Run {
    /// A peer asks to hold a record. Any valid IPNS record is held, of Hanse domains and of others.
    pub(super) fn hold(&mut self, from: PeerId, mut record: kad::Record) {
        let now = now();
        let Some(name) = name_of_routing_key(record.key.as_ref()) else {
            tracing::debug!(%from, "asked to hold a record that is none of IPNS");
            return;
        };
        if !self.rates.take(from, now) {
            tracing::debug!(%from, "brings more records than are looked at");
            return;
        }
        let checked = match IpnsRecord::check(&name, &record.value, now) {
            Ok(checked) => checked,
            Err(error) => {
                tracing::debug!(%from, %name, %error, "asked to hold a record that is not taken up");
                return;
            }
        };
        let store = self.swarm.behaviour_mut().kad.store_mut();
        let held = store
            .get(&record.key)
            .and_then(|held| IpnsRecord::check(&name, &held.value, now).ok());
        if held.is_none_or(|held| checked.precedence(&held).is_gt()) {
            record.value = checked.bytes().to_vec();
            self.hold_record(from, name, record);
        }
        if let Ok(announcement) = Announcement::of(checked, now) {
            self.talk(|member, _| member.found(announcement, Some(from), now));
        }
    }

    pub(super) fn look_up(
        &mut self,
        name: PeerId,
        asked_by: Option<oneshot::Sender<Result<Announcement, LookUpError>>>,
    ) {
        let query = self.swarm.behaviour_mut().kad.get_record(routing_key(&name).into());
        let look_up = LookUp {
            name,
            best: None,
            asked_by,
        };
        self.look_ups.insert(query, look_up);
    }

    /// A holder answered, or all have.
    pub(super) fn record_found(&mut self, query: QueryId, result: kad::GetRecordResult, last: bool) {
        let now = now();
        let Some(look_up) = self.look_ups.get_mut(&query) else {
            return;
        };
        if let Ok(kad::GetRecordOk::FoundRecord(found)) = result
            && let Ok(record) = IpnsRecord::check(&look_up.name, &found.record.value, now)
            && look_up.best.as_ref().is_none_or(|best| record.precedence(best).is_gt())
        {
            look_up.best = Some(record);
        }
        if !last {
            return;
        }
        let Some(look_up) = self.look_ups.remove(&query) else {
            return;
        };
        let announcement = look_up.best.and_then(|record| Announcement::of(record, now).ok());
        if let Some(announcement) = announcement.clone() {
            self.talk(|member, _| member.found(announcement, None, now));
        }
        if let Some(asked_by) = look_up.asked_by {
            // Who asked may have given up.
            let _ = asked_by.send(announcement.ok_or(LookUpError::NotFound(look_up.name)));
        }
    }
}
