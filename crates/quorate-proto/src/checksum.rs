//! CRC-32C (Castagnoli; RFC 3720, appendix B.4), of frames, log records and small files.

#[cfg(feature = "std")]
pub use crc32c::{crc32c, crc32c_append, crc32c_combine};
#[cfg(not(feature = "std"))]
pub use tables::{crc32c, crc32c_append};

/// The same sums where the processor cannot be asked what it can.
pub mod tables {
    use crc::{CRC_32_ISCSI, Crc, Table};

    static SUM: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISCSI);

    /// The checksum of `bytes`.
    pub fn crc32c(bytes: &[u8]) -> u32 {
        SUM.checksum(bytes)
    }

    /// The checksum of what has the checksum `sum` and of `bytes` behind it.
    pub fn crc32c_append(sum: u32, bytes: &[u8]) -> u32 {
        // An initial state is given with its bits in the order of the polynomial.
        let mut digest = SUM.digest_with_initial((!sum).reverse_bits());
        digest.update(bytes);
        digest.finalize()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_those_of_the_standard() {
        for sum in [crc32c, tables::crc32c] {
            assert_eq!(sum(b""), 0);
            assert_eq!(sum(b"123456789"), 0xe306_9283);
            assert_eq!(sum(&[0; 32]), 0x8a91_36aa);
            assert_eq!(sum(&[0xff; 32]), 0x62a8_ab43);
        }
    }

    #[test]
    fn parts_add_up() {
        let bytes: [u8; 300] = core::array::from_fn(|index| index as u8);
        for cut in [0, 1, 16, 255, 300] {
            let (head, tail) = bytes.split_at(cut);
            for append in [crc32c_append, tables::crc32c_append] {
                assert_eq!(append(crc32c(head), tail), crc32c(&bytes), "cut at {cut}");
            }
            #[cfg(feature = "std")]
            assert_eq!(crc32c_combine(crc32c(head), crc32c(tail), tail.len()), crc32c(&bytes));
        }
    }
}
