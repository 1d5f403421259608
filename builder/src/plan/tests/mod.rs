mod follow;
mod zoo;

use super::*;
use follow::follow;
use proptest::prelude::*;
use skipstone_runtime::format::records::{NONE, OpCode};
use skipstone_runtime::rows;
use std::time::{Duration, Instant};
use zoo::Net;

#[test]
fn a_residual_block_works_in_place() {
    let mut net = Net::new(8, 3);
    let a = net.conv(0, NONE, 16, [3, 1]);
    let b = net.conv(a, NONE, 16, [3, 1]);
    let c = net.conv(b, a, 16, [3, 1]);
    net.head(c, 12);
    let plan = net.plan();
    assert_eq!(plan.tensors[3].offset, plan.tensors[1].offset);
    assert_ne!(plan.tensors[2].offset, plan.tensors[1].offset);
    // What one step reads; the rows of a that wait for b are among those that make it.
    let rows: Vec<u16> = plan.tensors[..4].iter().map(|tensor| tensor.ring_rows).collect();
    assert_eq!(rows, [3, 3, 3, 3]);
}

#[test]
fn an_operand_that_is_read_again_keeps_its_place() {
    let mut net = Net::new(4, 4);
    let a = net.conv(0, NONE, 4, [3, 1]);
    let b = net.conv(a, NONE, 4, [3, 1]);
    let c = net.conv(b, a, 4, [3, 1]);
    let d = net.conv(c, a, 4, [3, 1]);
    net.head(d, 12);
    let plan = net.plan();
    assert_ne!(plan.tensors[3].offset, plan.tensors[1].offset);
    assert_eq!(plan.tensors[4].offset, plan.tensors[1].offset);
}

#[test]
fn an_operand_that_is_a_part_of_the_input_keeps_its_place() {
    let mut net = Net::new(8, 4);
    let a = net.conv(0, NONE, 4, [3, 1]);
    let b = net.conv(a, NONE, 4, [1, 1]);
    let joined = net.pointwise(OpCode::Concat, a, b);
    let c = net.conv(joined, b, 4, [3, 1]);
    net.head(c, 12);
    let plan = net.plan();
    assert!(plan.nodes.iter().any(rows::is_view));
    assert_ne!(plan.tensors[usize::from(c)].offset, plan.tensors[usize::from(b)].offset);
}

#[test]
fn a_gate_works_in_place_over_its_trunk() {
    let mut net = Net::new(8, 3);
    let trunk = net.conv(0, NONE, 8, [3, 1]);
    let pooled = net.pool(OpCode::MaxPool, trunk, [3, 2]);
    let mask = net.resize(pooled, 8);
    let gated = net.pointwise(OpCode::Gate, mask, trunk);
    net.head(gated, 12);
    let plan = net.plan();
    assert_eq!(plan.tensors[usize::from(gated)].offset, plan.tensors[usize::from(trunk)].offset);
    // A resized row lies between two rows of its input.
    assert_eq!([pooled, mask].map(|tensor| plan.tensors[usize::from(tensor)].ring_rows), [2, 1]);
}

#[test]
fn members_of_a_concatenation_keep_what_is_read_of_them() {
    let plan = Net::densenet(8, 3).plan();
    let views: Vec<_> = plan.nodes.iter().filter(|node| rows::is_view(node)).collect();
    // The last one is read by an affine, which does not gather; it copies from a view.
    assert_eq!(views.len(), 8);
    let rows = |node: usize| plan.tensors[usize::from(plan.nodes[node].output)].ring_rows;
    // The stem and the three layers of the first block.
    assert_eq!([0, 2, 5, 8].map(rows), [4, 3, 2, 1]);
}

#[test]
fn a_concatenation_that_cannot_be_gathered_is_copied() {
    let mut net = Net::new(6, 3);
    let a = net.conv(0, NONE, 8, [3, 1]);
    let b = net.conv(0, NONE, 8, [1, 1]);
    let first = net.pointwise(OpCode::Concat, a, b);
    let c = net.conv(first, NONE, 16, [1, 1]);
    let second = net.pointwise(OpCode::Concat, c, first);
    let d = net.conv(second, NONE, 16, [1, 1]);
    net.head(d, 12);
    let plan = net.plan();
    // One is the other's second member and has to have bytes.
    assert_eq!([2, 4].map(|node| rows::is_view(&plan.nodes[node])), [false, true]);
    follow(&plan).unwrap();
}

/// Simulated independently: bytes layer by layer, with the image resident, fed row by row.
#[test]
fn networks_need_what_the_simulation_says() {
    let expected: [(&str, Net, [usize; 2]); 10] = [
        ("resnet8", Net::resnet(1), [12_544, 9_760]),
        ("resnet20", Net::resnet(3), [22_016, 19_232]),
        ("resnet56", Net::resnet(9), [26_112, 26_112]),
        ("resnext20-8x2d", Net::resnext20(), [25_600, 22_816]),
        ("densenet-bc22-k8", Net::densenet(8, 3), [22_272, 19_488]),
        ("densenet-bc40-k12", Net::densenet(12, 6), [59_520, 56_736]),
        ("densenet-bc100-k12", Net::densenet(12, 16), [176_640, 173_856]),
        ("attention-mini", Net::attention(), [25_472, 25_472]),
        ("resnet18", Net::resnet18(), [318_976, 173_152]),
        ("resnet50", Net::bottlenecks([3, 4, 6, 3]), [612_864, 467_040]),
    ];
    for (name, net, bytes) in expected {
        let plan = net.plan();
        assert_eq!([plan.maps.resident, plan.maps.fed], bytes, "{name}");
        follow(&plan).unwrap();
    }
}

#[test]
fn steps_of_two_rows_keep_more() {
    for (net, bytes) in [(Net::resnet(1), [17_152, 14_464]), (Net::densenet(8, 3), [28_928, 26_240])] {
        let plan = net.plan_fast();
        assert_eq!([plan.maps.resident, plan.maps.fed], bytes);
        follow(&plan).unwrap();
    }
}

#[test]
fn layers_alone_need_what_the_simulation_says() {
    let expected: [(&str, Net, usize); 9] = [
        ("resnet8", Net::resnet(1), 32_768),
        ("resnet20", Net::resnet(3), 32_768),
        ("resnext20-8x2d", Net::resnext20(), 73_728),
        ("densenet-bc22-k8", Net::densenet(8, 3), 73_728),
        ("densenet-bc40-k12", Net::densenet(12, 6), 147_456),
        ("densenet-bc100-k12", Net::densenet(12, 16), 331_776),
        ("attention-mini", Net::attention(), 49_152),
        ("resnet18", Net::resnet18(), 1_003_520),
        ("resnet50", Net::bottlenecks([3, 4, 6, 3]), 1_304_576),
    ];
    for (name, net, bytes) in expected {
        assert_eq!(net.plan().maps.layer_by_layer, bytes, "{name}");
    }
}

#[test]
fn the_deepest_networks_are_planned_in_seconds() {
    for (net, most) in [(Net::resnet(200), 26_112), (Net::densenet_imagenet(32, [6, 12, 64, 48]), 560_000)] {
        let start = Instant::now();
        let plan = net.plan();
        assert!(plan.maps.fed <= most, "{:?}", plan.maps);
        assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// Every row that a step reads is there, whole, when the device's schedule is followed; one row less in any ring,
    /// and one is not.
    #[test]
    fn no_row_is_lost_and_none_is_spare(draws in prop::collection::vec(any::<[u8; 4]>(), 1..14), fast in any::<bool>()) {
        let net = Net::random(&draws);
        let plan = if fast { net.plan_fast() } else { net.plan() };
        follow(&plan).map_err(TestCaseError::fail)?;
        for tensor in 0..plan.tensors.len() {
            let ring = plan.tensors[tensor];
            let mut smaller = plan.clone();
            for other in smaller.tensors.iter_mut().filter(|other| other.offset == ring.offset && shares(other, &ring)) {
                other.ring_rows -= 1;
            }
            prop_assert!(ring.ring_rows == 1 || follow(&smaller).is_err(), "tensor {tensor} of {ring:?}");
        }
    }
}

/// Whether two tensors at one offset can be of one ring.
fn shares(a: &Tensor, b: &Tensor) -> bool {
    (a.height, a.row_stride, a.ring_rows) == (b.height, b.row_stride, b.ring_rows)
}
