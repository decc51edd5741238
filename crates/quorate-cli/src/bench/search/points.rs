//! Vectors in clusters, the same at every run.

/// Vectors of a cluster.
const CLUSTER: usize = 1000;

/// How far vectors are from the centre of their cluster, where centres are 1 from the middle.
const SPREAD: f32 = 1.0;

#[derive(Debug)]
pub(super) struct Points {
    pub(super) dimensions: usize,
    pub(super) vectors: Vec<Vec<f32>>,
    pub(super) queries: Vec<Vec<f32>>,
    /// What vectors are replaced by.
    pub(super) others: Vec<Vec<f32>>,
}

impl Points {
    pub(super) fn new(count: usize, dimensions: usize, queries: usize) -> Points {
        let mut numbers = Numbers::new(0x9e37_79b9_7f4a_7c15);
        let mut point = |centre: Option<&Vec<f32>>| -> Vec<f32> {
            let bells = (0..dimensions).map(|_| numbers.bell());
            match centre {
                Some(centre) => bells.zip(centre).map(|(bell, at)| at + SPREAD * bell).collect(),
                None => bells.collect(),
            }
        };
        let centres: Vec<Vec<f32>> = (0..count / CLUSTER).map(|_| point(None)).collect();
        let mut points = |count: usize| -> Vec<Vec<f32>> {
            (0..count).map(|at| point(Some(&centres[(at * 7919) % centres.len()]))).collect()
        };
        let (vectors, queries, others) = (points(count), points(queries), points(count / 2));
        Points { dimensions, vectors, queries, others }
    }
}

/// Numbers that look random (xorshift).
pub(super) struct Numbers(u64);

impl Numbers {
    pub(super) fn new(seed: u64) -> Numbers {
        Numbers(seed)
    }

    /// 64 even bits.
    pub(super) fn bits(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// From 0 to 1, even.
    pub(super) fn even(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Bell-shaped, about, of deviation 1.
    fn bell(&mut self) -> f32 {
        let mut sum = 0;
        for _ in 0..3 {
            let bits = self.bits();
            sum += (bits >> 48) + (bits >> 32 & 0xffff) + (bits >> 16 & 0xffff);
        }
        // The sum of nine even ones has the variance 9/12.
        (sum as f32 / 65536.0 - 4.5) / 0.75_f32.sqrt()
    }
}

/// The bytes of a vector.
pub(super) fn bytes(vector: &[f32]) -> Vec<u8> {
    vector.iter().flat_map(|number| number.to_le_bytes()).collect()
}
