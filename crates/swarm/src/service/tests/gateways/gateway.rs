//! Gateways that translate addresses (NAT), between networks that are namespaces: this program passes every packet on, or not.
//!
//! The kernel's own translation is not everywhere: `/dev/net/tun` is.

use std::collections::{HashMap, HashSet};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::{Arc, Mutex};

use hanse_sandbox::{NetworkNamespace, must};
use tokio::task::JoinSet;
use tokio_tun::Tun;

const MTU: usize = 1500;
/// RFC 791 and RFC 9293: IPv4 without options, carrying TCP.
const IPV4_OF_20_BYTES: u8 = 0x45;
const TCP: u8 = 6;

/// Where everybody can be called.
pub const OUTSIDE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
/// Where the domains are, behind their gateways.
const INSIDE: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 1, 0, 2), Ipv4Addr::new(10, 2, 0, 2)];

/// How a gateway chooses the port that others see (RFC 4787, section 4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mapping {
    /// One for each port inside: both sides calling at once opens the way.
    EndpointIndependent,
    /// Another one for each that is called: nobody knows it before.
    EndpointDependent,
}

/// One gateway. What comes from outside passes only if it was called from inside before (RFC 4787, section 5).
struct Gateway {
    mapping: Mapping,
    inside: Ipv4Addr,
    outside: Ipv4Addr,
    /// The port outside, by the port inside, and by who is called if that counts.
    ports: HashMap<(u16, Option<SocketAddrV4>), u16>,
    called: HashSet<(u16, SocketAddrV4)>,
    refused: usize,
}

fn address(packet: &[u8], at: usize, port_at: usize) -> SocketAddrV4 {
    let ip = Ipv4Addr::new(packet[at], packet[at + 1], packet[at + 2], packet[at + 3]);
    SocketAddrV4::new(ip, u16::from_be_bytes([packet[port_at], packet[port_at + 1]]))
}

fn source(packet: &[u8]) -> SocketAddrV4 {
    address(packet, 12, 20)
}

fn target(packet: &[u8]) -> SocketAddrV4 {
    address(packet, 16, 22)
}

fn write(packet: &mut [u8], at: usize, port_at: usize, address: SocketAddrV4) {
    packet[at..at + 4].copy_from_slice(&address.ip().octets());
    packet[port_at..port_at + 2].copy_from_slice(&address.port().to_be_bytes());
    let sum = |bytes: &[u8]| -> u32 {
        let words = bytes.chunks(2);
        words
            .map(|word| u32::from(word[0]) << 8 | u32::from(word.get(1).copied().unwrap_or(0)))
            .sum()
    };
    let folded = |mut sum: u32| {
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        (!u16::try_from(sum).unwrap()).to_be_bytes()
    };
    // RFC 1071: the sum over the header, and over addresses, protocol, length and segment.
    packet[10..12].fill(0);
    let header = folded(sum(&packet[..20]));
    packet[10..12].copy_from_slice(&header);
    packet[36..38].fill(0);
    let length = u32::try_from(packet.len() - 20).unwrap();
    let segment = folded(sum(&packet[12..20]) + u32::from(TCP) + length + sum(&packet[20..]));
    packet[36..38].copy_from_slice(&segment);
}

impl Gateway {
    fn outwards(&mut self, packet: &mut [u8]) {
        let (from, to) = (source(packet), target(packet));
        let called = (self.mapping == Mapping::EndpointDependent).then_some(to);
        let next = 20_000 + u16::try_from(self.ports.len()).unwrap();
        let port = *self.ports.entry((from.port(), called)).or_insert(next);
        self.called.insert((port, to));
        write(packet, 12, 20, SocketAddrV4::new(self.outside, port));
    }

    fn inwards(&mut self, packet: &mut [u8]) -> bool {
        let (from, to) = (source(packet), target(packet));
        let inside = self.ports.iter().find(|(_, port)| **port == to.port());
        match inside.filter(|_| self.called.contains(&(to.port(), from))) {
            Some(((port, _), _)) => {
                write(packet, 16, 22, SocketAddrV4::new(self.inside, *port));
                true
            }
            None => {
                self.refused += 1;
                false
            }
        }
    }
}

/// Two networks behind gateways of their own; this process is outside, at [`OUTSIDE`].
pub struct Gateways {
    namespaces: Vec<NetworkNamespace>,
    gateways: Arc<Mutex<Vec<Gateway>>>,
    _tasks: JoinSet<()>,
}

impl Gateways {
    pub fn new(mapping: Mapping) -> Self {
        let device = |name: &str| Arc::new(Tun::builder().name(name).build().expect("a TUN device").remove(0));
        let mut devices = vec![device("outside")];
        must("ip", &["address", "add", &format!("{OUTSIDE}/24"), "dev", "outside"]);
        must("ip", &["link", "set", "outside", "up"]);
        let (mut namespaces, mut gateways) = (Vec::new(), Vec::new());
        for (number, inside) in INSIDE.into_iter().enumerate() {
            let (name, namespace) = (format!("inside{number}"), NetworkNamespace::new());
            devices.push(device(&name));
            must("ip", &["link", "set", &name, "netns", &namespace.process()]);
            namespace.run(&["ip", "address", "add", &format!("{inside}/24"), "dev", &name]);
            namespace.run(&["ip", "link", "set", &name, "up"]);
            namespace.run(&["ip", "route", "add", "default", "dev", &name]);
            namespaces.push(namespace);
            gateways.push(Gateway {
                mapping,
                inside,
                outside: Ipv4Addr::new(198, 51, 100, 11 + u8::try_from(number).unwrap()),
                ports: HashMap::new(),
                called: HashSet::new(),
                refused: 0,
            });
        }
        let gateways = Arc::new(Mutex::new(gateways));
        let mut tasks = JoinSet::new();
        for from in 0..devices.len() {
            tasks.spawn(pass_on(from, devices.clone(), gateways.clone()));
        }
        Self {
            namespaces,
            gateways,
            _tasks: tasks,
        }
    }

    /// What has to stand before a command that runs behind this gateway.
    pub fn prefix(&self, number: usize) -> Vec<String> {
        self.namespaces[number].prefix()
    }

    /// How many packets from outside were let pass by no gateway.
    pub fn refused(&self) -> usize {
        self.gateways.lock().unwrap().iter().map(|it| it.refused).sum()
    }
}

/// Passes on what comes from device 0 (outside) or from the one behind gateway `from - 1`.
async fn pass_on(from: usize, devices: Vec<Arc<Tun>>, gateways: Arc<Mutex<Vec<Gateway>>>) {
    let mut packet = [0; MTU];
    loop {
        let length = devices[from].recv(&mut packet).await.expect("a device is read");
        let packet = &mut packet[..length];
        if length < 40 || packet[0] != IPV4_OF_20_BYTES || packet[9] != TCP {
            continue;
        }
        let to = {
            let mut gateways = gateways.lock().unwrap();
            if from > 0 {
                gateways[from - 1].outwards(packet);
            }
            let outside = *target(packet).ip();
            match gateways.iter().position(|it| it.outside == outside) {
                Some(number) if gateways[number].inwards(packet) => number + 1,
                None if outside == OUTSIDE => 0,
                _ => continue,
            }
        };
        // A full queue drops packets, as networks do.
        let _ = devices[to].send(packet).await;
    }
}
