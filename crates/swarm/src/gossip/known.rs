//! What two members compare: digests of all that they know, and pages of it.

use std::collections::BTreeMap;
use std::ops::Bound;

use libp2p::PeerId;
use sha2::{Digest, Sha256};

use crate::peers::PeerTable;
use crate::record::{Announcement, IpnsRecord};

/// Bytes of a digest. Whoever finds two states with the same one can hide no more than his own records.
const DIGEST: usize = 16;
/// A digest stands for about so many records.
const RECORDS: usize = 8;
/// The most digests in a message.
const MOST_DIGESTS: usize = 1024;

/// The most bytes of [`Known::digests`].
pub(crate) const MOST_DIGEST_BYTES: usize = MOST_DIGESTS * DIGEST;

/// All records that a member would tell: its own, and what it knows of others. In the order of the names' bytes, which is
/// the same everywhere.
pub(crate) struct Known<'a>(BTreeMap<Vec<u8>, &'a IpnsRecord>);

/// The part of the names to which this one belongs. Names end with bytes of a hash or a public key, so parts are equally large.
fn part(name: &[u8], parts: usize) -> usize {
    let end: [u8; 2] = name.last_chunk().copied().unwrap_or_default();
    (usize::from(u16::from_be_bytes(end)) * parts) >> 16
}

impl<'a> Known<'a> {
    pub fn new(table: &'a PeerTable, own: Option<&'a IpnsRecord>) -> Self {
        let records = table.announcements().map(Announcement::record).chain(own);
        Self(records.map(|record| (record.name().to_bytes(), record)).collect())
    }

    /// One digest for each part of the names, one after another. Equal for members that know the same.
    pub fn digests(&self) -> Vec<u8> {
        let parts = (self.0.len() / RECORDS).next_power_of_two().min(MOST_DIGESTS);
        self.digests_of(parts)
    }

    fn digests_of(&self, parts: usize) -> Vec<u8> {
        let mut hashes = vec![Sha256::new(); parts];
        for (name, record) in &self.0 {
            let hash = &mut hashes[part(name, parts)];
            hash.update(name);
            hash.update(record.sequence().to_be_bytes());
        }
        let digests = hashes.into_iter().map(Sha256::finalize);
        digests.flat_map(|digest| digest[..DIGEST].to_vec()).collect()
    }

    /// The parts that differ from what another member has. Digests that are none differ in everything.
    pub fn differing(&self, digests: &[u8]) -> Differing {
        let parts = digests.len() / DIGEST;
        if !parts.is_power_of_two() || parts > MOST_DIGESTS || !digests.len().is_multiple_of(DIGEST) {
            return Differing(vec![true]);
        }
        let own = self.digests_of(parts);
        let pairs = own.chunks(DIGEST).zip(digests.chunks(DIGEST));
        Differing(pairs.map(|(own, other)| own != other).collect())
    }

    /// The first `most` records of the names after `name` in the parts that differ, and whether there are more.
    pub fn page(&self, name: &[u8], differing: &Differing, most: usize) -> (Vec<(PeerId, &'a IpnsRecord)>, bool) {
        let after = self.0.range::<[u8], _>((Bound::Excluded(name), Bound::Unbounded));
        let mut wanted = after.filter(|(name, _)| differing.0[part(name, differing.0.len())]);
        let page = wanted
            .by_ref()
            .take(most)
            .map(|(_, record)| (record.name(), *record))
            .collect();
        (page, wanted.next().is_some())
    }
}

/// In which parts of the names two members differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Differing(Vec<bool>);

impl Differing {
    pub fn is_nothing(&self) -> bool {
        !self.0.contains(&true)
    }
}
