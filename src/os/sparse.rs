//! Fills the holes of a release file that was stored as a sparse one in PAX form.
//!
//! In: the member's raw data and its sparse records. Out: the file's content. (The older GNU form
//! with its own header type is handled by the tar crate.) Layout: GNU tar manual, appendix "Storing
//! Sparse Files", formats 0.0, 0.1 and 1.0.

use super::names::{SparseRecords, number};

/// The archive's unit, in bytes; in format 1.0 the map is padded to it.
const BLOCK: usize = 512;

/// The content with its holes as zeros; nothing if the map is damaged or the file is larger than
/// `limit` bytes.
pub(super) fn expand(raw: &[u8], records: &SparseRecords, limit: u64) -> Option<Vec<u8>> {
    let (map, mut data) = if records.map_in_data {
        let (map, used) = map_from_data(raw)?;
        (map, raw.get(used.next_multiple_of(BLOCK)..)?)
    } else {
        (records.map.clone(), raw)
    };
    let size = usize::try_from(records.real_size.filter(|size| *size <= limit)?).ok()?;
    let mut content = vec![0; size];
    for piece in map.chunks_exact(2) {
        let [offset, length] = piece else { return None };
        let (offset, length) = (
            usize::try_from(*offset).ok()?,
            usize::try_from(*length).ok()?,
        );
        let (bytes, rest) = data.split_at_checked(length)?;
        content
            .get_mut(offset..offset.checked_add(length)?)?
            .copy_from_slice(bytes);
        data = rest;
    }
    Some(content)
}

/// Format 1.0: the number of pieces, then offset and length of each, one decimal number a line.
/// Also gives the bytes that the map took.
fn map_from_data(raw: &[u8]) -> Option<(Vec<u64>, usize)> {
    let mut used = 0;
    let mut next = || {
        let rest = raw.get(used..)?;
        let end = rest.iter().position(|byte| *byte == b'\n')?;
        used += end + 1;
        number(rest.get(..end)?)
    };
    let pieces = next()?;
    let mut map = Vec::new();
    for _ in 0..pieces.checked_mul(2)? {
        map.push(next()?);
    }
    Some((map, used))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]
mod tests {
    use super::*;

    #[test]
    fn holes_become_zeros() {
        let records = SparseRecords {
            map_in_data: false,
            map: vec![1, 2, 5, 1],
            real_size: Some(7),
        };
        assert_eq!(expand(b"abc", &records, 100).unwrap(), b"\0ab\0\0c\0");
    }

    #[test]
    fn a_map_before_the_data_is_read_from_there() {
        let mut raw = b"1\n0\n5\n".to_vec();
        raw.resize(BLOCK, 0);
        raw.extend_from_slice(b"ID=x\n");
        let records = SparseRecords {
            map_in_data: true,
            map: Vec::new(),
            real_size: Some(5),
        };
        assert_eq!(expand(&raw, &records, 100).unwrap(), b"ID=x\n");
    }

    #[test]
    fn a_damaged_map_and_a_huge_file_give_nothing() {
        let records = |map: &[u64], size| SparseRecords {
            map_in_data: false,
            map: map.into(),
            real_size: size,
        };
        assert_eq!(expand(b"abc", &records(&[5, 3], Some(7)), 100), None);
        assert_eq!(expand(b"abc", &records(&[0, 9], Some(9)), 100), None);
        assert_eq!(expand(b"abc", &records(&[u64::MAX, 3], Some(7)), 100), None);
        assert_eq!(expand(b"abc", &records(&[0, 3], Some(u64::MAX)), 100), None);
        assert_eq!(expand(b"abc", &records(&[0, 3], None), 100), None);
        let in_data = SparseRecords {
            map_in_data: true,
            map: Vec::new(),
            real_size: Some(5),
        };
        assert_eq!(expand(b"18446744073709551615\n1\n", &in_data, 100), None);
    }
}
