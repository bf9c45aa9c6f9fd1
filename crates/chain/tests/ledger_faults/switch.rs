//! A network between namespaces whose every packet this program passes on: or not, late, twice, or after those behind it.
//!
//! Linux can do the same with `tc netem`, where the kernel has that module; this works wherever there is `/dev/net/tun`.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::task::JoinSet;
use tokio_tun::Tun;

use hanse_sandbox::{NetworkNamespace, must};

/// The port on which every node takes consensus connections, each in its own namespace.
const PORT: u16 = 26_656;
const MTU: usize = 1500;

/// What happens to packets, each for itself. Shares are of 0 to 1.
#[derive(Debug, Clone, Copy, Default)]
pub struct Weather {
    /// Each packet takes a time in this range; those that take less overtake.
    pub delay_ms: (u64, u64),
    pub lost: f64,
    pub duplicated: f64,
}

/// How many packets met what.
#[derive(Debug, Clone, Copy, Default)]
pub struct Fates {
    pub passed: u64,
    pub cut: u64,
    pub lost: u64,
    pub duplicated: u64,
}

struct State {
    weather: Weather,
    /// Whether packets go from the first to the second.
    linked: Box<dyn Fn(usize, usize) -> bool + Send>,
    random: StdRng,
    fates: Fates,
}

/// The network. Ports are numbered from 0.
pub struct Switch {
    state: Arc<Mutex<State>>,
    namespaces: Vec<NetworkNamespace>,
    _tasks: JoinSet<()>,
}

fn address(port: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, u8::try_from(port + 1).unwrap())
}

impl Switch {
    /// A network of so many namespaces, in which everything goes well.
    pub fn new(ports: usize, seed: u64) -> Self {
        let state = Arc::new(Mutex::new(State {
            weather: Weather::default(),
            linked: Box::new(|_, _| true),
            random: StdRng::seed_from_u64(seed),
            fates: Fates::default(),
        }));
        let mut namespaces = Vec::new();
        let mut devices = Vec::new();
        for port in 0..ports {
            let namespace = NetworkNamespace::new();
            let name = format!("node{port}");
            let device = Tun::builder().name(&name).build().expect("a TUN device").remove(0);
            must("ip", &["link", "set", &name, "netns", &namespace.process()]);
            let own = format!("{}/24", address(port));
            namespace.run(&["ip", "address", "add", &own, "dev", &name]);
            namespace.run(&["ip", "link", "set", &name, "up", "mtu", &MTU.to_string()]);
            devices.push(Arc::new(device));
            namespaces.push(namespace);
        }
        let mut tasks = JoinSet::new();
        for from in 0..ports {
            tasks.spawn(pass_on(from, devices.clone(), state.clone()));
        }
        Self {
            state,
            namespaces,
            _tasks: tasks,
        }
    }

    pub fn address(&self, port: usize) -> SocketAddr {
        (address(port), PORT).into()
    }

    /// What puts a command into the namespace of a port.
    pub fn prefix(&self, port: usize) -> Vec<String> {
        self.namespaces[port].prefix()
    }

    pub fn set_weather(&self, weather: Weather) {
        self.state.lock().unwrap().weather = weather;
    }

    /// From now on packets pass where this says so.
    pub fn link(&self, linked: impl Fn(usize, usize) -> bool + Send + 'static) {
        self.state.lock().unwrap().linked = Box::new(linked);
    }

    pub fn fates(&self) -> Fates {
        self.state.lock().unwrap().fates
    }
}

impl State {
    /// After how long a packet arrives, once for each time that it does.
    fn arrivals(&mut self, from: usize, to: usize) -> Vec<Duration> {
        if !(self.linked)(from, to) {
            self.fates.cut += 1;
            return Vec::new();
        }
        if self.random.random_bool(self.weather.lost) {
            self.fates.lost += 1;
            return Vec::new();
        }
        self.fates.passed += 1;
        let twice = self.random.random_bool(self.weather.duplicated);
        self.fates.duplicated += u64::from(twice);
        let (least, most) = self.weather.delay_ms;
        (0..1 + usize::from(twice))
            .map(|_| Duration::from_micros(self.random.random_range(least * 1000..=most * 1000)))
            .collect()
    }
}

async fn pass_on(from: usize, devices: Vec<Arc<Tun>>, state: Arc<Mutex<State>>) {
    let mut packet = [0; MTU];
    loop {
        let length = match devices[from].recv(&mut packet).await {
            Ok(length) => length,
            Err(error) => panic!("the device of port {from}: {error}"),
        };
        // RFC 791: the version is in the first four bits, the destination in bytes 16 to 19. What else there is, such as
        // IPv6 neighbour discovery, has nobody to go to.
        let version = packet[0] >> 4;
        let Some(to) = (0..devices.len()).find(|port| packet[16..20] == address(*port).octets()) else {
            continue;
        };
        if version != 4 || length < 20 {
            continue;
        }
        let arrivals = state.lock().unwrap().arrivals(from, to);
        for after in arrivals {
            let device = devices[to].clone();
            if after.is_zero() {
                let _ = device.send(&packet[..length]).await;
                continue;
            }
            let packet = packet[..length].to_vec();
            tokio::spawn(async move {
                tokio::time::sleep(after).await;
                // A full queue drops packets, as networks do.
                let _ = device.send(&packet).await;
            });
        }
    }
}
