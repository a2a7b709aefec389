//! HPACK: any block is fields or an error and keeps the table's bound; what is encoded is decoded to what it was.
//!
//! Blocks are one after the other, each behind a byte with its length, all for one decoder: they share its table.

use proxy_core::h2::decode::Decoder;
use proxy_core::h2::encode::Encoder;
use proxy_core::h2::huffman;
use proxy_core::http::{HeaderId, Status};

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// See the module.
pub fn run(input: &[u8]) {
    check_huffman(input);
    let mut decoder = Decoder::default();
    let (mut encoder, mut peer) = (Encoder::default(), Decoder::default());
    let mut rest = input;
    while let Some((len, tail)) = rest.split_first() {
        let (block, tail) = tail.split_at(usize::from(*len).min(tail.len()));
        rest = tail;
        let Some(fields) = decode(&mut decoder, block) else { return };
        encoder.limit_table(u32::from(*len) * 16);
        check_round_trip(&mut encoder, &mut peer, &fields);
    }
}

fn decode(decoder: &mut Decoder, block: &[u8]) -> Option<Fields> {
    let mut fields = Vec::new();
    let result = decoder.decode(block, &mut |line| {
        let clean = !line.value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0));
        assert!(clean || !line.value_is_clean);
        fields.push((line.name.to_vec(), line.value.to_vec()));
    });
    assert!(fields.len() <= block.len(), "a field takes a byte at least");
    result.ok().map(|()| fields)
}

fn check_round_trip(encoder: &mut Encoder, peer: &mut Decoder, fields: &Fields) {
    let mut block = Vec::new();
    encoder.status(Status(418), &mut block);
    let mut expected = vec![(b":status".to_vec(), b"418".to_vec())];
    for (name, value) in fields {
        let token = !name.is_empty() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-');
        if token {
            encoder.field(HeaderId::from_token(name), name, value, &mut block);
            expected.push((name.to_ascii_lowercase(), value.clone()));
        }
    }
    assert_eq!(decode(peer, &block).as_ref(), Some(&expected));
}

fn check_huffman(text: &[u8]) {
    let (mut coded, mut back) = (Vec::new(), Vec::new());
    huffman::encode(text, &mut coded);
    assert_eq!(coded.len(), huffman::coded_len(text));
    assert_eq!(huffman::decode(&coded, &mut back), Ok(()));
    assert_eq!(back, text);
    let mut any = Vec::new();
    if huffman::decode(text, &mut any).is_ok() {
        let mut again = Vec::new();
        huffman::encode(&any, &mut again);
        assert_eq!(again, text, "there is one code for each text");
    }
}
