//! How the connection to the ledger is doing, for health pages.

use std::time::SystemTime;

use url::Url;

use crate::head::Head;

/// A snapshot of the connection; see [`Ledger::status`](crate::Ledger::status).
#[derive(Debug, Clone)]
pub struct Status {
    /// Whether the ledger can be relied on now.
    pub link: Link,
    /// Since when `link` is what it is.
    pub since: SystemTime,
    /// The endpoint in use, or last tried.
    pub url: Url,
    /// The newest block seen so far.
    pub head: Option<Head>,
    /// False while the own account is no member: announcing, bidding and voting are refused then. None until known.
    pub member: Option<bool>,
}

/// State of the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    /// The endpoint answers and is in step with the chain as far as can be seen.
    Connected,
    /// The endpoint answers but is catching up with the chain.
    Behind {
        /// Blocks it lacks, where that is known.
        blocks: Option<u64>,
    },
    /// No endpoint answers; tried again for ever.
    Away {
        /// Why the last attempt failed.
        reason: String,
    },
}

impl Status {
    /// The same status with another link; `since` moves only when the kind of link changes.
    pub(crate) fn with_link(&self, link: Link, url: &Url, now: SystemTime) -> Self {
        let same = std::mem::discriminant(&link) == std::mem::discriminant(&self.link);
        Self {
            link,
            since: if same { self.since } else { now },
            url: url.clone(),
            head: self.head,
            member: self.member,
        }
    }
}
