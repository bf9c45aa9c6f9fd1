//! receiver: the end of the pipeline, where somebody looks.
//!
//! Takes annotated pictures from detectors, shows the newest, and knows what arrived, what was lost and how long the
//! longest gap was. On SIGTERM it asks the detectors to go away, answers what it has, and exits.

mod report;
mod statistics;
mod web;

pub use report::{Detection, Detector, Instance, Latency, Report, Stream};
pub use statistics::Statistics;

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use bytes::Bytes;
use clap::Parser;
use tokio::{
    sync::{Semaphore, watch},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::{
    acceptor::{self, Reception, Violation},
    http, jpeg,
    model::Timestamp,
    process,
    wire::{Message, Outcome, Role, Welcome},
};

/// Unacknowledged pictures on one connection.
const WINDOW: u8 = 16;
/// People who can watch the live picture at a time.
const MAX_VIEWERS: usize = 8;

/// Receives annotated pictures, counts them and shows them on a web page.
#[derive(Clone, Debug, Parser)]
#[command(
    version,
    after_help = "Example: receiver --bind-address 127.0.0.1, then open http://127.0.0.1:5000/"
)]
pub struct Args {
    /// Milliseconds after which a missing frame counts as lost.
    #[arg(long, env = "LOSS_WINDOW_MS", default_value_t = 3000, value_parser = clap::value_parser!(u64).range(100..=60_000))]
    pub loss_window_ms: u64,
    /// Name of this receiver; default: the pod's or the host's.
    #[arg(long, env = "POD_NAME")]
    pub name: Option<String>,
    /// Address to listen on.
    #[arg(long, env = "POD_IP", default_value = "0.0.0.0")]
    pub bind_address: IpAddr,
    /// Port for pictures; 0 takes a free one.
    #[arg(long, env = "PICTURES_PORT", default_value_t = 5555)]
    pub pictures_port: u16,
    /// Port of the page, /stats, /snapshot.jpg, /stream.mjpg, /healthz, /readyz and /metrics; 0 takes a free one.
    #[arg(long, env = "HTTP_PORT", default_value_t = 5000)]
    pub http_port: u16,
}

/// The newest picture.
#[derive(Clone, Debug)]
struct Picture {
    captured_at: Timestamp,
    file: Bytes,
}

/// What the link side and the web side share.
struct Screen {
    statistics: Mutex<Statistics>,
    picture: watch::Sender<Option<Picture>>,
    viewers: Arc<Semaphore>,
    stop: CancellationToken,
}

impl Screen {
    fn statistics(&self) -> MutexGuard<'_, Statistics> {
        // Counters are valid after every step, so those left by a panic can be used on.
        self.statistics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn handle(self: Arc<Self>, message: Message) -> Result<Outcome, Violation> {
        let now = Instant::now();
        match message {
            Message::End(end) => self.statistics().ended(&end, now),
            Message::Picture(_, file) if !jpeg::looks_like_jpeg(&file) => return Ok(Outcome::Refused),
            Message::Picture(header, file) => {
                if self.statistics().picture(&header, now, Timestamp::now()) {
                    self.show(Picture {
                        captured_at: header.frame.captured_at,
                        file,
                    });
                }
            }
            _ => return Err(Violation::NotForUs),
        }
        Ok(Outcome::Delivered)
    }

    /// Shows `picture` unless a newer one is shown already: time does not run backwards for the viewer. A picture that
    /// claims to come from the future would stop the show, so it is only ever as new as now.
    fn show(&self, mut picture: Picture) {
        picture.captured_at = picture.captured_at.min(Timestamp::now());
        self.picture.send_if_modified(|shown| {
            let newer = shown
                .as_ref()
                .is_none_or(|shown| picture.captured_at >= shown.captured_at);
            if newer {
                *shown = Some(picture);
            }
            newer
        });
    }
}

impl Args {
    /// Runs the receiver until SIGTERM.
    ///
    /// # Errors
    /// When an argument makes no sense or a port is taken; never because of the network.
    pub async fn run(self) -> anyhow::Result<()> {
        let terminated = process::terminated()?;
        let name = process::name(self.name.as_deref(), &["HOSTNAME"], "receiver")?;
        let pictures = process::listen("pictures", SocketAddr::new(self.bind_address, self.pictures_port)).await?;
        let listener = process::listen("http", SocketAddr::new(self.bind_address, self.http_port)).await?;
        let (drain, stop) = (CancellationToken::new(), CancellationToken::new());
        let screen = Arc::new(Screen {
            statistics: Mutex::new(Statistics::new(
                Duration::from_millis(self.loss_window_ms),
                Instant::now(),
            )),
            picture: watch::Sender::new(None),
            viewers: Arc::new(Semaphore::new(MAX_VIEWERS)),
            stop: stop.clone(),
        });
        let router = web::router(&screen, drain.clone());
        let http = tokio::spawn(http::serve(listener, router, stop.clone()));
        let welcome = Welcome {
            role: Role::Receiver,
            instance: name,
            window: WINDOW,
        };
        // Kept to the end: a receiver is always open.
        let (_opener, open) = watch::channel(true);
        let reception = Reception {
            welcome,
            open,
            drain: drain.clone(),
        };
        let worker = Arc::clone(&screen);
        let accepting = tokio::spawn(acceptor::accept(pictures, reception, move |message| {
            Arc::clone(&worker).handle(message)
        }));

        terminated.await;
        tracing::info!("stopping");
        drain.cancel();
        if timeout(process::DRAIN_TIME, accepting).await.is_err() {
            tracing::warn!("stopped with detectors still connected");
        }
        stop.cancel();
        http.await.context("HTTP server")?;
        let received = screen.statistics().report(Instant::now()).frames_received;
        tracing::info!(received, "stopped");
        Ok(())
    }
}
