//! Backups of the embedded ledger: taken through the agent while it runs, since its store is open in one process only.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use anyhow::{Context, ensure};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use clap::Args;
use hanse_chain::ledger::Ledger;
use hanse_chain::store::{BackupHead, check_backup};
use hanse_orchestrator::api::Problem;
use indicatif::HumanBytes;
use serde_json::json;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::cli::ApiArguments;
use crate::client::Client;
use crate::output;

const CHUNK: usize = 256 * 1024;

/// A reader that takes nothing for this long is given up: its backup keeps pages of the store from being used again.
const STALLED: Duration = Duration::from_secs(60);

/// Where a backup is served.
const PATH: &str = "/api/v1/ledger/backup";

pub(super) struct Source {
    ledger: Option<Weak<Ledger>>,
    one_at_a_time: Arc<Semaphore>,
}

/// The route of backups.
pub fn routes(ledger: Option<Weak<Ledger>>) -> Router {
    let source = Source {
        ledger,
        one_at_a_time: Arc::new(Semaphore::new(1)),
    };
    Router::new().route(PATH, get(serve)).with_state(Arc::new(source))
}

/// The embedded ledger as it is now, for `hanse ledger restore`. One at a time is taken.
#[utoipa::path(get, path = "/api/v1/ledger/backup", tag = "ledger", responses(
    (status = 200, content_type = "application/octet-stream", description = "Not whole unless its checksum is right."),
    (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(super) async fn serve(State(source): State<Arc<Source>>) -> Result<Response, Problem> {
    let ledger = source.ledger.as_ref().and_then(Weak::upgrade).ok_or_else(|| {
        Problem::not_found("this agent runs no ledger node of its own; back up where the ledger's nodes run")
    })?;
    let turn = source
        .one_at_a_time
        .clone()
        .try_acquire_owned()
        .map_err(|_| Problem::conflict("another backup is being taken; wait for its end"))?;
    let (sender, receiver) = mpsc::channel(4);
    tokio::task::spawn_blocking(move || write(&ledger, sender, turn));
    let parts = futures::stream::unfold(receiver, |mut receiver| async move {
        let part = receiver.recv().await?;
        Some((part, receiver))
    });
    Ok((
        [(header::CONTENT_TYPE, "application/octet-stream")],
        Body::from_stream(parts),
    )
        .into_response())
}

fn write(ledger: &Ledger, sender: mpsc::Sender<io::Result<Bytes>>, _turn: OwnedSemaphorePermit) {
    let parts = Parts {
        buffer: Vec::with_capacity(CHUNK),
        sender: sender.clone(),
    };
    match ledger.back_up(parts) {
        Ok(head) => tracing::info!(height = head.height, "a backup was taken"),
        Err(error) => {
            tracing::warn!(%error, "a backup was broken off");
            // The reader may be gone; else it must not take what it has for the whole.
            let _ = sender.try_send(Err(io::Error::other(error.to_string())));
        }
    }
}

/// Hands on what is written in parts, and waits for the reader, but not for ever.
struct Parts {
    buffer: Vec<u8>,
    sender: mpsc::Sender<io::Result<Bytes>>,
}

impl Parts {
    fn send(&mut self) -> io::Result<()> {
        let part = Bytes::from(std::mem::replace(&mut self.buffer, Vec::with_capacity(CHUNK)));
        let sent = Handle::current().block_on(tokio::time::timeout(STALLED, self.sender.send(Ok(part))));
        match sent {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(io::Error::other("the reader went away")),
            Err(_) => Err(io::Error::other("the reader took nothing for a minute")),
        }
    }
}

impl Write for Parts {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= CHUNK {
            self.send()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send()
    }
}

/// Options of `hanse ledger backup`.
#[derive(Debug, Args)]
pub struct BackupArguments {
    /// The file to make. It must not be there yet.
    file: PathBuf,
    #[command(flatten)]
    api: ApiArguments,
}

/// Runs `hanse ledger backup`.
pub async fn run(arguments: BackupArguments) -> anyhow::Result<()> {
    let BackupArguments { file, api } = arguments;
    ensure!(!file.exists(), "{} is there already; name a new file", file.display());
    let bar = output::interactive(api.output).then(|| {
        let bar = indicatif::ProgressBar::new_spinner();
        bar.set_style(spinner());
        bar
    });
    let head = fetch(&api.client()?, &file, |bytes| {
        if let Some(bar) = &bar {
            bar.inc(bytes);
        }
    })
    .await?;
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    let bytes = std::fs::metadata(&file)?.len();
    let name = std::path::absolute(&file).unwrap_or(file);
    let document = json!({
        "file": name, "bytes": bytes, "genesis": head.genesis, "height": head.height, "hash": head.hash,
        "stateRoot": head.state_root,
    });
    output::print(api.output, &document, |_| {
        let cell = |name: &str, value: String| vec![name.to_owned(), value];
        let table = output::table(&[
            cell("backup", name.display().to_string()),
            cell("size", HumanBytes(bytes).to_string()),
            cell("height", head.height.to_string()),
            cell("block hash", head.hash.to_string()),
        ]);
        format!(
            "{table}To use it, with an agent that is stopped and has no ledger: hanse ledger restore FILE --config hanse.yaml"
        )
    })
}

fn spinner() -> indicatif::ProgressStyle {
    indicatif::ProgressStyle::with_template("{spinner} {bytes} ({bytes_per_sec})")
        .unwrap_or_else(|_| indicatif::ProgressStyle::default_spinner())
}

/// Takes a backup into a new file. The file has its name when it is whole, its checksum is right, and it is on disk.
pub async fn fetch(client: &Client, file: &Path, mut progress: impl FnMut(u64)) -> anyhow::Result<BackupHead> {
    let folder = match file.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let mut unfinished = tempfile::Builder::new()
        .prefix(".hanse-backup-")
        .tempfile_in(folder)
        .with_context(|| {
            let folder = folder.display();
            format!("no file can be made in {folder}; name one in a folder that is there and may be written")
        })?;
    let taken = client.download(PATH, |part| {
        progress(part.len() as u64);
        unfinished
            .write_all(part)
            .with_context(|| format!("could not write into {}", folder.display()))
    });
    taken.await?;
    unfinished.as_file().sync_all()?;
    let read = io::BufReader::new(File::open(unfinished.path())?);
    let head = check_backup(read).context("what the agent sent")?;
    unfinished
        .persist_noclobber(file)
        .with_context(|| format!("could not name the backup {}", file.display()))?;
    File::open(folder)?.sync_all()?;
    Ok(head)
}
