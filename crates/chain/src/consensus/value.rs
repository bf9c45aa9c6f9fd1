//! What is decided (a block id) and the pieces in which blocks and transactions travel.
//!
//! Votes and proposals carry the 32-byte block id only. The block itself goes once from its proposer to each other
//! validator as [`Part::Block`] messages; it is also written to the engine's write-ahead log with the value (see
//! [`super::codec::WalCodec`]), in the same fsync that precedes this node's vote for it.

use std::cmp::Ordering;
use std::fmt;

use alloy::primitives::{B256, Bytes};
use borsh::io::{Error, ErrorKind, Read, Result, Write};
use borsh::{BorshDeserialize, BorshSerialize};

use super::conflict::Conflict;
use super::context::{Height, LedgerContext};

/// The most bytes of a block in one message.
pub const MAX_PART_BYTES: usize = 512 * 1024;

/// The most bytes of a block that can be sent: sixteen parts, well above what the ledger makes
/// ([`crate::application::MAX_BLOCK_BYTES`]).
pub const MAX_SENT_BLOCK: usize = 16 * MAX_PART_BYTES;

/// Identifies a block in votes: its Ethereum block hash.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockId(pub B256);

impl fmt::Display for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl BorshSerialize for BlockId {
    fn serialize<W: Write>(&self, writer: &mut W) -> Result<()> {
        writer.write_all(self.0.as_slice())
    }
}

impl BorshDeserialize for BlockId {
    fn deserialize_reader<R: Read>(reader: &mut R) -> Result<Self> {
        Ok(Self(B256::new(<[u8; 32]>::deserialize_reader(reader)?)))
    }
}

/// A block that can be decided. Compared by id alone: in a proposal received from the network the bytes are absent.
#[derive(Clone)]
pub struct Value {
    id: BlockId,
    block: Bytes,
}

impl Value {
    /// A block with its id, as the application computed it.
    pub fn new(id: B256, block: Bytes) -> Self {
        Self { id: BlockId(id), block }
    }

    /// A value of which only the id is known.
    pub fn id_only(id: BlockId) -> Self {
        Self {
            id,
            block: Bytes::new(),
        }
    }

    /// The block id.
    pub fn block_id(&self) -> BlockId {
        self.id
    }

    /// The encoded block; empty when only the id is known.
    pub fn block(&self) -> &Bytes {
        &self.block
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} bytes)", self.id, self.block.len())
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Value {}

impl PartialOrd for Value {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Value {
    fn cmp(&self, other: &Self) -> Ordering {
        self.id.cmp(&other.id)
    }
}

impl malachitebft_core_types::Value for Value {
    type Id = BlockId;

    fn id(&self) -> BlockId {
        self.id
    }
}

impl BorshSerialize for Value {
    fn serialize<W: Write>(&self, writer: &mut W) -> Result<()> {
        self.id.serialize(writer)?;
        self.block.as_ref().serialize(writer)
    }
}

impl BorshDeserialize for Value {
    fn deserialize_reader<R: Read>(reader: &mut R) -> Result<Self> {
        let id = BlockId::deserialize_reader(reader)?;
        let block = read_bytes(reader, MAX_SENT_BLOCK)?;
        Ok(Self { id, block })
    }
}

/// A message on the proposal-parts topic.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Part {
    /// A piece of a proposed block.
    Block(BlockPart),
    /// Transactions that their sender accepted into its mempool.
    Transactions(Transactions),
    /// The sender has started this height and has heard of no proposal yet.
    Knock(Height),
    /// A contradiction that the sender has seen, for its signer to know.
    Conflict(Conflict),
}

impl malachitebft_core_types::ProposalPart<LedgerContext> for Part {
    fn is_first(&self) -> bool {
        !matches!(self, Self::Block(part) if part.index > 0)
    }

    fn is_last(&self) -> bool {
        !matches!(self, Self::Block(part) if part.index + 1 < part.count)
    }
}

/// A piece of a block, describing itself so that pieces can arrive in any order.
#[derive(Clone, PartialEq, Eq)]
pub struct BlockPart {
    /// Height of the block.
    pub height: Height,
    /// Round in which the block was first proposed; with the height it names the proposer.
    pub round: u32,
    /// The id of the whole block.
    pub id: BlockId,
    /// Which piece this is.
    pub index: u8,
    /// How many pieces there are, 1 to 16.
    pub count: u8,
    /// All pieces but the last have [`MAX_PART_BYTES`].
    pub bytes: Bytes,
}

impl BlockPart {
    /// Cuts a block into its pieces; `None` if it is empty or longer than [`MAX_SENT_BLOCK`].
    pub fn cut(height: Height, round: u32, id: BlockId, block: &Bytes) -> Option<Vec<Self>> {
        if block.is_empty() || block.len() > MAX_SENT_BLOCK {
            return None;
        }
        let count = u8::try_from(block.len().div_ceil(MAX_PART_BYTES)).ok()?;
        let piece = |index: u8| {
            let from = usize::from(index) * MAX_PART_BYTES;
            let to = block.len().min(from + MAX_PART_BYTES);
            Self {
                height,
                round,
                id,
                index,
                count,
                bytes: block.0.slice(from..to).into(),
            }
        };
        Some((0..count).map(piece).collect())
    }
}

impl fmt::Debug for BlockPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            height,
            round,
            id,
            index,
            count,
            bytes,
        } = self;
        write!(f, "{index}/{count} of {id} at {height}/{round}, {} bytes", bytes.len())
    }
}

impl BorshSerialize for BlockPart {
    fn serialize<W: Write>(&self, writer: &mut W) -> Result<()> {
        (self.height, self.round, self.id, self.index, self.count).serialize(writer)?;
        self.bytes.as_ref().serialize(writer)
    }
}

impl BorshDeserialize for BlockPart {
    fn deserialize_reader<R: Read>(reader: &mut R) -> Result<Self> {
        let (height, round, id, index, count) = BorshDeserialize::deserialize_reader(reader)?;
        let bytes = read_bytes(reader, MAX_PART_BYTES)?;
        let last = usize::from(index) + 1 == usize::from(count);
        if count == 0 || usize::from(count) * MAX_PART_BYTES > MAX_SENT_BLOCK || index >= count {
            return Err(invalid("a block part with a wrong index or count"));
        }
        if bytes.is_empty() || (!last && bytes.len() != MAX_PART_BYTES) {
            return Err(invalid("a block part of the wrong length"));
        }
        Ok(Self {
            height,
            round,
            id,
            index,
            count,
            bytes,
        })
    }
}

/// EIP-2718 encoded transactions, together at most [`Transactions::MAX_BYTES`].
#[derive(Clone, PartialEq, Eq)]
pub struct Transactions(Vec<Bytes>);

impl Transactions {
    /// The most bytes of transactions in one message, counting a few bytes of overhead for each.
    pub const MAX_BYTES: usize = 256 * 1024;
    const OVERHEAD: usize = 8;

    /// Takes transactions from the front of `queue` until the message is full.
    /// A transaction that is too long for any message is dropped.
    pub fn take_from(queue: &mut std::collections::VecDeque<Bytes>) -> Option<Self> {
        let (mut taken, mut size) = (Vec::new(), 0);
        while let Some(next) = queue.front() {
            let length = next.len() + Self::OVERHEAD;
            if length > Self::MAX_BYTES {
                queue.pop_front();
                continue;
            }
            if size + length > Self::MAX_BYTES {
                break;
            }
            size += length;
            taken.extend(queue.pop_front());
        }
        (!taken.is_empty()).then_some(Self(taken))
    }

    /// The transactions.
    pub fn into_inner(self) -> Vec<Bytes> {
        self.0
    }
}

impl fmt::Debug for Transactions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} transactions", self.0.len())
    }
}

impl BorshSerialize for Transactions {
    fn serialize<W: Write>(&self, writer: &mut W) -> Result<()> {
        u32::try_from(self.0.len())
            .map_err(|_| invalid("too many transactions"))?
            .serialize(writer)?;
        self.0
            .iter()
            .try_for_each(|transaction| transaction.as_ref().serialize(writer))
    }
}

impl BorshDeserialize for Transactions {
    fn deserialize_reader<R: Read>(reader: &mut R) -> Result<Self> {
        let count = u32::deserialize_reader(reader)?;
        let (mut transactions, mut room) = (Vec::new(), Self::MAX_BYTES);
        for _ in 0..count {
            room = room
                .checked_sub(Self::OVERHEAD)
                .ok_or_else(|| invalid("too many transactions"))?;
            let transaction = read_bytes(reader, room)?;
            room -= transaction.len();
            transactions.push(transaction);
        }
        Ok(Self(transactions))
    }
}

/// Reads a length-prefixed byte string, refusing a length over `limit` before it takes memory for it.
fn read_bytes<R: Read>(reader: &mut R, limit: usize) -> Result<Bytes> {
    let length = u32::deserialize_reader(reader)? as usize;
    if length > limit {
        return Err(invalid("a byte string longer than allowed"));
    }
    let mut bytes = Vec::new();
    reader.take(length as u64).read_to_end(&mut bytes)?;
    if bytes.len() != length {
        return Err(Error::new(ErrorKind::UnexpectedEof, "a byte string cut short"));
    }
    Ok(bytes.into())
}

fn invalid(what: &'static str) -> Error {
    Error::new(ErrorKind::InvalidData, what)
}
