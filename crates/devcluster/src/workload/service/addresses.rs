//! Load-balancer addresses of Services. Pure.

use std::{collections::HashMap, net::Ipv4Addr};

use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt as _;

use crate::workload::range::{AddressPool, loopback};

/// Which Service has which address.
#[derive(Debug)]
pub(super) struct Addresses {
    pool: AddressPool,
    by_uid: HashMap<String, Ipv4Addr>,
}

impl Addresses {
    pub(super) fn new(pool: AddressPool) -> Self {
        Self {
            pool,
            by_uid: HashMap::new(),
        }
    }

    /// The Service's address: the one it has, the one its status tells (after a restart), the one it asks
    /// for (`spec.loadBalancerIP`), or a free one.
    ///
    /// # Errors
    /// The message for an event when there is none.
    pub(super) fn of(&mut self, service: &Service) -> Result<Ipv4Addr, String> {
        let uid = service.uid().unwrap_or_default();
        if let Some(address) = self.by_uid.get(&uid) {
            return Ok(*address);
        }
        let asked = service.spec.as_ref().and_then(|spec| spec.load_balancer_ip.as_deref());
        let asked = asked.filter(|text| !text.is_empty());
        let address = match (published(service).filter(|address| self.pool.claim(*address)), asked) {
            (Some(address), _) => address,
            (None, Some(text)) => loopback(text)
                .filter(|address| self.pool.claim(*address))
                .ok_or_else(|| {
                    format!(
                        "{text} is in use or not in the load-balancer range {}",
                        self.pool.range()
                    )
                })?,
            (None, None) => self
                .pool
                .allocate()
                .ok_or_else(|| format!("no free address in the load-balancer range {}", self.pool.range()))?,
        };
        self.by_uid.insert(uid, address);
        Ok(address)
    }

    /// Takes back the address of a Service that is gone or no longer a load balancer.
    pub(super) fn release(&mut self, uid: &str) {
        if let Some(address) = self.by_uid.remove(uid) {
            self.pool.release(address);
        }
    }
}

/// The address in the Service's status.
pub(super) fn published(service: &Service) -> Option<Ipv4Addr> {
    let ingress = service.status.as_ref()?.load_balancer.as_ref()?.ingress.as_ref()?;
    ingress.first()?.ip.as_deref().and_then(loopback)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn service(uid: &str, status: Option<&str>, asked: Option<&str>) -> Service {
        let ingress: Vec<_> = status.into_iter().map(|ip| json!({"ip": ip})).collect();
        serde_json::from_value(
            json!({"metadata": {"name": uid, "uid": uid}, "spec": {"loadBalancerIP": asked},
            "status": {"loadBalancer": {"ingress": ingress}}}),
        )
        .unwrap()
    }

    #[test]
    fn an_address_stays_with_its_service_and_is_never_given_twice() {
        let mut addresses = Addresses::new(AddressPool::new("127.20.1.0/29".parse().unwrap()));
        let kept = addresses.of(&service("a", Some("127.20.1.3"), None)).unwrap();
        assert_eq!(kept, Ipv4Addr::new(127, 20, 1, 3));
        assert_eq!(addresses.of(&service("a", None, None)).unwrap(), kept);
        assert_ne!(
            addresses.of(&service("b", Some("127.20.1.3"), None)).unwrap(),
            kept,
            "somebody else's"
        );
        assert_eq!(
            addresses.of(&service("c", None, Some("127.20.1.6"))).unwrap(),
            Ipv4Addr::new(127, 20, 1, 6)
        );
        assert!(
            addresses
                .of(&service("d", None, Some("10.0.0.1")))
                .unwrap_err()
                .contains("127.20.1.0/29")
        );
        addresses.release("a");
        assert_eq!(addresses.of(&service("e", Some("127.20.1.3"), None)).unwrap(), kept);
    }
}
