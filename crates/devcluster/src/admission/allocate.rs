//! Cluster IPs and node ports of Services: the lowest free one. Pure: what is taken is read from the state.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::object::map_at;
use crate::resource::Catalog;
use crate::status::{FieldError, Outcome, Status};
use crate::store::State;
use crate::workload::AddressRange;

/// First addresses of the range that stay free: a real cluster keeps its API and DNS there.
const RESERVED: usize = 10;

/// Node ports.
const NODE_PORTS: std::ops::RangeInclusive<u16> = 30000..=32767;

/// Takes from a Service what its old type gave it and its new type does not have.
pub fn release(old: &Value, new: &mut Value) {
    let kind = |object: &Value| object["spec"]["type"].as_str().unwrap_or("ClusterIP").to_string();
    let (before, after) = (kind(old), kind(new));
    if before == after {
        return;
    }
    if before == "LoadBalancer" {
        new["status"]["loadBalancer"] = json!({});
        map_at(new, "spec").remove("allocateLoadBalancerNodePorts");
    }
    if !matches!(after.as_str(), "NodePort" | "LoadBalancer") {
        let spec = map_at(new, "spec");
        spec.remove("externalTrafficPolicy");
        for port in spec
            .get_mut("ports")
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            if let Some(port) = port.as_object_mut() {
                port.remove("nodePort");
            }
        }
    }
}

/// Gives a Service what it lacks.
///
/// # Errors
/// 422 if an address asked for is taken, 500 if none is free.
pub fn service(state: &State, range: AddressRange, object: &mut Value) -> Outcome<()> {
    let name = crate::object::name(object).to_string();
    let own = (crate::object::namespace(object).to_string(), name.clone());
    let spec = map_at(object, "spec");
    let kind = spec
        .get("type")
        .and_then(Value::as_str)
        .unwrap_or("ClusterIP")
        .to_string();
    if kind == "ExternalName" {
        return Ok(());
    }
    let wanted = spec
        .get("clusterIP")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_string();
    let others: BTreeSet<&str> = state
        .list("/services", None)
        .filter(|(key, _)| (&key.namespace, &key.name) != (&own.0, &own.1))
        .filter_map(|(_, service)| service["spec"]["clusterIP"].as_str())
        .collect();
    let address = match wanted.as_str() {
        "" => free_address(range, &others)?,
        "None" => wanted,
        fixed if others.contains(fixed) => {
            let detail = format!("failed to allocate IP {fixed}: provided IP is already allocated");
            let error = FieldError::invalid("spec.clusterIPs", &json!([fixed]), detail);
            let service = Catalog::built_in().find("", "v1", "services");
            let kind = service.map(|s| s.kind.clone()).unwrap_or_default();
            return Err(Status::invalid("", &kind, &name, &[error]));
        }
        _ => wanted,
    };
    spec.insert("clusterIPs".into(), json!([address]));
    spec.insert("clusterIP".into(), address.into());
    for (field, value) in [
        ("ipFamilies", json!(["IPv4"])),
        ("ipFamilyPolicy", json!("SingleStack")),
    ] {
        spec.entry(field).or_insert(value);
    }
    let by_node = kind == "NodePort"
        || (kind == "LoadBalancer" && spec.get("allocateLoadBalancerNodePorts") != Some(&Value::Bool(false)));
    if by_node {
        node_ports(state, &own, object)?;
    }
    Ok(())
}

fn free_address(range: AddressRange, taken: &BTreeSet<&str>) -> Outcome<String> {
    range
        .hosts()
        .skip(RESERVED)
        .map(|address| address.to_string())
        .find(|address| !taken.contains(address.as_str()))
        .ok_or_else(|| Status::internal("failed to allocate a serviceIP: range is full"))
}

fn node_ports(state: &State, own: &(String, String), object: &mut Value) -> Outcome<()> {
    let mut used: BTreeSet<u64> = state
        .list("/services", None)
        .filter(|(key, _)| (&key.namespace, &key.name) != (&own.0, &own.1))
        .flat_map(|(_, service)| service["spec"]["ports"].as_array().into_iter().flatten())
        .filter_map(|port| port["nodePort"].as_u64())
        .collect();
    let name = crate::object::name(object).to_string();
    let Some(ports) = object["spec"]["ports"].as_array_mut() else {
        return Ok(());
    };
    for (index, port) in ports.iter().enumerate() {
        let asked = port["nodePort"].as_u64().filter(|number| *number != 0);
        let problem = match asked {
            Some(number) if u16::try_from(number).map_or(true, |n| !NODE_PORTS.contains(&n)) => {
                "provided port is not in the valid range. The range of valid ports is 30000-32767"
            }
            Some(number) if used.contains(&number) => "provided port is already allocated",
            _ => continue,
        };
        let error = FieldError::invalid(format!("spec.ports[{index}].nodePort"), &port["nodePort"], problem);
        return Err(Status::invalid("", "Service", &name, &[error]));
    }
    used.extend(ports.iter().filter_map(|port| port["nodePort"].as_u64()));
    for port in ports
        .iter_mut()
        .filter(|port| port["nodePort"].as_u64().unwrap_or(0) == 0)
    {
        let free = NODE_PORTS
            .map(u64::from)
            .find(|number| !used.contains(number))
            .ok_or_else(|| Status::internal("failed to allocate a nodePort: range is full"))?;
        used.insert(free);
        port["nodePort"] = free.into();
    }
    Ok(())
}
