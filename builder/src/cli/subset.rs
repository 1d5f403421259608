//! Parts of data sets.

use crate::data::Dataset;

/// At most `count` images, spread evenly over `data`.
pub(super) fn spread(data: &Dataset, count: usize) -> Dataset {
    let count = count.min(data.len());
    take(data, (0..count).map(|index| index * data.len() / count))
}

fn take(data: &Dataset, indices: impl Iterator<Item = usize>) -> Dataset {
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    for index in indices {
        pixels.extend_from_slice(data.image(index));
        labels.push(data.labels[index]);
    }
    Dataset { dims: data.dims, pixels, labels, class_names: data.class_names.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spreads_over_the_whole_set() {
        let pixels: Vec<u8> = (0..10).collect();
        let labels = (0..10).collect();
        let data = Dataset { dims: [1, 1, 1], pixels, labels, class_names: Vec::new() };
        assert_eq!(spread(&data, 4).pixels, [0, 2, 5, 7]);
        assert_eq!(spread(&data, 100).labels, data.labels);
    }
}
