//! Messages to bytes and back; all checks of what comes from the network are here.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use serde::{Serialize, de::DeserializeOwned};
use tokio_util::codec::{Decoder, Encoder};

use super::Message;

/// Length of the header in bytes.
pub const HEADER: usize = 12;
/// Version of the protocol.
pub const VERSION: u8 = 1;
/// Longest body in bytes: a 1920×1080 JPEG of good quality fits.
pub const MAX_BODY: usize = 1 << 20;
/// Longest JSON part in bytes.
pub const MAX_HEADER: usize = 16 << 10;

const MAGIC: [u8; 4] = *b"HVOD";

/// Why bytes are no message. Each of these ends the connection.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// Another protocol.
    #[error("the other side does not speak the link protocol (message starts with {0:02x?})")]
    Magic([u8; 4]),
    /// A later or broken version.
    #[error("version {0} of the link protocol is not known, only {VERSION}")]
    Version(u8),
    /// A kind that this version does not have.
    #[error("message kind {0} is not known")]
    Kind(u8),
    /// Reserved bytes in use.
    #[error("reserved bytes are not zero")]
    Reserved,
    /// Too long a body.
    #[error("a body of {0} bytes is longer than {MAX_BODY}")]
    TooLong(usize),
    /// JSON part longer than allowed or than the body.
    #[error("a JSON part of {0} bytes does not fit")]
    HeaderTooLong(usize),
    /// JSON that is not what it should be.
    #[error("the message cannot be read: {0}")]
    Json(#[from] serde_json::Error),
    /// More boxes than anyone needs.
    #[error("{0} boxes on one frame are too many")]
    TooManyBoxes(usize),
    /// A window that makes no sense.
    #[error("a window of {0} is not within 1 to 64")]
    Window(u8),
    /// A picture without a picture.
    #[error("the message carries no JPEG file")]
    NoJpeg,
    /// The connection.
    #[error("connection: {0}")]
    Io(#[from] std::io::Error),
}

#[derive(Clone, Copy)]
enum Kind {
    Welcome = 1,
    Frame = 2,
    Picture = 3,
    End = 4,
    Ack = 5,
    GoAway = 6,
}

impl TryFrom<u8> for Kind {
    type Error = WireError;

    fn try_from(byte: u8) -> Result<Self, WireError> {
        [
            Self::Welcome,
            Self::Frame,
            Self::Picture,
            Self::End,
            Self::Ack,
            Self::GoAway,
        ]
        .into_iter()
        .find(|kind| *kind as u8 == byte)
        .ok_or(WireError::Kind(byte))
    }
}

/// Encoder and decoder of [`Message`]s.
#[derive(Clone, Copy, Debug, Default)]
pub struct WireCodec;

impl Decoder for WireCodec {
    type Item = Message;
    type Error = WireError;

    fn decode(&mut self, source: &mut BytesMut) -> Result<Option<Message>, WireError> {
        // What is wrong is refused as soon as it is seen, before memory is set aside for a body.
        let seen = source.len().min(MAGIC.len());
        if source[..seen] != MAGIC[..seen] {
            let mut start = [0; 4];
            start[..seen].copy_from_slice(&source[..seen]);
            return Err(WireError::Magic(start));
        }
        let Some(header) = source.first_chunk::<HEADER>() else {
            source.reserve(HEADER - source.len());
            return Ok(None);
        };
        let [_, _, _, _, version, kind, reserved @ .., a, b, c, d] = *header;
        if version != VERSION {
            return Err(WireError::Version(version));
        }
        let kind = Kind::try_from(kind)?;
        if reserved != [0, 0] {
            return Err(WireError::Reserved);
        }
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if length > MAX_BODY {
            return Err(WireError::TooLong(length));
        }
        if source.len() < HEADER + length {
            source.reserve(HEADER + length - source.len());
            return Ok(None);
        }
        source.advance(HEADER);
        let message = body(kind, source.split_to(length).freeze())?;
        message.check()?;
        Ok(Some(message))
    }
}

fn body(kind: Kind, body: Bytes) -> Result<Message, WireError> {
    Ok(match kind {
        Kind::Welcome => Message::Welcome(small(&body)?),
        Kind::Frame => {
            let (header, jpeg) = picture(body)?;
            Message::Frame(header, jpeg)
        }
        Kind::Picture => {
            let (header, jpeg) = picture(body)?;
            Message::Picture(header, jpeg)
        }
        Kind::End => Message::End(small(&body)?),
        Kind::Ack => Message::Ack(small(&body)?),
        Kind::GoAway if body.is_empty() => Message::GoAway,
        Kind::GoAway => return Err(WireError::HeaderTooLong(body.len())),
    })
}

fn small<T: DeserializeOwned>(body: &[u8]) -> Result<T, WireError> {
    if body.len() > MAX_HEADER {
        return Err(WireError::HeaderTooLong(body.len()));
    }
    Ok(serde_json::from_slice(body)?)
}

fn picture<T: DeserializeOwned>(mut body: Bytes) -> Result<(T, Bytes), WireError> {
    let length = body.try_get_u32().map_err(|_| WireError::NoJpeg)? as usize;
    if length > body.len() {
        return Err(WireError::HeaderTooLong(length));
    }
    let header = small(&body.split_to(length))?;
    if body.is_empty() {
        Err(WireError::NoJpeg)
    } else {
        Ok((header, body))
    }
}

impl Encoder<&Message> for WireCodec {
    type Error = WireError;

    fn encode(&mut self, message: &Message, target: &mut BytesMut) -> Result<(), WireError> {
        message.check()?;
        match message {
            Message::Welcome(welcome) => put_small(Kind::Welcome, welcome, target),
            Message::Frame(header, jpeg) => put_picture(Kind::Frame, header, jpeg, target),
            Message::Picture(header, jpeg) => put_picture(Kind::Picture, header, jpeg, target),
            Message::End(id) => put_small(Kind::End, id, target),
            Message::Ack(ack) => put_small(Kind::Ack, ack, target),
            Message::GoAway => put_header(Kind::GoAway, 0, target),
        }
    }
}

fn put_header(kind: Kind, length: usize, target: &mut BytesMut) -> Result<(), WireError> {
    let announced = u32::try_from(length)
        .ok()
        .filter(|_| length <= MAX_BODY)
        .ok_or(WireError::TooLong(length))?;
    target.reserve(HEADER + length);
    target.put_slice(&MAGIC);
    target.put_slice(&[VERSION, kind as u8, 0, 0]);
    target.put_u32(announced);
    Ok(())
}

fn put_small(kind: Kind, content: &impl Serialize, target: &mut BytesMut) -> Result<(), WireError> {
    let json = serde_json::to_vec(content)?;
    put_header(kind, json.len(), target)?;
    target.put_slice(&json);
    Ok(())
}

fn put_picture(kind: Kind, header: &impl Serialize, jpeg: &[u8], target: &mut BytesMut) -> Result<(), WireError> {
    if jpeg.is_empty() {
        return Err(WireError::NoJpeg);
    }
    let json = serde_json::to_vec(header)?;
    let length = u32::try_from(json.len()).ok().filter(|_| json.len() <= MAX_HEADER);
    let length = length.ok_or(WireError::HeaderTooLong(json.len()))?;
    put_header(kind, 4 + json.len() + jpeg.len(), target)?;
    target.put_u32(length);
    target.put_slice(&json);
    target.put_slice(jpeg);
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;
    use crate::{
        model::{BoundingBox, FrameId, Name, Timestamp},
        wire::{Ack, FrameHeader, Outcome, PictureHeader, Role, Welcome},
    };

    fn any_message() -> impl Strategy<Value = Message> {
        let name = || "[a-zA-Z0-9._-]{1,100}".prop_map(|text| text.parse::<Name>().unwrap());
        let id = move || (name(), any::<u64>()).prop_map(|(stream, sequence)| FrameId { stream, sequence });
        let boxes = || {
            let one = (0..60000_u16, 0..60000_u16, 1..5000_u16, 1..5000_u16);
            prop::collection::vec(
                one.prop_map(|(l, t, w, h)| BoundingBox::new(l, t, w, h).unwrap()),
                0..=64,
            )
        };
        let frame = move || {
            (id(), any::<u64>(), boxes()).prop_map(|(id, at, truth)| FrameHeader {
                id,
                captured_at: Timestamp(at),
                truth,
            })
        };
        let jpeg = || prop::collection::vec(any::<u8>(), 1..2000).prop_map(Bytes::from);
        prop_oneof![
            (name(), 1..=64_u8).prop_map(|(instance, window)| Message::Welcome(Welcome {
                role: Role::Receiver,
                instance,
                window
            })),
            (frame(), jpeg()).prop_map(|(header, jpeg)| Message::Frame(header, jpeg)),
            (frame(), boxes(), name(), name(), jpeg()).prop_map(|(frame, found, domain, detector, jpeg)| {
                Message::Picture(
                    PictureHeader {
                        frame,
                        found,
                        domain,
                        detector,
                    },
                    jpeg,
                )
            }),
            id().prop_map(Message::End),
            id().prop_map(|id| Message::Ack(Ack {
                id,
                outcome: Outcome::Delivered
            })),
            Just(Message::GoAway),
        ]
    }

    proptest! {
        #[test]
        fn messages_survive_the_wire_however_it_is_cut(
            messages in prop::collection::vec(any_message(), 1..5), cut in 1..700_usize
        ) {
            let mut bytes = BytesMut::new();
            for message in &messages {
                WireCodec.encode(message, &mut bytes).unwrap();
            }
            let (mut buffer, mut read) = (BytesMut::new(), Vec::new());
            for piece in bytes.chunks(cut) {
                buffer.put_slice(piece);
                while let Some(message) = WireCodec.decode(&mut buffer).unwrap() {
                    read.push(message);
                }
            }
            prop_assert_eq!(read, messages);
            prop_assert!(buffer.is_empty());
        }

        #[test]
        fn a_damaged_message_is_an_error_or_waits_but_never_a_panic(
            message in any_message(), at in any::<prop::sample::Index>(), byte in any::<u8>(), keep in any::<prop::sample::Index>()
        ) {
            let mut bytes = BytesMut::new();
            WireCodec.encode(&message, &mut bytes).unwrap();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            bytes.truncate(keep.index(bytes.len()) + 1);
            let _ = WireCodec.decode(&mut bytes);
        }

        #[test]
        fn noise_never_makes_a_message(noise in prop::collection::vec(any::<u8>(), 12..300)) {
            prop_assume!(noise[..4] != MAGIC);
            prop_assert!(WireCodec.decode(&mut BytesMut::from(&noise[..])).is_err());
        }
    }

    #[test]
    fn a_giant_length_is_refused_from_the_header_alone() {
        let mut bytes = BytesMut::from(&b"HVOD\x01\x02\0\0\xff\xff\xff\xff"[..]);
        assert!(matches!(WireCodec.decode(&mut bytes), Err(WireError::TooLong(_))));
        assert!(bytes.capacity() < 1000);
    }

    #[test]
    fn another_protocol_is_named_at_its_first_byte() {
        let error = WireCodec
            .decode(&mut BytesMut::from(&b"GET / HTTP/1.1"[..]))
            .unwrap_err();
        assert!(
            error.to_string().contains("does not speak the link protocol"),
            "{error}"
        );
        assert!(WireCodec.decode(&mut BytesMut::from(&b"G"[..])).is_err());
    }

    #[test]
    fn another_version_is_refused() {
        let mut bytes = BytesMut::from(&b"HVOD\x02\x06\0\0\0\0\0\0"[..]);
        assert!(matches!(WireCodec.decode(&mut bytes), Err(WireError::Version(2))));
    }
}
