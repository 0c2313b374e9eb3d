//! A network with a delay: two hosts, each in a network namespace of its own, and a cable between
//! them that this process is.
//!
//! The loopback interface, and a proxy on it that delays, hide what a start costs over a network:
//! the handshake of TCP, segments of 1500 bytes, the first window. Here the kernel's own TCP talks
//! through two TUN devices, and each packet is carried over after half a round trip.

use std::collections::VecDeque;
use std::ffi::CStr;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::libc;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::prctl::set_timerslack;
use nix::sys::time::TimeSpec;

/// Addresses for documentation (RFC 5737): nobody else's.
const ADDRESSES: [Ipv4Addr; 2] = [Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2)];
const DEVICE: &CStr = c"far0";
/// The devices' MTU, in bytes: no packet is larger.
const PACKET: usize = 1500;
/// A port that nobody listens on: the kernel refuses a connection to it at once (RFC 863, which
/// nobody serves any more).
const CLOSED: u16 = 9;
/// How often a round trip is measured.
const MEASURED: usize = 21;
/// How long the cable sleeps at most before it looks whether it is still wanted.
const LOOK: Duration = Duration::from_millis(50);

/// Two hosts that are a round trip apart.
pub struct DelayedNetwork {
    hosts: [Host; 2],
    count: Arc<Mutex<Count>>,
    /// Of a packet, in nanoseconds.
    delay: Arc<AtomicU64>,
    wanted: Arc<AtomicBool>,
    cable: Option<JoinHandle<()>>,
}

/// A network namespace.
struct Host(File);

/// Which end of the cable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Where clients are.
    Near,
    /// Where servers are.
    Far,
}

/// Counts round trips with clocks that know nothing of time (Lamport's): a packet carries the clock
/// of its sender, and sets that of its receiver to half a round trip later. What is sent before an
/// answer came counts as sent at once, however slow the machine is.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    /// In half round trips.
    clocks: [u32; 2],
    /// That of the client when it last closed a connection.
    closed: Option<u32>,
    packets: [u32; 2],
    /// What was sent before a reset does not count after it.
    epoch: u32,
}

struct Packet {
    due: Instant,
    from: Side,
    clock: u32,
    epoch: u32,
    bytes: Vec<u8>,
}

impl DelayedNetwork {
    /// Two hosts with this time for the way there and back.
    ///
    /// # Errors
    /// Where no namespace or no device can be made: it takes the rights of root, `/dev/net/tun` and
    /// iproute2.
    pub fn new(round_trip: Duration) -> io::Result<Self> {
        let (near, near_device) = host(Side::Near)?;
        let (far, far_device) = host(Side::Far)?;
        let (count, wanted) = (Arc::default(), Arc::new(AtomicBool::new(true)));
        let delay = Arc::new(AtomicU64::new(nanoseconds(round_trip / 2)));
        let cable = Cable {
            devices: [near_device, far_device],
            delay: Arc::clone(&delay),
            count: Arc::clone(&count),
            on_the_way: VecDeque::new(),
        };
        let flag = Arc::clone(&wanted);
        Ok(Self {
            hosts: [near, far],
            count,
            delay,
            wanted,
            cable: Some(thread::spawn(move || cable.carry(&flag))),
        })
    }

    /// The address of a host.
    pub fn address(side: Side) -> IpAddr {
        ADDRESSES[side as usize].into()
    }

    /// Does something on a host: sockets and processes that it makes are there.
    pub fn on<T: Send>(&self, side: Side, work: impl FnOnce() -> T + Send) -> T {
        let host = &self.hosts[side as usize];
        let inside = move || {
            setns(&host.0, CloneFlags::CLONE_NEWNET).expect("a namespace of our own");
            work()
        };
        thread::scope(|scope| scope.spawn(inside).join().expect("the work"))
    }

    /// Makes the way there and back take this long as a client sees it: what the machine needs to
    /// carry a packet is part of it. Nothing is to be on the way meanwhile.
    pub fn calibrate(&self, round_trip: Duration) {
        let excess = self.round_trip().saturating_sub(round_trip);
        self.delay.fetch_sub(nanoseconds(excess / 2), Ordering::Relaxed);
    }

    /// How long the way there and back takes as a client sees it: the median of connections that
    /// are refused.
    pub fn round_trip(&self) -> Duration {
        let refused = || {
            let began = Instant::now();
            assert!(
                TcpStream::connect((Self::address(Side::Far), CLOSED)).is_err(),
                "nobody listens"
            );
            began.elapsed()
        };
        let mut took: Vec<Duration> =
            self.on(Side::Near, || (0..MEASURED).map(|_| refused()).collect());
        took.sort();
        took[MEASURED / 2]
    }

    /// Counts from here.
    pub fn reset(&self) {
        let mut count = self.count();
        *count = Count { epoch: count.epoch + 1, ..Count::default() };
    }

    /// How many round trips had been made when the near host last closed a connection, if it has
    /// closed one.
    pub fn round_trips(&self) -> Option<u32> {
        self.count().closed.map(|clock| clock / 2)
    }

    /// How many packets each side has sent.
    pub fn packets(&self) -> [u32; 2] {
        self.count().packets
    }

    fn count(&self) -> MutexGuard<'_, Count> {
        lock(&self.count)
    }
}

impl Drop for DelayedNetwork {
    fn drop(&mut self) {
        self.wanted.store(false, Ordering::Relaxed);
        // A panic over there has been printed.
        let _ = self.cable.take().map(JoinHandle::join);
    }
}

impl Side {
    fn other(self) -> Self {
        if self == Self::Near { Self::Far } else { Self::Near }
    }
}

/// A namespace with a device in it, made by a thread that stays in it as long as that takes.
fn host(side: Side) -> io::Result<(Host, File)> {
    let make = move || {
        unshare(CloneFlags::CLONE_NEWNET)?;
        let device = device()?;
        let address = format!("{}/24", ADDRESSES[side as usize]);
        let name = DEVICE.to_str().expect("ASCII");
        for words in [
            &["link", "set", "lo", "up"][..],
            &["address", "add", &address, "dev", name],
            &["link", "set", name, "up"],
        ] {
            let output = Command::new("ip").args(words).output()?;
            if !output.status.success() {
                return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()));
            }
        }
        Ok((Host(File::open("/proc/thread-self/ns/net")?), device))
    };
    thread::spawn(make).join().expect("a host")
}

/// A TUN device of this thread's namespace (Linux' `networking/tuntap.rst`): each read is a packet,
/// each write too.
fn device() -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open("/dev/net/tun")?;
    #[allow(unsafe_code, reason = "a device can only be made with unsafe calls")]
    // SAFETY: all zeroes is a valid `ifreq`; its name is longer than ours and stays terminated;
    // TUNSETIFF reads and writes an `ifreq`, which is there during the call, and the descriptor
    // is open.
    let made = unsafe {
        let mut request: libc::ifreq = std::mem::zeroed();
        for (to, from) in request.ifr_name.iter_mut().zip(DEVICE.to_bytes()) {
            *to = from.cast_signed();
        }
        request.ifr_ifru.ifru_flags =
            libc::c_short::try_from(libc::IFF_TUN | libc::IFF_NO_PI).expect("small");
        libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request)
    };
    if made == 0 { Ok(file) } else { Err(io::Error::last_os_error()) }
}

/// Carries packets from each device to the other one.
struct Cable {
    devices: [File; 2],
    delay: Arc<AtomicU64>,
    count: Arc<Mutex<Count>>,
    /// In the order in which they are due: the delay is the same for all that are under way at one
    /// time.
    on_the_way: VecDeque<Packet>,
}

impl Cable {
    fn carry(mut self, wanted: &AtomicBool) {
        // In nanoseconds; the usual 50000 would be on top of each half round trip (prctl(2)). Where
        // it is refused, they are.
        let _ = set_timerslack(1);
        while wanted.load(Ordering::Relaxed) {
            self.deliver();
            self.wait();
            for side in [Side::Near, Side::Far] {
                self.take(side);
            }
        }
    }

    fn wait(&self) {
        let next = self
            .on_the_way
            .front()
            .map_or(LOOK, |packet| packet.due.saturating_duration_since(Instant::now()));
        let [near, far] = &self.devices;
        let mut both = [near, far].map(|device| PollFd::new(device.as_fd(), PollFlags::POLLIN));
        // An interruption is as good as an event: it looks again.
        let _ = ppoll(&mut both, Some(TimeSpec::from_duration(next.min(LOOK))), None);
    }

    /// Takes what a host has sent. Only IPv4 goes over: what IPv6 says by itself of a new interface
    /// would count, too.
    fn take(&mut self, from: Side) {
        let mut buffer = [0; PACKET];
        while let Ok(length) = (&self.devices[from as usize]).read(&mut buffer) {
            let bytes = &buffer[..length];
            if bytes.first().is_none_or(|first| first >> 4 != 4) {
                continue;
            }
            let (clock, epoch) = self.sent(from, bytes);
            let delay = Duration::from_nanos(self.delay.load(Ordering::Relaxed));
            self.on_the_way.push_back(Packet {
                due: Instant::now() + delay,
                from,
                clock,
                epoch,
                bytes: bytes.to_vec(),
            });
        }
    }

    fn sent(&self, from: Side, bytes: &[u8]) -> (u32, u32) {
        let mut count = lock(&self.count);
        count.packets[from as usize] += 1;
        let clock = count.clocks[from as usize];
        if from == Side::Near && ends(bytes) {
            count.closed = Some(clock);
        }
        (clock, count.epoch)
    }

    fn deliver(&mut self) {
        while let Some(packet) = self.on_the_way.pop_front_if(|packet| packet.due <= Instant::now())
        {
            let to = packet.from.other();
            let mut count = lock(&self.count);
            if count.epoch == packet.epoch {
                count.clocks[to as usize] = count.clocks[to as usize].max(packet.clock + 1);
            }
            drop(count);
            // A device that takes no more loses packets, as a network does.
            let _ = (&self.devices[to as usize]).write(&packet.bytes);
        }
    }
}

fn nanoseconds(time: Duration) -> u64 {
    time.as_nanos().try_into().expect("less than centuries")
}

fn lock(count: &Mutex<Count>) -> MutexGuard<'_, Count> {
    count.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether an IPv4 packet has a TCP segment with FIN or RST (RFC 791, RFC 9293).
fn ends(bytes: &[u8]) -> bool {
    let header = bytes.first().map_or(0, |first| usize::from(first & 15) * 4);
    bytes.get(9) == Some(&6) && bytes.get(header + 13).is_some_and(|flags| flags & 5 != 0)
}
