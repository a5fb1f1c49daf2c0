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
/// The least that is left for what comes next.
const ROOM_BYTES: usize = 64 << 10;
const LZ4_MAGIC: [u8; 4] = 0x184d_2204u32.to_le_bytes();
/// Magic, flags, the largest size of a block, and a checksum of these.
const LZ4_HEAD_BYTES: usize = 7;

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
            Codec::Lz4 => self.read_lz4(compressed),
            Codec::Zstd => self.read(zstd::stream::read::Decoder::with_buffer(&compressed[..])?),
            Codec::Snappy => {
                let read = Snappy::decompress(&mut compressed.clone(), |plain: &mut Bytes| {
                    Ok(self.read(plain.as_ref()))
                });
                read.map_err(io::Error::other)?
            }
        }
    }

    /// A reader of frames makes buffers of its own, which costs more than a small batch, and that is one block: it needs
    /// no reader.
    fn read_lz4(&mut self, frame: &[u8]) -> io::Result<()> {
        let Some((block, most_bytes)) = only_block(frame) else {
            return self.read(lz4::Decoder::new(frame)?);
        };
        self.make_room(most_bytes)?;
        let most = i32::try_from(most_bytes).map_err(io::Error::other)?;
        self.length += lz4::block::decompress_to_buffer(block, Some(most), &mut self.buffer[self.length..])?;
        Ok(())
    }

    fn make_room(&mut self, bytes: usize) -> io::Result<()> {
        if self.length > LIMIT_BYTES {
            return Err(io::Error::other(format!("it is larger than {LIMIT_BYTES} bytes")));
        }
        if self.buffer.len() - self.length < bytes {
            self.buffer.resize((self.buffer.len() * 2).max(self.length + 2 * bytes), 0);
        }
        Ok(())
    }

    fn read(&mut self, mut plain: impl Read) -> io::Result<()> {
        loop {
            self.make_room(ROOM_BYTES)?;
            match plain.read(&mut self.buffer[self.length..]) {
                Ok(0) => return Ok(()),
                Ok(bytes) => self.length += bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// The block of a frame that has just one, compressed, and how large it may become. The batch has a checksum, so those of
/// the frame are passed over. Layout: <https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md>.
fn only_block(frame: &[u8]) -> Option<(&[u8], usize)> {
    let (head, rest) = frame.split_at_checked(LZ4_HEAD_BYTES)?;
    let (flags, size) = (head[4], head[5] >> 4 & 0x07);
    let (has_total, has_dictionary) = (flags & 0x08 != 0, flags & 0x01 != 0);
    if head[..4] != LZ4_MAGIC || has_total || has_dictionary || size < 4 {
        return None;
    }
    let (length, rest) = rest.split_first_chunk()?;
    // Its highest bit says that the block is not compressed: then it is longer than the frame, and read as any other.
    let (block, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    let rest = if flags & 0x10 != 0 { rest.get(4..)? } else { rest };
    let is_last = rest.first_chunk() == Some(&[0; 4]);
    (is_last && !block.is_empty()).then_some((block, 1 << (8 + 2 * size)))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use lz4::{BlockMode, BlockSize};

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
        let zstd = zstd::encode_all(&text()[..], 1).unwrap();
        assert_eq!(inflated(Codec::Zstd, zstd).unwrap(), text());
    }

    fn lz4(plain: &[u8], encoder: &mut lz4::EncoderBuilder) -> Vec<u8> {
        let mut lz4 = encoder.build(Vec::new()).unwrap();
        lz4.write_all(plain).unwrap();
        let (frame, finished) = lz4.finish();
        finished.unwrap();
        frame
    }

    /// As librdkafka, Java's client and others choose.
    #[test]
    fn frames_of_lz4_of_every_make_are_read() {
        // Noise is not compressed, and repeats over several blocks refer back from one to another.
        let noise: Vec<u8> =
            (0..200_000u64).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 29) as u8).collect();
        let texts = [noise.clone(), text(), text(), text()].concat();
        let (mut alone, mut frames) = (0, 0);
        for plain in [text(), noise, texts, b"short short short short short short".to_vec(), Vec::new()] {
            for mode in [BlockMode::Independent, BlockMode::Linked] {
                for size in [BlockSize::Max64KB, BlockSize::Max256KB, BlockSize::Max4MB] {
                    for bytes in [0, plain.len() as u64] {
                        let mut encoder = lz4::EncoderBuilder::new();
                        encoder.block_mode(mode.clone()).block_size(size.clone()).content_size(bytes);
                        let frame = lz4(&plain, &mut encoder);
                        alone += usize::from(only_block(&frame).is_some());
                        frames += 1;
                        assert!(inflated(Codec::Lz4, frame).unwrap() == plain, "{} bytes", plain.len());
                    }
                }
            }
        }
        assert!(alone > 5 && alone < frames, "{alone} of {frames} have one block");
    }

    #[test]
    fn what_is_cut_or_broken_is_an_error() {
        let zstd = zstd::encode_all(&text()[..], 1).unwrap();
        assert!(inflated(Codec::Zstd, zstd[..zstd.len() / 2].to_vec()).is_err());
        let mut broken = lz4(&text(), lz4::EncoderBuilder::new().block_size(BlockSize::Max256KB));
        assert!(only_block(&broken).is_some());
        broken[11] ^= 0xff; // the first token of the only block
        assert!(inflated(Codec::Lz4, broken).map_or(true, |plain| plain != text()));
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
