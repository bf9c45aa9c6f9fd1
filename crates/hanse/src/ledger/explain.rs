//! Calls, events and errors of our contracts in words. Pure.

use alloy::primitives::{Address, LogData};
use alloy::sol_types::{SolEventInterface, SolInterface};
use hanse_contracts::{Addresses, Consortium, Federation};
use hanse_ledger::Refusal;

use super::pages::{Decoded, Reason};

/// Sealed texts are long; whoever wants all of a field asks JSON-RPC.
const LONGEST: usize = 600;

/// What a transaction asks of one of our contracts.
pub fn command(ours: Addresses, to: Address, input: &[u8]) -> Option<Decoded> {
    let selector = <[u8; 4]>::try_from(input.get(..4)?).ok()?;
    if to == ours.federation {
        let call = Federation::FederationCalls::abi_decode(input).ok()?;
        let name = Federation::FederationCalls::name_by_selector(selector)?;
        return Some(decoded("Federation", name, &call));
    }
    if to == ours.consortium {
        let call = Consortium::ConsortiumCalls::abi_decode(input).ok()?;
        let name = Consortium::ConsortiumCalls::name_by_selector(selector)?;
        return Some(decoded("Consortium", name, &call));
    }
    None
}

/// What a log says.
pub fn event(ours: Addresses, emitter: Address, log: &LogData) -> Decoded {
    let topic = log.topics().first().copied().unwrap_or_default();
    let known = if emitter == ours.federation {
        Federation::FederationEvents::decode_raw_log(log.topics(), &log.data)
            .ok()
            .zip(Federation::FederationEvents::name_by_selector(topic.0))
            .map(|(event, name)| decoded("Federation", name, &event))
    } else if emitter == ours.consortium {
        Consortium::ConsortiumEvents::decode_raw_log(log.topics(), &log.data)
            .ok()
            .zip(Consortium::ConsortiumEvents::name_by_selector(topic.0))
            .map(|(event, name)| decoded("Consortium", name, &event))
    } else {
        None
    };
    known.unwrap_or_else(|| Decoded {
        contract: emitter.to_string(),
        name: topic.to_string(),
        fields: String::new(),
    })
}

/// Why a contract refused.
pub fn reason(data: &[u8]) -> Reason {
    let selector = data.get(..4).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok());
    let name = selector.and_then(|selector| {
        Federation::FederationErrors::name_by_selector(selector)
            .or_else(|| Consortium::ConsortiumErrors::name_by_selector(selector))
    });
    Reason {
        name: name.unwrap_or_default().to_owned(),
        message: Refusal::decode(data).to_string(),
    }
}

fn decoded(contract: &str, name: &str, value: &impl std::fmt::Debug) -> Decoded {
    // `Variant(Type { fields })`: the name is told already.
    let text = format!("{value:?}");
    let fields = match (text.find('{'), text.rfind('}')) {
        (Some(from), Some(to)) if from < to => text[from + 1..to].trim().to_owned(),
        _ => String::new(),
    };
    let fields = match fields.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &fields[..end]),
        None => fields,
    };
    Decoded {
        contract: contract.to_owned(),
        name: name.to_owned(),
        fields,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use alloy::primitives::{B256, U256};
    use alloy::sol_types::{SolCall, SolError, SolEvent};
    use hanse_contracts::genesis_addresses;

    use super::*;

    #[test]
    fn what_our_contracts_are_asked_and_say_is_named() {
        let ours = genesis_addresses();
        let id = B256::repeat_byte(0x5a);
        let call = Federation::terminateCall { id }.abi_encode();
        let told = command(ours, ours.federation, &call).unwrap();
        assert_eq!((&*told.contract, &*told.name), ("Federation", "terminate"));
        assert!(told.fields.contains(&id.to_string()), "{}", told.fields);

        let event_of_ours = Consortium::MemberLeft {
            account: ours.federation,
            name: "fifth".into(),
        };
        let told = event(ours, ours.consortium, &event_of_ours.encode_log_data());
        assert_eq!((&*told.contract, &*told.name), ("Consortium", "MemberLeft"));
        let elsewhere = event(ours, Address::ZERO, &event_of_ours.encode_log_data());
        assert_eq!(elsewhere.contract, Address::ZERO.to_string());

        let told = reason(&Federation::IdTaken { id }.abi_encode());
        assert_eq!(told.name, "IdTaken");
        assert!(told.message.contains("choose another"), "{}", told.message);
        assert_eq!(reason(b"\x01\x02").name, "");
    }

    #[test]
    fn what_is_none_of_ours_is_not_guessed_at() {
        let ours = genesis_addresses();
        let call = Federation::terminateCall { id: B256::ZERO }.abi_encode();
        assert_eq!(command(ours, Address::ZERO, &call), None);
        assert_eq!(command(ours, ours.federation, &call[..20]), None);
        assert_eq!(command(ours, ours.federation, &U256::MAX.to_be_bytes::<32>()), None);
        assert_eq!(command(ours, ours.federation, b"abc"), None);
    }
}
