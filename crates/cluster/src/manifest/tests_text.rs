#![allow(clippy::unwrap_used)]
//! Writing a manifest out again.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::tests::video;
use super::*;

/// Strings that YAML readers like to take for something else, among any others.
fn tricky() -> impl Strategy<Value = String> {
    let known = proptest::sample::select(vec![
        "",
        " ",
        "yes",
        "no",
        "on",
        "~",
        "null",
        "true",
        "1e3",
        "0x1f",
        "0o17",
        "1_000",
        ".inf",
        "12:30:45",
        "2026-01-01",
        "- a",
        "a: b",
        "# c",
        "*a",
        "&a",
        "!t",
        "---",
        "...",
        "|",
        ">",
        "%x",
        "@x",
        "`x",
        "'",
        "\"",
        "\\",
        "a\nb\n",
        "\n",
        "\t",
        "a\r\nb",
        "\u{feff}",
        "\u{2028}",
        "ä€😀",
        "<<",
        "=",
    ])
    .prop_map(str::to_owned);
    prop_oneof![known, "\\PC{0,60}", "[ -~\n\t]{0,60}"]
}

#[test]
fn the_objects_of_some_kinds_are_those_and_no_others() {
    let services = video().of_kinds(&[Kind::Service]);
    assert_eq!(
        services.objects().iter().map(Object::kind).collect::<Vec<_>>(),
        [Kind::Service]
    );
    assert_eq!(video().of_kinds(&Kind::ALL), video());
}

#[test]
fn the_written_text_has_a_hash_of_its_own() {
    let text = video().to_yaml().unwrap();
    let read = Manifest::parse(&text, &KindPolicy::default()).unwrap();
    assert_eq!(read.hash(), ManifestHash::of(&text));
    assert_eq!(read.objects(), video().objects());
    assert_eq!(
        read.to_yaml().unwrap(),
        text,
        "writing is stable, so the hash of a part is the same each time"
    );
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(values in proptest::collection::btree_map("[a-z0-9._-]{1,20}", tricky(), 0..8)) {
        let manifest = video().override_config(&BTreeMap::from([("shared".to_owned(), values)])).unwrap();
        let text = manifest.to_yaml().unwrap();
        let read = Manifest::parse(&text, &KindPolicy::default());
        let read = read.map_err(|e| TestCaseError::fail(format!("{e}\n{text}")))?;
        prop_assert_eq!(read.objects(), manifest.objects(), "{}", text);
    }
}
