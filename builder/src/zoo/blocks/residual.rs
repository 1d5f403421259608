//! Residual blocks of all kinds: basic and bottleneck, in both orders of activation, with every shortcut.

use super::{Convolution, Net, Padding, conv1x1, conv3x3};
use skipstone_onnx::{GraphError, Op, Pad, Slice, ValueId};

/// What a block adds to the output of its last convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shortcut {
    /// Nothing: a plain network.
    None,
    /// Option A: every `stride`-th row and column of the input, zero channels around it. Without parameters.
    ZeroPad,
    /// Option B: where the shape changes a 1x1 convolution of the block's stride, elsewhere the input itself.
    Projection {
        /// Whether a batch norm follows the convolution.
        batch_norm: bool,
    },
    /// Option B with the stride in an average pool of 2x2 before the convolution (ResNet-D).
    PooledProjection,
}

/// The convolutions of a block's branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Branch {
    /// 3x3 with the stride, 3x3.
    Basic,
    /// 1x1 to `width` channels, 3x3 in `groups`, 1x1 to the block's channels.
    Bottleneck {
        /// Channels inside.
        width: usize,
        /// Groups of the 3x3 convolution.
        groups: usize,
        /// Whether the first 1x1 convolution has the stride (He 2015), not the 3x3 (the form in use today).
        stride_first: bool,
    },
}

/// Where batch norm and ReLU stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// After each convolution; the last ReLU after the sum (He 2015).
    Post,
    /// Before each convolution, nothing after the sum (He 2016).
    Pre {
        /// Whether the block begins with batch norm and ReLU. A block whose input comes out of a ReLU need not.
        leading: bool,
        /// Whether the projection reads the raw input, not the pre-activated one.
        raw_projection: bool,
    },
}

/// A residual block.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Block {
    /// The convolutions.
    pub branch: Branch,
    /// Channels of the result.
    pub channels: usize,
    /// Stride between input and result.
    pub stride: usize,
    /// What is added to the branch.
    pub shortcut: Shortcut,
    /// Where batch norm and ReLU stand.
    pub order: Order,
    /// Probability that training leaves the branch out for an image (stochastic depth); 0 or up to below 1.
    pub drop_rate: f32,
}

impl Block {
    /// Two 3x3 convolutions in post-activation order with projection where the shape changes.
    pub const fn basic(channels: usize) -> Self {
        let shortcut = Shortcut::Projection { batch_norm: true };
        Self { branch: Branch::Basic, channels, stride: 1, shortcut, order: Order::Post, drop_rate: 0.0 }
    }

    /// 1x1 to `width`, 3x3 with the stride, 1x1 to `channels`; otherwise as [`Block::basic`].
    pub const fn bottleneck(width: usize, channels: usize) -> Self {
        Self { branch: Branch::Bottleneck { width, groups: 1, stride_first: false }, ..Self::basic(channels) }
    }

    /// The same with another stride.
    pub const fn stride(self, stride: usize) -> Self {
        Self { stride, ..self }
    }

    /// The same with another shortcut.
    pub const fn shortcut(self, shortcut: Shortcut) -> Self {
        Self { shortcut, ..self }
    }

    /// The same with its middle convolution in groups (ResNeXt); a basic block has none and stays as it is.
    pub const fn groups(self, groups: usize) -> Self {
        match self.branch {
            Branch::Basic => self,
            Branch::Bottleneck { width, stride_first, .. } => {
                Self { branch: Branch::Bottleneck { width, groups, stride_first }, ..self }
            }
        }
    }

    /// The same in another order of activation.
    pub const fn order(self, order: Order) -> Self {
        Self { order, ..self }
    }

    fn convolutions(&self) -> Vec<Convolution> {
        let &Self { branch, channels, stride, .. } = self;
        match branch {
            Branch::Basic => vec![conv3x3(channels).stride(stride), conv3x3(channels)],
            Branch::Bottleneck { width, groups, stride_first } => {
                let (first, middle) = if stride_first { (stride, 1) } else { (1, stride) };
                let middle = conv3x3(width).stride(middle).groups(groups);
                vec![conv1x1(width).stride(first), middle, conv1x1(channels)]
            }
        }
    }
}

impl Net {
    /// A residual block: `scope.conv1`, `scope.bn1`, ..., `scope.shortcut.*`, `scope.add`.
    pub fn block(&mut self, scope: &str, x: ValueId, block: &Block) -> Result<ValueId, GraphError> {
        match block.order {
            Order::Post => self.post_activation(scope, x, block),
            Order::Pre { leading, raw_projection } => self.pre_activation(scope, x, block, leading, raw_projection),
        }
    }

    /// Stages of blocks, each given by its number of blocks and the first of them: `stage<s>.block<b>`. The other
    /// blocks of a stage have stride 1 and, in pre-activation order, begin with batch norm and ReLU.
    ///
    /// The probability of stochastic depth rises linearly over all blocks, from 0 at the first to `drop_rate` at the
    /// last.
    pub fn stages(&mut self, mut x: ValueId, stages: &[(usize, Block)], drop_rate: f32) -> Result<ValueId, GraphError> {
        let last = stages.iter().map(|(blocks, _)| blocks).sum::<usize>().saturating_sub(1).max(1) as f32;
        let mut position = 0.0;
        for (stage, &(blocks, first)) in (1..).zip(stages) {
            for n in 1..=blocks {
                let mut block = Block { drop_rate: drop_rate * (position / last), ..first };
                if n > 1 {
                    block.stride = 1;
                    if let Order::Pre { leading, .. } = &mut block.order {
                        *leading = true;
                    }
                }
                x = self.block(&format!("stage{stage}.block{n}"), x, &block)?;
                position += 1.0;
            }
        }
        Ok(x)
    }

    fn post_activation(&mut self, scope: &str, x: ValueId, block: &Block) -> Result<ValueId, GraphError> {
        let convolutions = block.convolutions();
        let last = convolutions.len();
        let mut branch = x;
        for (n, shape) in (1..).zip(convolutions) {
            branch = self.conv(&format!("{scope}.conv{n}"), branch, shape)?;
            let gamma = if n == last && self.style.zero_gamma { 0.0 } else { 1.0 };
            branch = self.batch_norm_from(&format!("{scope}.bn{n}"), branch, gamma)?;
            if n < last {
                branch = self.relu(&format!("{scope}.relu{n}"), branch)?;
            }
        }
        branch = self.stochastic_depth(&format!("{scope}.drop"), branch, block.drop_rate)?;
        if let Some(shortcut) = self.shortcut(scope, x, x, block)? {
            branch = self.add(&format!("{scope}.add"), branch, shortcut)?;
        }
        self.relu(&format!("{scope}.relu{last}"), branch)
    }

    fn pre_activation(
        &mut self,
        scope: &str,
        x: ValueId,
        block: &Block,
        leading: bool,
        raw_projection: bool,
    ) -> Result<ValueId, GraphError> {
        let activated = if leading { self.bn_relu(scope, "1", x)? } else { x };
        let mut branch = activated;
        for (n, shape) in (1..).zip(block.convolutions()) {
            if n > 1 {
                branch = self.bn_relu(scope, &n.to_string(), branch)?;
            }
            branch = self.conv(&format!("{scope}.conv{n}"), branch, shape)?;
        }
        branch = self.stochastic_depth(&format!("{scope}.drop"), branch, block.drop_rate)?;
        let projected = if raw_projection { x } else { activated };
        match self.shortcut(scope, x, projected, block)? {
            Some(shortcut) => self.add(&format!("{scope}.add"), branch, shortcut),
            None => Ok(branch),
        }
    }

    /// What is added to a block's branch: `x`, or what is made of `projected` where the shape changes.
    fn shortcut(
        &mut self,
        scope: &str,
        x: ValueId,
        projected: ValueId,
        block: &Block,
    ) -> Result<Option<ValueId>, GraphError> {
        let &Block { channels, stride, shortcut, .. } = block;
        let [inputs, height, width] = self.map_dims(scope, "Add", x)?;
        if shortcut == Shortcut::None {
            return Ok(None);
        }
        if stride == 1 && inputs == channels {
            return Ok(Some(x));
        }
        let scope = format!("{scope}.shortcut");
        let projection = conv1x1(channels).stride(stride);
        let mut x = projected;
        match shortcut {
            Shortcut::None => {}
            Shortcut::Projection { batch_norm: false } => x = self.conv(&format!("{scope}.conv"), x, projection)?,
            Shortcut::Projection { batch_norm: true } => x = self.conv_bn(&scope, "", x, projection)?,
            Shortcut::PooledProjection => {
                if stride != 1 {
                    x = self.average_pool(&format!("{scope}.pool"), x, 2, stride, Padding::Ceil)?;
                }
                x = self.conv_bn(&scope, "", x, conv1x1(channels))?;
            }
            Shortcut::ZeroPad => {
                if stride != 1 {
                    let slice = Slice { start: [0; 3], end: [inputs, height, width], step: [1, stride, stride] };
                    x = self.graph.push(format!("{scope}.slice"), Op::Slice(slice), &[x])?;
                }
                if channels > inputs {
                    let before = (channels - inputs) / 2;
                    let pad = Pad { before: [before, 0, 0], after: [channels - inputs - before, 0, 0] };
                    x = self.graph.push(format!("{scope}.pad"), Op::Pad(pad), &[x])?;
                }
            }
        }
        Ok(Some(x))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zoo::blocks::Style;
    use skipstone_onnx::Graph;

    fn graph(style: Style, block: Block) -> Graph {
        let mut net = Net::new("net", [4, 8, 8], style, Some(1)).unwrap();
        let x = net.block("block", net.input(), &block).unwrap();
        let scores = net.head(x, 2).unwrap();
        net.finish(scores).unwrap()
    }

    fn names(graph: &Graph) -> Vec<&str> {
        graph.nodes().iter().map(|node| node.name.as_str()).take_while(|name| !name.starts_with("head")).collect()
    }

    #[test]
    fn shortcuts_fit_odd_maps_and_odd_channel_counts() {
        for shortcut in
            [Shortcut::ZeroPad, Shortcut::Projection { batch_norm: true }, Shortcut::PooledProjection, Shortcut::None]
        {
            for style in [Style::PYTORCH, Style::KERAS] {
                let mut net = Net::new("net", [3, 9, 7], style, None).unwrap();
                let x = net.block("block", net.input(), &Block::basic(8).stride(2).shortcut(shortcut)).unwrap();
                assert_eq!(net.dims(x), [8, 5, 4], "{shortcut:?}");
            }
        }
    }

    #[test]
    fn order_decides_where_activations_stand() {
        let post = ["block.conv1", "block.bn1", "block.relu1", "block.conv2", "block.bn2", "block.add", "block.relu2"];
        assert_eq!(names(&graph(Style::PYTORCH, Block::basic(4))), post);
        let pre = |leading| Block::basic(4).order(Order::Pre { leading, raw_projection: false });
        let expected =
            ["block.bn1", "block.relu1", "block.conv1", "block.bn2", "block.relu2", "block.conv2", "block.add"];
        assert_eq!(names(&graph(Style::PYTORCH, pre(true))), expected);
        assert_eq!(names(&graph(Style::PYTORCH, pre(false))), expected[2..]);
    }

    #[test]
    fn projections_read_what_they_should() {
        let block = Block::bottleneck(4, 16).shortcut(Shortcut::Projection { batch_norm: false });
        for (raw_projection, source) in [(true, "image"), (false, "block.relu1.out")] {
            let graph = graph(Style::PYTORCH, block.order(Order::Pre { leading: true, raw_projection }));
            let node = graph.nodes().iter().find(|node| node.name == "block.shortcut.conv").unwrap();
            assert_eq!(graph.value(node.inputs[0]).name, source);
        }
    }

    #[test]
    fn zero_gamma_starts_each_block_as_its_shortcut() {
        for zero_gamma in [false, true] {
            let graph = graph(Style { zero_gamma, ..Style::PYTORCH }, Block::bottleneck(4, 4));
            for (_, name, parameter) in graph.parameters().filter(|(_, name, _)| name.ends_with("gamma")) {
                let expected = if zero_gamma && name == "block.bn3.gamma" { 0.0 } else { 1.0 };
                assert!(parameter.tensor.data().iter().all(|&gamma| gamma == expected), "{name}");
            }
        }
    }

    #[test]
    fn a_shortcut_that_cannot_fit_is_an_error_that_names_the_block() {
        let mut net = Net::new("net", [8, 8, 8], Style::PYTORCH, None).unwrap();
        let narrower = Block::basic(4).shortcut(Shortcut::ZeroPad);
        let error = net.block("stage1.block1", net.input(), &narrower).unwrap_err();
        assert!(error.to_string().contains("stage1.block1.add"), "{error}");
    }
}
