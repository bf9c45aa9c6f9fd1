//! `hanse ledger status`, `blocks` and `tx`.

use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;

use super::api::BlocksQuery;
use super::names::Names;
use super::pages::{BlockLine, Decoded, StatusPage, TransactionPage};
use crate::cli::ApiArguments;
use crate::output::{self, Format};

/// Options of `hanse ledger blocks`.
#[derive(Debug, Args)]
pub struct BlocksArguments {
    /// Lowest height.
    #[arg(long)]
    from: Option<u64>,
    /// Highest height; the newest unless it is given.
    #[arg(long)]
    to: Option<u64>,
    /// How many blocks at most, at most 200.
    #[arg(long, default_value_t = 20)]
    limit: u64,
    #[command(flatten)]
    api: ApiArguments,
}

/// Runs `hanse ledger status`.
pub async fn status(arguments: &ApiArguments) -> anyhow::Result<()> {
    let page: StatusPage = arguments.client()?.get("api/v1/ledger").await?;
    output::print(arguments.output, &page, |page| status_text(page, now()))
}

/// Runs `hanse ledger blocks`.
pub async fn blocks(arguments: &BlocksArguments) -> anyhow::Result<()> {
    let query = BlocksQuery {
        from: arguments.from,
        to: arguments.to,
        limit: Some(arguments.limit),
    };
    let pairs = serde_json::to_value(&query)?;
    let pairs: Vec<String> = pairs
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let path = format!("api/v1/ledger/blocks?{}", pairs.join("&"));
    let lines: Vec<BlockLine> = arguments.api.client()?.get(&path).await?;
    output::print(arguments.api.output, &lines, |lines| block_table(lines, now()))
}

/// Runs `hanse ledger tx`.
pub async fn transaction(hash: &str, arguments: &ApiArguments) -> anyhow::Result<()> {
    let path = format!("api/v1/ledger/transactions/{hash}");
    let client = arguments.client()?;
    let page: TransactionPage = client.get(&path).await?;
    let names = match arguments.output {
        Format::Json => Names::default(),
        Format::Text => Names::of(client.get::<StatusPage>("api/v1/ledger").await?.members),
    };
    output::print(arguments.output, &page, |page| transaction_text(page, &names))
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

fn ago(time: u64, now: u64) -> String {
    match now.saturating_sub(time) {
        seconds @ 0..120 => format!("{seconds} s ago"),
        seconds @ 120..7200 => format!("{} min ago", seconds / 60),
        seconds @ 7200..172_800 => format!("{} h ago", seconds / 3600),
        seconds => format!("{} days ago", seconds / 86_400),
    }
}

fn status_text(page: &StatusPage, now: u64) -> String {
    let BlockLine {
        height,
        hash,
        state_root,
        time,
        ..
    } = &page.block;
    let names: Vec<&str> = page.members.iter().map(|member| member.name.as_str()).collect();
    let mut rows = vec![
        row(["ledger", &format!("{}, chain id {}", page.url, page.chain_id)]),
        row(["height", &height.to_string()]),
        row(["block hash", &hash.to_string()]),
        row(["state root", &state_root.to_string()]),
        row(["last block", &ago(*time, now)]),
        row(["members", &format!("{}: {}", names.len(), names.join(", "))]),
    ];
    if let Some(node) = &page.node {
        let faulty = match page.tolerated {
            0 => "fewer than 4 members tolerate no faulty one".to_owned(),
            faulty => format!("{faulty} may be faulty"),
        };
        let quorum = if node.has_quorum {
            "yes"
        } else {
            "NO, no block can be decided"
        };
        rows.extend([
            row([
                "quorum",
                &format!(
                    "{quorum}: {} of {} validators connected, {} needed ({faulty})",
                    node.connected,
                    names.len(),
                    node.quorum
                ),
            ]),
            row([
                "this node",
                if node.validates {
                    "validates"
                } else {
                    "follows without a vote"
                },
            ]),
            row(["mempool", &waiting(node.mempool)]),
        ]);
        if let Some(reason) = &node.abstains {
            rows.push(row(["does not vote", reason]));
        }
        if node.engine_restarts > 0 {
            rows.push(row(["engine restarts", &node.engine_restarts.to_string()]));
        }
        if let Some(reason) = &node.halted {
            rows.push(row(["HALTED", reason]));
        }
    }
    output::table(&rows)
}

fn waiting(transactions: usize) -> String {
    match transactions {
        0 => "empty".to_owned(),
        1 => "1 transaction waits".to_owned(),
        more => format!("{more} transactions wait"),
    }
}

/// Enough of a hash or an address to tell it from others; all of it is in the JSON form.
fn short(hexadecimal: &str) -> String {
    let end = hexadecimal.len() - 4;
    format!("{}…{}", &hexadecimal[..12], &hexadecimal[end..])
}

/// Who proposed a block. Nobody did block 0: it is made of the genesis document.
fn proposer(line: &BlockLine) -> String {
    let address = line.proposer.to_string();
    match &line.proposer_name {
        _ if line.height == 0 => "genesis".to_owned(),
        Some(name) => format!("{name} ({})", short(&address)),
        None => address,
    }
}

fn block_table(lines: &[BlockLine], now: u64) -> String {
    let mut rows = vec![row(["HEIGHT", "HASH", "WHEN", "PROPOSER", "TRANSACTIONS", "GAS USED"])];
    rows.extend(lines.iter().map(|line| {
        row([
            &line.height.to_string(),
            &short(&line.hash.to_string()),
            &ago(line.time, now),
            &proposer(line),
            &line.transactions.to_string(),
            &line.gas_used.to_string(),
        ])
    }));
    output::table(&rows)
}

fn transaction_text(page: &TransactionPage, names: &Names) -> String {
    let block = page
        .block
        .map_or("not in a block yet".to_owned(), |height| format!("in block {height}"));
    let sender = match &page.from_name {
        Some(name) => format!("{name} ({}), nonce {}", page.from, page.nonce),
        None => format!("{}, nonce {}", page.from, page.nonce),
    };
    let mut rows = vec![
        row(["transaction", &page.hash.to_string()]),
        row(["outcome", &format!("{}, {block}", page.outcome)]),
        row(["from", &sender]),
    ];
    match (&page.command, page.to) {
        (Some(command), _) => rows.extend(said("command", command, names)),
        (None, Some(to)) => rows.push(row(["to", &names.beside(&to.to_string())])),
        (None, None) => rows.push(row(["to", "creates a contract"])),
    }
    if let Some(gas) = page.gas_used {
        rows.push(row(["gas used", &gas.to_string()]));
    }
    rows.extend(page.events.iter().flat_map(|event| said("event", event, names)));
    match &page.revert {
        Some(reason) if reason.name.is_empty() => rows.push(row(["reverted", &reason.message])),
        Some(reason) => rows.push(row(["reverted", &format!("{}: {}", reason.name, reason.message)])),
        None if page.outcome == "reverted" => rows.push(row([
            "reverted",
            "why is not known any more: the node keeps state for its newest blocks only",
        ])),
        None => {}
    }
    output::table(&rows)
}

/// What it is, and its fields, a line each.
fn said(heading: &str, what: &Decoded, names: &Names) -> Vec<Vec<String>> {
    let mut fields: Vec<String> = Vec::new();
    for part in what.fields.split(", ") {
        // The values may have commas in them, too.
        let named = part.split_once(": ").is_some_and(|(name, _)| {
            !name.is_empty()
                && name
                    .chars()
                    .all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
        });
        match fields.last_mut() {
            Some(last) if !named => *last += &format!(", {part}"),
            _ => fields.push(part.to_owned()),
        }
    }
    let mut rows = vec![row([heading, &format!("{}.{}", what.contract, what.name)])];
    rows.extend(
        fields
            .iter()
            .map(|field| row(["", &format!("  {}", names.beside(field))])),
    );
    rows
}

#[cfg(test)]
mod tests {
    use alloy::primitives::{Address, B256};

    #[test]
    fn fields_are_told_a_line_each_whatever_commas_their_values_have() {
        let what = super::Decoded {
            contract: "Federation".into(),
            name: "Announced".into(),
            fields: "id: 7, note: \"one, two\", to: 0x5a".into(),
        };
        let rows = super::said("event", &what, &super::Names::default());
        let told: Vec<&str> = rows.iter().map(|row| row[1].trim()).collect();
        assert_eq!(
            told,
            ["Federation.Announced", "id: 7", "note: \"one, two\"", "to: 0x5a"]
        );
    }

    #[test]
    fn a_proposer_is_told_by_name_and_address_and_block_0_has_none() {
        let line = |height: u64, proposer: u8, name: Option<&str>| super::BlockLine {
            height,
            hash: B256::ZERO,
            state_root: B256::ZERO,
            time: 0,
            proposer: Address::repeat_byte(proposer),
            proposer_name: name.map(str::to_owned),
            transactions: 0,
            gas_used: 0,
        };
        assert_eq!(super::proposer(&line(0, 0, None)), "genesis");
        assert_eq!(
            super::proposer(&line(1, 0x11, Some("north"))),
            "north (0x1111111111…1111)"
        );
        let stranger = format!("0x{}", "11".repeat(20));
        assert_eq!(super::proposer(&line(1, 0x11, None)), stranger);
    }

    #[test]
    fn ages_are_told_in_a_unit_that_can_be_read() {
        let ages: Vec<String> = [0, 119, 121, 8000, 200_000]
            .map(|seconds| super::ago(1000, 1000 + seconds))
            .to_vec();
        assert_eq!(ages, ["0 s ago", "119 s ago", "2 min ago", "2 h ago", "2 days ago"]);
        assert_eq!(super::ago(1001, 1000), "0 s ago", "another node's clock may be ahead");
    }
}
