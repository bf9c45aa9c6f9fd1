//! Rows of Services, their endpoints, and Ingresses.

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use super::duration;
use super::value::{NONE, first_few, items, joined, labels, number, or_none, plain, selector, text};

fn age(object: &Value, now: Timestamp) -> Value {
    duration::since(&object["metadata"]["creationTimestamp"], now).into()
}

/// Addresses that a load balancer has given, by IP or host name.
fn given(object: &Value) -> Vec<String> {
    items(&object["status"]["loadBalancer"]["ingress"])
        .map(|entry| match text(&entry["ip"]) {
            "" => text(&entry["hostname"]).to_string(),
            ip => ip.to_string(),
        })
        .filter(|address| !address.is_empty())
        .collect()
}

pub fn service(object: &Value, now: Timestamp) -> Vec<Value> {
    let spec = &object["spec"];
    let ports: Vec<String> = items(&spec["ports"])
        .map(|port| {
            let (number_, protocol) = (number(&port["port"]), text(&port["protocol"]));
            match number(&port["nodePort"]) {
                0 => format!("{number_}/{protocol}"),
                node => format!("{number_}:{node}/{protocol}"),
            }
        })
        .collect();
    let address = items(&spec["clusterIPs"]).next().unwrap_or(&spec["clusterIP"]);
    vec![
        object["metadata"]["name"].clone(),
        spec["type"].clone(),
        or_none(address),
        external(object),
        joined(ports.iter().map(String::as_str)),
        age(object, now),
        labels(&spec["selector"]),
    ]
}

fn external(service: &Value) -> Value {
    let spec = &service["spec"];
    let fixed: Vec<&str> = items(&spec["externalIPs"]).map(text).collect();
    match text(&spec["type"]) {
        "LoadBalancer" => {
            let given = given(service);
            let all: Vec<&str> = given.iter().map(String::as_str).chain(fixed).collect();
            if all.is_empty() {
                "<pending>".into()
            } else {
                joined(all)
            }
        }
        "ExternalName" => or_none(&spec["externalName"]),
        _ => joined(fixed),
    }
}

pub fn ingress(object: &Value, now: Timestamp) -> Vec<Value> {
    let spec = &object["spec"];
    let hosts: Vec<String> = items(&spec["rules"])
        .map(|rule| text(&rule["host"]).to_string())
        .filter(|host| !host.is_empty())
        .collect();
    let hosts = if hosts.is_empty() {
        "*".into()
    } else {
        first_few(hosts, 3)
    };
    let class = match text(&spec["ingressClassName"]) {
        "" => or_none(&object["metadata"]["annotations"]["kubernetes.io/ingress.class"]),
        class => class.into(),
    };
    let ports = if items(&spec["tls"]).next().is_some() {
        "80, 443"
    } else {
        "80"
    };
    vec![
        object["metadata"]["name"].clone(),
        class,
        hosts,
        given(object).join(",").into(),
        ports.into(),
        age(object, now),
    ]
}

pub fn ingress_class(object: &Value, now: Timestamp) -> Vec<Value> {
    let parameters = &object["spec"]["parameters"];
    let named = match (text(&parameters["apiGroup"]), text(&parameters["kind"])) {
        (_, "") => NONE.to_string(),
        ("", kind) => format!("{kind}/{}", text(&parameters["name"])),
        (group, kind) => format!("{kind}.{group}/{}", text(&parameters["name"])),
    };
    vec![
        object["metadata"]["name"].clone(),
        object["spec"]["controller"].clone(),
        named.into(),
        age(object, now),
    ]
}

pub fn endpoints(object: &Value, now: Timestamp) -> Vec<Value> {
    let mut all = Vec::new();
    for subset in items(&object["subsets"]) {
        let ports: Vec<i64> = items(&subset["ports"]).map(|port| number(&port["port"])).collect();
        for address in items(&subset["addresses"]).map(|address| text(&address["ip"])) {
            if ports.is_empty() {
                all.push(address.to_string());
            }
            all.extend(ports.iter().map(|port| format!("{address}:{port}")));
        }
    }
    vec![object["metadata"]["name"].clone(), first_few(all, 3), age(object, now)]
}

pub fn endpoint_slice(object: &Value, now: Timestamp) -> Vec<Value> {
    let ports: Vec<String> = items(&object["ports"])
        .map(|port| match &port["port"] {
            Value::Null => "*".to_string(),
            value => plain(value),
        })
        .collect();
    let ports = if ports.is_empty() {
        "<unset>".into()
    } else {
        first_few(ports, 3)
    };
    let addresses = items(&object["endpoints"]).flat_map(|endpoint| items(&endpoint["addresses"]));
    let addresses: Vec<String> = addresses.map(|address| text(address).to_string()).collect();
    let addresses = if addresses.is_empty() {
        "<unset>".into()
    } else {
        first_few(addresses, 3)
    };
    vec![
        object["metadata"]["name"].clone(),
        object["addressType"].clone(),
        ports,
        addresses,
        age(object, now),
    ]
}

pub fn network_policy(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![
        object["metadata"]["name"].clone(),
        selector(&object["spec"]["podSelector"]),
        age(object, now),
    ]
}
