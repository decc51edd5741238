//! Mutations of inputs, the same each time.

/// A generator of our own, so that a seed means the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound.max(1)
    }
}

fn mutate(random: &mut Random, bytes: &mut Vec<u8>, other: &[u8]) {
    const VALUES: [u8; 8] = [0, 1, 0x7f, 0x80, 0xff, b'0', b'\n', b'*'];
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len());
        match random.below(6) {
            0 => bytes.truncate(at),
            1 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            2 if at < bytes.len() => bytes[at] = VALUES[random.below(VALUES.len())],
            3 => bytes.insert(at, random.below(256) as u8),
            4 => {
                let end = at + random.below(bytes.len() - at);
                bytes.drain(at..end);
            }
            _ => {
                let begin = random.below(other.len());
                let end = begin + random.below(other.len() - begin);
                bytes.splice(at..at, other[begin..end].iter().copied());
            }
        }
    }
}

/// Draws `count` mutations of `inputs`, of which there must be one.
pub(crate) fn mutations(inputs: &[Vec<u8>], count: usize) -> Vec<Vec<u8>> {
    let random = &mut Random(7);
    let mutation = |_| {
        let mut bytes = inputs[random.below(inputs.len())].clone();
        let other = &inputs[random.below(inputs.len())];
        mutate(random, &mut bytes, other);
        bytes
    };
    (0..count).map(mutation).collect()
}
