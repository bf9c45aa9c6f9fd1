//! Putting a manifest into a namespace.

use kube::ResourceExt;
use kube::api::{DynamicObject, Patch};

use crate::cluster::{Cluster, in_namespace, other_owner};
use crate::error::{ClusterError, Permanent, Temporary, apply_conflict, classify};
use crate::manifest::{Manifest, Object, ObjectRef};
use crate::owner::Owner;

/// What applying did to one object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It was not there before.
    Created,
    /// It was there and is different now.
    Changed,
    /// It was there just like this.
    Unchanged,
}

impl Cluster {
    /// Applies every object of the manifest with server-side apply (field manager `hanse`), what others refer to first, each
    /// marked as `owner`'s. The namespace must exist, see [`ensure_namespace`](Cluster::ensure_namespace).
    ///
    /// Applying again changes nothing; after a failure in the middle it completes what is missing. What the manifest says
    /// holds afterwards: also replicas and configuration that [`scale`](Cluster::scale) or
    /// [`patch_config_map`](Cluster::patch_config_map) had changed, so put such wishes into the manifest with
    /// [`Manifest::with_replicas`] and [`Manifest::override_config`] before applying it again.
    ///
    /// # Errors
    /// [`Permanent::NotOurs`] when an object of that name is someone else's or another agreement's,
    /// [`Permanent::Conflict`] with the other field managers' names when they set the same fields differently,
    /// [`Temporary::StillEnding`] while an object of that name is being deleted, and what any request can fail with.
    pub async fn apply(
        &self,
        namespace: &str,
        manifest: &Manifest,
        owner: &Owner,
    ) -> Result<Vec<(ObjectRef, Change)>, ClusterError> {
        let hash = manifest.hash().to_string();
        let mut changes = Vec::with_capacity(manifest.objects().len());
        for object in manifest.objects() {
            let sent = object.for_owner(namespace, owner, &hash);
            changes.push((object.reference(), self.apply_one(namespace, &sent, owner).await?));
        }
        Ok(changes)
    }

    async fn apply_one(&self, namespace: &str, object: &Object, owner: &Owner) -> Result<Change, ClusterError> {
        let reference = object.reference();
        let what = in_namespace(&reference, namespace);
        let doing = format!("applying {what}");
        let api = self.api(namespace, object.kind());
        let before: Option<DynamicObject> = self.request(&doing, api.get_opt(object.name())).await?;
        if let Some(found) = &before {
            if let Some(to) = other_owner(found, Some(owner)) {
                return Err(Permanent::NotOurs { what, to }.into());
            }
            if found.metadata.deletion_timestamp.is_some() {
                return Err(Temporary::StillEnding { what }.into());
            }
        }
        let params = Self::patch_params();
        let patch = Patch::Apply(object);
        let mut answer = self.attempt(&doing, api.patch(object.name(), &params, &patch)).await?;
        if let Err(error) = &answer
            && let Some((managers, fields)) = apply_conflict(error)
        {
            // Our own scaling and patching count as other managers' work (operation Update, not Apply): the manifest wins
            // over those, but never over anyone else.
            if managers.iter().any(|m| m != crate::cluster::FIELD_MANAGER) {
                return Err(Permanent::Conflict {
                    object: reference,
                    managers,
                    fields,
                }
                .into());
            }
            answer = self
                .attempt(&doing, api.patch(object.name(), &params.force(), &patch))
                .await?;
        }
        let after = answer.map_err(|e| classify(&doing, e))?;
        Ok(match before {
            None => Change::Created,
            Some(before) if before.resource_version() == after.resource_version() => Change::Unchanged,
            Some(_) => Change::Changed,
        })
    }
}
