//! Loops over the images of a batch, in parallel, and what is computed element by element.

use super::vectorize;
use crate::tensor::Tensor;
use rayon::prelude::*;

/// Images in a chunk of work whose partial sums are added by [`sum_pairs`]: at most 32 chunks, whatever the threads.
pub(crate) fn chunk_images(batch: usize) -> usize {
    batch.div_ceil(32)
}

/// The sum of `parts` as a binary tree: neighbours first, then neighbouring sums. So the halves of a batch can be
/// summed apart, each by a process, and give the same bits. `add` adds the second to the first.
pub(crate) fn sum_pairs<T>(mut parts: Vec<T>, add: impl Fn(&mut T, T)) -> Option<T> {
    while parts.len() > 1 {
        let mut rest = parts.into_iter();
        parts = Vec::with_capacity(rest.len().div_ceil(2));
        while let Some(mut sum) = rest.next() {
            if let Some(other) = rest.next() {
                add(&mut sum, other);
            }
            parts.push(sum);
        }
    }
    parts.pop()
}

/// Calls `work` for each image with its elements of `out` and of `x`, in parallel.
pub(crate) fn zip_images(out: &mut Tensor, x: &Tensor, work: impl Fn(&mut [f32], &[f32]) + Sync) {
    let batch = x.batch();
    let (out_len, x_len) = (out.data().len() / batch, x.data().len() / batch);
    out.data_mut()
        .par_chunks_mut(out_len)
        .zip(x.data().par_chunks(x_len))
        .for_each(|(out, x)| vectorize(|| work(out, x)));
}

/// As [`zip_images`], with two tensors to read.
pub(crate) fn zip3_images(out: &mut Tensor, a: &Tensor, b: &Tensor, work: impl Fn(&mut [f32], &[f32], &[f32]) + Sync) {
    let batch = a.batch();
    let [out_len, a_len, b_len] = [out.data().len(), a.data().len(), b.data().len()].map(|len| len / batch);
    out.data_mut()
        .par_chunks_mut(out_len)
        .zip(a.data().par_chunks(a_len))
        .zip(b.data().par_chunks(b_len))
        .for_each(|((out, a), b)| vectorize(|| work(out, a, b)));
}

/// Calls `work` for each image, in parallel.
pub(crate) fn each_image(x: &mut Tensor, work: impl Fn(&mut [f32]) + Sync + Send) {
    let image = x.data().len() / x.batch();
    x.data_mut().par_chunks_mut(image).for_each(work);
}

/// Calls `work` for parts of a tensor, in parallel.
pub(crate) fn each_chunk(x: &mut Tensor, work: impl Fn(&mut [f32]) + Sync) {
    const CHUNK: usize = 1 << 14;
    x.data_mut().par_chunks_mut(CHUNK).for_each(|x| vectorize(|| work(x)));
}

/// `max(y, 0)` in place. NaN stays NaN, so that training that went wrong is seen to.
pub(crate) fn rectify(y: &mut Tensor) {
    each_chunk(y, rectify_all);
}

/// As [`rectify`].
#[inline(always)]
pub(crate) fn rectify_all(y: &mut [f32]) {
    y.iter_mut().for_each(|y| *y = if *y <= 0.0 { 0.0 } else { *y });
}

/// Writes `parts` side by side into the channels of `y`.
pub(crate) fn join_channels(y: &mut Tensor, parts: &[&Tensor]) {
    let (channels, image) = (channels(y), y.data().len() / y.batch());
    y.data_mut().par_chunks_mut(image).enumerate().for_each(|(index, y)| {
        vectorize(|| {
            for (strip, y) in y.chunks_mut(STRIP * channels).enumerate() {
                let pixels = y.len() / channels;
                let mut first = 0;
                for part in parts {
                    let count = self::channels(part);
                    let part = &part.data()[index * (image / channels) * count..][strip * STRIP * count..];
                    for (y, x) in y.chunks_exact_mut(channels).zip(part[..pixels * count].chunks_exact(count)) {
                        copy(&mut y[first..first + count], x);
                    }
                    first += count;
                }
            }
        });
    });
}

/// The inverse of [`join_channels`].
pub(crate) fn split_channels(parts: &mut [Tensor], y: &Tensor) {
    let (channels, batch) = (channels(y), y.batch());
    let image = y.data().len() / batch;
    let mut images: Vec<Vec<(usize, &mut [f32])>> = (0..batch).map(|_| Vec::with_capacity(parts.len())).collect();
    for part in parts {
        let count = self::channels(part);
        let of_image = image / channels * count;
        for (images, part) in images.iter_mut().zip(part.data_mut().chunks_mut(of_image)) {
            images.push((count, part));
        }
    }
    images.into_par_iter().zip(y.data().par_chunks(image)).for_each(|(mut parts, y)| {
        vectorize(|| {
            for (strip, y) in y.chunks(STRIP * channels).enumerate() {
                let mut first = 0;
                for (count, part) in &mut parts {
                    let count = *count;
                    let part = &mut part[strip * STRIP * count..];
                    for (x, y) in part.chunks_exact_mut(count).zip(y.chunks_exact(channels)) {
                        copy(x, &y[first..first + count]);
                    }
                    first += count;
                }
            }
        });
    });
}

/// Pixels that are joined or split together, so that they stay in the cache.
const STRIP: usize = 32;

/// Copies slices of one length. They are so short that a call of `memcpy` takes longer than the copy.
#[inline(always)]
pub(crate) fn copy(to: &mut [f32], from: &[f32]) {
    let ((to, to_rest), (from, from_rest)) = (to.as_chunks_mut::<16>(), from.as_chunks::<16>());
    to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
    let ((to, to_rest), (from, from_rest)) = (to_rest.as_chunks_mut::<4>(), from_rest.as_chunks::<4>());
    to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
    to_rest.iter_mut().zip(from_rest).for_each(|(to, from)| *to = *from);
}

/// The last dimension.
pub(crate) fn channels(x: &Tensor) -> usize {
    x.dims()[x.dims().len() - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_added_first() {
        let sum = |parts: &[&str]| {
            let parts = parts.iter().map(|part| part.to_string()).collect();
            sum_pairs(parts, |a: &mut String, b| *a = format!("({a}{b})"))
        };
        assert_eq!(sum(&[]), None);
        assert_eq!(sum(&["a"]).unwrap(), "a");
        assert_eq!(sum(&["a", "b", "c"]).unwrap(), "((ab)c)");
        assert_eq!(sum(&["a", "b", "c", "d", "e", "f"]).unwrap(), "(((ab)(cd))(ef))");
    }
}
