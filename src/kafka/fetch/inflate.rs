//! Batches that were compressed.

use std::io::{self, Read};

use bytes::Bytes;
use kafka_protocol::compression::{Decompressor, Snappy};

/// How the records of a batch are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Codec {
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

/// No batch becomes larger than this: a broker takes 1 MiB of one by default, compressed.
const LIMIT_BYTES: usize = 512 << 20;
/// The least that is left for what comes next: the usual block of LZ4, which is then not copied once more.
const ROOM_BYTES: usize = 64 << 10;

impl Codec {
    /// By the attributes of a batch. None: not compressed. Error: a number that stands for nothing.
    pub fn of(attributes: i16) -> Result<Option<Codec>, i16> {
        match attributes & 0x07 {
            0 => Ok(None),
            1 => Ok(Some(Codec::Gzip)),
            2 => Ok(Some(Codec::Snappy)),
            3 => Ok(Some(Codec::Lz4)),
            4 => Ok(Some(Codec::Zstd)),
            other => Err(other),
        }
    }
}

/// The records of a batch that were compressed.
#[derive(Debug, Default)]
pub(super) struct Inflated {
    /// Of earlier batches, too, what lies behind `length`: bytes that are there need not be made zero again.
    buffer: Vec<u8>,
    length: usize,
}

impl Inflated {
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[..self.length]
    }

    /// Puts what `compressed` stands for in place of what was here.
    pub fn fill(&mut self, codec: Codec, compressed: &Bytes) -> io::Result<()> {
        self.length = 0;
        match codec {
            Codec::Gzip => self.read(flate2::read::MultiGzDecoder::new(&compressed[..])),
            Codec::Lz4 => self.read(lz4::Decoder::new(&compressed[..])?),
            Codec::Zstd => self.read(zstd::stream::read::Decoder::with_buffer(&compressed[..])?),
            Codec::Snappy => {
                let read = Snappy::decompress(&mut compressed.clone(), |plain: &mut Bytes| {
                    Ok(self.read(plain.as_ref()))
                });
                read.map_err(io::Error::other)?
            }
        }
    }

    fn read(&mut self, mut plain: impl Read) -> io::Result<()> {
        loop {
            if self.buffer.len() - self.length < ROOM_BYTES {
                self.buffer.resize((self.buffer.len() * 2).max(2 * ROOM_BYTES), 0);
            }
            match plain.read(&mut self.buffer[self.length..]) {
                Ok(0) => return Ok(()),
                Ok(bytes) => self.length += bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            if self.length > LIMIT_BYTES {
                return Err(io::Error::other(format!("it is larger than {LIMIT_BYTES} bytes")));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn text() -> Vec<u8> {
        (0..40_000u32).flat_map(|at| (at % 251).to_string().into_bytes()).collect()
    }

    fn inflated(codec: Codec, compressed: Vec<u8>) -> io::Result<Vec<u8>> {
        let mut into = Inflated { buffer: b"from before".to_vec(), length: 4 };
        into.fill(codec, &compressed.into()).map(|()| into.bytes().to_vec())
    }

    #[test]
    fn each_codec_gives_back_what_was_compressed() {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&text()).unwrap();
        assert_eq!(inflated(Codec::Gzip, gzip.finish().unwrap()).unwrap(), text());
        let mut lz4 = lz4::EncoderBuilder::new().build(Vec::new()).unwrap();
        lz4.write_all(&text()).unwrap();
        assert_eq!(inflated(Codec::Lz4, lz4.finish().0).unwrap(), text());
        let zstd = zstd::encode_all(&text()[..], 1).unwrap();
        assert_eq!(inflated(Codec::Zstd, zstd).unwrap(), text());
    }

    #[test]
    fn what_is_cut_or_broken_is_an_error() {
        let zstd = zstd::encode_all(&text()[..], 1).unwrap();
        assert!(inflated(Codec::Zstd, zstd[..zstd.len() / 2].to_vec()).is_err());
        for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
            assert!(inflated(codec, b"no such thing at all".to_vec()).is_err(), "{codec:?}");
        }
    }

    #[test]
    fn seven_numbers_stand_for_nothing() {
        assert_eq!(Codec::of(0x18), Ok(None));
        assert_eq!(Codec::of(0x1b), Ok(Some(Codec::Lz4)));
        assert_eq!((5..8).filter_map(|number| Codec::of(number).err()).collect::<Vec<_>>(), [5, 6, 7]);
    }
}
