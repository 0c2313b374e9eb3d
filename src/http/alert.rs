//! What a TLS alert that ends the handshake means about the server (pure): RFC 8446, 6.2.

use rustls::AlertDescription as Alert;

use crate::error::{Code, Error};

const OF_NAME: &str = "set VAULT_TLS_SERVER_NAME to a name that it has, or use that name in \
                       VAULT_ADDR";
const OF_PROTOCOL: &str = "TLS 1.2 with ECDHE and AES-GCM or ChaCha20 is the least that is spoken, with a server's key \
     of RSA, ECDSA P-256 or P-384, or Ed25519 (not P-521 or Ed448); a server may also say so where \
     it wants a client certificate";
const OF_CERTIFICATE: &str = "set VAULT_CLIENT_CERT and VAULT_CLIENT_KEY to one that it accepts";
const OF_BYTES: &str = "does something in between, such as a proxy or a firewall that looks into \
                        TLS, change what is sent?";
const OF_SERVER: &str = "the server's log says why. Some servers say so of a name that they do not \
                         know: VAULT_TLS_SERVER_NAME is the name that is asked for";

/// Returns the error that an alert stands for, and whether the failure may pass.
pub(crate) fn understood(alert: Alert) -> (Error, bool) {
    let (words, hint) = match alert {
        Alert::UnrecognisedName => ("the server has no certificate for this name", OF_NAME),
        Alert::ProtocolVersion | Alert::HandshakeFailure | Alert::InsufficientSecurity => {
            ("no common TLS version or cipher", OF_PROTOCOL)
        }
        Alert::NoApplicationProtocol => (
            "the server speaks neither HTTP/2 nor HTTP/1.1 on this port",
            "is it the port of Vault's API, which is 8200 mostly, and not that of its cluster?",
        ),
        // In TLS 1.3 the server checks the certificate only after the client has finished the
        // handshake.
        Alert::CertificateRequired | Alert::NoCertificate => {
            ("the server wants a client certificate", OF_CERTIFICATE)
        }
        Alert::UnknownCA => (
            "the server does not know the authority of the client certificate, or wants one",
            "the certificate in VAULT_CLIENT_CERT must be of an authority that the server trusts, \
             with the certificates in between behind it in the file",
        ),
        Alert::CertificateExpired => (
            "the client certificate has expired",
            "renew the certificate in VAULT_CLIENT_CERT; are the clocks here and there right?",
        ),
        Alert::CertificateRevoked => {
            ("the client certificate is revoked", "give VAULT_CLIENT_CERT a new certificate")
        }
        Alert::BadCertificate | Alert::UnsupportedCertificate | Alert::CertificateUnknown => {
            ("the server wants a client certificate, or another one", OF_CERTIFICATE)
        }
        Alert::AccessDenied => {
            ("the server does not let the client certificate in, or wants one", OF_CERTIFICATE)
        }
        Alert::DecryptError => (
            "the server could not verify a signature, that of the client certificate if there is \
             one",
            OF_CERTIFICATE,
        ),
        Alert::DecodeError
        | Alert::BadRecordMac
        | Alert::RecordOverflow
        | Alert::IllegalParameter
        | Alert::UnexpectedMessage
        | Alert::MissingExtension
        | Alert::UnsupportedExtension => ("the server does not understand the handshake", OF_BYTES),
        Alert::InternalError => ("the server has failed in the handshake", OF_SERVER),
        Alert::CloseNotify | Alert::UserCanceled | Alert::NoRenegotiation => {
            ("the server has ended the handshake", OF_SERVER)
        }
        _ => ("the server has ended the handshake with an alert", OF_SERVER),
    };
    let may_pass = matches!(alert, Alert::InternalError | Alert::CloseNotify | Alert::UserCanceled);
    (Error::new(Code::Unavailable, format!("{words} (alert {alert:?})")).hint(hint), may_pass)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_alert_has_words_and_a_remedy_of_its_own_kind() {
        for (alert, words, hint) in [
            (Alert::UnrecognisedName, "no certificate for this name", "VAULT_TLS_SERVER_NAME"),
            (Alert::ProtocolVersion, "no common TLS version", "TLS 1.2"),
            (Alert::HandshakeFailure, "no common TLS version", "client certificate"),
            (Alert::NoApplicationProtocol, "neither HTTP/2 nor HTTP/1.1", "8200"),
            (Alert::CertificateRequired, "wants a client certificate", "VAULT_CLIENT_KEY"),
            (Alert::UnknownCA, "does not know the authority", "VAULT_CLIENT_CERT"),
            (Alert::CertificateExpired, "client certificate has expired", "renew"),
            (Alert::CertificateRevoked, "client certificate is revoked", "new certificate"),
            (Alert::BadCertificate, "wants a client certificate, or another", "VAULT_CLIENT_CERT"),
            (Alert::AccessDenied, "does not let the client certificate in", "VAULT_CLIENT_CERT"),
            (Alert::DecodeError, "does not understand the handshake", "in between"),
            (Alert::InternalError, "has failed in the handshake", "log"),
            (Alert::UserCanceled, "has ended the handshake", "log"),
            (Alert::Unknown(200), "the handshake with an alert", "log"),
        ] {
            let (error, may_pass) = understood(alert);
            assert!(error.message.contains(words), "{alert:?}: {}", error.message);
            assert!(error.hint.is_some_and(|text| text.contains(hint)), "{alert:?}");
            assert_eq!(may_pass, matches!(alert, Alert::InternalError | Alert::UserCanceled));
        }
    }
}
