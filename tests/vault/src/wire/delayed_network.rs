//! A network with a delay: two hosts, each in its own network namespace, and a cable between them,
//! which is this process.
//!
//! The loopback interface, and a proxy on it that delays, hide what a start costs over a network:
//! the TCP handshake, segments of 1500 bytes, the first window. Here the kernel's own TCP talks
//! through two TUN devices, and each packet is delivered after half a round trip.

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

/// Addresses for documentation (RFC 5737): nobody uses them.
const ADDRESSES: [Ipv4Addr; 2] = [Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2)];
const DEVICE: &CStr = c"far0";
/// The devices' MTU, in bytes: no packet is larger.
const PACKET: usize = 1500;
/// A port that nobody listens on: the kernel refuses a connection to it at once (RFC 863, a service
/// that nobody offers any more).
const CLOSED: u16 = 9;
/// How often a round trip is measured.
const MEASURED: usize = 21;
/// How long the cable sleeps at most before it checks whether it is still needed.
const LOOK: Duration = Duration::from_millis(50);

/// Two hosts that are a round trip apart.
pub struct DelayedNetwork {
    hosts: [Host; 2],
    count: Arc<Mutex<Count>>,
    /// The delay of a packet, in nanoseconds.
    delay: Arc<AtomicU64>,
    wanted: Arc<AtomicBool>,
    cable: Option<JoinHandle<()>>,
}

/// A network namespace.
struct Host(File);

/// The end of the cable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Where clients are.
    Near,
    /// Where servers are.
    Far,
}

/// Counts round trips with clocks that are independent of time (Lamport clocks): a packet carries
/// the clock of its sender, and sets that of its receiver to half a round trip later. Anything that
/// is sent before an answer has come counts as sent at once, however slow the machine is.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    /// In half round trips.
    clocks: [u32; 2],
    /// The client's clock when it last closed a connection.
    closed: Option<u32>,
    packets: [u32; 2],
    /// Packets that were sent before a reset do not count after it.
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
    /// Makes two hosts with this round-trip time.
    ///
    /// # Errors
    /// If no namespace or device can be made: it needs root's rights, `/dev/net/tun` and iproute2.
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

    /// Returns the address of a host.
    pub fn address(side: Side) -> IpAddr {
        ADDRESSES[side as usize].into()
    }

    /// Does something on a host: the sockets and processes that it makes are there.
    pub fn on<T: Send>(&self, side: Side, work: impl FnOnce() -> T + Send) -> T {
        let host = &self.hosts[side as usize];
        let inside = move || {
            setns(&host.0, CloneFlags::CLONE_NEWNET).expect("a namespace of our own");
            work()
        };
        thread::scope(|scope| scope.spawn(inside).join().expect("the work"))
    }

    /// Makes a round trip take this long as a client sees it, including the time that the machine
    /// needs to carry a packet. Nothing may be under way meanwhile.
    pub fn calibrate(&self, round_trip: Duration) {
        let excess = self.round_trip().saturating_sub(round_trip);
        self.delay.fetch_sub(nanoseconds(excess / 2), Ordering::Relaxed);
    }

    /// Returns the round-trip time as a client sees it: the median of connections that are refused.
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

    /// Restarts the count.
    pub fn reset(&self) {
        let mut count = self.count();
        *count = Count { epoch: count.epoch + 1, ..Count::default() };
    }

    /// Returns how many round trips had been made when the near host last closed a connection, if
    /// it has closed one.
    pub fn round_trips(&self) -> Option<u32> {
        self.count().closed.map(|clock| clock / 2)
    }

    /// Returns how many packets each side has sent.
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
        // A panic in that thread has been printed.
        let _ = self.cable.take().map(JoinHandle::join);
    }
}

impl Side {
    fn other(self) -> Self {
        if self == Self::Near { Self::Far } else { Self::Near }
    }
}

/// Makes a namespace with a device in it, in a thread that stays there until that is done.
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

/// Opens a TUN device in this thread's namespace (Linux' `networking/tuntap.rst`): each read is a
/// packet, and so is each write.
fn device() -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open("/dev/net/tun")?;
    #[allow(unsafe_code, reason = "a device can only be made with unsafe calls")]
    // SAFETY: all zeroes is a valid `ifreq`; its name field is longer than our name and stays
    // terminated. TUNSETIFF reads and writes an `ifreq`, which exists during the call, and the
    // descriptor is open.
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
    /// In the order in which they are due: at any time the delay is the same for all that are under
    /// way.
    on_the_way: VecDeque<Packet>,
}

impl Cable {
    fn carry(mut self, wanted: &AtomicBool) {
        // In nanoseconds; the usual 50000 would be added to each half round trip (prctl(2)), and
        // still is if this is refused.
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
        // An interruption is treated as an event: it checks again.
        let _ = ppoll(&mut both, Some(TimeSpec::from_duration(next.min(LOOK))), None);
    }

    /// Takes what a host has sent. Only IPv4 is carried: what IPv6 announces by itself on a new
    /// interface would count, too.
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
            // A device that is full loses packets, as a network does.
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

/// Returns whether an IPv4 packet contains a TCP segment with FIN or RST (RFC 791, RFC 9293).
fn ends(bytes: &[u8]) -> bool {
    let header = bytes.first().map_or(0, |first| usize::from(first & 15) * 4);
    bytes.get(9) == Some(&6) && bytes.get(header + 13).is_some_and(|flags| flags & 5 != 0)
}
