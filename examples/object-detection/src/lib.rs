//! The example service of Hanse: a camera, object detectors, and a receiver with a page to look at.
//!
//! ```text
//! sampler-sender ──frames──▶ object-detector(s) ──annotated pictures──▶ receiver ──▶ your browser
//!                ◀──acks────                    ◀──acks──────────────
//! ```
//!
//! # Promise
//! - Frames that a camera took arrive at the receiver although detectors come, go, move to another cluster and crash:
//!   a frame is acknowledged only when the receiver has it, and until then the camera keeps it and sends it over
//!   another connection when one breaks ([`courier`]). The receiver drops doubles ([`tracking`]).
//! - Frames are lost only when no destination takes any for longer than the camera's queue lasts (5 s), when the camera
//!   itself is killed, or when it is told to stop and nobody takes the rest in time. What is lost is counted.
//! - All three programs stop within 2 s of SIGTERM, and a program that stops gracefully loses nothing.
//! - Whatever is sent to their ports, they bound what it costs and go on ([`wire`], [`acceptor`]).
//!
//! # What the operator must do
//! Give the camera the detectors' address (`DESTINATION_IP`) and the detectors the receiver's (`RECEIVER_ADDRESS`). To
//! move detectors without a gap, start the new ones first, then a camera that knows them, then stop the old camera
//! and at last the old detectors: a rolling update of the camera's Deployment does just that, because a
//! camera is ready only once its frames are acknowledged. Links are neither encrypted nor authenticated: they belong on
//! a network that is.
//!
//! # Rooms
//! Decisions without I/O: [`dispatch`] (which frame over which connection), [`tracking`] and
//! [`receiver::Statistics`] (what was lost), [`detection`], [`quality`], [`scene`], [`address`]. At the edge:
//! [`courier`] and [`acceptor`] (the two ends of a link, which speak [`wire`]), [`http`], [`process`]. The programs:
//! [`sender`], [`detector`], [`receiver`].

pub mod acceptor;
pub mod address;
pub mod annotate;
pub mod courier;
pub mod detection;
pub mod detector;
pub mod dispatch;
pub mod http;
pub mod jpeg;
pub mod memory;
pub mod model;
pub mod process;
pub mod quality;
pub mod receiver;
pub mod scene;
pub mod sender;
pub mod tracking;
pub mod wire;
