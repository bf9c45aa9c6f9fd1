//! `/api/v1/ledger/evidence`: what validators did that none may do, as this domain's node saw it.

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use hanse_chain::consensus::{Evidence, EvidenceBook, Misbehaviour};
use serde::{Deserialize, Serialize};
use utoipa::{OpenApi, ToSchema};

/// The record of misbehaviour. It survives restarts.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EvidencePage {
    /// How often each validator did what.
    pub counts: Vec<EvidenceCount>,
    /// The newest cases of each validator, oldest first.
    pub newest: Vec<EvidenceCase>,
}

/// How often a validator did something.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EvidenceCount {
    /// Ledger account of the validator.
    pub validator: String,
    /// `double-vote`, `double-proposal` or `invalid-block`.
    #[schema(value_type = String)]
    pub kind: Misbehaviour,
    /// Cases.
    pub count: u64,
}

impl EvidenceCount {
    /// What the validator did, after its name.
    pub fn what(&self) -> &'static str {
        match self.kind {
            Misbehaviour::DoubleVote => "signed contradicting votes",
            Misbehaviour::DoubleProposal => "signed contradicting proposals",
            Misbehaviour::InvalidBlock => "proposed blocks that were refused",
        }
    }
}

/// One case.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = Object)]
pub struct EvidenceCase(pub Evidence);

#[derive(OpenApi)]
#[openapi(paths(show))]
pub struct Description;

/// The route.
pub fn routes(book: Option<EvidenceBook>) -> Router {
    Router::new()
        .route("/api/v1/ledger/evidence", get(show))
        .with_state(book)
}

/// Validators that signed contradicting messages or proposed invalid blocks, as this domain's ledger node saw it; empty where
/// it has none.
#[utoipa::path(get, path = "/api/v1/ledger/evidence", tag = "ledger", responses((status = 200, body = EvidencePage)))]
async fn show(State(book): State<Option<EvidenceBook>>) -> Json<EvidencePage> {
    let Some(book) = book else {
        return Json(EvidencePage::default());
    };
    let counts = book
        .counts()
        .into_iter()
        .map(|((validator, kind), count)| EvidenceCount {
            validator: validator.to_string(),
            kind,
            count,
        });
    Json(EvidencePage {
        counts: counts.collect(),
        newest: book.newest().into_iter().map(EvidenceCase).collect(),
    })
}
