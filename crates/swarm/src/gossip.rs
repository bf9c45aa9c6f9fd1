//! What two members compare: a digest of all that they know, and pages of it.

use std::collections::BTreeMap;
use std::ops::Bound;

use libp2p::PeerId;
use sha2::{Digest, Sha256};

use crate::peers::PeerTable;
use crate::record::{Announcement, IpnsRecord};

/// All records that a member would tell: its own, and what it knows of others. In the order of the names' bytes, which is
/// the same everywhere.
pub(crate) struct Known<'a>(BTreeMap<Vec<u8>, &'a IpnsRecord>);

impl<'a> Known<'a> {
    pub fn new(table: &'a PeerTable, own: Option<&'a IpnsRecord>) -> Self {
        let records = table.announcements().map(Announcement::record).chain(own);
        Self(records.map(|record| (record.name().to_bytes(), record)).collect())
    }

    /// Equal for members that know the same.
    pub fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        for (name, record) in &self.0 {
            hash.update(name);
            hash.update(record.sequence().to_be_bytes());
        }
        hash.finalize().into()
    }

    /// The first `most` records of the names after `name`, and whether there are more.
    pub fn page(&self, name: &[u8], most: usize) -> (Vec<(PeerId, &'a IpnsRecord)>, bool) {
        let mut after = self.0.range::<[u8], _>((Bound::Excluded(name), Bound::Unbounded));
        let page = after
            .by_ref()
            .take(most)
            .map(|(_, record)| (record.name(), *record))
            .collect();
        (page, after.next().is_some())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use zeroize::Zeroizing;

    use super::*;
    use crate::DomainKey;
    use crate::model::{Statement, UnixMillis};
    use crate::peers::Limits;

    const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

    fn record(tag: u8, sequence: u64) -> IpnsRecord {
        let key = DomainKey::from_secret(Zeroizing::new([tag; 32]));
        let path = Statement::Withdrawn.to_path().unwrap();
        let day = Duration::from_secs(86_400);
        IpnsRecord::sign(&key, &path, sequence, NOW.plus(day), day).unwrap()
    }

    fn table(records: &[IpnsRecord]) -> PeerTable {
        let mut table = PeerTable::new(record(0, 1).name(), Limits::default());
        for record in records {
            table
                .announced(Announcement::of(record.clone(), NOW).unwrap(), NOW)
                .unwrap();
        }
        table
    }

    #[test]
    fn members_that_know_the_same_have_the_same_digest_whoever_they_are() {
        let (a, b, c) = (record(1, 1), record(2, 1), record(3, 1));
        let (one, two) = (table(&[a.clone(), b.clone()]), table(&[c.clone(), a.clone()]));
        let digest = Known::new(&one, Some(&c)).digest();
        assert_eq!(Known::new(&two, Some(&b)).digest(), digest);
        assert_ne!(Known::new(&two, None).digest(), digest);
        assert_ne!(Known::new(&two, Some(&record(2, 2))).digest(), digest);
    }

    #[test]
    fn pages_one_after_another_are_everything_once() {
        let records: Vec<_> = (1..=20).map(|tag| record(tag, 1)).collect();
        let (table, own) = (table(&records), record(0, 9));
        let known = Known::new(&table, Some(&own));
        let (mut after, mut seen) = (Vec::new(), Vec::new());
        loop {
            let (page, more) = known.page(&after, 6);
            assert!(page.len() == 6 || !more);
            after = page.last().unwrap().0.to_bytes();
            seen.extend(page.into_iter().map(|(name, _)| name));
            if !more {
                break;
            }
        }
        let mut all: Vec<_> = records.iter().chain([&own]).map(IpnsRecord::name).collect();
        all.sort_by_key(|name| name.to_bytes());
        assert_eq!(seen, all);
        assert_eq!(known.page(b"\xff", 6), (Vec::new(), false));
    }
}
