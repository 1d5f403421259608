//! The same image seen several ways at test time.

use super::{Image, mirror, shift_reflected};
use crate::data::Dataset;
use crate::tensor::Tensor;

/// Numbers of views that there are: the image; with its mirror image; both also shifted by a pixel towards two corners,
/// reflected at the border.
pub const VIEWS: [usize; 3] = [1, 2, 6];

/// Mean scores of the images of `set` over so many of [`VIEWS`], by way of `scores_of`, which gives those of the
/// images of a set. An image counts for half of its views, both shifts for a quarter each.
///
/// # Errors
/// Those of `scores_of`.
pub fn scores_of_views<E>(
    set: &Dataset,
    views: usize,
    mut scores_of: impl FnMut(&Dataset, &[usize]) -> Result<Tensor, E>,
) -> Result<Tensor, E> {
    let all: Vec<usize> = (0..set.len()).collect();
    if views <= 1 {
        return scores_of(set, &all);
    }
    let places: &[(isize, f32)] = if views > 2 { &[(0, 0.5), (-1, 0.25), (1, 0.25)] } else { &[(0, 1.0)] };
    let mut mean: Option<Tensor> = None;
    for &(by, weight) in places {
        for mirrored in [false, true] {
            let scores = scores_of(&seen(set, by, mirrored), &all)?;
            let share = 0.5 * weight;
            let sum = mean.get_or_insert_with(|| Tensor::zeros(scores.dims()));
            sum.data_mut().iter_mut().zip(scores.data()).for_each(|(sum, score)| *sum += share * score);
        }
    }
    Ok(mean.unwrap_or_else(|| unreachable!("there is a view")))
}

/// The images, shifted down and right by as many pixels, and mirrored.
fn seen(set: &Dataset, by: isize, mirrored: bool) -> Dataset {
    let [channels, height, width] = set.dims;
    let view = |index: usize| {
        let image = Image { height, width, channels, pixels: set.image(index).to_vec() };
        let mut image = if by == 0 { image } else { shift_reflected(&image, by, by) };
        if mirrored {
            mirror(&mut image);
        }
        image.pixels
    };
    Dataset {
        dims: set.dims,
        pixels: (0..set.len()).flat_map(view).collect(),
        labels: set.labels.clone(),
        class_names: set.class_names.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    /// The first pixel and the first row's last one are what stands for scores.
    fn corners(views: usize) -> Vec<f32> {
        let set = Dataset { dims: [1, 3, 3], pixels: (10..19).collect(), labels: vec![1], class_names: Vec::new() };
        let Ok(scores) = scores_of_views::<Infallible>(&set, views, |set, indices| {
            let image = set.image(indices[0]);
            Ok(Tensor::new([1, 2], vec![f32::from(image[0]), f32::from(image[2])]))
        });
        scores.data().to_vec()
    }

    #[test]
    fn scores_are_means_over_the_views() {
        assert_eq!(corners(1), [10.0, 12.0]);
        assert_eq!(corners(2), [11.0, 11.0]);
        // Shifted by -1 the row is (14, 13, 14), by 1 (14, 15, 14).
        assert_eq!(corners(6), [0.5 * 11.0 + 0.5 * 14.0; 2]);
    }
}
