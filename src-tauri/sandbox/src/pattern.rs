//! Bytes that look random, are the same every time, and need no storage: any size, any position at once.
//!
//! The bytes repeat a block of 1 MiB in which the number of the block is XORed into the first 8 bytes of
//! every 4 KiB page. So no two blocks are equal and a misplaced page shows, yet making them costs little more
//! than copying memory, and the CRC of a terabyte follows from the CRC of one block: XOR with a number
//! changes a CRC by an amount that depends on the number's bits alone.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use crc_fast::{CrcAlgorithm, checksum, checksum_combine};

const BLOCK: usize = 1 << 20;
const PAGE: usize = 4 << 10;
/// Beyond this size a CRC would take noticeable time.
const HASHED_UP_TO: u64 = 256 << 30;
/// The first box of an MP4 file.
const FTYP: &[u8; 24] = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom";

/// Seed, size, and whether it starts like an MP4: what tells one generated file from another.
type Key = (u64, u64, bool);

/// A generated file.
#[derive(Debug)]
pub(crate) struct Pattern {
    seed: u64,
    size: u64,
    /// Whether the file starts like an MP4.
    mp4: bool,
    block: Vec<u8>,
}

impl Pattern {
    /// The file of this name and size. Names that end in `.mp4` start with an `ftyp` box.
    pub(crate) fn new(name: &str, size: u64) -> Self {
        let seed = checksum(CrcAlgorithm::Crc64Nvme, name.as_bytes());
        let length = size.min(BLOCK as u64).next_multiple_of(8) as usize;
        let mut block = Vec::with_capacity(length);
        let mut state = seed;
        while block.len() < length {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            block.extend_from_slice(&splitmix(state).to_le_bytes());
        }
        let mp4 = std::path::Path::new(name).extension().is_some_and(|e| e.eq_ignore_ascii_case("mp4"))
            && size >= FTYP.len() as u64;
        Self { seed, size, mp4, block }
    }

    /// Fills `buffer` with the bytes from `position` on; the caller stays within the size.
    pub(crate) fn fill(&self, position: u64, buffer: &mut [u8]) {
        let mut at = position;
        let mut rest = &mut *buffer;
        while !rest.is_empty() {
            let number = at / BLOCK as u64;
            let offset = (at % BLOCK as u64) as usize;
            let length = rest.len().min(BLOCK - offset);
            let (piece, after) = rest.split_at_mut(length);
            piece.copy_from_slice(&self.block[offset..offset + length]);
            if number > 0 {
                stamp(piece, offset, number);
            }
            at += length as u64;
            rest = after;
        }
        if self.mp4 && position < FTYP.len() as u64 {
            let start = position as usize;
            let length = buffer.len().min(FTYP.len() - start);
            buffer[..length].copy_from_slice(&FTYP[start..start + length]);
        }
    }

    /// CRC-32C of the whole, unless that would take long.
    pub(crate) fn crc32c(&self) -> Option<u32> {
        static KNOWN: LazyLock<Mutex<HashMap<Key, u32>>> = LazyLock::new(Mutex::default);
        if self.size > HASHED_UP_TO {
            return None;
        }
        let key = (self.seed, self.size, self.mp4);
        if let Some(crc) = KNOWN.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Some(*crc);
        }
        let crc = self.compute_crc32c();
        let mut map = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        if map.len() >= 4096 {
            map.clear();
        }
        map.insert(key, crc);
        Some(crc)
    }

    fn compute_crc32c(&self) -> u32 {
        let algorithm = CrcAlgorithm::Crc32Iscsi;
        let mut buffer = vec![0; self.size.min(BLOCK as u64) as usize];
        self.fill(0, &mut buffer);
        let mut crc = checksum(algorithm, &buffer);
        let blocks = self.size / BLOCK as u64;
        if blocks > 1 {
            let plain = checksum(algorithm, &self.block);
            let bits = u64::BITS - (blocks - 1).leading_zeros();
            let by_bit: Vec<u64> = (0..bits)
                .map(|bit| {
                    buffer.copy_from_slice(&self.block);
                    stamp(&mut buffer, 0, 1 << bit);
                    checksum(algorithm, &buffer) ^ plain
                })
                .collect();
            for number in 1..blocks {
                let change = (0..bits)
                    .filter(|bit| number >> bit & 1 == 1)
                    .fold(0, |sum, bit| sum ^ by_bit[bit as usize]);
                crc = checksum_combine(algorithm, crc, plain ^ change, BLOCK as u64);
            }
        }
        let tail = self.size % BLOCK as u64;
        if blocks > 0 && tail > 0 {
            buffer.truncate(tail as usize);
            self.fill(self.size - tail, &mut buffer);
            crc = checksum_combine(algorithm, crc, checksum(algorithm, &buffer), tail);
        }
        crc as u32
    }
}

/// XORs the block's number into the head of each page of `piece`, which lies at `offset` of its block.
fn stamp(piece: &mut [u8], offset: usize, number: u64) {
    let bytes = number.to_le_bytes();
    let mut page = offset / PAGE * PAGE;
    while page < offset + piece.len() {
        for (index, byte) in bytes.iter().enumerate() {
            if let Some(target) = (page + index).checked_sub(offset).and_then(|i| piece.get_mut(i)) {
                *target ^= byte;
            }
        }
        page += PAGE;
    }
}

/// The output step of the SplitMix64 generator.
fn splitmix(state: u64) -> u64 {
    let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_position_gives_the_same_bytes() {
        let pattern = Pattern::new("a.bin", 3 * BLOCK as u64 + 77);
        let mut whole = vec![0; pattern.size as usize];
        pattern.fill(0, &mut whole);
        for (start, length) in [
            (0, 1),
            (3, 9),
            (PAGE - 3, 7),
            (BLOCK - 5, 12),
            (BLOCK + PAGE + 2, 4),
            (2 * BLOCK - 1, BLOCK + 2),
        ] {
            let mut part = vec![0; length];
            pattern.fill(start as u64, &mut part);
            assert_eq!(part, whole[start..start + length], "{start}+{length}");
        }
        assert_ne!(whole[..PAGE], whole[BLOCK..BLOCK + PAGE]);
    }

    #[test]
    fn the_checksum_is_that_of_the_bytes() {
        for name in ["a.bin", "b.mp4"] {
            for size in [0, 1, 23, 24, 4096, BLOCK - 1, BLOCK, BLOCK + 1, 5 * BLOCK, 7 * BLOCK + 4099] {
                let pattern = Pattern::new(name, size as u64);
                let mut whole = vec![0; size];
                pattern.fill(0, &mut whole);
                let expected = checksum(CrcAlgorithm::Crc32Iscsi, &whole) as u32;
                assert_eq!(pattern.crc32c(), Some(expected), "{name} {size}");
            }
        }
    }

    #[test]
    fn a_generated_video_starts_like_one() {
        let mut head = [0; 8];
        Pattern::new("x.mp4", 1000).fill(0, &mut head);
        assert_eq!(&head[4..], b"ftyp");
    }
}
