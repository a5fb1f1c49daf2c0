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
const LZ4_MAGIC: u32 = 0x184d_2204;
/// A block may refer so far back into the ones before it.
const LZ4_WINDOW_BYTES: usize = 64 << 10;

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

    /// A frame, block by block into the buffer itself: readers of frames make buffers of their own for each, which costs
    /// more than a small batch. The batch has a checksum, so those of the frame are passed over.
    /// Layout: <https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md>.
    fn read_lz4(&mut self, compressed: &[u8]) -> io::Result<()> {
        let mut frame = compressed;
        let (magic, flags, sizes) = (word(&mut frame)?, byte(&mut frame)?, byte(&mut frame)?);
        let has_dictionary = flags & 0x01 != 0;
        let most_bytes = match sizes >> 4 & 0x07 {
            size @ 4..=7 if magic == LZ4_MAGIC && !has_dictionary => 1 << (8 + 2 * size),
            _ => return Err(io::Error::other("no frame of LZ4")),
        };
        part(&mut frame, if flags & 0x08 != 0 { 8 } else { 0 })?; // the size of all, if it is told
        part(&mut frame, 1)?; // the header's checksum
        loop {
            let size = word(&mut frame)?;
            if size == 0 {
                return Ok(());
            }
            let block = part(&mut frame, (size & 0x7fff_ffff) as usize)?;
            part(&mut frame, if flags & 0x10 != 0 { 4 } else { 0 })?; // the block's checksum
            self.make_room(most_bytes)?;
            let (before, room) = self.buffer.split_at_mut(self.length);
            let is_plain = size >> 31 == 1;
            self.length += match room.get_mut(..block.len()) {
                Some(room) if is_plain => {
                    room.copy_from_slice(block);
                    block.len()
                }
                _ => {
                    let window = &before[before.len().saturating_sub(LZ4_WINDOW_BYTES)..];
                    let read =
                        lz4_flex::block::decompress_into_with_dict(block, &mut room[..most_bytes], window);
                    read.map_err(io::Error::other)?
                }
            };
        }
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

/// The next bytes of a frame.
fn part<'f>(frame: &mut &'f [u8], bytes: usize) -> io::Result<&'f [u8]> {
    frame.split_off(..bytes).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

fn byte(frame: &mut &[u8]) -> io::Result<u8> {
    Ok(part(frame, 1)?[0])
}

fn word(frame: &mut &[u8]) -> io::Result<u32> {
    Ok(part(frame, 4)?.iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte)))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};

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

    fn lz4(plain: &[u8], info: FrameInfo) -> Vec<u8> {
        let mut lz4 = FrameEncoder::with_frame_info(info, Vec::new());
        lz4.write_all(plain).unwrap();
        lz4.finish().unwrap()
    }

    /// As librdkafka, Java's client and others choose.
    #[test]
    fn frames_of_lz4_of_every_make_are_read() {
        // Noise is not compressed, and repeats over several blocks refer back from one to another.
        let noise: Vec<u8> =
            (0..200_000u64).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 29) as u8).collect();
        for plain in
            [text(), noise.clone(), [noise, text(), text(), text()].concat(), b"short".to_vec(), Vec::new()]
        {
            for mode in [BlockMode::Independent, BlockMode::Linked] {
                for size in [BlockSize::Max64KB, BlockSize::Max256KB, BlockSize::Max4MB] {
                    let info = FrameInfo::new().block_mode(mode).block_size(size);
                    for info in [
                        info.clone(),
                        info.content_checksum(true)
                            .block_checksums(true)
                            .content_size(Some(plain.len() as u64)),
                    ] {
                        let framed = lz4(&plain, info);
                        assert!(inflated(Codec::Lz4, framed).unwrap() == plain, "{} bytes", plain.len());
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_cut_or_broken_is_an_error() {
        let zstd = zstd::encode_all(&text()[..], 1).unwrap();
        assert!(inflated(Codec::Zstd, zstd[..zstd.len() / 2].to_vec()).is_err());
        let lz4 = lz4(&text(), FrameInfo::new());
        for cut in 0..lz4.len() / 2 {
            assert!(inflated(Codec::Lz4, lz4[..cut].to_vec()).is_err(), "{cut}");
        }
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
