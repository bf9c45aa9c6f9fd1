//! Where the ledger of a node stands that is about to start.

use std::path::Path;

use alloy::primitives::{Address, B256};

use super::follow::Follower;
use crate::genesis::Genesis;
use crate::ledger::Ledger;
use crate::membership::Membership;
use crate::store::{Good, OpenError, Store};

/// The newest block of a node's own store, from which the headers of later ones can be proven, and the members there.
#[derive(Debug, Clone)]
pub struct Standing {
    follower: Follower,
    members: Vec<(Address, String)>,
}

impl Standing {
    /// Reads the store in a folder, which no node uses now; `None` if it never got further than block 0.
    ///
    /// # Errors
    /// When there is a store but it can't be opened.
    pub fn read(data_dir: &Path, genesis: &Genesis) -> Result<Option<Self>, OpenError> {
        if Store::is_new(data_dir) {
            return Ok(None);
        }
        let ledger = Ledger::open(data_dir, genesis)?;
        let head = ledger.head();
        let validators = head.rules().validators.iter();
        let membership = Membership::new(validators.map(|validator| (validator.account, B256::from(validator.key))));
        let members = ledger.directory().map_err(|error| OpenError::Damaged {
            path: data_dir.join(crate::store::FILE_NAME),
            reason: error.to_string(),
            good: Good::default(),
        })?;
        Ok(Some(Self {
            follower: Follower::resume(genesis.hash()?, head.height(), head.snapshot().hash(), membership),
            members,
        }))
    }

    /// Height of the newest block.
    pub fn height(&self) -> u64 {
        self.follower.height()
    }

    /// Accounts of the members, and where their agents are.
    pub fn members(&self) -> &[(Address, String)] {
        &self.members
    }

    pub(super) fn follower(&self) -> &Follower {
        &self.follower
    }
}
