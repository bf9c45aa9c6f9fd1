//! Which providers a consumer wants.

use std::collections::BTreeSet;

use hanse_agreement::Account;
use hanse_agreement::policy::Wish;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Which domains may provide. Categories are what domains say of themselves in the swarm.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Providers {
    /// A provider has to offer all of these.
    pub categories: Vec<String>,
    /// A provider has to be one of these members, by name or ledger account; any member if there are none.
    pub domains: Vec<String>,
    /// Announce also if nobody who qualifies is there now, and take the bid of whoever does until the bid deadline.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub wait: bool,
}

/// Categories that an identity in the swarm can have, and members that a consortium is likely to have.
const MOST_CATEGORIES: usize = 32;
const MOST_DOMAINS: usize = 256;
const LONGEST: usize = 128;

impl Providers {
    /// As the policies want it.
    pub fn wish(&self) -> Wish<'_> {
        Wish {
            categories: &self.categories,
            domains: &self.domains,
        }
    }

    /// Whether it is small enough to be kept.
    ///
    /// # Errors
    /// The field, and what is wrong with it.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        for (field, values, most) in [
            ("providers.categories", &self.categories, MOST_CATEGORIES),
            ("providers.domains", &self.domains, MOST_DOMAINS),
        ] {
            if values.len() > most {
                return Err((
                    field,
                    format!("{} are given; at most {most} are possible", values.len()),
                ));
            }
            if let Some(value) = values.iter().find(|value| value.is_empty() || value.len() > LONGEST) {
                return Err((
                    field,
                    format!("{value:?} has {} bytes, not 1 to {LONGEST}", value.len()),
                ));
            }
        }
        Ok(())
    }
}

/// Which providers were asked for, and who of the members is one. Kept with the agreement: the choice needs nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Eligible {
    /// What was asked for.
    pub asked: Providers,
    /// Members that were seen to qualify: at the request, or when their bid came.
    #[schema(value_type = Vec<String>)]
    pub qualified: BTreeSet<Account>,
}
