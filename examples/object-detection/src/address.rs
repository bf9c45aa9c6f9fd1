//! Where the other programs are, as an operator writes it.

use std::{fmt, net::SocketAddr, str::FromStr};

/// Text that names no destination.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "\"{0}\" is no destination: write an IP address or a host name, with or without :port, e.g. 10.0.0.7 or 10.0.0.7:5559"
)]
pub struct InvalidDestination(String);

/// A host, and a port unless the usual one is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    host: String,
    port: Option<u16>,
}

impl FromStr for Destination {
    type Err = InvalidDestination;

    fn from_str(text: &str) -> Result<Self, InvalidDestination> {
        let text = text.trim();
        let invalid = || InvalidDestination(text.chars().take(100).collect());
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(Self {
                host: address.ip().to_string(),
                port: Some(address.port()),
            });
        }
        if let Ok(address) = text.parse::<std::net::IpAddr>() {
            return Ok(Self {
                host: address.to_string(),
                port: None,
            });
        }
        let (host, port) = match text.split_once(':') {
            Some((host, port)) => (host, Some(port.parse().map_err(|_| invalid())?)),
            None => (text, None),
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
        // Digits and dots alone are an IP address with a mistake, never a host name.
        let is_name = host.chars().all(plain) && host.chars().any(|c| c.is_ascii_alphabetic()) && host.len() <= 253;
        if is_name && port != Some(0) {
            Ok(Self {
                host: host.to_owned(),
                port,
            })
        } else {
            Err(invalid())
        }
    }
}

impl Destination {
    /// The host and port to look up.
    ///
    /// A bare name that `environment` knows as a Kubernetes Service (`object-detector` →
    /// `OBJECT_DETECTOR_SERVICE_HOST`, set for Services older than the pod) stands for that Service's address, so that
    /// manifests work on clusters without DNS; any other name is left to the resolver.
    #[must_use]
    pub fn endpoint(&self, usual_port: u16, environment: impl Fn(&str) -> Option<String>) -> (String, u16) {
        let variable = format!("{}_SERVICE_HOST", self.host.to_ascii_uppercase().replace('-', "_"));
        let service = if self.host.contains(['.', ':']) {
            None
        } else {
            environment(&variable)
        };
        (
            service
                .filter(|host| !host.is_empty())
                .unwrap_or_else(|| self.host.clone()),
            self.port.unwrap_or(usual_port),
        )
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) if self.host.contains(':') => write!(f, "[{}]:{port}", self.host),
            Some(port) => write!(f, "{}:{port}", self.host),
            None => f.write_str(&self.host),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn endpoint(text: &str) -> (String, u16) {
        let environment = |name: &str| (name == "OBJECT_DETECTOR_SERVICE_HOST").then(|| "127.9.0.1".to_owned());
        text.parse::<Destination>().unwrap().endpoint(5559, environment)
    }

    #[test]
    fn addresses_and_names_with_and_without_port_are_understood() {
        assert_eq!(endpoint("10.5.50.80"), ("10.5.50.80".into(), 5559));
        assert_eq!(endpoint(" 10.5.50.80:7000 "), ("10.5.50.80".into(), 7000));
        assert_eq!(endpoint("::1"), ("::1".into(), 5559));
        assert_eq!(endpoint("[::1]:7"), ("::1".into(), 7));
        assert_eq!(endpoint("detector.example.org:7"), ("detector.example.org".into(), 7));
    }

    #[test]
    fn a_service_of_the_namespace_is_found_without_dns() {
        assert_eq!(endpoint("object-detector"), ("127.9.0.1".into(), 5559));
        assert_eq!(endpoint("object-detector:9"), ("127.9.0.1".into(), 9));
    }

    #[test]
    fn mistakes_are_refused_with_advice() {
        for bad in [
            "",
            " ",
            "10.0.0",
            "10.0.0.256",
            "host:",
            "host:0",
            "host:99999",
            "a b",
            "http://x",
            "1.2.3.4:5:6",
        ] {
            let error = bad.parse::<Destination>().unwrap_err().to_string();
            assert!(error.contains("write an IP address"), "{bad}: {error}");
        }
    }
}
