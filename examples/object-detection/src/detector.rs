//! object-detector: finds what moves on the frames it is sent and hands the annotated picture to the receiver.
//!
//! A frame is acknowledged after the receiver has acknowledged its picture, so whoever sent it knows that it arrived.
//! Any number of detectors can share a stream. On SIGTERM it takes no more, asks its clients to go away, finishes what
//! it has, and exits.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use axum::{Router, routing::get};
use bytes::Bytes;
use clap::Parser;
use image::Rgb;
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;

use crate::{
    acceptor::{self, Reception, Violation},
    address::Destination,
    annotate,
    courier::{Courier, CourierConfig},
    http::{self, Metrics},
    jpeg,
    memory::Backgrounds,
    model::Name,
    process,
    wire::{FrameHeader, Message, Outcome, PictureHeader, Role, Welcome},
};

/// Unacknowledged frames on one connection.
const WINDOW: u8 = 4;
/// Pictures that may wait for the receiver: all windows of all connections.
const QUEUE: usize = acceptor::MAX_CONNECTIONS * WINDOW as usize;

/// Finds moving objects on frames and sends the annotated pictures to the receiver.
#[derive(Clone, Debug, Parser)]
#[command(
    version,
    after_help = "Example: object-detector --receiver-address 127.0.0.1:5555 --detector-domain lubeck --bind-address 127.0.0.1"
)]
pub struct Args {
    /// The receiver: ip, ip:port or name.
    #[arg(long, env = "RECEIVER_ADDRESS")]
    pub receiver_address: Destination,
    /// Port of the receiver if the address names none.
    #[arg(long, default_value_t = 5555)]
    pub destination_port: u16,
    /// Milliseconds without acknowledgement after which the receiver's connection counts as dead.
    #[arg(long, env = "ACK_TIMEOUT_MS", default_value_t = 700, value_parser = clap::value_parser!(u64).range(50..=60_000))]
    pub ack_timeout_ms: u64,
    /// The administrative domain that this detector works for; default: the name of the detector.
    #[arg(long, env = "DETECTOR_DOMAIN")]
    pub detector_domain: Option<String>,
    /// Name of this detector; default: the pod's or the host's.
    #[arg(long, env = "POD_NAME")]
    pub name: Option<String>,
    /// JPEG quality of the pictures, 1 to 100.
    #[arg(long, env = "JPEG_QUALITY", default_value_t = 75, value_parser = clap::value_parser!(u8).range(1..=100))]
    pub jpeg_quality: u8,
    /// Address to listen on.
    #[arg(long, env = "POD_IP", default_value = "0.0.0.0")]
    pub bind_address: IpAddr,
    /// Port for frames; 0 takes a free one.
    #[arg(long, env = "FRAMES_PORT", default_value_t = 5559)]
    pub frames_port: u16,
    /// Port of /healthz, /readyz and /metrics; 0 takes a free one.
    #[arg(long, env = "HTTP_PORT", default_value_t = 5561)]
    pub http_port: u16,
}

struct Detector {
    domain: Name,
    name: Name,
    colour: Rgb<u8>,
    quality: u8,
    backgrounds: Backgrounds,
    courier: Courier,
    frames: AtomicU64,
    objects: AtomicU64,
    refused: AtomicU64,
    busy_micros: AtomicU64,
}

impl Detector {
    async fn handle(self: Arc<Self>, message: Message) -> Result<Outcome, Violation> {
        let passed_on = match message {
            Message::End(_) => message,
            Message::Frame(header, file) => {
                let detector = Arc::clone(&self);
                let id = header.id.clone();
                let work = tokio::task::spawn_blocking(move || detector.detect(header, &file)).await;
                match work.map_err(|_| Violation::Undeliverable)? {
                    Ok(picture) => picture,
                    Err(error) => {
                        tracing::warn!(frame = %id, %error, "frame refused");
                        self.refused.fetch_add(1, Ordering::Relaxed);
                        return Ok(Outcome::Refused);
                    }
                }
            }
            _ => return Err(Violation::NotForUs),
        };
        match self.courier.send(&passed_on).await {
            Ok(outcome) => outcome.await.map_err(|_| Violation::Undeliverable),
            Err(error) => {
                tracing::warn!(%error, "picture cannot be sent");
                Ok(Outcome::Refused)
            }
        }
    }

    fn detect(&self, frame: FrameHeader, file: &[u8]) -> anyhow::Result<Message> {
        let start = std::time::Instant::now();
        let mut image = jpeg::decode(file)?;
        let found = self.backgrounds.objects(&frame.id.stream, &image, frame.captured_at);
        annotate::draw(&mut image, &found, self.colour);
        let file = jpeg::encode(&image, self.quality)?;
        self.frames.fetch_add(1, Ordering::Relaxed);
        self.objects.fetch_add(found.len() as u64, Ordering::Relaxed);
        let micros = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.busy_micros.fetch_add(micros, Ordering::Relaxed);
        let (domain, detector) = (self.domain.clone(), self.name.clone());
        Ok(Message::Picture(
            PictureHeader {
                frame,
                found,
                domain,
                detector,
            },
            Bytes::from(file),
        ))
    }

    fn metrics(&self) -> Metrics {
        let status = self.courier.status().borrow().clone();
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let seconds = read(&self.busy_micros) as f64 / 1e6;
        Metrics::default()
            .counter("object_detector_frames_total", "Frames looked at.", read(&self.frames))
            .counter("object_detector_objects_total", "Objects found.", read(&self.objects))
            .counter(
                "object_detector_frames_refused_total",
                "Frames that were no pictures.",
                read(&self.refused),
            )
            .counter("object_detector_work_seconds_total", "Time spent on frames.", seconds)
            .counter(
                "object_detector_pictures_delivered_total",
                "Pictures acknowledged.",
                status.delivered,
            )
            .counter(
                "object_detector_pictures_resent_total",
                "Pictures sent again.",
                status.resent,
            )
            .gauge(
                "object_detector_pictures_waiting",
                "Pictures waiting for the receiver.",
                status.waiting,
            )
            .gauge(
                "object_detector_receiver_links",
                "Connections to the receiver.",
                status.open_links,
            )
    }
}

impl Args {
    /// Runs the detector until SIGTERM.
    ///
    /// # Errors
    /// When an argument makes no sense or a port is taken; never because of the network.
    pub async fn run(self) -> anyhow::Result<()> {
        let terminated = process::terminated()?;
        let name = process::name(self.name.as_deref(), &["HOSTNAME"], "object-detector")?;
        let domain = process::name(self.detector_domain.as_deref(), &[], name.as_str())?;
        let frames = process::listen("frames", SocketAddr::new(self.bind_address, self.frames_port)).await?;
        let listener = process::listen("http", SocketAddr::new(self.bind_address, self.http_port)).await?;
        let courier = Courier::start(CourierConfig {
            destinations: vec![self.receiver_address],
            usual_port: self.destination_port,
            role: Role::Receiver,
            // Two, so that one that breaks or retires does not stop the flow.
            connections: 2,
            queue: QUEUE,
            patience: Duration::from_millis(self.ack_timeout_ms),
            max_age: None,
        });
        let open = while_reachable(&courier);
        let colour = annotate::colour(&domain);
        let detector = Arc::new(Detector {
            domain,
            name: name.clone(),
            colour,
            quality: self.jpeg_quality,
            backgrounds: Backgrounds::default(),
            courier,
            frames: AtomicU64::new(0),
            objects: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            busy_micros: AtomicU64::new(0),
        });
        let (drain, stop_http) = (CancellationToken::new(), CancellationToken::new());
        let router = router(&detector, open.clone(), drain.clone());
        let http = tokio::spawn(http::serve(listener, router, stop_http.clone()));
        let welcome = Welcome {
            role: Role::ObjectDetector,
            instance: name,
            window: WINDOW,
        };
        let reception = Reception {
            welcome,
            open,
            drain: drain.clone(),
        };
        let worker = Arc::clone(&detector);
        let accepting = tokio::spawn(acceptor::accept(frames, reception, move |message| {
            Arc::clone(&worker).handle(message)
        }));

        terminated.await;
        tracing::info!("stopping");
        let deadline = Instant::now() + process::DRAIN_TIME;
        drain.cancel();
        if timeout_at(deadline, accepting).await.is_err() {
            tracing::warn!("stopped with clients still connected");
        }
        let left = detector.courier.flush(deadline).await;
        tracing::info!(frames = detector.frames.load(Ordering::Relaxed), left, "stopped");
        stop_http.cancel();
        http.await.context("HTTP server")
    }
}

/// True while there is a connection to the receiver.
fn while_reachable(courier: &Courier) -> watch::Receiver<bool> {
    let (tell, reachable) = watch::channel(false);
    let mut status = courier.status();
    tokio::spawn(async move {
        while status.changed().await.is_ok() {
            let now = status.borrow_and_update().open_links > 0;
            tell.send_if_modified(|before| std::mem::replace(before, now) != now);
        }
    });
    reachable
}

fn router(detector: &Arc<Detector>, reachable: watch::Receiver<bool>, drain: CancellationToken) -> Router {
    let measured = Arc::clone(detector);
    http::probes(move || match (drain.is_cancelled(), *reachable.borrow()) {
        (true, _) => Err("stopping".to_owned()),
        (false, false) => Err("the receiver cannot be reached".to_owned()),
        (false, true) => Ok(()),
    })
    .route("/metrics", get(move || async move { measured.metrics().response() }))
}
