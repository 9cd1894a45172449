//! Whether a client's certificate is for the name that is let in.
//!
//! Chaining to the CA is checked by rustls; this adds the name. Alternative names decide where a
//! certificate has any, as for servers. Meta documents the *common name* of its client certificate
//! and signs it with a CA of its own, which no public rule obliges to repeat the name as an
//! alternative one; so a certificate without alternative DNS names is judged by its common name.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error as TlsError, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use webpki::EndEntityCert;

/// Tags of DER, and the object identifier 2.5.4.3, "common name".
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_ID: u8 = 0x06;
const UTF8_STRING: u8 = 0x0c;
const PRINTABLE_STRING: u8 = 0x13;
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];

/// A DNS name.
#[derive(Debug, Clone)]
pub(crate) struct ClientName(ServerName<'static>);

impl ClientName {
    pub(crate) fn new(name: &str) -> Option<Self> {
        let name = ServerName::try_from(name.to_owned()).ok()?;
        matches!(name, ServerName::DnsName(_)).then_some(Self(name))
    }

    fn matches(&self, certificate: &CertificateDer<'_>) -> bool {
        let Ok(certificate) = EndEntityCert::try_from(certificate) else { return false };
        if certificate.valid_dns_names().next().is_some() {
            return certificate.verify_is_valid_for_subject_name(&self.0).is_ok();
        }
        let common_name = common_name(certificate.subject());
        common_name.is_some_and(|name| name.eq_ignore_ascii_case(self.0.to_str().as_bytes()))
    }
}

/// Lets in what another verifier lets in, if it is for the name.
pub(crate) struct NamedClient {
    chain: Arc<dyn ClientCertVerifier>,
    name: ClientName,
}

impl fmt::Debug for NamedClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NamedClient").field("name", &self.name).finish_non_exhaustive()
    }
}

impl NamedClient {
    pub(crate) fn new(chain: Arc<dyn ClientCertVerifier>, name: ClientName) -> Self {
        Self { chain, name }
    }
}

impl ClientCertVerifier for NamedClient {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, TlsError> {
        let verified = self.chain.verify_client_cert(end_entity, intermediates, now)?;
        if !self.name.matches(end_entity) {
            return Err(CertificateError::NotValidForName.into());
        }
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.chain.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.chain.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

/// The only common name of a subject; one that has several is for none of them. The subject is a
/// row of sets of (kind, value), each in DER; what does not have this form has no common name.
fn common_name(mut subject: &[u8]) -> Option<&[u8]> {
    let mut found = None;
    while !subject.is_empty() {
        let mut set = take(&mut subject, SET)?;
        while !set.is_empty() {
            let mut attribute = take(&mut set, SEQUENCE)?;
            if take(&mut attribute, OBJECT_ID)? != COMMON_NAME {
                continue;
            }
            let tag = *attribute.first()?;
            if !matches!(tag, UTF8_STRING | PRINTABLE_STRING) {
                return None;
            }
            if found.replace(take(&mut attribute, tag)?).is_some() {
                return None;
            }
        }
    }
    found
}

/// The content of the element that `input` begins with, if it has that tag; steps behind it.
fn take<'a>(input: &mut &'a [u8], tag: u8) -> Option<&'a [u8]> {
    let (&[found, length], rest) = input.split_first_chunk()?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(length), rest),
        0x81 => rest.split_first().map(|(&length, rest)| (usize::from(length), rest))?,
        // Longer than any name.
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    *input = rest;
    (found == tag).then_some(content)
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::*;

    const META: &str = "client.webhooks.fbclientcerts.com";

    fn certificate(common_names: &[&str], alternative: &[&str]) -> CertificateDer<'static> {
        let names: Vec<String> = alternative.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "o".repeat(200));
        for name in common_names {
            params.distinguished_name.push(DnType::CommonName, *name);
        }
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    #[test]
    fn alternative_names_decide_where_there_are_any() {
        let table: &[(&[&str], &[&str], bool)] = &[
            (&[], &[META], true),
            (&["other.example"], &["a.example", META], true),
            (&[META], &["other.example"], false),
            (&[], &["*.webhooks.fbclientcerts.com"], true),
            (&[], &["*.fbclientcerts.com"], false),
            (&[META], &[], true),
            (&["CLIENT.webhooks.fbclientcerts.com"], &[], true),
            (&["client.webhooks.fbclientcerts.com.example"], &[], false),
            (&["*.webhooks.fbclientcerts.com"], &[], false),
            (&[META], &["192.0.2.1"], true),
            (&[], &[], false),
        ];
        let name = ClientName::new(META).unwrap();
        for (common_names, alternative, expected) in table {
            let certificate = certificate(common_names, alternative);
            assert_eq!(name.matches(&certificate), *expected, "{common_names:?} {alternative:?}");
        }
    }

    #[test]
    fn a_subject_of_another_form_has_no_common_name() {
        let one = b"\x31\x0a\x30\x08\x06\x03\x55\x04\x03\x0c\x01a";
        assert_eq!(common_name(one), Some(&b"a"[..]));
        for cut in 1..one.len() {
            assert_eq!(common_name(&one[..cut]), None, "cut at {cut}");
        }
        assert_eq!(common_name(&[&one[..], one].concat()), None, "two of them");
        assert_eq!(common_name(b"\x31\x0a\x30\x08\x06\x03\x55\x04\x03\x1e\x01a"), None, "UTF-16");
    }

    #[test]
    fn only_dns_names_are_client_names() {
        for wrong in ["", "192.0.2.1", "a b", "*.example.com"] {
            assert!(ClientName::new(wrong).is_none(), "{wrong:?}");
        }
    }
}
