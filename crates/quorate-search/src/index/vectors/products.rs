//! Inner products of vectors of bytes.
//!
//! They are whole numbers, so they are the same whatever instructions a processor has: on x86 with
//! AVX-512 those that multiply and add four bytes at a time, else those for pairs of 16 bits.

use fearless_simd::{Level, dispatch, i8x32, i32x8, prelude::*, u8x32};

use super::Slot;
use super::blocks::Blocks;

/// Bytes that are multiplied at once.
const AT_ONCE: usize = 32;

/// The products of rows with a query. They do not overflow: see `limits::VECTOR_DIMENSIONS`.
pub(super) fn products(
    level: Level,
    query: &[i8],
    rows: &Blocks<u8>,
    slots: &[Slot],
    products: &mut [i32],
) {
    #[cfg(target_arch = "x86_64")]
    if let Some(avx512) = level.as_avx512() {
        wide::products(avx512, query, rows, slots, products);
        return;
    }
    dispatch!(level, simd => in_pairs(simd, query, rows, slots, products));
}

#[inline(always)]
fn in_pairs<S: Simd>(
    simd: S,
    query: &[i8],
    rows: &Blocks<u8>,
    slots: &[Slot],
    products: &mut [i32],
) {
    for (product, &slot) in products.iter_mut().zip(slots) {
        let row = rows.row(slot);
        let (row, row_rest) = row.as_chunks::<AT_ONCE>();
        let (query, query_rest) = query.as_chunks::<AT_ONCE>();
        let mut sums = i32x8::splat(simd, 0);
        for (row, query) in row.iter().zip(query) {
            let (row, further_row) = u8x32::from_slice(simd, row).widen();
            let (query, further_query) = i8x32::from_slice(simd, query).widen();
            sums += row.bitcast::<fearless_simd::i16x16<S>>().pairwise_dot_product(query);
            sums += further_row
                .bitcast::<fearless_simd::i16x16<S>>()
                .pairwise_dot_product(further_query);
        }
        let sums: [i32; 8] = sums.into();
        *product = sums.iter().sum::<i32>() + one_by_one(row_rest, query_rest);
    }
}

#[inline(always)]
fn one_by_one(row: &[u8], query: &[i8]) -> i32 {
    row.iter().zip(query).map(|(&row, &query)| i32::from(row) * i32::from(query)).sum()
}

#[cfg(target_arch = "x86_64")]
mod wide {
    use core::arch::x86_64::{
        __m128i, __m512i, _mm_add_epi32, _mm_hadd_epi32, _mm256_add_epi32, _mm256_castsi256_si128,
        _mm256_extracti128_si256, _mm512_castsi512_si256, _mm512_dpbusd_epi32,
        _mm512_extracti64x4_epi64, _mm512_setzero_si512,
    };

    use fearless_simd::{i8x64, i32x4, prelude::*, u8x64};

    use super::*;

    /// Bytes of a register.
    const WIDTH: usize = 64;

    /// Rows that are multiplied side by side: while one waits for memory the others go on.
    const ROWS: usize = 4;

    fearless_simd::kernel!(
        pub(super) fn products(
            avx512: Avx512,
            query: &[i8],
            rows: &Blocks<u8>,
            slots: &[Slot],
            products: &mut [i32],
        ) {
            let (query, query_rest) = query.as_chunks::<WIDTH>();
            let mut last = [0i8; WIDTH];
            last[..query_rest.len()].copy_from_slice(query_rest);
            let last: __m512i = i8x64::from_slice(avx512, &last).into();
            for (slots, products) in slots.chunks(ROWS).zip(products.chunks_mut(ROWS)) {
                // The last one again in the place of those that are not there.
                let row = |at: usize| rows.row(slots[at.min(slots.len() - 1)]);
                let [first, second, third, fourth] = [row(0), row(1), row(2), row(3)];
                let (first, first_rest) = first.as_chunks::<WIDTH>();
                let (second, second_rest) = second.as_chunks::<WIDTH>();
                let (third, third_rest) = third.as_chunks::<WIDTH>();
                let (fourth, fourth_rest) = fourth.as_chunks::<WIDTH>();
                let zero = _mm512_setzero_si512();
                let (mut a, mut b, mut c, mut d) = (zero, zero, zero, zero);
                let rows = first.iter().zip(second).zip(third).zip(fourth);
                for ((((first, second), third), fourth), query) in rows.zip(query) {
                    let query: __m512i = i8x64::from_slice(avx512, query).into();
                    a = _mm512_dpbusd_epi32(a, u8x64::from_slice(avx512, first).into(), query);
                    b = _mm512_dpbusd_epi32(b, u8x64::from_slice(avx512, second).into(), query);
                    c = _mm512_dpbusd_epi32(c, u8x64::from_slice(avx512, third).into(), query);
                    d = _mm512_dpbusd_epi32(d, u8x64::from_slice(avx512, fourth).into(), query);
                }
                if !query_rest.is_empty() {
                    let add = |sum: &mut __m512i, row: &[u8]| {
                        let mut rest = [0u8; WIDTH];
                        rest[..row.len()].copy_from_slice(row);
                        let rest = u8x64::from_slice(avx512, &rest).into();
                        *sum = _mm512_dpbusd_epi32(*sum, rest, last);
                    };
                    add(&mut a, first_rest);
                    add(&mut b, second_rest);
                    add(&mut c, third_rest);
                    add(&mut d, fourth_rest);
                }
                let (a, b, c, d) = (quarter(a), quarter(b), quarter(c), quarter(d));
                let sums = _mm_hadd_epi32(_mm_hadd_epi32(a, b), _mm_hadd_epi32(c, d));
                let sums: i32x4<_> = sums.simd_into(avx512);
                let sums: [i32; ROWS] = sums.into();
                products.iter_mut().zip(sums).for_each(|(product, sum)| *product = sum);
            }

            /// The sums of four lanes each.
            #[target_feature(enable = "avx512f")]
            #[inline]
            fn quarter(sums: __m512i) -> __m128i {
                let upper = _mm512_extracti64x4_epi64::<1>(sums);
                let half = _mm256_add_epi32(_mm512_castsi512_si256(sums), upper);
                let upper = _mm256_extracti128_si256::<1>(half);
                _mm_add_epi32(_mm256_castsi256_si128(half), upper)
            }
        }
    );
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn products_are_those_of_the_definition(
            pairs in prop::collection::vec((any::<u8>(), any::<i8>()), 0..200),
            count in 1u32..7,
        ) {
            let query: Vec<i8> = pairs.iter().map(|&(_, query)| query).collect();
            let mut rows = Blocks::new(pairs.len());
            let mut expected = Vec::new();
            for slot in 0..count {
                rows.reach(slot);
                let row = rows.row_mut(slot);
                for (own, &(byte, _)) in row.iter_mut().zip(&pairs) {
                    *own = byte.wrapping_add(slot as u8);
                }
                expected.push(one_by_one(row, &query));
            }
            let slots: Vec<Slot> = (0..count).collect();
            for level in [Level::new(), Level::baseline()] {
                let mut found = alloc::vec![0; slots.len()];
                products(level, &query, &rows, &slots, &mut found);
                prop_assert_eq!(&found, &expected);
            }
        }
    }

    #[test]
    fn the_greatest_do_not_overflow() {
        let dimensions = crate::limits::VECTOR_DIMENSIONS as usize;
        let mut rows = Blocks::new(dimensions);
        rows.reach(0);
        rows.row_mut(0).fill(u8::MAX);
        for code in [-127, 127] {
            for level in [Level::new(), Level::baseline()] {
                let mut found = [0];
                products(level, &alloc::vec![code; dimensions], &rows, &[0], &mut found);
                assert_eq!(i64::from(found[0]), 255 * i64::from(code) * dimensions as i64);
            }
        }
    }
}
