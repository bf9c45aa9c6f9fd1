//! Bounds that the contract sets, in bytes unless said otherwise.

/// Of an announcement's description.
pub const DESCRIPTION: usize = 1024;
/// Of a bid's location.
pub const LOCATION: usize = 128;
/// Of the reason of a cancellation or refusal.
pub const REASON: usize = 1024;
/// Of a sealed blob.
pub const SEALED: usize = 4096;
/// Bids of one agreement; each member has at most one.
pub const BIDS: usize = 64;
/// Hundredths of a percent.
pub const AVAILABILITY_BPS: u16 = 10_000;
