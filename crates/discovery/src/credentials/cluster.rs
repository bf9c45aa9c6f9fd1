//! What is done in the cluster for credentials. Each step is safe to repeat, and what was done stands in the objects: a killed
//! agent goes on from there.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::time::Duration;

use hanse_swarm::model::UnixMillis;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use super::names;
use super::objects::{
    GIVEN, account_of, binding, delivered_patch, is_ours, is_owned_by, read_binding, role, role_binding, selector,
    service_account,
};
use super::plan::{Account, Cluster, Delivered, Key};
use super::policy::Policy;

/// How long a call of the cluster's API may take.
pub(super) const CALL: Duration = Duration::from_secs(10);
/// Who owns the fields that are applied here.
pub(super) const FIELD_MANAGER: &str = "hanse-credentials";
/// How many objects are listed at a time.
const PAGE: u32 = 500;

/// Why something was not done in the cluster.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    /// It was refused, or there was no connection.
    #[error(transparent)]
    Kube(#[from] kube::Error),
    /// No answer in time.
    #[error("the cluster did not answer within {CALL:?}")]
    Late,
    /// An object of that name is somebody else's. Giving tokens of an account that others gave rights to would give those away.
    #[error(
        "{kind} {namespace}/{name} is there already and was not made for this Identity, so it is not touched; delete it, or give the Identity another name"
    )]
    Taken {
        kind: String,
        namespace: String,
        name: String,
    },
    /// An object of that name is being deleted, or was made for an Identity of the same name that is gone.
    #[error("{kind} {namespace}/{name} of an earlier Identity is not gone yet")]
    StillEnding {
        kind: String,
        namespace: String,
        name: String,
    },
    /// The answer is not what the API says.
    #[error("the cluster's answer has no {0}")]
    Incomplete(&'static str),
}

impl CallError {
    fn code(&self) -> Option<u16> {
        match self {
            Self::Kube(kube::Error::Api(status)) => Some(status.code),
            _ => None,
        }
    }

    pub fn is_not_found(&self) -> bool {
        self.code() == Some(404)
    }
}

/// Does not wait for ever.
pub(super) async fn within<T>(call: impl Future<Output = kube::Result<T>>) -> Result<T, CallError> {
    let answer = tokio::time::timeout(CALL, call).await;
    Ok(answer.map_err(|_| CallError::Late)??)
}

/// What is there of the credentials in these namespaces, and Secrets that look like one and can't be read.
pub(super) async fn read(
    client: &Client,
    namespaces: &BTreeSet<String>,
) -> Result<(Cluster, Vec<(String, String)>), CallError> {
    let (mut cluster, mut strays) = (Cluster::default(), Vec::new());
    for namespace in namespaces {
        for secret in list::<Secret>(client, namespace).await? {
            match read_binding(&secret) {
                Some((key, issued)) => drop(cluster.issued.insert(key, issued)),
                None => strays.push((namespace.clone(), secret.name_any())),
            }
        }
        for binding in list::<RoleBinding>(client, namespace).await? {
            cluster.accounts.extend(account_of(&binding));
        }
    }
    Ok((cluster, strays))
}

async fn list<K>(client: &Client, namespace: &str) -> Result<Vec<K>, CallError>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    let mut params = ListParams::default().labels(&selector()).limit(PAGE);
    let mut all = Vec::new();
    loop {
        let page = within(api.list(&params)).await?;
        all.extend(page.items);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(all),
        }
    }
}

/// Makes an account with its role, or makes it as it is wanted.
pub(super) async fn make_account(client: &Client, account: &Account) -> Result<(), CallError> {
    put(client, account, &service_account(account)).await?;
    put(client, account, &role(account)).await?;
    put(client, account, &role_binding(account)).await
}

async fn put<K>(client: &Client, account: &Account, object: &K) -> Result<(), CallError>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + Serialize + Debug,
{
    let api: Api<K> = Api::namespaced(client.clone(), &account.namespace);
    match within(api.get_opt(&account.name)).await? {
        // Created, not applied: whoever makes one of that name in between keeps it.
        None => within(api.create(&PostParams::default(), object)).await.map(drop),
        Some(found) => {
            check_owner(&found, &account.uid)?;
            let mut wanted = serde_json::to_value(object).map_err(kube::Error::SerdeError)?;
            wanted["apiVersion"] = K::api_version(&()).into();
            wanted["kind"] = K::kind(&()).into();
            let params = PatchParams::apply(FIELD_MANAGER).force();
            let done = within(api.patch(&account.name, &params, &Patch::Apply(&wanted))).await;
            done.map(drop)
        }
    }
}

/// Only what was made for this Identity is changed or used.
fn check_owner<K: Resource<DynamicType = ()>>(found: &K, uid: &str) -> Result<(), CallError> {
    let (kind, namespace, name) = (
        K::kind(&()).into_owned(),
        found.namespace().unwrap_or_default(),
        found.name_any(),
    );
    let ending = found.meta().deletion_timestamp.is_some();
    if is_owned_by(found, uid) && !ending {
        return Ok(());
    }
    if is_ours(found, GIVEN) || ending {
        return Err(CallError::StillEnding { kind, namespace, name });
    }
    Err(CallError::Taken { kind, namespace, name })
}

/// Deletes an account of ours with its role. The binding last: as long as it is there it is known that something is left.
pub(super) async fn remove_account(client: &Client, namespace: &str, name: &str) -> Result<(), CallError> {
    delete::<ServiceAccount>(client, namespace, name).await?;
    delete::<Role>(client, namespace, name).await?;
    delete::<RoleBinding>(client, namespace, name).await
}

/// Deletes a Secret of ours to which tokens are bound: with it they end.
pub(super) async fn revoke(client: &Client, namespace: &str, name: &str) -> Result<(), CallError> {
    delete::<Secret>(client, namespace, name).await
}

async fn delete<K>(client: &Client, namespace: &str, name: &str) -> Result<(), CallError>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    let Some(found) = within(api.get_opt(name)).await? else {
        return Ok(());
    };
    if !is_ours(&found, GIVEN) {
        return Ok(());
    }
    let params = DeleteParams::default().preconditions(Preconditions {
        uid: found.uid(),
        resource_version: None,
    });
    match within(api.delete(name, &params)).await {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(()),
    }
}

/// The Secret of a credential, made if it is not there. Returns its uid.
pub(super) async fn prepare(client: &Client, key: &Key, account: &Account, digest: &str) -> Result<String, CallError> {
    let api: Api<Secret> = Api::namespaced(client.clone(), &key.namespace);
    let wanted = binding(key, account, digest);
    let name = wanted.name_any();
    let found = match within(api.get_opt(&name)).await? {
        Some(found) => {
            check_owner(&found, &account.uid)?;
            found
        }
        None => within(api.create(&PostParams::default(), &wanted)).await?,
    };
    match read_binding(&found) {
        Some((_, issued)) if issued.digest == digest => found.uid().ok_or(CallError::Incomplete("uid")),
        _ => Err(CallError::StillEnding {
            kind: "Secret".into(),
            namespace: key.namespace.clone(),
            name,
        }),
    }
}

/// A new token for a credential, and when it ends.
pub(super) async fn mint(
    client: &Client,
    key: &Key,
    account: &Account,
    uid: &str,
    policy: &Policy,
) -> Result<(Zeroizing<String>, UnixMillis), CallError> {
    let api: Api<ServiceAccount> = Api::namespaced(client.clone(), &account.namespace);
    let request = TokenRequest {
        spec: Some(TokenRequestSpec {
            audiences: Some(policy.audiences.clone()),
            bound_object_ref: Some(BoundObjectReference {
                api_version: Some("v1".into()),
                kind: Some("Secret".into()),
                name: Some(names::binding(key)),
                uid: Some(uid.into()),
            }),
            expiration_seconds: i64::try_from(policy.life().as_secs()).ok(),
            ..TokenRequestSpec::default()
        }),
        ..TokenRequest::default()
    };
    let answer = within(api.create_token_request(&account.name, &PostParams::default(), &request)).await?;
    let status = answer.status.ok_or(CallError::Incomplete("status"))?;
    let token = status.token.ok_or(CallError::Incomplete("token"))?;
    let ends = status.expiration_timestamp.map(|ends| ends.0.as_millisecond());
    let ends = ends.and_then(|ends| u64::try_from(ends).ok());
    let ends = ends.ok_or(CallError::Incomplete("expirationTimestamp"))?;
    Ok((Zeroizing::new(token), UnixMillis(ends)))
}

/// Notes that the peer has it.
pub(super) async fn note_delivered(
    client: &Client,
    key: &Key,
    uid: &str,
    delivered: Delivered,
) -> Result<(), CallError> {
    let api: Api<Secret> = Api::namespaced(client.clone(), &key.namespace);
    let patch = Patch::Merge(delivered_patch(uid, delivered));
    let params = PatchParams::default();
    within(api.patch(&names::binding(key), &params, &patch)).await.map(drop)
}
