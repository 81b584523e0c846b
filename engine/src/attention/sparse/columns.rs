//! Vectors that stand for keys, laid out so that query rows meet 64 of them in one product.

use super::super::kernels::Kernels;

/// Vectors of a group.
const GROUP: usize = 64;

/// Vectors of `depth` numbers, in groups `[depth][64]`; the last group is filled up with zeros.
#[derive(Debug)]
pub(super) struct Columns {
    depth: usize,
    count: usize,
    numbers: Vec<f32>,
}

impl Columns {
    pub(super) fn new(depth: usize) -> Columns {
        Columns {
            depth,
            count: 0,
            numbers: Vec::new(),
        }
    }

    /// Adds a vector, number by number.
    pub(super) fn push(&mut self, vector: impl Iterator<Item = f32>) {
        let place = self.count % GROUP;
        if place == 0 {
            let length = self.numbers.len() + self.depth * GROUP;
            self.numbers.resize(length, 0.0);
        }
        let first = self.count / GROUP * self.depth * GROUP;
        let slots = self.numbers[first..].iter_mut().skip(place).step_by(GROUP);
        for (slot, number) in slots.zip(vector) {
            *slot = number;
        }
        self.count += 1;
    }

    /// Calls `each` with the products of every row of `rows` (`[rows][depth]`) and the first `count` vectors: row, index
    /// of the first vector, and up to 64 products.
    pub(super) fn products(
        &self,
        kernels: &Kernels,
        rows: &[f32],
        count: usize,
        mut each: impl FnMut(usize, usize, &[f32]),
    ) {
        let mut products = vec![0.0; rows.len() / self.depth * GROUP];
        let groups = self.numbers.chunks_exact(self.depth * GROUP);
        for (nth, group) in groups.take(count.div_ceil(GROUP)).enumerate() {
            (kernels.multiply)(rows, group, &mut products, self.depth, false);
            let filled = (count - nth * GROUP).min(GROUP);
            for (row, products) in products.chunks_exact(GROUP).enumerate() {
                each(row, nth * GROUP, &products[..filled]);
            }
        }
    }

    pub(super) fn bytes(&self) -> usize {
        4 * self.numbers.len()
    }
}
