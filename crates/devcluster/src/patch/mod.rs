//! Patches as functions on JSON.

pub mod json;
pub mod strategic;
