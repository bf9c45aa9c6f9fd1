//! The link protocol: what sender, detector and receiver say to each other over TCP.
//!
//! A message is a 12-byte header and a body. Header: the bytes `HVOD`, one byte version (1), one byte kind, two zero
//! bytes, four bytes length of the body (big endian, at most [`MAX_BODY`]). Body: JSON, and for pictures four bytes
//! length of the JSON (big endian, at most [`MAX_HEADER`]), the JSON, then a JPEG file.
//!
//! The side that accepts a connection speaks first: [`Message::Welcome`] says what it is and how many unacknowledged
//! messages it takes. A connection without a welcome is no use yet: behind a load balancer a connection can be open
//! with nobody at its end. Then the connecting side sends [`Message::Frame`], [`Message::Picture`] or [`Message::End`],
//! each answered with one [`Message::Ack`], in any order, once it has arrived **at the end of the pipeline**.
//! [`Message::GoAway`] asks the connecting side to send nothing more; what was sent is still answered.
//!
//! Whatever breaks these rules ends the connection; the rest of the process goes on.

mod codec;

pub use codec::{HEADER, MAX_BODY, MAX_HEADER, VERSION, WireCodec, WireError};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::model::{BoundingBox, FrameId, MAX_BOXES, Name, Timestamp};

/// What stands at the end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Takes frames.
    ObjectDetector,
    /// Takes pictures.
    Receiver,
}

/// The first word of the accepting side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Welcome {
    /// What it is.
    pub role: Role,
    /// Which one it is.
    pub instance: Name,
    /// Messages that may be unanswered on this connection, 1 to 64.
    pub window: u8,
}

/// What the camera says about a frame.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrameHeader {
    /// Which frame.
    pub id: FrameId,
    /// When it was taken.
    pub captured_at: Timestamp,
    /// Where the objects really are. The detector passes it on unread; it only serves to measure the detector.
    pub truth: Vec<BoundingBox>,
}

/// What the detector says about a picture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PictureHeader {
    /// The frame it was made from.
    pub frame: FrameHeader,
    /// Where objects were found.
    pub found: Vec<BoundingBox>,
    /// The administrative domain that did the work.
    pub domain: Name,
    /// The detector that did the work.
    pub detector: Name,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The receiver has it.
    Delivered,
    /// It can never be delivered (not a JPEG, say); sending it again is no use.
    Refused,
}

/// The answer to a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ack {
    /// Which message.
    pub id: FrameId,
    /// What became of it.
    pub outcome: Outcome,
}

/// All that can be said on a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Accepting side: ready.
    Welcome(Welcome),
    /// Camera: a frame as a JPEG file.
    Frame(FrameHeader, Bytes),
    /// Detector: an annotated frame as a JPEG file.
    Picture(PictureHeader, Bytes),
    /// Camera, passed on by the detector: the stream had the frames before this number and has ended.
    End(FrameId),
    /// Accepting side: the answer.
    Ack(Ack),
    /// Accepting side: send nothing more on this connection.
    GoAway,
}

impl Message {
    /// The identity that an acknowledgement repeats; `None` for what is not acknowledged.
    #[must_use]
    pub fn id(&self) -> Option<&FrameId> {
        match self {
            Self::Frame(header, _) => Some(&header.id),
            Self::Picture(header, _) => Some(&header.frame.id),
            Self::End(id) => Some(id),
            Self::Welcome(_) | Self::Ack(_) | Self::GoAway => None,
        }
    }

    /// Checks what the types cannot say.
    fn check(&self) -> Result<(), WireError> {
        let boxes = match self {
            Self::Welcome(welcome) if !(1..=64).contains(&welcome.window) => {
                return Err(WireError::Window(welcome.window));
            }
            Self::Frame(header, _) => header.truth.len(),
            Self::Picture(header, _) => header.frame.truth.len().max(header.found.len()),
            _ => 0,
        };
        if boxes > MAX_BOXES {
            Err(WireError::TooManyBoxes(boxes))
        } else {
            Ok(())
        }
    }
}
