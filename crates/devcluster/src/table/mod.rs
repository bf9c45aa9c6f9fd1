//! Table answers: the same objects as rows of cells, which is what `kubectl get` prints.
//!
//! A client asks by `Accept: application/json;as=Table;v=v1;g=meta.k8s.io`. In the same way it may ask for the metadata
//! of objects alone.

mod cluster;
mod columns;
mod custom;
mod duration;
mod network;
mod pod;
mod value;
mod workloads;

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

pub use custom::PrinterColumns;

use crate::resource::Resource;

/// What stands beside the cells of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Include {
    /// Nothing.
    None,
    /// Metadata.
    Metadata,
    /// The whole object.
    Object,
}

/// Column definitions of a resource.
fn definitions<'a>(resource: &Resource, custom: Option<&'a PrinterColumns>) -> &'a [Value] {
    match (custom, resource.shape.as_deref()) {
        (Some(custom), _) => custom.definitions(),
        (None, Some("events/v1.Event")) => columns::of("core/v1.Event").unwrap_or(columns::default()),
        (None, Some(shape)) => columns::of(shape).unwrap_or(columns::default()),
        (None, None) => columns::default(),
    }
}

/// Cells of a built-in object.
fn cells(shape: &str, object: &Value, now: Timestamp) -> Vec<Value> {
    let row = match shape {
        "core/v1.Pod" => pod::cells,
        "core/v1.Namespace" => cluster::namespace,
        "core/v1.ConfigMap" => cluster::config_map,
        "core/v1.Secret" => cluster::secret,
        "core/v1.ServiceAccount" => cluster::name_and_age,
        "core/v1.Service" => network::service,
        "core/v1.Endpoints" => network::endpoints,
        "core/v1.Node" => cluster::node,
        "core/v1.Event" | "events/v1.Event" => cluster::event,
        "core/v1.ResourceQuota" => cluster::quota,
        "core/v1.PersistentVolume" => cluster::volume,
        "core/v1.PersistentVolumeClaim" => cluster::claim,
        "apps/v1.Deployment" => workloads::deployment,
        "apps/v1.ReplicaSet" => workloads::replica_set,
        "apps/v1.StatefulSet" => workloads::stateful_set,
        "apps/v1.DaemonSet" => workloads::daemon_set,
        "apps/v1.ControllerRevision" => workloads::controller_revision,
        "batch/v1.Job" => workloads::job,
        "batch/v1.CronJob" => workloads::cron_job,
        "autoscaling/v2.HorizontalPodAutoscaler" => workloads::autoscaler,
        "policy/v1.PodDisruptionBudget" => workloads::disruption_budget,
        "networking/v1.Ingress" => network::ingress,
        "networking/v1.IngressClass" => network::ingress_class,
        "networking/v1.NetworkPolicy" => network::network_policy,
        "discovery/v1.EndpointSlice" => network::endpoint_slice,
        "coordination/v1.Lease" => cluster::lease,
        "scheduling/v1.PriorityClass" => cluster::priority_class,
        "storage/v1.StorageClass" => cluster::storage_class,
        "rbac/v1.RoleBinding" | "rbac/v1.ClusterRoleBinding" => cluster::binding,
        _ => {
            let metadata = &object["metadata"];
            return vec![metadata["name"].clone(), metadata["creationTimestamp"].clone()];
        }
    };
    row(object, now)
}

/// The metadata of an object, as an object of its own.
pub fn metadata_only(object: &Value) -> Value {
    json!({ "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"] })
}

/// Makes a table.
pub struct TableMaker<'a> {
    /// What the objects are.
    pub resource: &'a Resource,
    /// Their columns, if they are custom.
    pub custom: Option<&'a PrinterColumns>,
    /// What stands beside the cells.
    pub include: Include,
    /// Ages count up to here.
    pub now: Timestamp,
}

impl TableMaker<'_> {
    /// A table of objects; `metadata` is that of the list, or of the one object.
    pub fn table(&self, metadata: &Value, objects: &[&Value], with_columns: bool) -> Value {
        let mut kept = serde_json::Map::new();
        for field in ["resourceVersion", "continue", "remainingItemCount"] {
            let value = &metadata[field];
            if !(value.is_null() || value == "") {
                kept.insert(field.into(), value.clone());
            }
        }
        let rows: Vec<Value> = objects.iter().map(|object| self.row(object)).collect();
        // The converter that all kinds without columns of their own share leaves an empty list unset.
        let shared =
            self.custom.is_none() && std::ptr::eq(definitions(self.resource, None), columns::default().as_slice());
        let rows = if rows.is_empty() && shared {
            Value::Null
        } else {
            rows.into()
        };
        let columns = with_columns.then(|| definitions(self.resource, self.custom));
        json!({ "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": kept, "columnDefinitions": columns, "rows": rows })
    }

    fn row(&self, object: &Value) -> Value {
        let cells = match (self.custom, self.resource.shape.as_deref()) {
            (Some(custom), _) => custom.cells(object, self.now),
            (None, shape) => cells(shape.unwrap_or_default(), object, self.now),
        };
        let beside = match self.include {
            Include::None => Value::Null,
            Include::Metadata => metadata_only(object),
            Include::Object => {
                // Items of lists do not repeat what they are; alone, they do.
                let mut object = object.clone();
                object["apiVersion"] = self.resource.api_version().into();
                object["kind"] = self.resource.kind.clone().into();
                object
            }
        };
        json!({ "cells": cells, "object": beside })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::Catalog;

    #[test]
    fn each_built_in_kind_has_a_cell_for_each_of_its_columns() {
        for resource in Catalog::built_in().iter() {
            let maker = TableMaker {
                resource,
                custom: None,
                include: Include::None,
                now: Timestamp::UNIX_EPOCH,
            };
            let object = crate::admission::zero(resource);
            let table = maker.table(&json!({}), &[&object], true);
            let columns = table["columnDefinitions"].as_array().map(Vec::len);
            let cells = table["rows"][0]["cells"].as_array().map(Vec::len);
            assert_eq!(columns, cells, "{}", resource.kind);
        }
    }
}
