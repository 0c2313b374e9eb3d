//! A name server over UDP (RFC 1035), for as long as the tests run.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::thread;
use std::time::Duration;

/// The answer for a name.
#[derive(Clone, Debug)]
pub enum Names {
    /// It has these addresses, in this order.
    Addresses(Vec<IpAddr>),
    /// The same, after this time.
    Late(Duration, Vec<IpAddr>),
    /// These addresses, in this order; a question for another kind of address is answered as if the
    /// name had none.
    Only(Vec<IpAddr>, Box<Names>),
    /// There is no such name (NXDOMAIN).
    Unknown,
    /// The server itself has failed (SERVFAIL).
    Failure,
    /// The server does not answer such questions (REFUSED).
    Refusal,
    /// Nothing.
    Silence,
}

const NO_ERROR: u8 = 0;
const SERVFAIL: u8 = 2;
const NXDOMAIN: u8 = 3;
const REFUSED: u8 = 5;
const A: u16 = 1;
const AAAA: u16 = 28;
const HEADER: usize = 12;

/// Listens at this address, and answers each name with what the function returns.
pub fn name_server(address: SocketAddr, say: impl Fn(&str) -> Names + Send + 'static) {
    let socket = UdpSocket::bind(address).expect("a free port");
    thread::spawn(move || {
        let mut packet = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut packet) {
            let Some(question) = Question::of(&packet[..length]) else { continue };
            let socket = socket.try_clone().expect("a socket");
            let said = say(&question.name());
            // Each in its own thread: one answer may be late and the next one in time.
            thread::spawn(move || {
                answer(&question, said).map(|answer| socket.send_to(&answer, from))
            });
        }
    });
}

/// The id from the header and the only question of a query, as received.
struct Question {
    id: [u8; 2],
    question: Vec<u8>,
}

impl Question {
    /// Parses labels up to an empty one, the type and the class.
    fn of(packet: &[u8]) -> Option<Self> {
        let mut end = HEADER;
        while *packet.get(end)? != 0 {
            end += 1 + usize::from(packet[end]);
        }
        let question = packet.get(HEADER..end + 5)?.to_vec();
        Some(Self { id: [packet[0], packet[1]], question })
    }

    fn name(&self) -> String {
        let mut labels = Vec::new();
        let mut rest = &self.question[..];
        while let Some((length @ 1.., after)) =
            rest.split_first().map(|(length, after)| (usize::from(*length), after))
        {
            labels.push(String::from_utf8_lossy(&after[..length]).to_lowercase());
            rest = &after[length..];
        }
        labels.join(".")
    }

    fn kind(&self) -> u16 {
        let at = self.question.len() - 4;
        u16::from_be_bytes([self.question[at], self.question[at + 1]])
    }

    fn answered(&self, code: u8, addresses: &[IpAddr]) -> Vec<u8> {
        let records: Vec<Vec<u8>> =
            addresses.iter().filter_map(|address| record(self.kind(), *address)).collect();
        let count = u8::try_from(records.len()).expect("few addresses");
        // A response with one question, recursion desired and available, and only answer records
        // after it.
        let header = [self.id[0], self.id[1], 0x81, 0x80 | code, 0, 1, 0, count, 0, 0, 0, 0];
        [&header[..], &self.question, &records.concat()].concat()
    }
}

/// Returns a record for the name in the question, if the address is of the kind that was asked for.
fn record(kind: u16, address: IpAddr) -> Option<Vec<u8>> {
    let data = match (kind, address) {
        (A, IpAddr::V4(address)) => address.octets().to_vec(),
        (AAAA, IpAddr::V6(address)) => address.octets().to_vec(),
        _ => return None,
    };
    let [high, low] = kind.to_be_bytes();
    let length = u8::try_from(data.len()).expect("an address");
    Some([&[0xc0, 12, high, low, 0, 1, 0, 0, 0, 60, 0, length], &data[..]].concat())
}

fn answer(question: &Question, said: Names) -> Option<Vec<u8>> {
    match said {
        Names::Addresses(addresses) => Some(question.answered(NO_ERROR, &addresses)),
        Names::Late(time, addresses) => {
            thread::sleep(time);
            Some(question.answered(NO_ERROR, &addresses))
        }
        Names::Only(addresses, other) => {
            let of_kind = |address: &IpAddr| record(question.kind(), *address).is_some();
            let is_known = addresses.iter().any(of_kind);
            answer(question, if is_known { Names::Addresses(addresses) } else { *other })
        }
        Names::Refusal => Some(question.answered(REFUSED, &[])),
        Names::Unknown => Some(question.answered(NXDOMAIN, &[])),
        Names::Failure => Some(question.answered(SERVFAIL, &[])),
        Names::Silence => None,
    }
}
