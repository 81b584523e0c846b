//! Products of parts of F32 matrices, by the crate `gemm`, on one thread.

/// A matrix, or a part of one, that is read.
#[derive(Clone, Copy)]
pub(super) struct Strided<'a> {
    numbers: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

/// A matrix, or a part of one, that is written: where each row begins.
pub(super) struct StridedMut<'a> {
    numbers: &'a mut [f32],
    row_stride: usize,
}

/// Whether all of a matrix lies within so many numbers.
fn fits(numbers: usize, rows: usize, columns: usize, row_stride: usize) -> bool {
    rows == 0 || columns == 0 || (rows - 1) * row_stride + columns <= numbers
}

impl<'a> Strided<'a> {
    /// `rows` and `columns`, rows `row_stride` numbers apart.
    ///
    /// # Panics
    /// If they are not all there.
    pub fn new(numbers: &'a [f32], [rows, columns]: [usize; 2], row_stride: usize) -> Strided<'a> {
        assert!(fits(numbers.len(), rows, columns, row_stride));
        Strided {
            numbers,
            rows,
            columns,
            row_stride,
            column_stride: 1,
        }
    }

    pub fn transposed(self) -> Strided<'a> {
        Strided {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }
}

impl<'a> StridedMut<'a> {
    pub fn new(numbers: &'a mut [f32], row_stride: usize) -> StridedMut<'a> {
        StridedMut {
            numbers,
            row_stride,
        }
    }
}

/// `product := left * right`.
///
/// # Panics
/// If left has other columns than right has rows, or the product no room.
pub(super) fn multiply_strided(left: Strided<'_>, right: Strided<'_>, product: StridedMut<'_>) {
    assert_eq!(left.columns, right.rows);
    let (rows, columns) = (left.rows, right.columns);
    assert!(columns <= product.row_stride);
    assert!(fits(
        product.numbers.len(),
        rows,
        columns,
        product.row_stride
    ));
    // SAFETY: what is read lies within its slices, which `Strided::new` saw and a transposition does not change; what is
    // written lies within its own, as was just seen, and nobody else has it. Strides are those of slices in memory, so they
    // fit a signed number. The product is not read.
    unsafe {
        gemm::gemm(
            rows,
            columns,
            left.columns,
            product.numbers.as_mut_ptr(),
            1,
            product.row_stride as isize,
            false,
            left.numbers.as_ptr(),
            left.column_stride as isize,
            left.row_stride as isize,
            right.numbers.as_ptr(),
            right.column_stride as isize,
            right.row_stride as isize,
            0.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn parts_are_multiplied_as_by_definition(
            (rows, inner, columns) in (1usize..40, 1usize..40, 1usize..40),
            apart in 0usize..5,
            seed in any::<u32>(),
        ) {
            let number = |nth: usize| ((nth as u32).wrapping_mul(2_654_435_761) ^ seed) as f32 / u32::MAX as f32 - 0.5;
            let left: Vec<f32> = (0..rows * (inner + apart)).map(number).collect();
            // Held as columns by inner, and looked at transposed.
            let right: Vec<f32> = (0..columns * (inner + apart)).map(|nth| number(nth + 7)).collect();
            let mut product = vec![9.0; rows * (columns + apart)];
            multiply_strided(
                Strided::new(&left, [rows, inner], inner + apart),
                Strided::new(&right, [columns, inner], inner + apart).transposed(),
                StridedMut::new(&mut product, columns + apart),
            );
            for (row, found) in product.chunks(columns + apart).enumerate() {
                for (column, found) in found.iter().enumerate() {
                    let expected: f64 = (0..inner)
                        .map(|nth| f64::from(left[row * (inner + apart) + nth]) * f64::from(right[column.min(columns - 1) * (inner + apart) + nth]))
                        .sum();
                    let expected = if column < columns { expected } else { 9.0 };
                    prop_assert!((f64::from(*found) - expected).abs() < 1e-5);
                }
            }
        }
    }

    #[test]
    #[should_panic = "fits"]
    fn what_has_no_room_is_not_written() {
        let mut product = [0.0; 5];
        let two = Strided::new(&[1.0; 4], [2, 2], 2);
        multiply_strided(two, two, StridedMut::new(&mut product, 4));
    }
}
