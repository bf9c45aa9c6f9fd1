//! Kubeconfigs as other domains might send them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::super::kubeconfig::{KubeconfigError, PeerKubeconfig};
use super::super::message::{Delivery, Receipt};

const PEM: &str = "-----BEGIN CERTIFICATE-----\nTUlJQg==\n-----END CERTIFICATE-----\n";

fn good() -> PeerKubeconfig {
    PeerKubeconfig::new(
        "https://35.240.24.118:6443".into(),
        Some(PEM.into()),
        "peer-configuration".into(),
        Zeroizing::new("abc.def-g_h".into()),
    )
    .unwrap()
}

/// What a peer sends, as JSON.
fn sent() -> Value {
    serde_json::from_slice(&Delivery::Kubeconfig(good()).to_bytes()).unwrap()
}

fn read(value: &Value) -> Result<Delivery, KubeconfigError> {
    Delivery::from_bytes(&serde_json::to_vec(value).unwrap())
}

#[test]
fn what_is_sent_is_what_arrives() {
    assert_eq!(read(&sent()).unwrap(), Delivery::Kubeconfig(good()));
    assert_eq!(
        Delivery::from_bytes(&Delivery::Revoked.to_bytes()).unwrap(),
        Delivery::Revoked
    );
}

#[test]
fn what_is_stored_is_a_kubeconfig_that_kubernetes_clients_read() {
    let yaml = good().to_yaml().unwrap();
    let read = kube::config::Kubeconfig::from_yaml(&yaml).unwrap();
    assert_eq!(read.clusters.len(), 1);
    let cluster = read.clusters[0].cluster.as_ref().unwrap();
    assert_eq!(cluster.server.as_deref(), Some("https://35.240.24.118:6443"));
    assert_eq!(
        cluster.certificate_authority_data.as_deref(),
        Some(STANDARD.encode(PEM).as_str())
    );
    let context = read.contexts[0].context.as_ref().unwrap();
    assert_eq!(context.namespace.as_deref(), Some("peer-configuration"));
    assert_eq!(read.current_context.as_ref(), Some(&read.contexts[0].name));
    assert!(read.auth_infos[0].auth_info.as_ref().unwrap().token.is_some());
}

#[test]
fn whatever_could_run_a_program_or_read_a_file_is_refused() {
    let user = [
        (
            "exec",
            json!({"apiVersion": "client.authentication.k8s.io/v1", "command": "/bin/sh", "args": ["-c", "id"]}),
        ),
        (
            "auth-provider",
            json!({"name": "gcp", "config": {"cmd-path": "/bin/sh"}}),
        ),
        ("tokenFile", json!("/etc/shadow")),
        ("client-certificate", json!("/etc/shadow")),
        ("client-key", json!("/etc/shadow")),
        ("client-certificate-data", json!("AAAA")),
        ("username", json!("admin")),
        ("as", json!("system:admin")),
    ];
    for (field, value) in user {
        let mut message = sent();
        message["kubeconfig"]["users"][0]["user"][field] = value;
        assert!(matches!(read(&message), Err(KubeconfigError::Form(_))), "{field}");
    }
    let cluster = [
        ("certificate-authority", json!("/etc/passwd")),
        ("insecure-skip-tls-verify", json!(true)),
        ("proxy-url", json!("http://192.0.2.1:3128")),
        ("tls-server-name", json!("elsewhere")),
    ];
    for (field, value) in cluster {
        let mut message = sent();
        message["kubeconfig"]["clusters"][0]["cluster"][field] = value;
        assert!(matches!(read(&message), Err(KubeconfigError::Form(_))), "{field}");
    }
    for field in ["extensions", "preferences", "anything"] {
        let mut message = sent();
        message["kubeconfig"][field] = json!({});
        assert!(matches!(read(&message), Err(KubeconfigError::Form(_))), "{field}");
    }
}

#[test]
fn there_is_one_of_each_and_they_belong_together() {
    for list in ["clusters", "users", "contexts"] {
        let mut message = sent();
        let entry = message["kubeconfig"][list][0].clone();
        message["kubeconfig"][list] = json!([entry, entry]);
        assert!(
            matches!(read(&message), Err(KubeconfigError::Count { count: 2, .. })),
            "{list}"
        );
        message["kubeconfig"][list] = json!([]);
        assert!(
            matches!(read(&message), Err(KubeconfigError::Count { count: 0, .. })),
            "{list}"
        );
    }
    for (pointer, name) in [
        ("/kubeconfig/current-context", "other"),
        ("/kubeconfig/contexts/0/context/user", "other"),
        ("/kubeconfig/clusters/0/name", "other"),
    ] {
        let mut message = sent();
        *message.pointer_mut(pointer).unwrap() = name.into();
        assert_eq!(read(&message), Err(KubeconfigError::Names), "{pointer}");
    }
}

#[test]
fn each_part_is_held_to_what_it_may_be() {
    let mut message = sent();
    for server in [
        "http://35.240.24.118",
        "https://user:word@35.240.24.118",
        "https://35.240.24.118/?x",
        "https://35.240.24.118/#x",
        "file:///etc/passwd",
        "https://",
        "https://a b",
        "",
    ] {
        message["kubeconfig"]["clusters"][0]["cluster"]["server"] = server.into();
        assert!(matches!(read(&message), Err(KubeconfigError::Server(_))), "{server}");
    }
    let authorities = [
        "not PEM",
        "-----BEGIN PRIVATE KEY-----\nTUlJQg==\n-----END PRIVATE KEY-----\n",
        "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\nTUlJQg==\n",
        "",
    ];
    for authority in authorities {
        let mut message = sent();
        message["kubeconfig"]["clusters"][0]["cluster"]["certificate-authority-data"] =
            STANDARD.encode(authority).into();
        assert_eq!(read(&message), Err(KubeconfigError::Authority), "{authority}");
    }
    for token in ["", "a b", "a\nb", "a\"b", &"a".repeat(9000)] {
        let mut message = sent();
        message["kubeconfig"]["users"][0]["user"]["token"] = token.into();
        assert_eq!(read(&message), Err(KubeconfigError::Token), "{token:?}");
    }
    for namespace in ["", "../x", "A", "-a", "a-", &"a".repeat(64)] {
        let mut message = sent();
        message["kubeconfig"]["contexts"][0]["context"]["namespace"] = namespace.into();
        assert!(
            matches!(read(&message), Err(KubeconfigError::Namespace(_))),
            "{namespace}"
        );
    }
}

#[test]
fn no_error_and_no_debug_output_holds_the_token() {
    let mut message = sent();
    message["kubeconfig"]["users"][0]["user"]["token"] = json!(["hunter2"]);
    let error = read(&message).unwrap_err().to_string();
    assert!(!error.contains("hunter2"), "{error}");
    message["kubeconfig"]["users"][0]["user"]["token"] = "hunter2 hunter2".into();
    let error = read(&message).unwrap_err().to_string();
    assert!(!error.contains("hunter2"), "{error}");
    let delivery = Delivery::Kubeconfig(good());
    assert!(!format!("{delivery:?}").contains("abc.def"));
}

#[test]
fn a_receipt_shows_little_of_what_the_peer_says() {
    let reason = format!("a\u{1b}[31m{}", "b".repeat(5000));
    let read = Receipt::from_bytes(&Receipt::Refused { reason }.to_bytes()).unwrap();
    let Receipt::Refused { reason } = read else {
        panic!("{read:?}")
    };
    assert!(reason.len() <= 256 && !reason.contains('\u{1b}'));
    assert_eq!(Receipt::from_bytes(b"{}"), None);
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Delivery::from_bytes(&bytes);
        let _ = Receipt::from_bytes(&bytes);
    }

    #[test]
    fn one_changed_byte_never_brings_in_more_than_the_parts(at in any::<prop::sample::Index>(), to: u8) {
        let mut bytes = Delivery::Kubeconfig(good()).to_bytes().to_vec();
        let at = at.index(bytes.len());
        bytes[at] = to;
        if let Ok(Delivery::Kubeconfig(read)) = Delivery::from_bytes(&bytes) {
            let yaml = read.to_yaml().unwrap();
            let read = kube::config::Kubeconfig::from_yaml(&yaml).unwrap();
            let user = read.auth_infos[0].auth_info.as_ref().unwrap();
            prop_assert!(user.exec.is_none() && user.auth_provider.is_none() && user.token_file.is_none());
        }
    }

    #[test]
    fn whatever_is_accepted_is_stored_as_what_it_is(server in "https://[a-z0-9.:/%-]{1,40}", namespace in "[a-z0-9-]{1,63}", token in "[A-Za-z0-9._~+/=-]{1,80}") {
        let Ok(kubeconfig) = PeerKubeconfig::new(server.clone(), None, namespace.clone(), Zeroizing::new(token)) else {
            return Ok(());
        };
        let read = kube::config::Kubeconfig::from_yaml(&kubeconfig.to_yaml().unwrap()).unwrap();
        prop_assert_eq!(read.clusters[0].cluster.as_ref().unwrap().server.as_ref(), Some(&server));
        let context = read.contexts[0].context.as_ref().unwrap();
        prop_assert_eq!(context.namespace.as_ref(), Some(&namespace));
    }
}
