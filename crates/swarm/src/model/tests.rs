//! What an identity may hold, and that its path says it all.
#![allow(clippy::unwrap_used)]

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hanse_agreement::{Account, Terms};
use proptest::prelude::*;

use super::identity::{MOST_ADDRESSES, MOST_CATEGORIES};
use super::*;

fn any_party() -> impl Strategy<Value = Party> {
    let capacity = (0..=10_000_u16, any::<[u32; 6]>()).prop_map(|(availability_bps, figures)| Terms {
        availability_bps,
        latency_ms: figures[0],
        jitter_ms: figures[1],
        bandwidth_mbps: figures[2],
        cpu_millicores: figures[3],
        ram_mb: figures[4],
        replicas: figures[5],
    });
    let location = prop::option::of("\\PC{1,20}".prop_map(|text| text.try_into().unwrap()));
    (any::<[u8; 20]>(), prop::option::of(capacity), location)
        .prop_map(|(account, capacity, location)| Party::new(Account(account), capacity, location).unwrap())
}

/// Any identity that can be made.
pub(crate) fn any_identity() -> impl Strategy<Value = Identity> {
    (
        "\\PC{1,20}",
        "\\PC{0,60}",
        "https?://[a-z]{1,20}(:[1-9][0-9]{0,3})?(/[a-z0-9]{0,9}){0,3}",
        prop::collection::btree_set("\\PC{1,10}", 0..6),
        any::<[u8; 32]>(),
        prop::option::of(any_party()),
    )
        .prop_map(|(name, description, url, categories, key, party)| {
            Identity::new(
                name.try_into().unwrap(),
                description.try_into().unwrap(),
                url.try_into().unwrap(),
                categories.into_iter().map(|text| text.try_into().unwrap()).collect(),
                SealingKey(key),
            )
            .unwrap()
            .with_party(party)
        })
}

/// Anything that can be said.
pub(crate) fn any_statement() -> impl Strategy<Value = Statement> {
    prop_oneof![
        9 => any_identity().prop_map(|identity| Statement::Present(Box::new(identity))),
        1 => Just(Statement::Withdrawn),
    ]
}

fn path(json: &str) -> Vec<u8> {
    format!("/hanse/1/{}", URL_SAFE_NO_PAD.encode(json)).into_bytes()
}

fn json(name: &str, url: &str, categories: &[&str]) -> String {
    serde_json::json!({"present": {
        "name": name, "description": "", "url": url, "categories": categories, "sealing_key": "00".repeat(32), "later": 1,
    }})
    .to_string()
}

#[test]
fn where_a_domain_can_be_called_travels_and_what_this_version_can_not_call_is_passed_over() {
    let call = |text: &str| SwarmAddress::parse(text).unwrap();
    let here = vec![call("/ip4/10.0.0.7/tcp/4001"), call("/dns4/agent.example/tcp/4001")];
    let Statement::Present(identity) = Statement::from_path(&path(&json("a", "https://b", &[]))).unwrap() else {
        panic!("it is present");
    };
    let said = Statement::Present(Box::new(identity.with_addresses(here.clone())));
    let read = Statement::from_path(said.to_path().unwrap().as_bytes()).unwrap();
    assert_eq!(read.identity().unwrap().addresses(), here);
    let later = serde_json::json!({"present": {
        "name": "a", "description": "", "url": "https://b", "categories": [], "sealing_key": "00".repeat(32),
        "addresses": ["/ip9/x/quantum", "/ip4/10.0.0.7/udp/4001/quic-v1", "/ip4/10.0.0.7/tcp/4001"],
    }});
    let read = Statement::from_path(&path(&later.to_string())).unwrap();
    assert_eq!(read.identity().unwrap().addresses(), &here[..1]);
    let many = vec![here[0].clone(); 100];
    assert_eq!(
        said.with_addresses(many).identity().unwrap().addresses().len(),
        MOST_ADDRESSES
    );
}

#[test]
fn a_field_that_a_later_version_adds_is_passed_over() {
    let statement = Statement::from_path(&path(&json("Cluster 1", "https://35.240.24.118", &["EO data"]))).unwrap();
    let identity = statement.identity().unwrap();
    assert_eq!(identity.name().as_str(), "Cluster 1");
    assert_eq!(identity.url().as_str(), "https://35.240.24.118");
    assert_eq!(identity.categories()[0].as_str(), "EO data");
}

#[test]
fn what_a_domain_says_that_it_runs_for_others_is_checked_and_may_be_absent() {
    let account = format!("0x{}", "ab".repeat(20));
    let read = |party: serde_json::Value| {
        let mut json: serde_json::Value = serde_json::from_str(&json("a", "https://b", &[])).unwrap();
        json["present"]["party"] = party;
        Statement::from_path(&path(&json.to_string()))
    };
    let capacity = serde_json::json!({
        "availabilityBps": 9900, "latencyMs": 20, "jitterMs": 5, "bandwidthMbps": 100, "cpuMillicores": 4000, "ramMb": 4096,
        "replicas": 8,
    });
    let said =
        read(serde_json::json!({"account": account, "capacity": capacity, "location": "north", "later": 1})).unwrap();
    let party = said.identity().unwrap().party().unwrap();
    assert_eq!(party.account(), Account([0xab; 20]));
    assert_eq!(party.capacity().unwrap().cpu_millicores, 4000);
    assert_eq!(party.location().unwrap().as_str(), "north");
    let nothing = read(serde_json::json!({"account": account})).unwrap();
    assert_eq!(nothing.identity().unwrap().party().unwrap().capacity(), None);
    assert!(
        read(serde_json::Value::Null)
            .unwrap()
            .identity()
            .unwrap()
            .party()
            .is_none()
    );
    let with = |field: &str, value: serde_json::Value| {
        let mut capacity = capacity.clone();
        capacity[field] = value;
        serde_json::json!({"account": account, "capacity": capacity})
    };
    for (party, reason) in [
        (with("availabilityBps", 10_001.into()), "more than all of the time"),
        (with("replicas", (-1).into()), "invalid value"),
        (with("ramMb", (1_u64 << 32).into()), "invalid value"),
        (serde_json::json!({"account": "0x12"}), "account"),
        (
            serde_json::json!({"account": account, "location": "x".repeat(129)}),
            "129 bytes",
        ),
        (
            serde_json::json!({"account": account, "location": "a\u{202e}b"}),
            "control character",
        ),
    ] {
        let error = read(party.clone()).unwrap_err().to_string();
        assert!(error.contains(reason), "{party}: {error}");
    }
}

#[test]
fn what_would_mislead_its_reader_is_refused_and_named() {
    let many: Vec<String> = (0..=MOST_CATEGORIES).map(|number| number.to_string()).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let long = "x".repeat(129);
    for (json, reason) in [
        (json("", "https://a", &[]), "the name is empty"),
        (json(&long, "https://a", &[]), "129 bytes"),
        (json("a\nb", "https://a", &[]), "control character"),
        (json("a\u{202e}b", "https://a", &[]), "control character"),
        (json("a", "ftp://a", &[]), "no http or https URL"),
        (json("a", "https://me:secret@a", &[]), "no http or https URL"),
        (json("a", "a", &[]), "no http or https URL"),
        (json("a", "https://a", &["x", "x"]), "given twice"),
        (json("a", "https://a", &many), "33 categories"),
        ("{}".into(), "no identity"),
    ] {
        let error = Statement::from_path(&path(&json)).unwrap_err().to_string();
        assert!(error.contains(reason), "{json}: {error}");
    }
}

#[test]
fn an_identity_with_every_field_at_its_longest_is_told_what_to_shorten() {
    let text = |length: usize, number: usize| format!("{number:0>length$}");
    let categories = (0..MOST_CATEGORIES).map(|number| text(48, number).try_into().unwrap());
    let identity = Identity::new(
        text(128, 0).try_into().unwrap(),
        text(512, 0).try_into().unwrap(),
        format!("https://{}", "a".repeat(248)).try_into().unwrap(),
        categories.collect(),
        SealingKey([0; 32]),
    )
    .unwrap();
    // ASCII at its longest still fits; each quotation mark is two bytes of JSON.
    let most = Terms {
        availability_bps: 10_000,
        latency_ms: u32::MAX,
        jitter_ms: u32::MAX,
        bandwidth_mbps: u32::MAX,
        cpu_millicores: u32::MAX,
        ram_mb: u32::MAX,
        replicas: u32::MAX,
    };
    let party = Party::new(Account([0xff; 20]), Some(most), Some(text(128, 0).try_into().unwrap())).unwrap();
    let whole = identity.clone().with_party(Some(party));
    assert!(Statement::Present(Box::new(whole)).to_path().is_ok());
    let quoted = (0..MOST_CATEGORIES).map(|number| format!("{}{number:02}", "\"".repeat(46)).try_into().unwrap());
    let identity = Identity::new(
        identity.name().clone(),
        "\"".repeat(512).try_into().unwrap(),
        identity.url().clone(),
        quoted.collect(),
        identity.sealing_key(),
    )
    .unwrap();
    let error = Statement::Present(Box::new(identity)).to_path().unwrap_err();
    assert!(error.to_string().contains("Shorten the description"), "{error}");
}

proptest! {
    #[test]
    fn a_path_says_all_of_a_statement(statement in any_statement()) {
        let path = statement.to_path().unwrap();
        prop_assert!(path.len() <= Statement::LONGEST_PATH);
        prop_assert_eq!(Statement::from_path(path.as_bytes()).unwrap(), statement);
    }

    #[test]
    fn any_bytes_are_a_statement_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), prefixed in any::<bool>()) {
        let path = if prefixed { [b"/hanse/1/".as_slice(), &bytes].concat() } else { bytes };
        let _ = Statement::from_path(&path);
    }

    #[test]
    fn any_json_is_a_statement_or_refused(text in "[\\[\\]{}\":,a-z0-9]{0,200}") {
        let _ = Statement::from_path(&path(&text));
    }
}
