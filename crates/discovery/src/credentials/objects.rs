//! The objects that are made for credentials, and what stands on them.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hanse_swarm::PeerId;
use hanse_swarm::model::UnixMillis;
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding, RoleRef, Subject};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::{Resource, ResourceExt};
use serde_json::{Value, json};

use super::kubeconfig::{KubeconfigError, PeerKubeconfig};
use super::names;
use super::plan::{Account, Delivered, Issued, Key};
use super::policy::Rule;
use crate::model::{GROUP, MANAGED_BY, MANAGER, PEER_ID, Peer, VERSION};

/// Label of what is made for credentials.
pub(super) const CREDENTIAL: &str = "peerdiscovery.irt-saintexupery.com/credential";
/// Value of [`CREDENTIAL`]: given to others.
pub(super) const GIVEN: &str = "given";
/// Value of [`CREDENTIAL`]: received from another domain.
pub(super) const RECEIVED: &str = "received";
/// Key of the kubeconfig in its Secret, as in the original.
pub(super) const CONFIG: &str = "config";

const IDENTITY: &str = "peerdiscovery.irt-saintexupery.com/identity";
const IDENTITY_UID: &str = "peerdiscovery.irt-saintexupery.com/identity-uid";
const SWARM: &str = "peerdiscovery.irt-saintexupery.com/credential-swarm";
const DIGEST: &str = "peerdiscovery.irt-saintexupery.com/credential-digest";
const DELIVERED: &str = "peerdiscovery.irt-saintexupery.com/credential-delivered-at";
const ENDS: &str = "peerdiscovery.irt-saintexupery.com/credential-ends-at";

type Texts = BTreeMap<String, String>;

fn texts<const N: usize>(pairs: [(&str, String); N]) -> Option<Texts> {
    Some(pairs.map(|(name, value)| (name.to_owned(), value)).into())
}

fn labels(value: &str) -> Option<Texts> {
    texts([(MANAGED_BY, MANAGER.into()), (CREDENTIAL, value.into())])
}

/// What a list of these objects selects by.
pub(super) fn selector() -> String {
    format!("{CREDENTIAL}={GIVEN}")
}

/// Has Kubernetes delete an object with the Identity, also while no agent runs.
fn owner(identity: &str, uid: &str) -> OwnerReference {
    OwnerReference {
        api_version: format!("{GROUP}/{VERSION}"),
        kind: "Identity".into(),
        name: identity.into(),
        uid: uid.into(),
        ..OwnerReference::default()
    }
}

/// Whether an object goes with the object of this uid.
pub(super) fn is_owned_by(object: &impl Resource, uid: &str) -> bool {
    object.owner_references().iter().any(|owner| owner.uid == uid)
}

/// Whether an object was made for a credential, of whomever.
pub(super) fn is_ours(object: &impl Resource, value: &str) -> bool {
    object.labels().get(CREDENTIAL).is_some_and(|found| found == value)
}

fn account_metadata(account: &Account) -> ObjectMeta {
    ObjectMeta {
        name: Some(account.name.clone()),
        namespace: Some(account.namespace.clone()),
        labels: labels(GIVEN),
        annotations: texts([(IDENTITY, account.identity.clone())]),
        owner_references: Some(vec![owner(&account.identity, &account.uid)]),
        ..ObjectMeta::default()
    }
}

/// The service account as which a peer acts. No pod gets its token by itself.
pub(super) fn service_account(account: &Account) -> ServiceAccount {
    ServiceAccount {
        metadata: account_metadata(account),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}

/// What it may do.
pub(super) fn role(account: &Account) -> Role {
    Role {
        metadata: account_metadata(account),
        rules: Some(account.rights.rules().iter().map(Rule::to_policy_rule).collect()),
    }
}

/// The last of the three to be made, and to be deleted: its digest says that all are as wanted.
pub(super) fn role_binding(account: &Account) -> RoleBinding {
    let mut metadata = account_metadata(account);
    metadata
        .annotations
        .get_or_insert_default()
        .insert(DIGEST.into(), account.digest());
    RoleBinding {
        metadata,
        role_ref: RoleRef {
            api_group: Some("rbac.authorization.k8s.io".into()),
            kind: "Role".into(),
            name: account.name.clone(),
        },
        subjects: Some(vec![Subject {
            kind: "ServiceAccount".into(),
            name: account.name.clone(),
            namespace: Some(account.namespace.clone()),
            ..Subject::default()
        }]),
    }
}

/// Of which account a binding is the last part, and as what it was made.
pub(super) fn account_of(binding: &RoleBinding) -> Option<((String, String), String)> {
    let digest = binding.annotations().get(DIGEST).cloned().unwrap_or_default();
    Some(((binding.namespace()?, binding.name_any()), digest))
}

/// The empty Secret to which the tokens of a credential are bound: they end with it.
pub(super) fn binding(key: &Key, account: &Account, digest: &str) -> Secret {
    Secret {
        metadata: ObjectMeta {
            name: Some(names::binding(key)),
            namespace: Some(key.namespace.clone()),
            labels: labels(GIVEN),
            annotations: texts([
                (IDENTITY, key.identity.clone()),
                (IDENTITY_UID, account.uid.clone()),
                (SWARM, key.swarm.clone()),
                (PEER_ID, key.peer.to_string()),
                (DIGEST, digest.into()),
            ]),
            owner_references: Some(vec![owner(&key.identity, &account.uid)]),
            ..ObjectMeta::default()
        },
        type_: Some("Opaque".into()),
        ..Secret::default()
    }
}

/// What stands on such a Secret; `None` if somebody changed it so that it can't be told any more.
pub(super) fn read_binding(secret: &Secret) -> Option<(Key, Issued)> {
    let text = |name: &str| secret.annotations().get(name).cloned();
    let key = Key {
        namespace: secret.namespace()?,
        identity: text(IDENTITY)?,
        swarm: text(SWARM)?,
        peer: text(PEER_ID)?.parse::<PeerId>().ok()?,
    };
    if names::binding(&key) != secret.name_any() {
        return None;
    }
    let millis = |name: &str| Some(UnixMillis(text(name)?.parse().ok()?));
    let delivered = millis(DELIVERED).zip(millis(ENDS));
    let issued = Issued {
        identity_uid: text(IDENTITY_UID)?,
        digest: text(DIGEST)?,
        delivered: delivered.map(|(at, ends)| Delivered { at, ends }),
    };
    Some((key, issued))
}

/// Notes on the Secret that the peer has its credential.
pub(super) fn delivered_patch(uid: &str, delivered: Delivered) -> Value {
    json!({"metadata": {"uid": uid, "annotations": {
        DELIVERED: delivered.at.0.to_string(),
        ENDS: delivered.ends.0.to_string(),
    }}})
}

/// The Secret with the kubeconfig that a peer gave.
pub(super) fn received(from: &PeerId, peer: &Peer, kubeconfig: &PeerKubeconfig) -> Result<Value, KubeconfigError> {
    let yaml = kubeconfig.to_yaml()?;
    Ok(json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": {
            "name": names::received(from),
            "namespace": peer.namespace(),
            "labels": labels(RECEIVED),
            "annotations": {PEER_ID: from.to_string()},
            "ownerReferences": [{
                "apiVersion": format!("{GROUP}/{VERSION}"),
                "kind": "Peer",
                "name": peer.name_any(),
                "uid": peer.uid(),
            }],
        },
        "data": {CONFIG: STANDARD.encode(yaml.as_bytes())},
    }))
}
