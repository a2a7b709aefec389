//! Certificates of clients and of upstreams: chains that are weighed here, with the words of nginx's library.
//!
//! A handshake goes on whatever a client shows, as in nginx: a client that is refused shall learn why by a status. So
//! rustls only checks that the client has the key of its certificate, and the chain is weighed here afterwards.

use alloc::sync::Arc;
use alloc::vec::Vec;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use webpki::{
    BorrowedCertRevocationList, CertRevocationList, EndEntityCert, ExpirationPolicy, KeyUsage,
    OwnedCertRevocationList, RevocationCheckDepth, RevocationOptionsBuilder, UnknownStatusPolicy,
};

/// Whom to trust, and how far.
#[derive(Debug, Default)]
pub struct Trust {
    anchors: Vec<TrustAnchor<'static>>,
    /// The same certificates whole: one that is shown itself is trusted.
    certificates: Vec<CertificateDer<'static>>,
    crls: Vec<CertRevocationList<'static>>,
    depth_max: usize,
}

/// What is wrong with a chain: the number and the words of OpenSSL's `X509_verify_cert_error_string`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict(pub u16, pub &'static str);

impl Verdict {
    const SELF_SIGNED: Self = Self(18, "self-signed certificate");
    const NO_ISSUER: Self = Self(20, "unable to get local issuer certificate");
    const FIRST_UNVERIFIED: Self = Self(21, "unable to verify the first certificate");
    const NOT_YET: Self = Self(9, "certificate is not yet valid");
    const EXPIRED: Self = Self(10, "certificate has expired");
    const REVOKED: Self = Self(23, "certificate revoked");
    const NO_CRL: Self = Self(3, "unable to get certificate CRL");
    const CRL_EXPIRED: Self = Self(12, "CRL has expired");
    /// A chain that is too long: OpenSSL says so (22), goes on in vain, and this is what it says last.
    const TOO_LONG: Self = Self::NO_ISSUER;
    const PURPOSE: Self = Self(26, "unsuitable certificate purpose");
    const SIGNATURE: Self = Self(7, "certificate signature failure");
    const REJECTED: Self = Self(28, "certificate rejected");

    /// Whether it only says that nobody we know has signed it: `optional_no_ca` lets that pass.
    #[must_use]
    pub const fn is_lack_of_trust(self) -> bool {
        matches!(self.0, 18..=21 | 27)
    }
}

impl Trust {
    /// Trusts these certificates, asks these revocation lists, and lets `depth_max` others stand between.
    ///
    /// # Errors
    /// What is wrong with a certificate or a list.
    pub fn new(
        certificates: Vec<CertificateDer<'static>>,
        crls: &[rustls::pki_types::CertificateRevocationListDer<'_>],
        depth_max: usize,
    ) -> Result<Self, webpki::Error> {
        let anchors: Result<Vec<_>, _> =
            certificates.iter().map(|der| Ok(webpki::anchor_from_trusted_cert(der)?.to_owned())).collect();
        let crls: Result<Vec<_>, _> = crls.iter().map(|der| owned_crl(der.as_ref())).collect();
        Ok(Self { anchors: anchors?, certificates, crls: crls?, depth_max })
    }

    /// Adds all that is trusted to a digest.
    pub(super) fn digest(&self, digest: &mut aws_lc_rs::digest::Context) {
        self.certificates.iter().for_each(|certificate| digest.update(certificate));
        digest.update(alloc::format!("{} {:?}", self.depth_max, self.crls).as_bytes());
    }

    /// The names of those who are trusted, for the client to choose by.
    fn names(&self) -> Vec<DistinguishedName> {
        self.anchors.iter().map(|anchor| DistinguishedName::in_sequence(&anchor.subject)).collect()
    }

    /// Weighs a client's chain.
    ///
    /// # Errors
    /// The verdict.
    pub fn weigh_client(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> Result<(), Verdict> {
        self.weigh(chain, now, KeyUsage::client_auth())
    }

    /// Weighs a server's chain; its name is another matter.
    ///
    /// # Errors
    /// The verdict.
    pub fn weigh_server(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> Result<(), Verdict> {
        self.weigh(chain, now, KeyUsage::server_auth())
    }

    fn weigh(&self, chain: &[CertificateDer<'_>], now: UnixTime, usage: KeyUsage) -> Result<(), Verdict> {
        let Some((leaf, others)) = chain.split_first() else { return Err(Verdict::REJECTED) };
        let certificate = EndEntityCert::try_from(leaf).map_err(|_| Verdict::REJECTED)?;
        if self.certificates.contains(leaf) {
            return super::certificate::validity(leaf).map_or(Ok(()), |(from, until)| match now.as_secs() {
                now if now < from => Err(Verdict::NOT_YET),
                now if now > until => Err(Verdict::EXPIRED),
                _ => Ok(()),
            });
        }
        let crls: Vec<&CertRevocationList<'_>> = self.crls.iter().collect();
        let revocation = RevocationOptionsBuilder::new(&crls).ok().map(|options| {
            options
                .with_depth(RevocationCheckDepth::Chain)
                .with_status_policy(UnknownStatusPolicy::Deny)
                .with_expiration_policy(ExpirationPolicy::Enforce)
                .build()
        });
        let algorithms = webpki::ALL_VERIFICATION_ALGS;
        match certificate.verify_for_usage(algorithms, &self.anchors, others, now, usage, revocation, None) {
            Ok(path) if path.intermediate_certificates().count() > self.depth_max => Err(Verdict::TOO_LONG),
            Ok(_) => Ok(()),
            Err(error) => Err(self.verdict(&error, leaf, others)),
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "what has no words of its own is rejected")]
    fn verdict(
        &self,
        error: &webpki::Error,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
    ) -> Verdict {
        use webpki::Error as E;
        match error {
            E::UnknownIssuer | E::CaUsedAsEndEntity if super::certificate::is_self_issued(leaf) => {
                Verdict::SELF_SIGNED
            }
            E::UnknownIssuer if others.is_empty() => Verdict::FIRST_UNVERIFIED,
            E::UnknownIssuer => Verdict::NO_ISSUER,
            E::CertNotValidYet { .. } => Verdict::NOT_YET,
            E::CertExpired { .. } | E::InvalidCertValidity => Verdict::EXPIRED,
            E::CertRevoked => Verdict::REVOKED,
            E::UnknownRevocationStatus => Verdict::NO_CRL,
            E::CrlExpired { .. } => Verdict::CRL_EXPIRED,
            E::MaximumPathDepthExceeded | E::PathLenConstraintViolated => Verdict::TOO_LONG,
            E::RequiredEkuNotFoundContext(_) => Verdict::PURPOSE,
            E::InvalidSignatureForPublicKey => Verdict::SIGNATURE,
            _ => Verdict::REJECTED,
        }
    }
}

fn owned_crl(der: &[u8]) -> Result<CertRevocationList<'static>, webpki::Error> {
    let crl: OwnedCertRevocationList = BorrowedCertRevocationList::from_der(der)?.to_owned()?;
    Ok(crl.into())
}

/// Asks for a client's certificate and takes whatever comes, if only the client has its key.
#[derive(Debug)]
pub(crate) struct AskOnly {
    names: Vec<DistinguishedName>,
    provider: Arc<CryptoProvider>,
}

impl AskOnly {
    /// Tells the client whom `trust` trusts.
    pub(crate) fn new(trust: &Trust, provider: Arc<CryptoProvider>) -> Self {
        Self { names: trust.names(), provider }
    }
}

impl ClientCertVerifier for AskOnly {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.names
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
