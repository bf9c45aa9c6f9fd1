//! What the two domains say to each other about a credential, in JSON.

use bytes::Bytes;
use hanse_swarm::Topic;
use serde::{Deserialize, Serialize};

use super::kubeconfig::{Document, KubeconfigError, PeerKubeconfig};

/// A kubeconfig for the domain that is asked, or that there is none any more.
pub(super) const TOPIC: Topic = Topic::new("kubeconfig/1");

/// How much of a peer's words is shown.
const LONGEST_REASON: usize = 256;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
enum Wire {
    Kubeconfig(Document),
    Revoked {},
}

/// What is delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Delivery {
    /// A credential, which takes the place of the one before.
    Kubeconfig(PeerKubeconfig),
    /// There is none any more; what was given has ended.
    Revoked,
}

/// What the receiver says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) enum Receipt {
    /// It is stored, or removed; on the disk.
    Done {},
    /// It can't be now, but later: the sender has no Peer object yet, or the cluster does not answer.
    Later {},
    /// It won't be.
    Refused {
        /// Why.
        reason: String,
    },
}

impl Delivery {
    pub fn to_bytes(&self) -> Bytes {
        let wire = match self {
            Self::Kubeconfig(kubeconfig) => Wire::Kubeconfig(kubeconfig.document()),
            Self::Revoked => Wire::Revoked {},
        };
        serde_json::to_vec(&wire).expect("texts are plain data").into()
    }

    /// # Errors
    /// For everything that [`Self::to_bytes`] does not write.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KubeconfigError> {
        let wire = serde_json::from_slice(bytes).map_err(|error| {
            // serde's own text may quote what was sent, a token for example.
            KubeconfigError::Form(format!("line {}, column {}", error.line(), error.column()))
        })?;
        match wire {
            Wire::Kubeconfig(document) => PeerKubeconfig::read(document).map(Self::Kubeconfig),
            Wire::Revoked {} => Ok(Self::Revoked),
        }
    }
}

impl Receipt {
    pub fn to_bytes(&self) -> Bytes {
        serde_json::to_vec(self).expect("texts are plain data").into()
    }

    /// What the receiver said; `None` if that is no receipt.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let receipt = serde_json::from_slice(bytes).ok()?;
        Some(match receipt {
            Self::Refused { reason } => {
                let clean = reason.chars().filter(|c| !c.is_control());
                Self::Refused {
                    reason: clean.take(LONGEST_REASON).collect(),
                }
            }
            other => other,
        })
    }
}
