//! Who gets which rights in the namespace of an Identity: the policy of this domain.

use std::collections::BTreeSet;
use std::time::Duration;

use hanse_swarm::PeerId;
use k8s_openapi::api::rbac::v1::PolicyRule;
use serde::{Deserialize, Serialize};

/// Shortest life of a token that a Kubernetes API server gives (`kubernetes/pkg/apis/authentication/validation`): 10 min.
const SHORTEST_LIFE: u64 = 600;
/// A credential that lives longer can hardly be called short-lived.
const LONGEST_LIFE: u64 = 24 * 3600;
/// More grants or rules than this nobody can oversee.
const MOST: usize = 256;

/// To whom which rights are given, and for how long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Policy {
    /// Each peer gets the rules of all grants that are to it. No grants: nobody gets anything.
    pub grants: Vec<Grant>,
    /// How long a token lives (s): 600 to 86400.
    pub life_seconds: u64,
    /// After how long a token is replaced (s); two thirds of its life when absent.
    pub renew_after_seconds: Option<u64>,
    /// For whom tokens are; empty: for the API server alone, whatever it calls itself.
    pub audiences: Vec<String>,
}

impl Default for Policy {
    /// Every peer of a swarm in which an Identity was published may read the pods of the Identity's namespace; for an hour.
    fn default() -> Self {
        let text = |words: &[&str]| words.iter().map(ToString::to_string).collect();
        Self {
            grants: vec![Grant {
                to: To::Everyone,
                rules: vec![Rule {
                    api_groups: text(&[""]),
                    resources: text(&["pods"]),
                    resource_names: Vec::new(),
                    verbs: text(&["get", "list", "watch"]),
                }],
            }],
            life_seconds: 3600,
            renew_after_seconds: None,
            audiences: Vec::new(),
        }
    }
}

/// Rights for some peers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Grant {
    /// For whom.
    pub to: To,
    /// Which.
    pub rules: Vec<Rule>,
}

impl Policy {
    /// Whether who gets what depends on agreements.
    pub fn asks_for_agreements(&self) -> bool {
        self.grants.iter().any(|grant| grant.to == To::Agreement)
    }
}

/// For whom a grant is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum To {
    /// Every peer of a swarm in which the Identity is published.
    Everyone,
    /// Peers with a running agreement with this domain.
    Agreement,
    /// The peer of this peer id.
    Peer(String),
    /// Peers that say of themselves that they are of this category. Nobody vouches for that: whoever has the swarm's key can say
    /// it.
    Category(String),
}

/// A rule of role-based access control (`rbac.authorization.k8s.io/v1.PolicyRule`) for objects.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rule {
    /// API groups; the core group is the empty text.
    pub api_groups: Vec<String>,
    /// Plural names of resources, with a subresource after a slash.
    pub resources: Vec<String>,
    /// Names of objects; empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resource_names: Vec<String>,
    /// What may be done.
    pub verbs: Vec<String>,
}

/// Why a policy is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// A life out of bounds.
    #[error("lifeSeconds is {0}; a token lives {SHORTEST_LIFE} to {LONGEST_LIFE} seconds")]
    Life(u64),
    /// A renewal that never comes, or comes always.
    #[error("renewAfterSeconds is {renew}; it must be at least 1 and less than lifeSeconds, which is {life}")]
    Renew {
        /// What it is.
        renew: u64,
        /// The life.
        life: u64,
    },
    /// Too many.
    #[error("the policy has {0} {1}; at most {MOST} are allowed")]
    Many(usize, &'static str),
    /// Not a peer id.
    #[error("{0:?} is no peer id; `hanse swarm peers` shows them")]
    Peer(String),
    /// A rule that says nothing.
    #[error("a rule has no {0}; give at least one")]
    Empty(&'static str),
    /// A rule that would give away more than it says.
    #[error(
        "a grant gives {verb} on {resource}: with that a peer could take further rights, or what other peers gave to this domain; leave it out"
    )]
    Escalation {
        /// The verb.
        verb: String,
        /// The resource.
        resource: String,
    },
}

/// What lets its holder take more than it names: credentials, and rights over rights. Reading Secrets would also show the
/// kubeconfigs that others gave to this domain.
const ESCALATING: [(&str, &str); 7] = [
    ("", "secrets"),
    ("", "serviceaccounts"),
    ("", "serviceaccounts/token"),
    ("rbac.authorization.k8s.io", "roles"),
    ("rbac.authorization.k8s.io", "rolebindings"),
    ("peerdiscovery.irt-saintexupery.com", "identities"),
    ("peerdiscovery.irt-saintexupery.com", "swarmpools"),
];
const ESCALATING_VERBS: [&str; 4] = ["*", "bind", "escalate", "impersonate"];

impl Rule {
    fn check(&self) -> Result<(), PolicyError> {
        for (what, list) in [
            ("apiGroups", &self.api_groups),
            ("resources", &self.resources),
            ("verbs", &self.verbs),
        ] {
            if list.is_empty() {
                return Err(PolicyError::Empty(what));
            }
            if list.len() > MOST {
                return Err(PolicyError::Many(list.len(), what));
            }
        }
        let has = |list: &[String], word: &str| list.iter().any(|entry| entry == word || entry == "*");
        let escalation = |verb: &str, resource: &str| {
            Err(PolicyError::Escalation {
                verb: verb.into(),
                resource: resource.into(),
            })
        };
        if let Some(verb) = self.verbs.iter().find(|verb| ESCALATING_VERBS.contains(&verb.as_str())) {
            return escalation(verb, &self.resources[0]);
        }
        let sub = |resource: &str| {
            let sub = resource.split_once('/').map_or("", |(_, sub)| sub);
            !sub.is_empty() && self.resources.contains(&format!("*/{sub}"))
        };
        for (group, resource) in ESCALATING {
            if has(&self.api_groups, group) && (has(&self.resources, resource) || sub(resource)) {
                return escalation(&self.verbs[0], resource);
            }
        }
        Ok(())
    }

    /// As Kubernetes writes it.
    pub(super) fn to_policy_rule(&self) -> PolicyRule {
        PolicyRule {
            api_groups: Some(self.api_groups.clone()),
            resources: Some(self.resources.clone()),
            resource_names: (!self.resource_names.is_empty()).then(|| self.resource_names.clone()),
            verbs: self.verbs.clone(),
            ..PolicyRule::default()
        }
    }
}

/// The rules that a peer gets, each once. Never empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Rights(Vec<Rule>);

impl Rights {
    pub fn rules(&self) -> &[Rule] {
        &self.0
    }

    fn of<'a>(rules: impl Iterator<Item = &'a Rule>) -> Option<Self> {
        let rules: BTreeSet<&Rule> = rules.collect();
        let rules: Vec<Rule> = rules.into_iter().cloned().collect();
        (!rules.is_empty()).then_some(Self(rules))
    }
}

/// What the policy looks at in a peer.
pub(super) struct Candidate<'a> {
    pub name: PeerId,
    /// What it says it offers.
    pub categories: &'a [String],
    pub has_agreement: bool,
}

impl Policy {
    /// Checks what the types don't.
    ///
    /// # Errors
    /// Says what is wrong.
    pub fn check(&self) -> Result<(), PolicyError> {
        let life = self.life_seconds;
        if !(SHORTEST_LIFE..=LONGEST_LIFE).contains(&life) {
            return Err(PolicyError::Life(life));
        }
        if let Some(renew) = self.renew_after_seconds
            && !(1..life).contains(&renew)
        {
            return Err(PolicyError::Renew { renew, life });
        }
        if self.grants.len() > MOST {
            return Err(PolicyError::Many(self.grants.len(), "grants"));
        }
        for grant in &self.grants {
            if let To::Peer(name) = &grant.to
                && name.parse::<PeerId>().is_err()
            {
                return Err(PolicyError::Peer(name.clone()));
            }
            if grant.rules.len() > MOST {
                return Err(PolicyError::Many(grant.rules.len(), "rules"));
            }
            grant.rules.iter().try_for_each(Rule::check)?;
        }
        Ok(())
    }

    /// How long tokens live.
    pub(super) fn life(&self) -> Duration {
        Duration::from_secs(self.life_seconds)
    }

    /// How long before its end a token of this life is replaced, if the server gave it the life that was asked for.
    pub(super) fn renew_after(&self) -> Duration {
        self.renew_after_seconds
            .map_or(self.life() * 2 / 3, Duration::from_secs)
    }

    /// What everybody gets.
    pub(super) fn for_everyone(&self) -> Option<Rights> {
        let grants = self.grants.iter().filter(|grant| grant.to == To::Everyone);
        Rights::of(grants.flat_map(|grant| &grant.rules))
    }

    /// What this peer gets; `None`: nothing, so it gets no credential.
    pub(super) fn rights(&self, peer: &Candidate<'_>) -> Option<Rights> {
        let name = peer.name.to_string();
        let is_to = |grant: &&Grant| match &grant.to {
            To::Everyone => true,
            To::Agreement => peer.has_agreement,
            To::Peer(wanted) => *wanted == name,
            To::Category(wanted) => peer.categories.contains(wanted),
        };
        Rights::of(self.grants.iter().filter(is_to).flat_map(|grant| &grant.rules))
    }
}
