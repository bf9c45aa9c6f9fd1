//! What the workload half needs to know.

use std::{path::PathBuf, time::Duration};

use super::{AddressRange, Images};

/// Configuration of the workload controllers and of the one node.
#[derive(Clone, Debug)]
pub struct WorkloadConfig {
    /// Folder for pods' private files and logs. Created if missing; belongs to one cluster.
    pub data_dir: PathBuf,
    /// Name of the only node.
    pub node_name: String,
    /// What the node offers to pods.
    pub capacity: NodeCapacity,
    /// Addresses of pods (`status.podIP`).
    pub pod_range: AddressRange,
    /// Addresses of Services of type LoadBalancer (`status.loadBalancer.ingress`).
    pub load_balancer_range: AddressRange,
    /// The images that can be started.
    pub images: Images,
    /// An executable that calls [`crate::supervise_main`] when its first argument is
    /// [`crate::SUPERVISE`]: usually the running program itself (`std::env::current_exe()`).
    pub supervisor: PathBuf,
    /// Times that a real kubelet fixes.
    pub timing: Timing,
}

/// What the node offers. Requests beyond it leave a pod `Pending` with reason `Unschedulable`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeCapacity {
    /// Thousandths of a CPU.
    pub cpu_milli: i64,
    /// Bytes.
    pub memory_bytes: i64,
    /// Number of pods.
    pub pods: i64,
}

impl NodeCapacity {
    /// The CPUs and the memory of this machine, and 110 pods as on a default node.
    #[must_use]
    pub fn of_this_machine() -> Self {
        let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let kib = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
            let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
            line.split_whitespace().nth(1)?.parse::<i64>().ok()
        });
        Self {
            cpu_milli: i64::try_from(cpus).unwrap_or(1).saturating_mul(1000),
            memory_bytes: kib.unwrap_or(1024 * 1024).saturating_mul(1024),
            pods: 110,
        }
    }
}

/// Times of the kubelet. The defaults are for development: a crash loop starts at one second and
/// ends at thirty instead of ten seconds and five minutes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// First delay of a crash loop; the first restart itself is immediate, as in Kubernetes.
    pub crash_backoff: Duration,
    /// Longest delay of a crash loop or between image pulls.
    pub crash_backoff_max: Duration,
    /// A container that ran this long starts its back-off anew.
    pub crash_backoff_reset: Duration,
}

impl Timing {
    /// The times of a real kubelet: 10 s doubling to 5 min, forgotten after 10 min.
    pub const KUBERNETES: Self = Self {
        crash_backoff: Duration::from_secs(10),
        crash_backoff_max: Duration::from_secs(300),
        crash_backoff_reset: Duration::from_secs(600),
    };
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            crash_backoff: Duration::from_secs(1),
            crash_backoff_max: Duration::from_secs(30),
            crash_backoff_reset: Duration::from_secs(60),
        }
    }
}
