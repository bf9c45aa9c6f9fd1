//! Names of members beside their addresses, for people to read. Pure.

use std::collections::HashMap;

use alloy::primitives::Address;

use super::pages::MemberName;

/// Digits of an address.
const DIGITS: usize = 40;

/// Who has which address, as far as the consortium knows it.
#[derive(Debug, Default)]
pub struct Names(HashMap<Address, String>);

impl Names {
    pub fn of(members: Vec<MemberName>) -> Self {
        let members = members.into_iter();
        Self(members.map(|member| (member.account, member.name)).collect())
    }

    /// The text, and behind each address of a member that is in it the member's name.
    pub fn beside(&self, text: &str) -> String {
        let mut told = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(start) = rest.find("0x") {
            let digits = rest[start + 2..].bytes().take_while(u8::is_ascii_hexdigit).count();
            let (before, after) = rest.split_at(start + 2 + digits);
            told += before;
            let address = (digits == DIGITS).then(|| before[start..].parse().ok()).flatten();
            if let Some(name) = address.and_then(|address: Address| self.0.get(&address)) {
                told += &format!(" ({name})");
            }
            rest = after;
        }
        told + rest
    }
}

#[cfg(test)]
mod tests {
    use alloy::primitives::B256;

    use super::*;

    #[test]
    fn a_member_is_named_beside_its_address_and_nothing_else_is() {
        let (north, stranger) = (Address::repeat_byte(0xab), Address::repeat_byte(0xcd));
        let names = Names::of(vec![MemberName {
            name: "north".into(),
            account: north,
            me: false,
        }]);
        let (checksummed, plain) = (north.to_string(), format!("{north:#x}"));
        assert_ne!(checksummed, plain);
        for address in [checksummed, plain] {
            assert_eq!(names.beside(&address), format!("{address} (north)"));
            let text = format!("target: {address}, voter: {stranger}, [{address}]");
            let told = format!("target: {address} (north), voter: {stranger}, [{address} (north)]");
            assert_eq!(names.beside(&text), told);
        }
        // A longer value only begins like an address; others are no values at all.
        let hash = B256::repeat_byte(0xab).to_string();
        for text in [hash.as_str(), "0x", "0xab", "", "größer: 0xäb0x"] {
            assert_eq!(names.beside(text), text);
        }
    }
}
