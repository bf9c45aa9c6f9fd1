//! SwarmPools: keys, running swarms, what makes them reachable, and what is said of it all.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use hanse_swarm::SwarmKey;
use hanse_swarm::model::{Statement, SwarmAddress};
use jiff::Timestamp;
use kube::ResourceExt;

use super::exposure::{Exposed, Needed, expose, prune};
use super::findings;
use super::keys::Keys;
use super::{Controller, Pass, Shared, apply_status, has_finalizer, set_finalizer};
use crate::model::{SwarmPool, SwarmSpec, SwarmStatus};
use crate::plan::{Finding, Place, SwarmFacts, pool_status};
use crate::settings::DefaultSwarm;
use crate::swarms::{Entry, EntryKey, Member, Said, Snapshot, SwarmId};
use crate::watched::Name;

/// How soon it is looked again whether a swarm may be left.
const LEAVING: Duration = Duration::from_millis(100);

/// The controller.
pub struct Pools {
    shared: Arc<Shared>,
    members: BTreeMap<SwarmId, Arc<Member>>,
    default: Option<SwarmId>,
    keys: Keys,
    /// What swarm each swarm of a pool was at last, of pools that are being deleted too.
    last: BTreeMap<EntryKey, SwarmId>,
    /// What the swarms were told of where others call.
    external: BTreeMap<SwarmId, Vec<SwarmAddress>>,
    /// For which generation of a pool's spec it was looked what is no longer needed, by the pool's uid.
    pruned: BTreeMap<String, i64>,
}

/// A swarm that a pool asks for.
struct Asked {
    pool: Arc<SwarmPool>,
    spec: SwarmSpec,
    entry: EntryKey,
    /// The key, and what is to be said of it.
    key: Result<(SwarmKey, Finding), Finding>,
    /// Members to begin with, and what is wrong with those that can't be called.
    bootstrap: Vec<SwarmAddress>,
    refused: Vec<String>,
}

/// A swarm that is to run.
struct Wanted {
    key: SwarmKey,
    bootstrap: Vec<SwarmAddress>,
    port: u16,
    /// The largest that a pool asks for.
    capacity: Option<u64>,
}

impl Controller for Pools {
    async fn pass(&mut self) -> Pass {
        let mut pass = Pass::default();
        let asked = self.asked(&mut pass).await;
        let troubles = self.run_what_is_asked(&asked, &mut pass).await;
        self.report(&asked, &troubles, &mut pass).await;
        self.let_go(&mut pass).await;
        pass
    }
}

impl Pools {
    /// With the default swarm, which runs already.
    pub fn new(shared: Arc<Shared>, default: Option<DefaultSwarm>) -> Self {
        let default = default.map(|given| Member::of_default(given, shared.waker.clone()));
        Self {
            shared,
            default: default.as_ref().map(|member| member.id.clone()),
            members: default.into_iter().map(|member| (member.id.clone(), member)).collect(),
            keys: Keys::default(),
            last: BTreeMap::new(),
            external: BTreeMap::new(),
            pruned: BTreeMap::new(),
        }
    }

    /// What the pools ask for. A pool is kept from going before it is acted on.
    async fn asked(&mut self, pass: &mut Pass) -> Vec<Asked> {
        let (mut asked, mut secrets) = (Vec::new(), BTreeSet::<Name>::new());
        for pool in self.shared.pools.state() {
            let namespace = pool.namespace().unwrap_or_default();
            if pool.metadata.deletion_timestamp.is_some() {
                continue;
            }
            if !has_finalizer(&*pool) {
                let done = set_finalizer(&*pool, &self.shared.api(&namespace), true).await;
                let name = pool.name_any();
                pass.check(|| format!("SwarmPool {namespace}/{name} could not be marked"), done);
            }
            for spec in &pool.spec.swarms {
                let entry = EntryKey {
                    namespace: namespace.clone(),
                    pool: pool.name_any(),
                    swarm: spec.name.clone(),
                };
                if let Some(definition) = &spec.swarm_definition {
                    secrets.insert((namespace.clone(), definition.swarm_key_secret_ref.clone()));
                }
                let key = self.key(&entry, spec).await;
                pass.failed |= matches!(&key, Err(finding) if finding.reason == "SecretRefused");
                let (bootstrap, refused) = bootstrap(spec);
                asked.push(Asked {
                    pool: Arc::clone(&pool),
                    spec: spec.clone(),
                    entry,
                    key,
                    bootstrap,
                    refused,
                });
            }
        }
        self.shared.secrets.keep(&secrets);
        asked
    }

    async fn key(&mut self, entry: &EntryKey, spec: &SwarmSpec) -> Result<(SwarmKey, Finding), Finding> {
        let Some(definition) = &spec.swarm_definition else {
            let default = self.default.as_ref().and_then(|id| self.members.get(id));
            let Some(default) = default else {
                return Err(Finding::bad(
                    "KeyReady",
                    "NoDefaultSwarm",
                    "there is no swarmDefinition, and this agent has no default swarm; set swarm.keyFile in its configuration, or name a Secret in swarmDefinition.swarmKeySecretRef",
                ));
            };
            let text = format!(
                "the default swarm of this agent, fingerprint {}",
                default.key.fingerprint()
            );
            return Ok((default.key.clone(), Finding::good("KeyReady", "Default", text)));
        };
        let running = self.last.get(entry).and_then(|id| self.members.get(id));
        let running = running.map(|member| member.key.clone());
        let name = &definition.swarm_key_secret_ref;
        self.keys
            .get(&self.shared, &entry.namespace, name, running.as_ref())
            .await
    }

    /// Starts what does not run. What runs and is not asked for any more stays until it has been withdrawn from.
    async fn run_what_is_asked(&mut self, asked: &[Asked], pass: &mut Pass) -> BTreeMap<SwarmId, String> {
        let mut wanted: BTreeMap<SwarmId, Wanted> = BTreeMap::new();
        for asked in asked {
            let Ok((key, _)) = &asked.key else { continue };
            let port = asked.spec.network.as_ref().map_or(0, |network| network.swarm_port);
            let entry = wanted.entry(SwarmId::of(key)).or_insert_with(|| Wanted {
                key: key.clone(),
                bootstrap: Vec::new(),
                port,
                capacity: None,
            });
            entry.capacity = entry.capacity.max(findings::capacity(&asked.spec));
            for address in &asked.bootstrap {
                if !entry.bootstrap.contains(address) {
                    entry.bootstrap.push(address.clone());
                }
            }
        }
        let mut troubles = BTreeMap::new();
        for (id, wanted) in &wanted {
            if let Some(member) = self.members.get(id) {
                if member.is_default || member.bootstrap == wanted.bootstrap && member.capacity == wanted.capacity {
                    continue;
                }
                // It has the same peers and says the same afterwards: both are on the disk.
                if let Some(member) = self.members.remove(id) {
                    self.external.remove(id);
                    tracing::info!(swarm = %id, "the members to begin with or the capacity changed; the swarm is joined anew");
                    self.publish_snapshot(asked, &BTreeMap::new());
                    member.leave().await;
                }
            }
            let shared = &self.shared;
            let started = Member::start(
                &wanted.key,
                &wanted.bootstrap,
                wanted.port,
                wanted.capacity,
                &shared.settings,
                shared.waker.clone(),
            );
            match started.await {
                Ok(member) => {
                    tracing::info!(swarm = %id, port = member.port, "takes part in a swarm");
                    self.members.insert(id.clone(), member);
                }
                Err(error) => {
                    tracing::warn!(swarm = %id, %error, "a swarm could not be joined; it is tried again");
                    pass.failed = true;
                    troubles.insert(id.clone(), error.to_string());
                }
            }
        }
        self.publish_snapshot(asked, &troubles);
        for asked in asked {
            if let Ok((key, _)) = &asked.key {
                self.last.insert(asked.entry.clone(), SwarmId::of(key));
            }
        }
        self.leave_what_is_not(pass).await;
        troubles
    }

    /// Tells the other controllers what runs.
    fn publish_snapshot(&self, asked: &[Asked], troubles: &BTreeMap<SwarmId, String>) {
        let last = |entry: &EntryKey| self.last.get(entry).filter(|id| self.members.contains_key(id));
        let entry = |asked: &Asked| {
            let entry = match &asked.key {
                Ok((key, _)) if self.members.contains_key(&SwarmId::of(key)) => Entry::Running(SwarmId::of(key)),
                Ok((key, _)) => {
                    let trouble = troubles.get(&SwarmId::of(key));
                    Entry::Waiting(trouble.cloned().unwrap_or_else(|| "it is being joined".into()))
                }
                // While a pool's Secret can't be used, the swarm that it was runs on.
                Err(finding) => match last(&asked.entry) {
                    Some(id) => Entry::Running(id.clone()),
                    None => Entry::Waiting(finding.message.clone()),
                },
            };
            (asked.entry.clone(), entry)
        };
        let next = Snapshot {
            members: self.members.clone(),
            entries: Some(asked.iter().map(entry).collect()),
        };
        if self.shared.swarms.set(next) {
            self.shared.waker.wake();
        }
    }

    async fn leave_what_is_not(&mut self, pass: &mut Pass) {
        let entries = self.shared.swarms.now().entries.unwrap_or_default();
        let ids: Vec<SwarmId> = self.members.keys().cloned().collect();
        for id in ids {
            let Some(member) = self.members.get(&id) else { continue };
            if member.is_default || entries.values().any(|entry| *entry == Entry::Running(id.clone())) {
                continue;
            }
            if !is_withdrawn(member, self.shared.settings.withdraw_within).await {
                pass.again(LEAVING);
                continue;
            }
            let Some(member) = self.members.remove(&id) else {
                continue;
            };
            let mut now = self.shared.swarms.now();
            now.members.remove(&id);
            self.shared.swarms.set(now);
            tracing::info!(swarm = %id, "leaves a swarm that no SwarmPool asks for");
            member.leave().await;
        }
    }

    /// Makes the swarms reachable, and writes what became of each pool.
    async fn report(&mut self, asked: &[Asked], troubles: &BTreeMap<SwarmId, String>, pass: &mut Pass) {
        let mut needed = Needed::default();
        let mut external: BTreeMap<SwarmId, Vec<SwarmAddress>> = BTreeMap::new();
        let mut facts: BTreeMap<String, (Arc<SwarmPool>, Vec<SwarmFacts>)> = BTreeMap::new();
        for asked in asked {
            let found = self.facts(asked, troubles, &mut needed, &mut external, pass).await;
            let of_pool = facts.entry(asked.pool.uid().unwrap_or_default());
            of_pool
                .or_insert_with(|| (Arc::clone(&asked.pool), Vec::new()))
                .1
                .push(found);
        }
        self.tell_where(external).await;
        self.shared.services.keep(&needed.services);
        self.shared.slices.keep(&needed.slices);
        self.shared.routes.keep(&needed.routes);
        for (uid, (pool, facts)) in &facts {
            let (namespace, name) = (pool.namespace().unwrap_or_default(), pool.name_any());
            let generation = pool.metadata.generation.unwrap_or_default();
            if self.pruned.get(uid) != Some(&generation) {
                let done = prune(&self.shared, pool, &needed).await;
                let what = || format!("what SwarmPool {namespace}/{name} no longer needs could not be deleted");
                if pass.check(what, done).is_some() {
                    self.pruned.insert(uid.clone(), generation);
                }
            }
            let report = pool_status(pool.status.as_ref(), &pool.spec, generation, facts, Timestamp::now());
            if pool.status.as_ref() == Some(&report.status) {
                continue;
            }
            let done = apply_status(&**pool, &self.shared.api(&namespace), &report.status).await;
            let what = || format!("the status of SwarmPool {namespace}/{name} could not be written");
            if pass.check(what, done).is_some() {
                self.shared.events.tell(&**pool, &report.transitions);
            }
        }
        self.pruned.retain(|uid, _| facts.contains_key(uid));
    }

    /// Tells the swarms where others call: it goes into the domain's record.
    async fn tell_where(&mut self, external: BTreeMap<SwarmId, Vec<SwarmAddress>>) {
        self.external.retain(|id, _| self.members.contains_key(id));
        for (id, addresses) in external {
            let Some(member) = self.members.get(&id) else { continue };
            let told = self.external.get(&id);
            if told.is_none_or(|told| *told != addresses) && (told.is_some() || !addresses.is_empty()) {
                // A swarm that has stopped is started anew and told then.
                if member.swarm.set_external(addresses.clone()).await.is_ok() {
                    self.external.insert(id, addresses);
                }
            }
        }
    }

    async fn facts(
        &self,
        asked: &Asked,
        troubles: &BTreeMap<SwarmId, String>,
        needed: &mut Needed,
        external: &mut BTreeMap<SwarmId, Vec<SwarmAddress>>,
        pass: &mut Pass,
    ) -> SwarmFacts {
        let mut facts = SwarmFacts {
            name: asked.spec.name.clone(),
            status: None,
            findings: vec![findings::version(&asked.pool, &asked.spec)],
        };
        facts.findings.extend(findings::storage(&asked.spec));
        let id = match &asked.key {
            Ok((key, finding)) => {
                facts.findings.push(finding.clone());
                SwarmId::of(key)
            }
            Err(finding) => {
                facts.findings.push(finding.clone());
                let Some(last) = self.last.get(&asked.entry) else {
                    return facts;
                };
                last.clone()
            }
        };
        let Some(member) = self.members.get(&id) else {
            if let Some(trouble) = troubles.get(&id) {
                facts
                    .findings
                    .push(Finding::bad("Running", "StartFailed", trouble.clone()));
            }
            return facts;
        };
        let text = format!(
            "takes part in the swarm with the key's fingerprint {id} as {}",
            member.name
        );
        facts.findings.push(Finding::good("Running", "Running", text));
        if let Some(network) = &asked.spec.network {
            let listen = self.shared.settings.listen;
            if let Err(error) = crate::api::serve(member, listen, network.api_port).await {
                tracing::warn!(swarm = %id, %error, "the read-only HTTP API is not served");
            }
        }
        let place = Place {
            addresses: self.shared.settings.addresses.clone(),
            swarm_port: member.port,
            api_port: member.api_port(),
        };
        let Exposed {
            finding,
            mut addresses,
            failed,
        } = expose(&self.shared, &asked.pool, &asked.spec, &place, &member.name, needed).await;
        pass.failed |= failed;
        facts.findings.extend(finding);
        let view = member.view();
        let parsed = addresses.iter().filter_map(|text| SwarmAddress::parse(text).ok());
        external.entry(id).or_default().extend(parsed);
        if addresses.is_empty() {
            addresses.clone_from(&view.addresses);
        }
        let mut first: BTreeSet<String> = member
            .bootstrap
            .iter()
            .filter_map(|address| address.peer().ok())
            .map(|peer| peer.to_string())
            .collect();
        facts
            .findings
            .extend(findings::bootstrap(&asked.refused, &view.unreachable, first.len()));
        first.extend(view.peers.iter().map(|peer| peer.name.to_string()));
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        facts.status = Some(SwarmStatus {
            addresses,
            name: asked.spec.name.clone(),
            bootstraps: count(first.len()),
            connected: count(view.connected),
            peer_id: member.name.clone(),
        });
        facts
    }

    /// Pools that are being deleted may go when nothing runs for them alone.
    async fn let_go(&mut self, pass: &mut Pass) {
        let entries = self.shared.swarms.now().entries.unwrap_or_default();
        for pool in self.shared.pools.state() {
            if pool.metadata.deletion_timestamp.is_none() || !has_finalizer(&*pool) {
                continue;
            }
            let (namespace, name) = (pool.namespace().unwrap_or_default(), pool.name_any());
            let of_pool = |entry: &EntryKey| entry.namespace == namespace && entry.pool == name;
            let runs_alone = |id: &SwarmId| {
                let others = entries.values().any(|entry| *entry == Entry::Running(id.clone()));
                self.members.get(id).is_some_and(|member| !member.is_default) && !others
            };
            if self.last.iter().any(|(entry, id)| of_pool(entry) && runs_alone(id)) {
                continue;
            }
            let done = set_finalizer(&*pool, &self.shared.api(&namespace), false).await;
            if pass
                .check(|| format!("SwarmPool {namespace}/{name} could not be let go"), done)
                .is_some()
            {
                self.last.retain(|entry, _| !of_pool(entry));
            }
        }
    }
}

/// Whether this domain may leave the swarm: it said nothing there, or said that it goes and that was taken, or nobody is there
/// who could take it, or it has waited long enough.
pub async fn is_withdrawn(member: &Member, within: Duration) -> bool {
    let Ok(status) = member.swarm.status().await else {
        return true;
    };
    match member.said() {
        Said::Statement(Statement::Withdrawn, at) => {
            let alone = status.connected == 0 && member.view().peers.is_empty();
            status.published != Some(false) || alone || at.elapsed() >= within
        }
        Said::Statement(Statement::Present(_), _) => false,
        Said::Unknown => status.published.is_none(),
    }
}

/// The members to begin with, and what is wrong with the others.
fn bootstrap(spec: &SwarmSpec) -> (Vec<SwarmAddress>, Vec<String>) {
    let (mut addresses, mut refused) = (Vec::new(), Vec::new());
    let definition = spec.swarm_definition.as_ref();
    for text in definition
        .into_iter()
        .flat_map(|definition| &definition.bootstrap_node_addresses)
    {
        match SwarmAddress::parse(text).and_then(|address| address.peer().map(|_| address)) {
            Ok(address) => addresses.push(address),
            Err(error) => refused.push(error.to_string()),
        }
    }
    (addresses, refused)
}
