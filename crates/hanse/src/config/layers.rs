//! Default < file < environment < flags, with a memory of where each value came from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde_json::Value;

use super::Config;

/// Environment variables that start with this set values: `HANSE__API__LISTEN` sets `api.listen`.
const PREFIX: &str = "HANSE__";

/// A configuration and the source of each of its values.
pub struct Layers {
    pub config: Config,
    pub sources: BTreeMap<String, (Value, String)>,
}

impl Layers {
    /// Reads all layers. `flags` are `PATH=VALUE`. Relative paths are relative to the file's folder.
    pub fn load(
        file: &Path,
        environment: impl Iterator<Item = (String, String)>,
        flags: &[String],
    ) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(file).with_context(|| {
            format!(
                "could not read {}; give the agent's configuration with --config",
                file.display()
            )
        })?;
        let from_file: Value =
            serde_saphyr::from_str(&text).with_context(|| format!("{} is not valid YAML", file.display()))?;
        let mut document = serde_json::to_value(Config::default())?;
        let mut sources = BTreeMap::new();
        note(&document, "", "default", &mut sources);
        merge(&mut document, from_file.clone());
        note(&from_file, "", &file.display().to_string(), &mut sources);
        for (name, value) in environment {
            let Some(path) = name.strip_prefix(PREFIX) else {
                continue;
            };
            let path = path.split("__").map(camel_case).collect::<Vec<_>>().join(".");
            set(&mut document, &path, &value).with_context(|| format!("environment variable {name}"))?;
            sources.insert(path, (parse(&value), format!("environment {name}")));
        }
        for flag in flags {
            let Some((path, value)) = flag.split_once('=') else {
                bail!("--set {flag}: write PATH=VALUE, e.g. --set api.listen=127.0.0.1:9000");
            };
            set(&mut document, path, value).with_context(|| format!("--set {flag}"))?;
            sources.insert(path.to_owned(), (parse(value), "flag --set".to_owned()));
        }
        let mut config: Config = serde_path_to_error::deserialize(document).with_context(|| {
            format!(
                "{} (with environment and flags) is not a valid configuration",
                file.display()
            )
        })?;
        let folder = file.parent().map(Path::to_path_buf).unwrap_or_default();
        config.resolve(&folder);
        config.check()?;
        Ok(Self { config, sources })
    }
}

impl Config {
    fn resolve(&mut self, folder: &Path) {
        // Through `components`, which drops the `.` that a path may hold.
        let from_here = |path: &mut PathBuf| *path = folder.join(path.as_path()).components().collect();
        from_here(&mut self.data_dir);
        self.catalogue.iter_mut().for_each(from_here);
        self.api.token_file.iter_mut().for_each(from_here);
        self.keys.seed_file.iter_mut().for_each(from_here);
        self.keys.passphrase_file.iter_mut().for_each(from_here);
        self.swarm.key_file.iter_mut().for_each(from_here);
        self.ledger
            .embedded
            .iter_mut()
            .for_each(|embedded| from_here(&mut embedded.genesis));
        let images = self
            .cluster
            .development
            .iter_mut()
            .flat_map(|cluster| cluster.images.values_mut());
        images.for_each(from_here);
    }

    fn check(&self) -> anyhow::Result<()> {
        if self.domain.is_empty() || self.domain.len() > 64 {
            bail!("domain: give the domain's name, 1 to 64 bytes");
        }
        if self.ledger.embedded.is_none() && self.ledger.urls.is_empty() && !self.is_discoverer() {
            bail!("ledger: give either `embedded` (a node in this process) or `urls` of a ledger that runs elsewhere");
        }
        if self.ledger.embedded.is_some() && !self.ledger.urls.is_empty() {
            bail!("ledger: `embedded` and `urls` exclude each other; remove one");
        }
        if self.consortium.find.is_some() {
            if self.ledger.embedded.is_none() {
                bail!(
                    "consortium.find: only a domain with a ledger node of its own (ledger.embedded) can join through the swarm"
                );
            }
            if self.swarm.identity.is_none() {
                bail!("consortium.find: the members must see who asks; set swarm.identity, which may be {{}}");
            }
            if self.consortium.invite.is_some() {
                bail!("consortium: `find` and `invite` exclude each other; remove one");
            }
        }
        self.swarm.check()
    }
}

/// Lays `over` over `base`: maps are merged, everything else is replaced.
fn merge(base: &mut Value, over: Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                merge(base.entry(key).or_insert(Value::Null), value);
            }
        }
        (base, over) => *base = over,
    }
}

/// Remembers the source of every leaf.
fn note(value: &Value, path: &str, source: &str, sources: &mut BTreeMap<String, (Value, String)>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            sources.remove(path);
            for (key, value) in fields {
                let path = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                note(value, &path, source, sources);
            }
        }
        leaf => {
            sources.insert(path.to_owned(), (leaf.clone(), source.to_owned()));
        }
    }
}

fn set(document: &mut Value, path: &str, value: &str) -> anyhow::Result<()> {
    let mut place = document;
    for key in path.split('.') {
        if place.is_null() {
            *place = Value::Object(serde_json::Map::new());
        }
        let Value::Object(fields) = place else {
            bail!("{path}: there is nothing below a plain value")
        };
        place = fields.entry(key).or_insert(Value::Null);
    }
    *place = parse(value);
    Ok(())
}

/// Numbers, booleans, lists and maps as YAML means them; everything else is text.
fn parse(value: &str) -> Value {
    serde_saphyr::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()))
}

/// `DATA_DIR` → `dataDir`.
fn camel_case(name: &str) -> String {
    let mut words = name.split('_').map(str::to_lowercase);
    let mut result = words.next().unwrap_or_default();
    for word in words {
        let mut letters = word.chars();
        result.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        result.push_str(letters.as_str());
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "domain: north\nledger: { urls: ['http://127.0.0.1:8545'] }\ndataDir: data\n";

    fn load(environment: &[(&str, &str)], flags: &[&str]) -> anyhow::Result<Layers> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("hanse.yaml");
        std::fs::write(&file, FILE)?;
        let environment = environment
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        Layers::load(&file, environment, &flags)
    }

    #[test]
    fn flags_beat_the_environment_which_beats_the_file_and_each_value_knows_its_source() {
        let layers = load(
            &[
                ("HANSE__API__LISTEN", "127.0.0.1:9000"),
                ("HANSE__DATA_DIR", "/elsewhere"),
            ],
            &["api.listen=127.0.0.1:9001"],
        )
        .expect("valid");
        assert_eq!(layers.config.api.listen.port(), 9001);
        assert_eq!(layers.config.data_dir, PathBuf::from("/elsewhere"));
        assert_eq!(layers.sources["api.listen"].1, "flag --set");
        assert_eq!(layers.sources["dataDir"].1, "environment HANSE__DATA_DIR");
        assert!(layers.sources["domain"].1.ends_with("hanse.yaml"));
        assert_eq!(layers.sources["deployTimeoutSeconds"].1, "default");
    }

    #[test]
    fn an_address_of_the_swarm_that_its_key_does_not_protect_is_refused_and_so_is_a_bootstrap_without_a_name() {
        for (flag, says) in [
            ("swarm.external=['/ip4/192.0.2.1/udp/4001/quic-v1']", "QUIC"),
            ("swarm.bootstrap=['/ip4/192.0.2.1/udp/4001/quic-v1']", "use /tcp"),
            ("swarm.bootstrap=['/ip4/192.0.2.1/tcp/4001']", "/p2p/"),
            ("swarm.relay={ at: ['/ip4/192.0.2.1/tcp/4001'] }", "swarm.relay.at"),
            ("swarm.relay={ circuits: 0 }", "set serve to false"),
            ("swarm.relay={ use: sometimes }", "swarm.relay.use"),
            ("swarm.identity={ categories: [camera, camera] }", "given twice"),
        ] {
            let error = format!("{:#}", load(&[], &[flag]).err().expect(flag));
            assert!(error.contains(says), "{flag}: {error}");
        }
        let peer = "12D3KooWRawPbxPtP1eZaJpumGnyWX2DcUyd3RQnydr3eAto4Az7";
        let flag = format!("swarm.bootstrap=['/dns4/north.example/tcp/4001/p2p/{peer}']");
        let config = load(&[], &[&flag]).expect("valid").config;
        assert_eq!(config.swarm.listen.port(), 4001);
        assert_eq!(config.swarm.bootstrap.len(), 1);
    }

    #[test]
    fn what_is_wrong_or_not_known_is_refused_by_name() {
        let error = format!("{:#}", load(&[], &["api.lisen=1"]).err().expect("refused"));
        assert!(error.contains("lisen"), "{error}");
        let error = format!("{:#}", load(&[], &["swarm.listen=any"]).err().expect("refused"));
        assert!(error.contains("swarm.listen: invalid socket address"), "{error}");
        let error = format!("{:#}", load(&[], &["api"]).err().expect("refused"));
        assert!(error.contains("PATH=VALUE"), "{error}");
    }
}
