//! Placeholder.

mod workload;

pub use workload::{
    AddressRange, Image, ImageError, Images, LogError, LogRange, LogReader, NodeCapacity, RangeError, SUPERVISE,
    Timing, Workload, WorkloadConfig, WorkloadError, supervise_main,
};
