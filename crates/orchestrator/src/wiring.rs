//! How the parts of a service learn each other's addresses, wherever they run.
//!
//! A ConfigMap says it itself, with the annotation `wire.hanse.dev/keys`: comma-separated `key=source`, where a source is the
//! name of a Service (its external address goes into the key) or `@domain` (the name of the domain that runs this
//! copy). Both sides read the same annotation: who deploys fills in what lies in its own part of the manifest; what lies
//! with the other side arrives as sealed parameters.

use std::collections::BTreeMap;

/// The annotation's key.
pub const ANNOTATION: &str = "wire.hanse.dev/keys";

/// Where the value of a wired key comes from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The external address of a Service.
    Service(String),
    /// The name of the domain that runs the ConfigMap.
    Domain,
}

/// A key of a ConfigMap that is to be filled in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wire {
    /// The ConfigMap.
    pub config_map: String,
    /// The key in its data.
    pub key: String,
    /// What goes into it.
    pub source: Source,
}

/// Why an annotation is not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "ConfigMap {config_map}: annotation {ANNOTATION} has {part:?}; write key=service or key=@domain, separated by commas"
)]
pub struct WireError {
    /// Where.
    pub config_map: String,
    /// The part that is not understood.
    pub part: String,
}

/// Reads the annotation of one ConfigMap.
pub fn parse(config_map: &str, annotation: &str) -> Result<Vec<Wire>, WireError> {
    annotation
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(|part| {
            let wrong = || WireError {
                config_map: config_map.to_owned(),
                part: part.to_owned(),
            };
            let (key, source) = part.split_once('=').ok_or_else(wrong)?;
            let (key, source) = (key.trim(), source.trim());
            if key.is_empty() || source.is_empty() {
                return Err(wrong());
            }
            let source = match source {
                "@domain" => Source::Domain,
                other if other.starts_with('@') => return Err(wrong()),
                service => Source::Service(service.to_owned()),
            };
            Ok(Wire {
                config_map: config_map.to_owned(),
                key: key.to_owned(),
                source,
            })
        })
        .collect()
}

/// ConfigMap → key → value for every wire whose source is known: `addresses` has the external address of each Service,
/// `domain` is who runs it.
pub fn values(
    wires: &[Wire],
    addresses: &BTreeMap<String, String>,
    domain: Option<&str>,
) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut config: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for wire in wires {
        let value = match &wire.source {
            Source::Service(service) => addresses.get(service).map(String::as_str),
            Source::Domain => domain,
        };
        if let Some(value) = value {
            config
                .entry(wire.config_map.clone())
                .or_default()
                .insert(wire.key.clone(), value.to_owned());
        }
    }
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wire_takes_the_address_of_a_service_or_the_name_of_the_domain() {
        let wires = parse("detector", "destination_ip=receiver, domain=@domain,").expect("well-formed");
        let addresses = BTreeMap::from([("receiver".to_owned(), "192.0.2.7".to_owned())]);
        let config = values(&wires, &addresses, Some("north"));
        assert_eq!(config["detector"]["destination_ip"], "192.0.2.7");
        assert_eq!(config["detector"]["domain"], "north");
        assert!(
            values(&wires, &BTreeMap::new(), None).is_empty(),
            "what is not known is left alone"
        );
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for bad in ["destination_ip", "=receiver", "key=", "key=@cluster"] {
            assert_eq!(
                parse("sender", bad),
                Err(WireError {
                    config_map: "sender".into(),
                    part: bad.into()
                }),
                "{bad}"
            );
        }
    }
}
