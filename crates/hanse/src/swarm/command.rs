//! `hanse swarm`.

use std::path::{Path, PathBuf};

use anyhow::ensure;
use clap::{Args, Subcommand};
use hanse_swarm::SwarmKey;
use serde_json::json;

use super::look::{self, Find};
use super::pages::{PeerPage, SwarmPage};
use crate::cli::ApiArguments;
use crate::consortium::kept;
use crate::output::{self, Format};

/// `hanse swarm …`
#[derive(Debug, Subcommand)]
pub enum SwarmCommand {
    /// Make the key of a new swarm: whoever has it can come in. Needs no agent.
    #[command(after_help = "Example: hanse swarm keygen --output swarm.key")]
    Keygen(Keygen),
    /// Show how the agent's domain is in its swarm, and at which address others begin with it.
    #[command(after_help = "Example: hanse swarm status --api http://127.0.0.1:8000")]
    Status(ApiArguments),
    /// List the other domains of the swarm.
    #[command(after_help = "Example: hanse swarm peers -o json")]
    Peers(ApiArguments),
    /// List the domains that say that they offer something, and why the others don't.
    #[command(
        after_help = "Example: hanse swarm find --category computing --cpu 500 --ram 256 --replicas 2 --availability 99.9"
    )]
    Find(Find),
}

/// Options of `hanse swarm keygen`.
#[derive(Debug, Args)]
pub struct Keygen {
    /// File to write, which only its owner can read; printed when absent.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Form of the answer.
    #[arg(long, short = 'o', value_enum, default_value_t)]
    format: Format,
}

/// Runs the command.
pub async fn run(command: SwarmCommand) -> anyhow::Result<()> {
    match command {
        SwarmCommand::Keygen(arguments) => keygen(&arguments),
        SwarmCommand::Status(api) => {
            let page: SwarmPage = api.client()?.get("api/v1/swarm").await?;
            output::print(api.output, &page, status_text)
        }
        SwarmCommand::Peers(api) => {
            let pages: Vec<PeerPage> = api.client()?.get("api/v1/swarm/peers").await?;
            output::print(api.output, &pages, |pages| peer_table(pages))
        }
        SwarmCommand::Find(arguments) => look::find(arguments).await,
    }
}

fn keygen(arguments: &Keygen) -> anyhow::Result<()> {
    let key = SwarmKey::generate();
    let (text, fingerprint) = (key.to_file(), key.fingerprint().to_string());
    let Some(path) = &arguments.output else {
        let document = json!({ "key": text.as_str(), "fingerprint": fingerprint });
        return output::print(arguments.format, &document, |_| text.as_str().to_owned());
    };
    ensure!(
        !path.exists(),
        "{} exists and is not overwritten: members of its swarm could not come in any more; choose another file",
        path.display()
    );
    let path = std::path::absolute(path)?;
    kept::write_bytes(&path, text.as_bytes())?;
    let document = json!({ "file": path, "fingerprint": fingerprint });
    output::print(arguments.format, &document, |_| written(&path, &fingerprint))
}

fn written(path: &Path, fingerprint: &str) -> String {
    format!(
        "{} has the key with the fingerprint {fingerprint}. Give the file to the other domains as you would a password, and name it \
         in each configuration as swarm.keyFile.",
        path.display()
    )
}

fn status_text(page: &SwarmPage) -> String {
    let published = match page.published {
        Some(true) => "yes, and others hold it",
        Some(false) => "yes, but nobody holds it yet",
        None => "no; set swarm.identity to be seen by others",
    };
    let reachability = match page.reachability.as_str() {
        "hidden" if page.relays.is_empty() => "no, and there is no relay yet".to_owned(),
        "hidden" => format!("over relays: {}", page.relays.join(", ")),
        "reachable" => "yes".to_owned(),
        _ => "not known yet".to_owned(),
    };
    let carried = format!(
        "{} domains can be called over this one, {} connections now",
        page.reservations_served, page.circuits_served
    );
    let mut text = output::table(&[
        vec!["peer id".into(), page.peer_id.clone()],
        vec!["key's fingerprint".into(), page.fingerprint.clone()],
        vec!["addresses".into(), page.addresses.join(", ")],
        vec!["can be called".into(), reachability],
        vec!["relayed for others".into(), carried],
        vec!["connected".into(), page.connected.to_string()],
        vec!["domains known".into(), page.peers.to_string()],
        vec!["records held".into(), page.held_records.to_string()],
        vec!["own record".into(), published.into()],
    ]);
    for peer in &page.unreachable {
        text.push_str(&format!(
            "{} did not answer {} calls, and is called again: {}\n",
            peer.address, peer.calls, peer.reason
        ));
    }
    text
}

pub(super) fn peer_table(pages: &[PeerPage]) -> String {
    let heading = [
        "NAME",
        "PRESENCE",
        "CONNECTION",
        "MEMBER",
        "CATEGORIES",
        "ADDRESSES",
        "PEER ID",
    ];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    rows.extend(pages.iter().map(|page| {
        let presence = match page.missed {
            0 => page.presence.clone(),
            missed => format!("{} ({missed} missed)", page.presence),
        };
        let member = page.member.as_ref().map_or("no".to_owned(), |name| match name {
            name if *name == page.name => "yes".into(),
            name => format!("yes, as {name}"),
        });
        vec![
            page.name.clone(),
            presence,
            page.connection.clone().unwrap_or_else(|| "none".into()),
            member,
            page.categories.join(", "),
            page.addresses.join(", "),
            page.peer_id.clone(),
        ]
    }));
    output::table(&rows)
}
