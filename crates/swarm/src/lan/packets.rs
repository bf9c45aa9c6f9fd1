//! What is asked and answered.

use std::net::IpAddr;

use hickory_proto::op::{Message, MessageType, Query};
use hickory_proto::rr::rdata::{PTR, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use libp2p::multiaddr::Protocol;

use crate::model::{MOST_ADDRESSES, SwarmAddress};

/// How long an answer is valid, in seconds.
const TTL: u32 = 120;
/// What the TXT records begin with.
const PREFIX: &str = "dnsaddr=";
/// RFC 1035, section 3.3: the longest text.
const LONGEST_TEXT: usize = 255;

/// What a packet says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Who is there?
    Question,
    /// Here, at the addresses, each with its peer.
    Answer(Vec<SwarmAddress>),
}

/// The service's name, and below it the one of a member.
fn service(instance: Option<&str>) -> Option<Name> {
    let labels = ["_p2p", "_udp", "local"];
    let labels = instance.into_iter().chain(labels).map(str::as_bytes);
    let mut name = Name::from_labels(labels).ok()?;
    name.set_fqdn(true);
    Some(name)
}

/// Asks who is there.
pub(crate) fn question() -> Option<Vec<u8>> {
    let mut message = Message::new();
    message.add_query(Query::query(service(None)?, RecordType::PTR));
    message.to_vec().ok()
}

/// Says where this domain listens. `instance` is a name that says nothing.
pub(crate) fn answer(instance: &str, addresses: &[SwarmAddress]) -> Option<Vec<u8>> {
    let name = service(Some(instance))?;
    let mut message = Message::new();
    message
        .set_message_type(MessageType::Response)
        .set_authoritative(true)
        .add_answer(Record::from_rdata(service(None)?, TTL, RData::PTR(PTR(name.clone()))));
    for address in addresses.iter().take(MOST_ADDRESSES) {
        let text = format!("{PREFIX}{address}");
        if text.len() <= LONGEST_TEXT {
            message.add_additional(Record::from_rdata(name.clone(), TTL, RData::TXT(TXT::new(vec![text]))));
        }
    }
    message.to_vec().ok()
}

/// Reads a packet that came from `from`. Whatever is not about members, or names another host, is passed over.
pub(crate) fn read(packet: &[u8], from: IpAddr) -> Option<Heard> {
    let message = Message::from_vec(packet).ok()?;
    let service = service(None)?;
    if message.message_type() == MessageType::Query {
        let asks = |query: &Query| query.query_type() == RecordType::PTR && *query.name() == service;
        return message.queries().iter().any(asks).then_some(Heard::Question);
    }
    let is_there = |address: &SwarmAddress| {
        let host = match address.multiaddr().iter().next() {
            Some(Protocol::Ip4(ip)) => Some(IpAddr::from(ip)),
            Some(Protocol::Ip6(ip)) => Some(IpAddr::from(ip)),
            _ => None,
        };
        address.relay().is_none() && address.peer().is_ok() && host == Some(from)
    };
    let records = message.answers().iter().chain(message.additionals());
    let texts = records
        .filter(|record| service.zone_of(record.name()))
        .filter_map(|it| match it.data() {
            RData::TXT(text) => Some(text.txt_data()),
            _ => None,
        });
    let addresses = texts.flatten().filter_map(|text| {
        let text = std::str::from_utf8(text).ok()?;
        SwarmAddress::parse(text.trim_matches('"').strip_prefix(PREFIX)?).ok()
    });
    let addresses: Vec<_> = addresses.filter(is_there).take(MOST_ADDRESSES).collect();
    (!addresses.is_empty()).then_some(Heard::Answer(addresses))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    const PEER: &str = "12D3KooWRawPbxPtP1eZaJpumGnyWX2DcUyd3RQnydr3eAto4Az7";

    fn host() -> IpAddr {
        [192, 168, 1, 7].into()
    }

    fn addresses(texts: &[&str]) -> Vec<SwarmAddress> {
        let parse = |text: &&str| SwarmAddress::parse(&format!("{text}/p2p/{PEER}")).unwrap();
        texts.iter().map(parse).collect()
    }

    #[test]
    fn what_is_said_is_heard() {
        assert_eq!(read(&question().unwrap(), host()), Some(Heard::Question));
        let here = addresses(&["/ip4/192.168.1.7/tcp/4001"]);
        let packet = answer("abc", &here).unwrap();
        assert_eq!(read(&packet, host()), Some(Heard::Answer(here)));
    }

    #[test]
    fn nobody_speaks_for_another_host() {
        let said = addresses(&[
            "/ip4/192.168.1.7/tcp/1",
            "/ip4/192.168.1.8/tcp/2",
            "/dns4/a.example/tcp/3",
        ]);
        let packet = answer("abc", &said).unwrap();
        assert_eq!(read(&packet, host()), Some(Heard::Answer(said[..1].to_vec())));
        assert_eq!(read(&packet, [192, 168, 1, 9].into()), None);
        let unnamed = [SwarmAddress::parse("/ip4/192.168.1.7/tcp/4001").unwrap()];
        assert_eq!(read(&answer("abc", &unnamed).unwrap(), host()), None);
        let relayed: Vec<_> = unnamed
            .iter()
            .map(|it| it.over(PEER.parse().unwrap()).unwrap())
            .collect();
        assert_eq!(read(&answer("abc", &relayed).unwrap(), host()), None);
    }

    /// As rust-libp2p's own libp2p-mdns 0.48 writes it, and with the bit that asks for an answer to itself alone (RFC 6762, section 5.4).
    #[test]
    fn questions_of_others_are_understood() {
        let stock = b"\0\x2a\0\0\0\x01\0\0\0\0\0\0\x04_p2p\x04_udp\x05local\0\0\x0c\0\x01";
        let to_itself = b"\0\x2a\0\0\0\x01\0\0\0\0\0\0\x04_p2p\x04_udp\x05local\0\0\x0c\x80\x01";
        for packet in [stock, to_itself] {
            assert_eq!(read(packet, host()), Some(Heard::Question));
        }
        let other = b"\0\x2a\0\0\0\x01\0\0\0\0\0\0\x04_ipp\x04_tcp\x05local\0\0\x0c\0\x01";
        assert_eq!(read(other, host()), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_passed_over(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = read(&bytes, host());
        }

        /// Damaged packets give no address of another host.
        #[test]
        fn damaged_packets_are_read_or_passed_over(at in 0_usize..150, byte in any::<u8>()) {
            let mut packet = answer("abc", &addresses(&["/ip4/192.168.1.7/tcp/4001"])).unwrap();
            let at = at % packet.len();
            packet[at] = byte;
            if let Some(Heard::Answer(heard)) = read(&packet, host()) {
                prop_assert!(heard.iter().all(|it| it.to_string().starts_with("/ip4/192.168.1.7/")));
            }
        }
    }
}
