//! `hanse consortium`.

use clap::{Args, Subcommand};
use serde_json::json;
use url::Url;

use super::api::{AdmissionBody, DepartureBody, RemovalBody, VoteBody};
use super::claim;
use super::invite::Invite;
use super::pages::{ChangePage, ConsortiumPage, InvitePage, ProposalPage, RequestPage};
use crate::cli::{ApiArguments, ConfigArguments};
use crate::keys::DomainKeys;
use crate::output::{self, Format};

/// `hanse consortium …`
#[derive(Debug, Subcommand)]
pub enum ConsortiumCommand {
    /// List the members, what is being voted on, and who asks to be admitted.
    #[command(after_help = "Example: hanse consortium members -o json")]
    Members(ApiArguments),
    /// Make an invite for one new domain: what its operator gives to `hanse join`. Valid for 7 days.
    #[command(after_help = "Example: hanse consortium invite --api http://127.0.0.1:8000")]
    Invite(ApiArguments),
    /// Ask for the admission of this domain, whose agent runs and is no member; `hanse join` does this by itself.
    #[command(after_help = "Example: hanse consortium request --bootstrap 'http://192.0.2.1:8000/#5be1….a0c3…'")]
    Request {
        /// An invite of a member.
        #[arg(long, value_name = "INVITE")]
        bootstrap: Invite,
        #[command(flatten)]
        api: ApiArguments,
    },
    /// Vote for an admission or a removal. More than two thirds of the members carry it out; who is against it does not vote.
    #[command(after_help = "Example: hanse consortium vote fifth")]
    Vote {
        /// Name or account of the domain, or number of the proposal.
        subject: String,
        #[command(flatten)]
        api: ApiArguments,
    },
    /// Leave the consortium. Agreements that are under way must be ended first.
    #[command(after_help = "Example: hanse consortium leave --accept-fewer-than-four")]
    Leave(Departing),
    /// Propose that a member has to go, or vote for that.
    #[command(after_help = "Example: hanse consortium remove fifth")]
    Remove {
        /// Name or account of the member.
        member: String,
        #[command(flatten)]
        departing: Departing,
    },
    /// Replace this domain's validator key by the next one of its seed. Possible once in 10 minutes.
    #[command(after_help = "Example: hanse consortium rotate-key")]
    RotateKey(ApiArguments),
    /// Withdraw what this domain is still owed although it is no member any more, through a member's agent.
    #[command(after_help = "Example: hanse consortium withdraw --through http://192.0.2.1:8000 --config hanse.yaml")]
    Withdraw {
        /// REST API of any member.
        #[arg(long)]
        through: Url,
        #[command(flatten)]
        config: ConfigArguments,
        /// Form of the answer.
        #[arg(long, short, value_enum, default_value_t)]
        output: Format,
    },
}

/// Options of what makes the consortium smaller.
#[derive(Debug, Args)]
pub struct Departing {
    /// Go from four members to three, which tolerate no faulty one.
    #[arg(long)]
    accept_fewer_than_four: bool,
    #[command(flatten)]
    api: ApiArguments,
}

/// Runs the command.
pub async fn run(command: ConsortiumCommand) -> anyhow::Result<()> {
    match command {
        ConsortiumCommand::Members(api) => {
            let page: ConsortiumPage = api.client()?.get("api/v1/consortium").await?;
            output::print(api.output, &page, members)
        }
        ConsortiumCommand::Invite(api) => {
            let page: InvitePage = api.client()?.post("api/v1/consortium/invites", &json!({})).await?;
            output::print(api.output, &page, |page| {
                format!(
                    "{}\n\nGive this line to the new domain's operator, who runs: hanse join '<line>' --name <name>\n\
                     It is for one domain and valid for 7 days.",
                    page.invite
                )
            })
        }
        ConsortiumCommand::Request { bootstrap, api } => {
            let body = AdmissionBody { invite: bootstrap };
            let page: RequestPage = api.client()?.post("api/v1/consortium/admission", &body).await?;
            output::print(api.output, &page, |page| match page.state.as_str() {
                "member" => "this domain is a member".to_owned(),
                "proposed" => format!("proposed, {} of {} votes", page.approvals, page.needed),
                _ => "the request waits for a member to vote: hanse consortium vote <name>".to_owned(),
            })
        }
        ConsortiumCommand::Vote { subject, api } => {
            let page: ProposalPage = api
                .client()?
                .post("api/v1/consortium/votes", &VoteBody { subject })
                .await?;
            output::print(api.output, &page, voted)
        }
        ConsortiumCommand::Leave(departing) => {
            let body = DepartureBody {
                accept_fewer_than_four: departing.accept_fewer_than_four,
            };
            let page = departing
                .api
                .client()?
                .post("api/v1/consortium/departure", &body)
                .await?;
            output::print(departing.api.output, &page, change)
        }
        ConsortiumCommand::Remove { member, departing } => {
            let body = RemovalBody {
                member,
                accept_fewer_than_four: departing.accept_fewer_than_four,
            };
            let page: ProposalPage = departing
                .api
                .client()?
                .post("api/v1/consortium/removals", &body)
                .await?;
            output::print(departing.api.output, &page, voted)
        }
        ConsortiumCommand::RotateKey(api) => {
            let page = api.client()?.post("api/v1/consortium/rotations", &json!({})).await?;
            output::print(api.output, &page, change)
        }
        ConsortiumCommand::Withdraw {
            through,
            config,
            output,
        } => {
            let keys = DomainKeys::load(&config.load()?.config)?;
            let wei = claim::withdraw(&keys, &through).await?;
            let document = json!({ "account": keys.ledger.address(), "wei": wei });
            output::print(output, &document, |_| {
                format!("{} has {wei} wei more", keys.ledger.address())
            })
        }
    }
}

fn change(page: &ChangePage) -> String {
    format!("{} (block {})", page.done, page.block)
}

fn voted(page: &ProposalPage) -> String {
    let what = format!("{} of {}", page.kind, page.subject);
    match page.state.as_str() {
        "passed" => format!("{what}: carried out"),
        _ => format!(
            "{what}: {} of {} votes ({}); the others vote with: hanse consortium vote {}",
            page.approvals.len(),
            page.needed,
            page.approvals.join(", "),
            page.id
        ),
    }
}

fn members(page: &ConsortiumPage) -> String {
    let heading = |columns: &[&str]| columns.iter().map(|column| (*column).to_owned()).collect::<Vec<_>>();
    let mut rows = vec![heading(&["MEMBER", "ACCOUNT", "CONSENSUS ADDRESS", "API"])];
    rows.extend(page.members.iter().map(|member| {
        let here = if member.me { " (here)" } else { "" };
        vec![
            format!("{}{here}", member.name),
            member.account.to_string(),
            member.consensus_address.clone(),
            member.url.clone(),
        ]
    }));
    let mut text = output::table(&rows);
    text.push_str(&match page.tolerated {
        0 => format!("{} members: fewer than 4 tolerate no faulty one\n", page.members.len()),
        faulty => format!("{} members; {faulty} may be faulty\n", page.members.len()),
    });
    if !page.proposals.is_empty() {
        let mut rows = vec![heading(&["PROPOSAL", "WHAT", "VOTES", "BY"])];
        rows.extend(page.proposals.iter().map(|proposal| {
            vec![
                proposal.id.to_string(),
                format!("{} {}", proposal.kind, proposal.subject),
                format!("{} of {}", proposal.approvals.len(), proposal.needed),
                proposal.approvals.join(", "),
            ]
        }));
        text.push_str(&format!("\n{}", output::table(&rows)));
    }
    if !page.requests.is_empty() {
        let mut rows = vec![heading(&[
            "ASKS TO BE ADMITTED",
            "ACCOUNT",
            "CONSENSUS ADDRESS",
            "INVITED",
            "CAUGHT UP",
        ])];
        let yes = |holds: bool| if holds { "yes" } else { "no" }.to_owned();
        rows.extend(page.requests.iter().map(|request| {
            vec![
                request.name.clone(),
                request.account.to_string(),
                request.consensus_address.clone(),
                yes(request.invited),
                yes(request.caught_up),
            ]
        }));
        text.push_str(&format!("\n{}", output::table(&rows)));
    }
    text
}
