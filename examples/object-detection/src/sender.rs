//! sampler-sender: the camera.
//!
//! Films a [`Scene`] and sends every frame to the destinations through a [`Courier`]. It starts filming when the first
//! destination is there, so no frame is taken that nobody could have had. On SIGTERM it stops filming, announces the
//! end of its stream, waits for the acknowledgements of what is on its way, and exits.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use axum::{Json, Router, routing::get};
use bytes::Bytes;
use clap::Parser;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::{
    address::Destination,
    courier::{Courier, CourierConfig, Status},
    http::{self, Metrics},
    jpeg,
    model::{FrameId, Name, Timestamp},
    process,
    scene::Scene,
    wire::{FrameHeader, Message, Role},
};

/// Films a synthetic scene and sends it to object detectors.
#[derive(Clone, Debug, Parser)]
#[command(
    version,
    after_help = "Example: sampler-sender --destination-ip 127.0.0.1:5559,10.0.0.7 --bind-address 127.0.0.1"
)]
pub struct Args {
    /// Detectors to send to, comma-separated: ip, ip:port or name; frames are striped over them.
    #[arg(long, env = "DESTINATION_IP", value_delimiter = ',', required = true, num_args = 1..)]
    pub destination_ip: Vec<Destination>,
    /// Port of destinations that name none.
    #[arg(long, default_value_t = 5559)]
    pub destination_port: u16,
    /// Connections to each destination; the replicas behind one address share them.
    #[arg(long, env = "CONNECTIONS", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=16))]
    pub connections: u8,
    /// Seconds after which a connection is replaced by a new one, so that new replicas get their share; 0: never.
    #[arg(long, env = "RECONNECT_AFTER", default_value_t = 10)]
    pub reconnect_after: u64,
    /// Milliseconds without acknowledgement after which a connection counts as dead.
    #[arg(long, env = "ACK_TIMEOUT_MS", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(50..=60_000))]
    pub ack_timeout_ms: u64,
    /// Frames that wait while no destination takes them; then the oldest is dropped.
    #[arg(long, env = "QUEUE", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub queue: u16,
    /// Frames a second.
    #[arg(long, env = "FPS", default_value_t = 20, value_parser = clap::value_parser!(u8).range(1..=60))]
    pub fps: u8,
    /// Width of the picture in pixels.
    #[arg(long, env = "WIDTH", default_value_t = 320, value_parser = clap::value_parser!(u32).range(64..=1280))]
    pub width: u32,
    /// Height of the picture in pixels.
    #[arg(long, env = "HEIGHT", default_value_t = 240, value_parser = clap::value_parser!(u32).range(64..=720))]
    pub height: u32,
    /// Objects that move in the scene.
    #[arg(long, env = "OBJECTS", default_value_t = 4, value_parser = clap::value_parser!(u32).range(0..=8))]
    pub objects: u32,
    /// Seed of the scene: the same seed gives the same film.
    #[arg(long, env = "SEED", default_value_t = 1)]
    pub seed: u64,
    /// JPEG quality, 1 to 100.
    #[arg(long, env = "JPEG_QUALITY", default_value_t = 75, value_parser = clap::value_parser!(u8).range(1..=100))]
    pub jpeg_quality: u8,
    /// Name of this camera; default: the pod's or the host's.
    #[arg(long, env = "POD_NAME")]
    pub name: Option<String>,
    /// Address to listen on.
    #[arg(long, env = "POD_IP", default_value = "0.0.0.0")]
    pub bind_address: IpAddr,
    /// Port of /healthz, /readyz, /status and /metrics; 0 takes a free one.
    #[arg(long, env = "HTTP_PORT", default_value_t = 5560)]
    pub http_port: u16,
}

/// The running camera as its HTTP handlers see it.
struct Camera {
    stream: Name,
    captured: AtomicU64,
    courier: Courier,
    fps: u8,
}

impl Camera {
    /// Ready when frames are really arriving at the end of the pipeline, so that a rolling update keeps the old camera
    /// until then.
    fn ready(&self) -> Result<(), String> {
        let status = self.courier.status().borrow().clone();
        let patience = Duration::from_secs(2).max(Duration::from_secs(3) / u32::from(self.fps));
        match status.last_delivery {
            Some(at) if at.elapsed() <= patience => Ok(()),
            _ if status.open_links == 0 => Err("no destination answers".to_owned()),
            _ => Err("no frame is being acknowledged".to_owned()),
        }
    }

    fn status(&self) -> serde_json::Value {
        let Status {
            open_links,
            waiting,
            in_flight,
            delivered,
            refused,
            dropped,
            resent,
            ..
        } = self.courier.status().borrow().clone();
        serde_json::json!({
            "stream": self.stream, "frames_captured": self.captured.load(Ordering::Relaxed),
            "open_links": open_links, "waiting": waiting, "in_flight": in_flight, "delivered": delivered,
            "refused": refused, "dropped": dropped, "resent": resent, "ready": self.ready().is_ok(),
        })
    }

    fn metrics(&self) -> Metrics {
        let status = self.courier.status().borrow().clone();
        let captured = self.captured.load(Ordering::Relaxed);
        Metrics::default()
            .counter("sampler_sender_frames_captured_total", "Frames taken.", captured)
            .counter(
                "sampler_sender_messages_delivered_total",
                "Messages acknowledged.",
                status.delivered,
            )
            .counter(
                "sampler_sender_messages_refused_total",
                "Messages refused.",
                status.refused,
            )
            .counter(
                "sampler_sender_messages_dropped_total",
                "Messages dropped from a full queue.",
                status.dropped,
            )
            .counter(
                "sampler_sender_messages_resent_total",
                "Messages sent again elsewhere.",
                status.resent,
            )
            .gauge(
                "sampler_sender_open_links",
                "Connections that take frames.",
                status.open_links,
            )
            .gauge("sampler_sender_queue_length", "Messages waiting.", status.waiting)
    }
}

impl Args {
    /// Runs the camera until SIGTERM.
    ///
    /// # Errors
    /// When an argument makes no sense or the port is taken; never because of the network.
    pub async fn run(self) -> anyhow::Result<()> {
        let terminated = process::terminated()?;
        let name = process::name(self.name.as_deref(), &["HOSTNAME"], "sampler-sender")?;
        // Each run is a stream of its own: after a crash the same pod starts again at frame 0.
        let stream: Name = format!("{:.80}.{:x}", name.as_str(), Timestamp::now().0).parse()?;
        let listener = process::listen("http", SocketAddr::new(self.bind_address, self.http_port)).await?;
        let courier = Courier::start(CourierConfig {
            destinations: self.destination_ip.clone(),
            usual_port: self.destination_port,
            role: Role::ObjectDetector,
            connections: self.connections.into(),
            queue: self.queue.into(),
            patience: Duration::from_millis(self.ack_timeout_ms),
            max_age: (self.reconnect_after > 0).then(|| Duration::from_secs(self.reconnect_after)),
        });
        let camera = Arc::new(Camera {
            stream,
            captured: AtomicU64::new(0),
            courier,
            fps: self.fps,
        });
        let (stop_filming, stop_http) = (CancellationToken::new(), CancellationToken::new());
        let http = tokio::spawn(http::serve(listener, router(&camera), stop_http.clone()));

        let filming = {
            let (camera, stop) = (Arc::clone(&camera), stop_filming.clone());
            tokio::spawn(async move { self.film(&camera, &stop).await })
        };
        terminated.await;
        tracing::info!(stream = %camera.stream, "stopping");
        let deadline = Instant::now() + process::DRAIN_TIME;
        stop_filming.cancel();
        filming.await.context("the camera stopped by itself")??;
        let end = FrameId {
            stream: camera.stream.clone(),
            sequence: camera.captured.load(Ordering::Relaxed),
        };
        // Whether it arrived is seen by the flush.
        drop(camera.courier.send(&Message::End(end)).await?);
        let left = camera.courier.flush(deadline).await;
        if left > 0 {
            tracing::warn!(
                left,
                "stopped with unacknowledged frames: no destination took them in time"
            );
        }
        tracing::info!(stream = %camera.stream, frames = camera.captured.load(Ordering::Relaxed), "stopped");
        stop_http.cancel();
        http.await.context("HTTP server")
    }

    async fn film(self, camera: &Camera, stop: &CancellationToken) -> anyhow::Result<()> {
        let scene = Arc::new(Scene::new(
            self.seed,
            self.width,
            self.height,
            self.fps.into(),
            self.objects,
        ));
        let mut status = camera.courier.status();
        tokio::select! {
            connected = status.wait_for(|status| status.open_links > 0) => drop(connected?),
            () = stop.cancelled() => return Ok(()),
        }
        tracing::info!(stream = %camera.stream, "filming");
        let mut ticks = tokio::time::interval(Duration::from_secs(1) / u32::from(self.fps));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let quality = self.jpeg_quality;
        for sequence in 0.. {
            tokio::select! {
                _ = ticks.tick() => {}
                () = stop.cancelled() => return Ok(()),
            }
            let captured_at = Timestamp::now();
            let scene = Arc::clone(&scene);
            let (file, truth) = tokio::task::spawn_blocking(move || {
                let (image, truth) = scene.frame(sequence);
                jpeg::encode(&image, quality).map(|file| (file, truth))
            })
            .await??;
            let id = FrameId {
                stream: camera.stream.clone(),
                sequence,
            };
            let frame = Message::Frame(FrameHeader { id, captured_at, truth }, Bytes::from(file));
            drop(camera.courier.send(&frame).await?);
            camera.captured.store(sequence + 1, Ordering::Relaxed);
        }
        Ok(())
    }
}

fn router(camera: &Arc<Camera>) -> Router {
    let [probed, shown, measured] = [(); 3].map(|()| Arc::clone(camera));
    http::probes(move || probed.ready())
        .route("/status", get(move || async move { Json(shown.status()) }))
        .route("/metrics", get(move || async move { measured.metrics().response() }))
}
