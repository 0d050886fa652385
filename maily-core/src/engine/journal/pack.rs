//! Bytes of records: JSON where it is small, so that a person can read it with kubectl; compressed where it is not;
//! in parts where it is large.

use std::{
    borrow::Cow,
    io::{Read as _, Write as _},
};

use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use serde::{Serialize, de::DeserializeOwned};

use super::JournalError;

/// Longest part of a record in bytes: a Secret holds 1 MiB, and base64 takes a third more on the way.
pub(super) const PART: usize = 700 * 1024;
const PLAIN: usize = 16 * 1024;
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// Refuses what would unpack to more than this many bytes.
const LIMIT: u64 = 512 * 1024 * 1024;

/// A value as bytes.
///
/// # Panics
/// Never: plain data serialises, and memory does not fail to be written.
pub fn pack<T: Serialize>(value: &T) -> Vec<u8> {
    let json = serde_json::to_vec(value).expect("plain data serialises");
    if json.len() <= PLAIN {
        return json;
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&json).and_then(|()| encoder.finish()).expect("memory can be written")
}

/// A value from bytes.
///
/// # Errors
/// When the bytes are damaged or of another shape.
pub fn unpack<T: DeserializeOwned>(key: &str, bytes: &[u8]) -> Result<T, JournalError> {
    let json = uncompressed(key, bytes)?;
    let damaged = |message| JournalError::Damaged { key: key.to_owned(), message };
    // Looked through at once, and not text by text.
    let text = std::str::from_utf8(&json).map_err(|error| damaged(error.to_string()))?;
    serde_json::from_str(text).map_err(|error| damaged(error.to_string()))
}

/// The JSON text of a record, uncompressed.
///
/// # Errors
/// When the bytes are damaged.
pub fn uncompressed<'a>(key: &str, bytes: &'a [u8]) -> Result<Cow<'a, [u8]>, JournalError> {
    if bytes.is_empty() {
        return Err(JournalError::Damaged { key: key.to_owned(), message: "it is empty".to_owned() });
    }
    if !bytes.starts_with(&GZIP) {
        return Ok(Cow::Borrowed(bytes));
    }
    let mut json = Vec::new();
    let read = GzDecoder::new(bytes).take(LIMIT).read_to_end(&mut json);
    read.map_err(|error| JournalError::Damaged { key: key.to_owned(), message: error.to_string() })?;
    Ok(Cow::Owned(json))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn small_values_stay_readable() {
        assert_eq!(pack(&vec![1, 2]), b"[1,2]");
    }

    #[test]
    fn damaged_bytes_are_an_error_with_the_key() {
        let error = unpack::<Vec<u8>>("run/1/2", &[0x1f, 0x8b, 1, 2]).expect_err("is damaged");
        assert!(error.to_string().contains("run/1/2"), "{error}");
    }

    proptest! {
        #[test]
        fn what_is_packed_comes_back(words in prop::collection::vec("[a-z]{0,40}", 0..700)) {
            prop_assert_eq!(&unpack::<Vec<String>>("k", &pack(&words)).unwrap(), &words);
        }
    }
}
