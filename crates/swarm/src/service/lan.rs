//! The local network: multicast on every interface on which the domain listens.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use libp2p::PeerId;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use rand::Rng;
use rand::distr::Alphanumeric;
use socket2::{Domain, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior};

use super::run::Run;
use crate::lan::{Heard, Members, answer, question, read};
use crate::model::{SwarmAddress, UnixMillis};

/// RFC 6762, section 3.
const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
const PORT: u16 = 5353;
/// RFC 6762, section 17: the largest packet, with its headers.
const LARGEST: usize = 9000;
/// It is asked so often who is there.
const ASK_EVERY: Duration = Duration::from_secs(20);
/// RFC 6762, section 6: an answer is not repeated within a second, however many ask.
const BETWEEN_ANSWERS: Duration = Duration::from_secs(1);
/// On how many interfaces it is spoken.
const MOST_INTERFACES: usize = 16;
/// How many packets wait; more are lost, as packets are.
const WAITING: usize = 64;

/// The part that the network's task has.
pub(super) struct Lan {
    here: watch::Sender<Vec<SwarmAddress>>,
    heard: mpsc::Receiver<Vec<SwarmAddress>>,
    members: Members,
    task: AbortHandle,
}

impl Lan {
    pub fn start() -> Self {
        let (here, addresses) = watch::channel(Vec::new());
        let (told, heard) = mpsc::channel(WAITING);
        let task = tokio::spawn(speak(addresses, told)).abort_handle();
        Self {
            here,
            heard,
            members: Members::default(),
            task,
        }
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The interface's own address.
fn host(address: &SwarmAddress) -> Option<Ipv4Addr> {
    match address.multiaddr().iter().next() {
        Some(Protocol::Ip4(ip)) if !ip.is_loopback() && !ip.is_unspecified() => Some(ip),
        _ => None,
    }
}

impl Run {
    /// Says where this domain is, and calls those that were heard.
    pub(super) fn use_lan(&mut self, now: UnixMillis) {
        let name = self.name;
        let with_name = |address: &libp2p::Multiaddr| SwarmAddress::new(address.clone().with_p2p(name).ok()?).ok();
        let listeners = self.swarm.listeners().filter_map(with_name);
        let mut here: Vec<_> = listeners
            .filter(|it| it.relay().is_none() && host(it).is_some())
            .collect();
        here.sort_by_key(ToString::to_string);
        let Some(lan) = &mut self.lan else { return };
        lan.here.send_if_modified(|before| {
            let changed = *before != here;
            *before = here;
            changed
        });
        while let Ok(addresses) = lan.heard.try_recv() {
            lan.members.heard(&name, addresses, now);
        }
        for (peer, addresses) in lan.members.due(now, |peer| self.swarm.is_connected(peer)) {
            self.call_in_lan(peer, &addresses);
        }
    }

    fn call_in_lan(&mut self, peer: PeerId, addresses: &[SwarmAddress]) {
        if self.not_called(&peer).is_some() {
            return;
        }
        let call = DialOpts::peer_id(peer)
            .condition(PeerCondition::DisconnectedAndNotDialing)
            .addresses(addresses.iter().map(|it| it.multiaddr().clone()).collect());
        if let Err(error) = self.swarm.dial(call.build()) {
            tracing::debug!(%peer, %error, "one in the local network is not called");
        }
    }
}

/// One interface.
struct Interface {
    socket: Arc<UdpSocket>,
    reader: AbortHandle,
}

/// Other programs on this machine speak at the same port.
fn open(interface: Ipv4Addr) -> std::io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    socket.set_reuse_address(true)?;
    #[cfg(unix)]
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT)).into())?;
    socket.join_multicast_v4(&GROUP, &interface)?;
    socket.set_multicast_if_v4(&interface)?;
    // RFC 6762, section 11.
    socket.set_multicast_ttl_v4(255)?;
    UdpSocket::from_std(socket.into())
}

type Packet = (Ipv4Addr, Vec<u8>, IpAddr);

async fn listen(interface: Ipv4Addr, socket: Arc<UdpSocket>, packets: mpsc::Sender<Packet>) {
    let mut buffer = vec![0; LARGEST];
    loop {
        match socket.recv_from(&mut buffer).await {
            Ok((length, from)) => {
                // Full: lost.
                let _ = packets.try_send((interface, buffer[..length].to_vec(), from.ip()));
            }
            Err(error) => {
                tracing::debug!(%interface, %error, "nothing is heard in the local network right now");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

/// Opens what is new, and closes what is gone.
fn follow(
    interfaces: &mut HashMap<Ipv4Addr, Interface>,
    here: &[SwarmAddress],
    readers: &mut JoinSet<()>,
    packets: &mpsc::Sender<Packet>,
) {
    let wanted: Vec<_> = here.iter().filter_map(host).take(MOST_INTERFACES).collect();
    interfaces.retain(|ip, interface| {
        let stays = wanted.contains(ip);
        if !stays {
            interface.reader.abort();
        }
        stays
    });
    for ip in wanted {
        if interfaces.contains_key(&ip) {
            continue;
        }
        match open(ip) {
            Ok(socket) => {
                let socket = Arc::new(socket);
                let reader = readers.spawn(listen(ip, socket.clone(), packets.clone()));
                interfaces.insert(ip, Interface { socket, reader });
            }
            Err(error) => tracing::warn!(interface = %ip, %error, "members in this local network are not looked for"),
        }
    }
}

async fn send(socket: &UdpSocket, packet: Option<Vec<u8>>) {
    if let Some(packet) = packet
        && let Err(error) = socket.send_to(&packet, SocketAddrV4::new(GROUP, PORT)).await
    {
        tracing::debug!(%error, "nothing can be said in the local network right now");
    }
}

/// Asks and answers until the swarm is left.
async fn speak(mut addresses: watch::Receiver<Vec<SwarmAddress>>, told: mpsc::Sender<Vec<SwarmAddress>>) {
    let instance: String = rand::rng().sample_iter(Alphanumeric).take(32).map(char::from).collect();
    let (packets, mut arrived) = mpsc::channel(WAITING);
    let (mut interfaces, mut readers) = (HashMap::new(), JoinSet::new());
    // When to answer, and when that was done last, by interface.
    let mut answers: HashMap<Ipv4Addr, Instant> = HashMap::new();
    let mut answered: HashMap<Ipv4Addr, Instant> = HashMap::new();
    let mut ask = tokio::time::interval(ASK_EVERY);
    ask.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let next_answer = answers.values().min().copied();
        tokio::select! {
            changed = addresses.changed() => {
                if changed.is_err() {
                    return;
                }
                let here = addresses.borrow_and_update().clone();
                follow(&mut interfaces, &here, &mut readers, &packets);
                answers.retain(|ip, _| interfaces.contains_key(ip));
                answered.retain(|ip, _| interfaces.contains_key(ip));
                ask.reset_immediately();
            }
            _ = ask.tick() => {
                let here = addresses.borrow().clone();
                follow(&mut interfaces, &here, &mut readers, &packets);
                for interface in interfaces.values() {
                    send(&interface.socket, question()).await;
                }
            }
            Some((ip, packet, from)) = arrived.recv() => match read(&packet, from) {
                Some(Heard::Question) => {
                    let now = Instant::now();
                    let earliest = answered.get(&ip).map_or(now, |last| (*last + BETWEEN_ANSWERS).max(now));
                    answers.entry(ip).or_insert(earliest);
                }
                Some(Heard::Answer(heard)) => {
                    // Full: they say it again.
                    let _ = told.try_send(heard);
                }
                None => {}
            },
            () = tokio::time::sleep_until(next_answer.unwrap_or_else(Instant::now)), if next_answer.is_some() => {
                let now = Instant::now();
                let due: Vec<_> = answers.iter().filter(|(_, at)| **at <= now).map(|(ip, _)| *ip).collect();
                for ip in due {
                    answers.remove(&ip);
                    answered.insert(ip, now);
                    let here: Vec<_> = addresses.borrow().iter().filter(|it| host(it) == Some(ip)).cloned().collect();
                    if let Some(interface) = interfaces.get(&ip) {
                        send(&interface.socket, answer(&instance, &here)).await;
                    }
                }
            }
        }
    }
}
