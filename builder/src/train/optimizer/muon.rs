//! Muon's step of a convolution's filters.

use super::rules::square_sum;
use crate::kernels::vectorized;
use rayon::prelude::*;

/// Coefficients of the quintic `a x + b x^3 + c x^5`, which brings singular values near to 1 (Jordan et al., 2024).
const QUINTIC: [f32; 3] = [3.4445, -4.7750, 2.0315];
/// What keeps a norm of 0 from dividing.
const EPSILON: f64 = 1e-7;
/// Rows and columns of a product that are summed in registers.
const ROWS: usize = 4;
const COLUMNS: usize = 32;

/// One step of the filters `weight`, a row for each of `filters`, at `[lr, momentum]`.
pub(super) fn step(
    weight: &mut [f32],
    velocity: &mut [f32],
    gradient: &[f32],
    filters: usize,
    [lr, momentum]: [f64; 2],
    steps: usize,
) {
    let share = momentum as f32;
    let update = velocity.iter_mut().zip(gradient).map(|(velocity, gradient)| {
        *velocity = share * *velocity + gradient;
        gradient + share * *velocity
    });
    let update = orthogonalized(update.collect(), filters, steps);
    let norm = square_sum(weight).sqrt();
    let scale = if norm > 0.0 { ((filters as f64).sqrt() / norm) as f32 } else { 1.0 };
    let lr = lr as f32;
    weight.iter_mut().zip(update).for_each(|(weight, update)| *weight = scale * *weight - lr * update);
}

/// `matrix` of so many rows with singular values near to 1: those of the short side become orthogonal to each other.
fn orthogonalized(mut matrix: Vec<f32>, rows: usize, steps: usize) -> Vec<f32> {
    let columns = matrix.len() / rows;
    let scale = (1.0 / (square_sum(&matrix).sqrt() + EPSILON)) as f32;
    matrix.iter_mut().for_each(|x| *x *= scale);
    if rows > columns {
        let turned = newton_schulz(transposed(&matrix, rows), columns, steps);
        return transposed(&turned, columns);
    }
    newton_schulz(matrix, rows, steps)
}

/// `x = a x + (b s + c s s) x` with `s = x x'`, so many times.
fn newton_schulz(mut x: Vec<f32>, rows: usize, steps: usize) -> Vec<f32> {
    let [a, b, c] = QUINTIC;
    for _ in 0..steps {
        let squares = product(&x, &transposed(&x, rows), rows);
        let fourth = product(&squares, &squares, rows);
        let factor: Vec<f32> = squares.iter().zip(fourth).map(|(square, fourth)| b * square + c * fourth).collect();
        let added = product(&factor, &x, rows);
        x.iter_mut().zip(added).for_each(|(x, added)| *x = a * *x + added);
    }
    x
}

fn transposed(matrix: &[f32], rows: usize) -> Vec<f32> {
    let columns = matrix.len() / rows;
    let mut turned = Vec::with_capacity(matrix.len());
    for column in 0..columns {
        turned.extend(matrix.iter().skip(column).step_by(columns));
    }
    turned
}

/// The product of `a`, of so many rows, and `b`; each element is a sum in the order of `b`'s rows.
fn product(a: &[f32], b: &[f32], rows: usize) -> Vec<f32> {
    let inner = a.len() / rows;
    let columns = b.len() / inner;
    let mut y = vec![0.0; rows * columns];
    y.par_chunks_mut(ROWS * columns).zip(a.par_chunks(ROWS * inner)).for_each(|(y, a)| {
        multiply(y, a, b, [inner, columns]);
    });
    y
}

vectorized! {
    /// A few rows of a product.
    fn multiply(y: &'a mut [f32], a: &'a [f32], b: &'a [f32], [inner, columns]: [usize; 2]) {
        for start in (0..columns).step_by(COLUMNS) {
            let width = COLUMNS.min(columns - start);
            let mut sums = [[0.0f32; COLUMNS]; ROWS];
            for (k, b) in b.chunks_exact(columns).enumerate() {
                let mut row = [0.0f32; COLUMNS];
                row[..width].copy_from_slice(&b[start..start + width]);
                for (sums, a) in sums.iter_mut().zip(a.chunks_exact(inner)) {
                    for (sum, b) in sums.iter_mut().zip(&row) {
                        *sum += a[k] * b;
                    }
                }
            }
            for (sums, y) in sums.iter().zip(y.chunks_exact_mut(columns)) {
                y[start..start + width].copy_from_slice(&sums[..width]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::stream;
    use rand::RngExt;

    fn random(len: usize) -> Vec<f32> {
        let mut rng = stream(1, 2, 3);
        (0..len).map(|_| rng.random_range(-1.0..1.0)).collect()
    }

    #[test]
    fn products_are_those_of_matrices() {
        for (rows, inner, columns) in [(1, 1, 1), (5, 7, 3), (8, 33, 70), (3, 2, 32)] {
            let (a, b) = (random(rows * inner), random(inner * columns));
            let found = product(&a, &b, rows);
            for (at, found) in found.iter().enumerate() {
                let (row, column) = (at / columns, at % columns);
                let expected: f32 = (0..inner).map(|k| a[row * inner + k] * b[k * columns + column]).sum();
                assert!((found - expected).abs() < 1e-5, "{rows} {inner} {columns}");
            }
        }
    }

    #[test]
    fn rows_become_near_orthogonal() {
        for (rows, columns) in [(6, 40), (40, 6), (16, 27)] {
            for steps in [3, 5] {
                let matrix = orthogonalized(random(rows * columns), rows, steps);
                let short = rows.min(columns);
                let matrix = if rows > columns { transposed(&matrix, rows) } else { matrix };
                let squares = product(&matrix, &transposed(&matrix, short), short);
                // The quintic leaves singular values between 0.68 and 1.13, so squares around 0.46 to 1.28.
                for (at, &square) in squares.iter().enumerate() {
                    let expected = if at / short == at % short { 0.4..1.4 } else { -0.35..0.35 };
                    assert!(expected.contains(&square), "{rows} {columns} {steps} {at}: {square}");
                }
            }
        }
    }

    #[test]
    fn a_step_brings_filters_to_norm_1_on_average_and_goes_against_the_gradient() {
        let gradient = random(8 * 18);
        let (mut weight, mut velocity) = (vec![3.0; 8 * 18], vec![0.0; 8 * 18]);
        step(&mut weight, &mut velocity, &gradient, 8, [0.0, 0.6], 3);
        assert!((square_sum(&weight) - 8.0).abs() < 1e-4);
        assert_eq!(velocity, gradient);
        let before = weight.clone();
        step(&mut weight, &mut velocity, &gradient, 8, [0.1, 0.6], 3);
        let along: f64 = weight.iter().zip(&before).zip(&gradient).map(|((w, b), g)| f64::from((w - b) * g)).sum();
        assert!(along < 0.0, "{along}");
        // The step is as long as an orthogonal matrix of 8 rows, whatever the gradient's size.
        let length: f64 = weight.iter().zip(&before).map(|(w, b)| f64::from(w - b).powi(2)).sum::<f64>().sqrt();
        assert!((0.6..1.2).contains(&(length / (0.1 * 8.0f64.sqrt()))), "{length}");
        assert!((velocity[0] - 1.6 * gradient[0]).abs() < 1e-6);
    }
}
