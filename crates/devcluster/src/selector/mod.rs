//! Label and field selectors: parsing and matching. Pure.

mod field;
mod label;

pub use field::FieldSelector;
pub use label::LabelSelector;
