use super::*;
use proptest::prelude::*;
use skipstone_runtime::format::records::{NONE, OpCode};

/// Records of a network as it is put together.
struct Net {
    tensors: Vec<Tensor>,
    nodes: Vec<Node>,
}

impl Net {
    fn new(height: u16, channels: u16) -> Self {
        Self { tensors: vec![tensor(NONE, height, channels)], nodes: Vec::new() }
    }

    fn push(&mut self, node: Node, height: u16, channels: u16) -> u16 {
        let output = self.tensors.len() as u16;
        self.tensors.push(tensor(self.nodes.len() as u16, height, channels));
        self.nodes.push(Node { rows_per_step: 1, groups: 1, output, ..node });
        output
    }

    fn conv(&mut self, input: u16, operand: u16, channels: u16, [kernel, stride]: [u8; 2]) -> u16 {
        let pad = kernel / 2;
        let square = Node { kernel_h: kernel, kernel_w: kernel, stride_h: stride, stride_w: stride, ..Node::default() };
        let pads = Node { pad_top: pad, pad_left: pad, pad_bottom: pad, pad_right: pad, ..square };
        let height = self.tensors[usize::from(input)].height.div_ceil(stride.into());
        self.push(Node { input, operand, ..pads }, height, channels)
    }

    fn head(&mut self, input: u16) {
        let channels = self.tensors[usize::from(input)].channels;
        let pool = Node { op: OpCode::GlobalAveragePool as u8, input, operand: NONE, ..Node::default() };
        let pooled = self.push(pool, 1, channels);
        self.conv(pooled, NONE, 12, [1, 1]);
    }

    /// *Deep residual learning* on CIFAR with projections, `blocks` in each stage.
    fn resnet(blocks: usize) -> Self {
        let mut net = Self::new(32, 3);
        let mut x = net.conv(0, NONE, 16, [3, 1]);
        for (stage, channels) in [16, 32, 64].into_iter().enumerate() {
            for block in 0..blocks {
                let stride = if stage > 0 && block == 0 { 2 } else { 1 };
                let shortcut = if stride == 2 { net.conv(x, NONE, channels, [1, 2]) } else { x };
                let y = net.conv(x, NONE, channels, [3, stride]);
                x = net.conv(y, shortcut, channels, [3, 1]);
            }
        }
        net.head(x);
        net
    }

    fn plan(self) -> Plan {
        plan(self.tensors, self.nodes).unwrap()
    }
}

fn tensor(producer: u16, height: u16, channels: u16) -> Tensor {
    Tensor { height, width: height, channels, producer, scale: 1.0, ..Tensor::default() }
}

#[test]
fn a_residual_block_works_in_place() {
    let mut net = Net::new(8, 3);
    let a = net.conv(0, NONE, 16, [3, 1]);
    let b = net.conv(a, NONE, 16, [3, 1]);
    let c = net.conv(b, a, 16, [3, 1]);
    net.head(c);
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
    net.head(d);
    let plan = net.plan();
    assert_ne!(plan.tensors[3].offset, plan.tensors[1].offset);
    assert_eq!(plan.tensors[4].offset, plan.tensors[1].offset);
}

/// Simulated independently (`rows.md` of the design): bytes layer by layer, with the image resident, fed row by row.
#[test]
fn residual_networks_need_what_the_simulation_says() {
    let maps = |blocks| Net::resnet(blocks).plan().maps;
    let expected = |layer_by_layer, resident, fed| MapBytes { layer_by_layer, resident, fed };
    assert_eq!(maps(1), expected(32_768, 12_544, 9_760));
    assert_eq!(maps(3), expected(32_768, 22_016, 19_232));
    assert_eq!(maps(9), expected(32_768, 26_112, 26_112));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// Every row that a step reads is there, whole, when the schedule is followed in one array of bytes.
    #[test]
    fn no_row_is_lost(
        layers in prop::collection::vec((prop::option::of(any::<prop::sample::Index>()), 1u16..4, 1u8..3), 1..12),
    ) {
        let mut net = Net::new(9, 3);
        for (operand, channels, kernel) in layers {
            let input = net.tensors.len() as u16 - 1;
            let mut channels = 4 * channels;
            let operand = match operand.map(|operand| operand.index(net.tensors.len())) {
                Some(operand) if operand > 0 => {
                    channels = net.tensors[operand].channels;
                    operand as u16
                }
                _ => NONE,
            };
            net.conv(input, operand, channels, [2 * kernel - 1, 1]);
        }
        net.head(net.tensors.len() as u16 - 1);
        follow(&net.plan())?;
    }
}

/// Follows the schedule, each byte marked with the tensor and row that it belongs to.
fn follow(plan: &Plan) -> Result<(), TestCaseError> {
    let network = Network::new(&plan.nodes, &plan.tensors);
    let steps = schedule(&network, &plan.segments, &mut vec![0; plan.nodes.len()], 0);
    prop_assert_eq!(steps.len(), 9 + (0..plan.nodes.len()).map(|node| network.steps(node)).sum::<usize>());
    let mut content = vec![None; plan.counters];
    let bytes = |index: usize, row: usize| {
        let start = geometry::row_offset(&plan.tensors[index], row);
        start..start + geometry::row_bytes(&plan.tensors[index])
    };
    let (mut fed, mut done) = (0, vec![0usize; plan.nodes.len()]);
    for step in steps {
        let Step::Node(node) = step else {
            content[bytes(network.image, fed)].fill(Some((network.image, fed)));
            fed += 1;
            continue;
        };
        let record = &plan.nodes[node];
        let (input, output) = (usize::from(record.input), usize::from(record.output));
        let (read, made) = (&plan.tensors[input], &plan.tensors[output]);
        for row in geometry::input_rows(record, read, made, done[node]) {
            prop_assert!(content[bytes(input, row)].iter().all(|&owner| owner == Some((input, row))));
        }
        let rows = network.rows_made(node, done[node])..network.rows_made(node, done[node] + 1);
        for row in rows.clone().filter(|_| record.operand != NONE) {
            let operand = usize::from(record.operand);
            prop_assert!(content[bytes(operand, row)].iter().all(|&owner| owner == Some((operand, row))));
        }
        for row in rows {
            content[bytes(output, row)].fill(Some((output, row)));
        }
        done[node] += 1;
    }
    Ok(())
}
