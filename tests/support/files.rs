//! Test files, and comparing them.

use std::io::{Read, Write as _};
use std::path::{Path, PathBuf};

const STRETCH: usize = 16 << 10;

/// Bytes that no compression shrinks and no two seeds share.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut word = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        word ^= word << 13;
        word ^= word >> 7;
        word ^= word << 17;
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Writes bytes that nobody else has, without having them in memory: for tests that measure that.
pub fn noise_file(path: &Path, seed: u64, length: u64) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut file = std::fs::File::create(path).unwrap();
    let mut left = length;
    while left > 0 {
        let piece = noise(seed ^ (left << 20), left.min(STRETCH as u64) as usize);
        file.write_all(&piece).unwrap();
        left -= piece.len() as u64;
    }
}

/// Whether both give the same bytes, without having them in memory. How many there were.
pub fn same(mut one: impl Read, mut other: impl Read) -> Option<u64> {
    let (mut here, mut there) = ([0; STRETCH], [0; STRETCH]);
    let mut length = 0;
    loop {
        let found = fill(&mut one, &mut here);
        if found != fill(&mut other, &mut there) || here[..found] != there[..found] {
            return None;
        }
        length += found as u64;
        if found < STRETCH {
            return Some(length);
        }
    }
}

fn fill(from: &mut impl Read, stretch: &mut [u8]) -> usize {
    let mut length = 0;
    while length < stretch.len() {
        match from.read(&mut stretch[length..]).unwrap() {
            0 => break,
            read => length += read,
        }
    }
    length
}

/// Fails unless a file holds exactly these bytes, without printing megabytes.
pub fn assert_holds(path: &Path, expected: &[u8]) {
    let found = std::fs::read(path).unwrap_or_else(|error| panic!("reading {}: {error}", path.display()));
    assert_eq!(found.len(), expected.len(), "length of {}", path.display());
    let difference = found.iter().zip(expected).position(|(one, other)| one != other);
    assert_eq!(difference, None, "first different byte of {}", path.display());
}

/// Names of everything in a folder, sorted.
pub fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// All files below a folder.
pub fn all_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = std::fs::read_dir(folder) else { return found };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() && !path.is_symlink() {
            found.extend(all_below(&path));
        } else {
            found.push(path);
        }
    }
    found
}

/// Fails if a text occurs in any file below a folder, except in folders of these names.
pub fn assert_nowhere_below(folder: &Path, secret: &str, except: &[&str]) {
    for file in all_below(folder) {
        let inside = file.strip_prefix(folder).unwrap();
        if inside.components().any(|part| except.iter().any(|name| part.as_os_str() == *name)) {
            continue;
        }
        let bytes = std::fs::read(&file).unwrap_or_default();
        let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!found, "a secret stands in {}", file.display());
    }
}
