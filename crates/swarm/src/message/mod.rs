//! Messages that one domain alone can read: a question and an answer, each sealed to the sealing key in the other's signed
//! record.
//!
//! The connection already is encrypted, and its other end proven to be the peer. Sealing keeps a message closed also where a
//! connection ends: nothing but the box is ever in a queue or a buffer of the network. An [`Envelope`] is what is sealed: beside the bytes it
//! says from whom to whom it is, about what, and of which exchange, so that nobody can pass on a box as sent by himself or as
//! meant for another, and no answer counts for another question.

mod envelope;
mod sealing;
mod topic;

pub(crate) use envelope::{Direction, Envelope};
pub use envelope::{EnvelopeError, LARGEST_BODY};
pub use sealing::SealingSecret;
pub(crate) use sealing::{LARGEST_BOX, seal};
pub use topic::Topic;
