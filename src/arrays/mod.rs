//! Arrays in files, as `NumPy` keeps them: `.npy` holds one, `.npz` several by name.
//!
//! The archive is the crate zip's. One array is read and written by hand in `npy`, because `npyz` 0.9 is not made for files of
//! strangers: it takes memory for a header of up to 4 GiB before it looks at it, multiplies the dimensions without looking for
//! overflow, and parses the header as any Python literal, nesting included. It brings a parser generator and big numbers with it,
//! and neither narrow types nor the order of columns would be less work.

mod npy;
mod safetensors;

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, Write};
use std::path::{Path, PathBuf};

use zip::result::ZipError;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use crate::atomic::{self, WriteError};
use crate::network::Array;
use npy::ArrayFault;

pub use crate::atomic::Overwrite;

/// Deflate makes nothing smaller than one part in this many.
const MAX_INFLATION: u64 = 1032;

/// Entries of this size need the wider fields of a zip archive.
const WIDE_ENTRY: usize = 1 << 31;

/// Why arrays could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ArraysError {
    /// The name says neither `.npy` nor `.npz`.
    #[error("arrays are kept in .npy and .npz files, and this is neither: {}", path.display())]
    UnknownFormat {
        /// Which.
        path: PathBuf,
    },
    /// The file is missing or cannot be read.
    #[error("cannot read the file: {source}: {}", path.display())]
    Read {
        /// What the system said.
        source: io::Error,
        /// Which.
        path: PathBuf,
    },
    /// What is in the file is no array that a network can take.
    #[error("this is no array that can be used: {reason}: {}", path.display())]
    Broken {
        /// What is wrong with it.
        reason: String,
        /// Which.
        path: PathBuf,
    },
    /// One of the arrays in an archive is none that a network can take.
    #[error("the array “{name}” cannot be used: {reason}: {}", path.display())]
    BrokenEntry {
        /// Its name.
        name: String,
        /// What is wrong with it.
        reason: String,
        /// The archive.
        path: PathBuf,
    },
    /// A `.npy` file holds one array.
    #[error("a .npy file holds one array and these are {count} ({names}); choose a .npz file: {}", path.display())]
    Several {
        /// How many.
        count: usize,
        /// Their names.
        names: String,
        /// Which file was wanted.
        path: PathBuf,
    },
    /// The file could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// How arrays are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Container {
    /// `.npy`: one array, without a name.
    One,
    /// `.npz`: several by name.
    Archive,
}

impl Container {
    /// By the end of the file's name, in any case.
    ///
    /// # Errors
    /// [`ArraysError::UnknownFormat`]
    pub fn of(path: &Path) -> Result<Self, ArraysError> {
        match path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase()).as_deref() {
            Some("npy") => Ok(Self::One),
            Some("npz") => Ok(Self::Archive),
            _ => Err(ArraysError::UnknownFormat { path: path.to_owned() }),
        }
    }
}

/// Reads all arrays of a file, in the file's order. In an archive an array is named as its entry, less `.npy`; in a `.npy` file
/// as the file.
///
/// Bool, every integer and float type of `NumPy` up to 64 bits, row by row or column by column, in either order of bytes. No
/// memory is asked for that the file's own length does not account for.
///
/// # Errors
/// [`ArraysError`]
pub fn read(path: &Path) -> Result<Vec<(String, Array)>, ArraysError> {
    let unread = |source| ArraysError::Read { source, path: path.to_owned() };
    let container = Container::of(path)?;
    let file = File::open(path).map_err(unread)?;
    let length = file.metadata().map_err(unread)?.len();
    let mut file = BufReader::with_capacity(1 << 18, file);
    match container {
        Container::One => {
            let name = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
            let array = npy::read(&mut file, length).map_err(|broken| match broken {
                ArrayFault::Io(source) => unread(source),
                ArrayFault::Told(reason) => ArraysError::Broken { reason, path: path.to_owned() },
            })?;
            Ok(vec![(name, array)])
        }
        Container::Archive => archive(file, length, path),
    }
}

/// As [`read`], of safetensors files too.
///
/// # Errors
/// [`ArraysError`]
pub fn read_any(path: &Path) -> Result<Vec<(String, Array)>, ArraysError> {
    if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("safetensors")) {
        safetensors::read(path)
    } else {
        read(path)
    }
}

fn archive(file: impl Read + Seek, length: u64, path: &Path) -> Result<Vec<(String, Array)>, ArraysError> {
    let unread = |source| ArraysError::Read { source, path: path.to_owned() };
    let broken = |error| match error {
        ZipError::Io(source) if source.kind() != io::ErrorKind::UnexpectedEof => unread(source),
        error => ArraysError::Broken { reason: format!("it is no whole .npz archive ({error})"), path: path.to_owned() },
    };
    let mut archive = ZipArchive::new(file).map_err(broken)?;
    let mut out: Vec<(String, Array)> = Vec::new();
    let mut total = 0_u64;
    for i in 0..archive.len() {
        let mut entry = archive.by_index(i).map_err(broken)?;
        let Some(name) = entry.name().map_err(broken)?.strip_suffix(".npy").map(str::to_owned) else { continue };
        let refused = |reason: &str| ArraysError::BrokenEntry { name: name.clone(), reason: reason.to_owned(), path: path.to_owned() };
        if out.iter().any(|(known, _)| *known == name) {
            return Err(refused("there are two of this name"));
        }
        total = total.saturating_add(entry.size());
        if entry.size() > entry.compressed_size().saturating_mul(MAX_INFLATION) || total > length.saturating_mul(MAX_INFLATION) {
            return Err(refused("it says that it is larger than what is there can make it"));
        }
        let size = entry.size();
        let array = npy::read(&mut entry, size).map_err(|broken| match broken {
            ArrayFault::Io(source) => refused(&source.to_string()),
            ArrayFault::Told(reason) => refused(&reason),
        })?;
        out.push((name, array));
    }
    Ok(out)
}

/// Writes arrays: one to a `.npy` file, any number by name to a `.npz` archive, which is not compressed.
///
/// `NumPy` has no bfloat16 and no integers below a byte: float32 and int8 or uint8 are written, which hold the same numbers.
///
/// # Errors
/// [`ArraysError`], with nothing changed on disk.
pub fn write(path: &Path, arrays: &[(String, Array)], overwrite: Overwrite) -> Result<(), ArraysError> {
    match (Container::of(path)?, arrays) {
        (Container::One, [(_, array)]) => Ok(atomic::write(path, overwrite, |out| npy::write(array, out))?),
        (Container::One, several) => Err(ArraysError::Several {
            count: several.len(),
            names: several.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", "),
            path: path.to_owned(),
        }),
        (Container::Archive, arrays) => Ok(atomic::write(path, overwrite, |out| {
            let mut archive = ZipWriter::new_stream(out);
            for (name, array) in arrays {
                let elements: usize = array.shape.iter().product();
                let options = SimpleFileOptions::default()
                    .compression_method(CompressionMethod::Stored)
                    .large_file(elements.saturating_mul(8) >= WIDE_ENTRY);
                archive.start_file(format!("{name}.npy"), options)?;
                npy::write(array, &mut archive)?;
            }
            archive.finish()?.flush()
        })?),
    }
}

/// The type in which `NumPy` finds an array that [`write()`] wrote: `float32`, `uint8`.
#[must_use]
pub fn numpy_type(array: &Array) -> &'static str {
    npy::numpy_name(array)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two() -> Vec<(String, Array)> {
        vec![("logits".to_owned(), Array::f32([1, 2], vec![0.5, -3.0])), ("a/b é".to_owned(), Array::i64([0], Vec::new()))]
    }

    #[test]
    fn an_archive_comes_back_in_order_and_is_not_replaced_silently() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.NPZ");
        write(&path, &two(), Overwrite::Refuse).unwrap();
        assert_eq!(read(&path).unwrap(), two());
        let error = write(&path, &two()[..1], Overwrite::Refuse).unwrap_err();
        assert!(matches!(error, ArraysError::Write(WriteError::Exists { .. })), "{error}");
        write(&path, &two()[..1], Overwrite::Allow).unwrap();
        assert_eq!(read(&path).unwrap(), two()[..1]);
    }

    #[test]
    fn one_array_takes_the_name_of_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.npy");
        write(&path, &two()[..1], Overwrite::Refuse).unwrap();
        assert_eq!(read(&path).unwrap(), [("x".to_owned(), two().remove(0).1)]);
        assert!(matches!(write(&path, &two(), Overwrite::Allow), Err(ArraysError::Several { count: 2, .. })));
        assert!(matches!(write(&folder.path().join("x"), &two(), Overwrite::Allow), Err(ArraysError::UnknownFormat { .. })));
        assert!(matches!(read(&folder.path().join("none.npy")), Err(ArraysError::Read { .. })));
    }

    #[test]
    fn broken_archives_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.npz");
        write(&path, &two(), Overwrite::Refuse).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for cut in 0..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            assert!(read(&path).is_err(), "cut to {cut} bytes");
        }
        // No byte, changed, may do more than fail.
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 0x55;
            std::fs::write(&path, &changed).unwrap();
            let _ = read(&path);
        }
    }

    #[test]
    fn an_archive_may_not_claim_more_than_it_can_hold() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.npz");
        let mut archive = ZipWriter::new(File::create(&path).unwrap());
        archive.start_file("x.npy", SimpleFileOptions::default().compression_method(CompressionMethod::Deflated)).unwrap();
        npy::write(&Array::f32([1 << 16], vec![0.0; 1 << 16]), &mut archive).unwrap();
        archive.finish().unwrap();
        assert_eq!(read(&path).unwrap()[0].1.shape, [1 << 16], "what compresses well is no fraud");
        let mut bytes = std::fs::read(&path).unwrap();
        let directory = bytes.windows(4).position(|w| w == b"PK\x01\x02").unwrap();
        bytes[directory + 24..directory + 28].copy_from_slice(&0xf000_0000_u32.to_le_bytes());
        std::fs::write(&path, &bytes).unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(error.contains("larger than what is there"), "{error}");
    }
}
