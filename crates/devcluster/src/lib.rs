//! A Kubernetes API server and process runtime in this process: **a development tool**, for `hanse up` on a machine
//! without a cluster and for tests. It is not a cluster: no isolation, one machine.
//!
//! **What it promises.** The part of the Kubernetes API that this project's controllers, `kube` and kubectl use, with the
//! semantics of kube-apiserver 1.36: one revision, optimistic locking, list and watch with bookmarks and
//! `410 Expired`, server-side apply with field ownership, finalizers, owners and garbage collection, namespaces that
//! end, custom resources with structural schemas, rules in CEL and printer columns, tables, service account tokens and RBAC,
//! and refusals word for word. Recorded
//! answers of a real server are replayed against it (`tests/transcripts`). What was acknowledged survives `kill -9`.
//!
//! **What callers must do.** Use it only through its address, as they would a real cluster: take [`DevCluster::client`]
//! or [`DevCluster::kubeconfig`]. Call [`DevCluster::shutdown`] before the data folder is used again.
//!
//! **Pods are processes.** Call [`supervise_main`] first thing in `main` when the first argument is [`SUPERVISE`]: the
//! program runs itself as the supervisor of each container, so that nothing is left behind, not even by `kill -9`. Give
//! each cluster on a machine address ranges of its own, inside of 127.0.0.0/8. Containers are not isolated. Their
//! volumes are below `$HANSE_POD_ROOT`, and they must listen on the pod's address (`status.podIP`, also in
//! `$HANSE_POD_IP`) and not on all. There is no DNS: Services are found by their addresses or by the variables
//! `NAME_SERVICE_HOST`. An image name stands for a local executable ([`Images`]). Not there: NodePorts, sidecar init
//! containers, `postStart` hooks, gRPC and HTTPS probes, `resourceFieldRef`, tokens in volumes, Indexed Jobs,
//! StatefulSets, DaemonSets. Quotas hold for pods made by controllers. A readiness probe is repeated quickly until its
//! first success instead of every `periodSeconds`.
//!
//! **Rooms.** `store` (objects, revisions, history, disk), `listener` and `tls`, `api` (HTTP, verbs), `table` (what kubectl
//! prints), `admission` (defaults, validation),
//! `apply` (server-side apply), `patch`, `selector`, `schema`, `crd`, `auth`, `controllers`; `workload` runs pods
//! as processes and talks to the API through a client only.

mod admission;
mod api;
mod apply;
mod auth;
mod cluster;
mod controllers;
mod crd;
mod duplicates;
mod events;
mod json_text;
mod listener;
mod object;
mod patch;
mod quantity;
mod resource;
mod schema;
mod selector;
mod status;
mod store;
mod table;
mod tls;
mod workload;

pub use cluster::{DevCluster, DevClusterConfig, StartError};
pub use workload::{
    AddressRange, Image, ImageError, Images, LogError, LogRange, LogReader, NodeCapacity, RangeError, SUPERVISE,
    Timing, Workload, WorkloadConfig, WorkloadError, supervise_main,
};
