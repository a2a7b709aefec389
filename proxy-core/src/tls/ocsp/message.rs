//! OCSP's messages (RFC 6960): a question about one certificate, and what an answer to it is worth.
//!
//! An answer counts if the certificate's issuer has signed it, or somebody whom the issuer has made a responder
//! (section 4.2.2.2). nginx lets that go unchecked unless `ssl_stapling_verify` is on; no client would, so it is always
//! checked here.
//!
//! Reference: ngx_event_openssl_stapling.c for the words.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::time::Duration;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use der::asn1::{AnyRef, BitStringRef, GeneralizedTime, ObjectIdentifier, OctetString};
use der::{Decode as _, Encode as _, Enumerated, Sequence, Tag, TagNumber, Tagged as _};
use rustls::pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, KeyUsage};
use x509_cert::Certificate;
use x509_cert::ext::pkix::AuthorityInfoAccessSyntax;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::serial_number::SerialNumber;

/// id-pkix-ocsp-basic
const BASIC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1.1");
/// id-ad-ocsp
const METHOD: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1");
/// id-sha1
const SHA1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.14.3.2.26");
/// id-kp-OCSPSigning, as it stands in a certificate.
const SIGNING: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x09];
/// How many certificates of an answer are tried.
const SIGNERS_MAX: usize = 8;
/// How far the responder's clock may be ahead, in seconds: nginx's bound.
const SKEW_S: u64 = 300;

/// What is asked.
#[derive(Debug)]
pub(crate) struct Question {
    issuer: CertificateDer<'static>,
    id: CertId,
    /// The request, to be sent.
    pub(crate) der: Vec<u8>,
}

/// What an answer says, once it is found to be good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) status: Status,
    /// Until when it is good, in seconds since the Unix epoch; none if it does not say.
    pub(crate) until_s: Option<u64>,
}

/// A certificate's status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Good,
    Revoked,
    Unknown,
}

impl Status {
    /// OpenSSL's word.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Revoked => "revoked",
            Self::Unknown => "unknown",
        }
    }
}

#[derive(Sequence)]
struct Request {
    tbs: TbsRequest,
}

#[derive(Sequence)]
struct TbsRequest {
    list: Vec<One>,
}

#[derive(Sequence)]
struct One {
    id: CertId,
}

#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
struct CertId {
    algorithm: HashAlgorithm,
    issuer_name: OctetString,
    issuer_key: OctetString,
    serial: SerialNumber,
}

/// The parameters are NULL, or left out.
#[derive(Clone, Debug, PartialEq, Eq, Sequence)]
struct HashAlgorithm {
    oid: ObjectIdentifier,
    #[asn1(optional = "true")]
    parameters: Option<der::asn1::Null>,
}

impl CertId {
    fn is(&self, other: &Self) -> bool {
        self.algorithm.oid == other.algorithm.oid
            && self.issuer_name == other.issuer_name
            && self.issuer_key == other.issuer_key
            && self.serial == other.serial
    }
}

#[derive(Sequence)]
struct Response {
    status: ResponseStatus,
    #[asn1(context_specific = "0", optional = "true", tag_mode = "EXPLICIT")]
    bytes: Option<ResponseBytes>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Enumerated)]
#[repr(u8)]
enum ResponseStatus {
    Successful = 0,
    MalformedRequest = 1,
    InternalError = 2,
    TryLater = 3,
    SigRequired = 5,
    Unauthorized = 6,
}

impl ResponseStatus {
    const fn word(self) -> &'static str {
        match self {
            Self::Successful => "successful",
            Self::MalformedRequest => "malformedrequest",
            Self::InternalError => "internalerror",
            Self::TryLater => "trylater",
            Self::SigRequired => "sigrequired",
            Self::Unauthorized => "unauthorized",
        }
    }
}

#[derive(Sequence)]
struct ResponseBytes {
    kind: ObjectIdentifier,
    response: OctetString,
}

#[derive(Sequence)]
struct Basic<'a> {
    data: AnyRef<'a>,
    algorithm: AnyRef<'a>,
    signature: BitStringRef<'a>,
    #[asn1(context_specific = "0", optional = "true", tag_mode = "EXPLICIT")]
    certificates: Option<Vec<AnyRef<'a>>>,
}

#[derive(Sequence)]
struct Data<'a> {
    #[asn1(context_specific = "0", optional = "true", tag_mode = "EXPLICIT")]
    version: Option<u8>,
    responder: AnyRef<'a>,
    produced: GeneralizedTime,
    responses: Vec<Single<'a>>,
    #[asn1(context_specific = "1", optional = "true", tag_mode = "EXPLICIT")]
    extensions: Option<AnyRef<'a>>,
}

#[derive(Sequence)]
struct Single<'a> {
    id: CertId,
    status: AnyRef<'a>,
    this_update: GeneralizedTime,
    #[asn1(context_specific = "0", optional = "true", tag_mode = "EXPLICIT")]
    next_update: Option<GeneralizedTime>,
    #[asn1(context_specific = "1", optional = "true", tag_mode = "EXPLICIT")]
    extensions: Option<AnyRef<'a>>,
}

/// Who has issued `leaf`, of these: the one of that name whose key has signed it.
pub(crate) fn issuer_of<'a>(
    leaf: &[u8],
    mut known: impl Iterator<Item = &'a CertificateDer<'static>>,
) -> Option<&'a CertificateDer<'static>> {
    let certificate = Certificate::from_der(leaf).ok()?;
    let algorithm = certificate.signature_algorithm().to_der().ok()?;
    let signed = certificate.tbs_certificate().to_der().ok()?;
    let signature = certificate.signature().as_bytes()?;
    known.find(|der| {
        let named = Certificate::from_der(der)
            .is_ok_and(|issuer| issuer.tbs_certificate().subject() == certificate.tbs_certificate().issuer());
        named && is_signed_by(der, &algorithm, &signed, signature)
    })
}

/// The responder that a certificate names.
pub(crate) fn responder_of(leaf: &[u8]) -> Option<String> {
    let certificate = Certificate::from_der(leaf).ok()?;
    let (_, access) = certificate.tbs_certificate().get_extension::<AuthorityInfoAccessSyntax>().ok()??;
    access.0.iter().find_map(|access| {
        let GeneralName::UniformResourceIdentifier(uri) = &access.access_location else { return None };
        (access.access_method == METHOD).then(|| uri.as_str().to_string())
    })
}

impl Question {
    /// A question about `leaf`, which `issuer` has issued.
    pub(crate) fn new(leaf: &[u8], issuer: &CertificateDer<'static>) -> Option<Self> {
        let leaf = Certificate::from_der(leaf).ok()?;
        let above = Certificate::from_der(issuer).ok()?;
        let hash = |bytes: &[u8]| OctetString::new(digest(&SHA1_FOR_LEGACY_USE_ONLY, bytes).as_ref()).ok();
        let key = &above.tbs_certificate().subject_public_key_info().subject_public_key;
        let id = CertId {
            algorithm: HashAlgorithm { oid: SHA1, parameters: Some(der::asn1::Null) },
            issuer_name: hash(&above.tbs_certificate().subject().to_der().ok()?)?,
            issuer_key: hash(key.raw_bytes())?,
            serial: leaf.tbs_certificate().serial_number().clone(),
        };
        let request = Request { tbs: TbsRequest { list: alloc::vec![One { id: id.clone() }] } };
        Some(Self { issuer: issuer.clone(), id, der: request.to_der().ok()? })
    }

    /// What an answer is worth.
    ///
    /// # Errors
    /// nginx's words for what is wrong with it.
    pub(crate) fn judge(&self, answer: &[u8], now_s: u64) -> Result<Finding, String> {
        let broken = |_| String::from("d2i_OCSP_RESPONSE() failed");
        let response = Response::from_der(answer).map_err(broken)?;
        if response.status != ResponseStatus::Successful {
            let (number, word) = (response.status as u8, response.status.word());
            return Err(format!("OCSP response not successful ({number}: {word})"));
        }
        let bytes = response.bytes.filter(|bytes| bytes.kind == BASIC);
        let bytes = bytes.ok_or("OCSP_response_get1_basic() failed")?;
        let basic = |_| String::from("OCSP_response_get1_basic() failed");
        let (data, answer) = {
            let answer = Basic::from_der(bytes.response.as_bytes()).map_err(basic)?;
            (answer.data.to_der().map_err(basic)?, answer)
        };
        if !self.is_authorised(&data, &answer, now_s) {
            return Err("OCSP_basic_verify() failed".into());
        }
        let data = Data::from_der(&data).map_err(basic)?;
        let single = data.responses.iter().find(|single| single.id.is(&self.id));
        let single = single.ok_or("certificate status not found in the OCSP response")?;
        let seconds = |time: &GeneralizedTime| time.to_unix_duration().as_secs();
        let until_s = single.next_update.as_ref().map(seconds);
        let (from, until) = (seconds(&single.this_update), until_s.unwrap_or(u64::MAX));
        if from > now_s + SKEW_S || until.saturating_add(SKEW_S) < now_s || until < from {
            return Err("OCSP_check_validity() failed".into());
        }
        Ok(Finding { status: status(&single.status), until_s })
    }

    /// Whether the issuer has signed it, or one whom it has made a responder.
    fn is_authorised(&self, data: &[u8], answer: &Basic<'_>, now_s: u64) -> bool {
        let (Ok(algorithm), Some(signature)) = (answer.algorithm.to_der(), answer.signature.as_bytes())
        else {
            return false;
        };
        if is_signed_by(&self.issuer, &algorithm, data, signature) {
            return true;
        }
        let delegates = answer.certificates.as_deref().unwrap_or_default();
        delegates.iter().take(SIGNERS_MAX).filter_map(|der| der.to_der().ok()).any(|der| {
            let der = CertificateDer::from(der);
            is_signed_by(&der, &algorithm, data, signature) && self.has_delegated(&der, now_s)
        })
    }

    fn has_delegated(&self, der: &CertificateDer<'_>, now_s: u64) -> bool {
        let (Ok(certificate), Ok(anchor)) =
            (EndEntityCert::try_from(der), webpki::anchor_from_trusted_cert(&self.issuer))
        else {
            return false;
        };
        let now = UnixTime::since_unix_epoch(Duration::from_secs(now_s));
        let usage = KeyUsage::required(SIGNING);
        let algorithms = webpki::ALL_VERIFICATION_ALGS;
        certificate.verify_for_usage(algorithms, &[anchor], &[], now, usage, None, None).is_ok()
    }
}

/// Whether the key of this certificate has made a signature. `algorithm` is a whole AlgorithmIdentifier.
fn is_signed_by(der: &CertificateDer<'_>, algorithm: &[u8], signed: &[u8], signature: &[u8]) -> bool {
    let Ok(certificate) = EndEntityCert::try_from(der) else { return false };
    let Ok(identifier) = AnyRef::from_der(algorithm) else { return false };
    webpki::ALL_VERIFICATION_ALGS
        .iter()
        .filter(|known| known.signature_alg_id().as_ref() == identifier.value())
        .any(|known| certificate.verify_signature(*known, signed, signature).is_ok())
}

fn status(status: &AnyRef<'_>) -> Status {
    let Tag::ContextSpecific { number, .. } = status.tag() else { return Status::Unknown };
    match number {
        TagNumber(0) => Status::Good,
        TagNumber(1) => Status::Revoked,
        TagNumber(_) => Status::Unknown,
    }
}
