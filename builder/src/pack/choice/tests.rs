use super::*;
use crate::pack::{AlignedBytes, PackError, pack_within, records};
use crate::quant::fixtures::{Net, random_graph, random_images};
use crate::quant::{QGraph, channels};
use crate::{pack, target};
use proptest::prelude::*;
use skipstone_onnx::{Conv, Graph, Op};
use skipstone_runtime::kernels::spec::{ARMV6M, ARMV7M, CORTEX_M};

const GOALS: [Goal; 3] = [Goal::Speed, Goal::Ram, Goal::Size];

fn quantized(graph: &Graph) -> QGraph {
    pack::quantize(graph, &random_images(graph, 2, 1), &pack::Options::default()).unwrap().qgraph
}

fn problem(qgraph: &QGraph, core: target::Core) -> Problem {
    let channels = channels(qgraph).unwrap();
    let tensors = records::tensors(qgraph, &channels).unwrap();
    Problem::new(records::nodes(qgraph, &channels).unwrap(), tensors, of_format(core))
}

/// A residual network with convolutions of stride 1 and 2 and one with groups.
fn small() -> QGraph {
    let mut net = Net::new(1, [3, 12, 12]);
    let x = net.conv(net.input(), 16, Conv::square(3, 1, 1), true);
    let y = net.conv(x, 16, Conv::square(3, 1, 1), true);
    let x = net.push(Op::Add, &[x, y]);
    let x = net.conv(x, 32, Conv::square(3, 2, 1), true);
    let x = net.conv(x, 32, Conv { groups: 4, ..Conv::square(3, 1, 1) }, true);
    quantized(&net.head(x, 4))
}

fn need(packed: &pack::Packed) -> Need {
    Need::of(&Model::from_bytes(AlignedBytes::copy(&packed.bytes).as_slice()).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    /// What is chosen fits if any goal's choice fits, takes no more instructions than these, and its need is told
    /// exactly.
    #[test]
    fn what_fits_is_found_and_no_goal_outruns_it(
        seed in 0u64..400, core in 0usize..4, flash in 0u64..=8, ram in 0u64..=8, asked in 0usize..3,
    ) {
        let core = [target::Core::CortexM4, target::Core::CortexM3, target::Core::CortexM0, target::Core::Neon][core];
        let qgraph = quantized(&random_graph(seed));
        let corners = GOALS.map(|goal| pack_within(&qgraph, core, goal, None).unwrap());
        let needs: Vec<Need> = corners.iter().map(need).collect();
        // From a little less than the least of the goals to the most, in eighths.
        let between = |of: fn(&Need) -> u64, eighths: u64| {
            let (least, most) = (needs.iter().map(of).min().unwrap() - 16, needs.iter().map(of).max().unwrap());
            least + (most - least) * eighths / 8
        };
        let limits = Limits::new(
            between(|need| need.flash_bytes(), flash),
            between(|need| need.arena_bytes, ram) + target::STACK_BYTES,
        );
        let fits: Vec<bool> = needs.iter().map(|need| need.left(limits).fits()).collect();
        match pack_within(&qgraph, core, GOALS[asked], Some(limits)) {
            Ok(packed) => {
                prop_assert!(need(&packed).left(limits).fits(), "{limits:?} {:?}", need(&packed));
                if packed.goal == Goal::Speed {
                    for (corner, _) in corners.iter().zip(&fits).filter(|&(_, &fits)| fits) {
                        prop_assert!(packed.instructions <= corner.instructions);
                    }
                }
                let as_asked = packed.goal == GOALS[asked];
                prop_assert!(!fits[asked] || as_asked && packed.instructions == corners[asked].instructions);
            }
            Err(PackError::Misfit { misfit, .. }) => {
                prop_assert!(!fits.contains(&true), "{limits:?} {needs:?} {misfit:?}");
                let error = PackError::Misfit { misfit, peak: ["layer".into(), "tensor".into()] }.to_string();
                prop_assert!(error.contains(" bytes of "), "{error}");
            }
            Err(error) => prop_assert!(false, "{error}"),
        }
    }
}

/// Every choice there is, compared with the one that is found, at limits from the tightest to the loosest.
#[test]
fn the_search_finds_the_fastest_of_all_choices() {
    let problem = problem(&small(), target::Core::CortexM4);
    let mut all: Vec<Choice> = Vec::new();
    let mut picks = vec![0; problem.ways.len()];
    loop {
        all.push(problem.choice(picks.clone(), Goal::Speed, true).unwrap());
        let Some(next) = (0..picks.len()).find(|&conv| picks[conv] + 1 < problem.ways[conv].len()) else { break };
        picks[..next].fill(0);
        picks[next] += 1;
    }
    assert_eq!(all.len(), problem.ways.iter().map(Vec::len).product::<usize>());
    let mut arenas = Arenas::default();
    for choice in &all {
        assert_eq!(problem.need(&mut arenas, &choice.picks).unwrap(), choice.need, "without a plan of its own");
    }
    let range = |of: &dyn Fn(&Choice) -> u64| {
        let [least, most] = [all.iter().map(of).min().unwrap(), all.iter().map(of).max().unwrap()];
        (0..=6).map(move |sixths| least + (most - least) * sixths / 6).collect::<Vec<_>>()
    };
    let mut slower = 0;
    for flash in range(&|choice| choice.need.flash_bytes()) {
        for arena in range(&|choice| choice.need.arena_bytes) {
            let limits = Limits::new(flash, arena + target::STACK_BYTES);
            let fitting = all.iter().filter(|choice| choice.need.left(limits).fits());
            let fastest = fitting.map(|choice| choice.instructions).min();
            let found = problem.meet_within(Goal::Speed, limits).ok().map(|choice| choice.instructions);
            assert_eq!(found.is_some(), fastest.is_some(), "{limits:?}");
            if let (Some(found), Some(fastest)) = (found, fastest) {
                assert!(found >= fastest && found * 100 <= fastest * 103, "{limits:?}: {found}, not {fastest}");
                slower += usize::from(found > fastest);
            }
        }
    }
    assert!(slower <= 2, "{slower} of 49 are not the fastest");
}

#[test]
fn the_smallest_is_the_smallest_of_all_choices() {
    for core in [target::Core::CortexM4, target::Core::CortexM3] {
        let problem = problem(&small(), core);
        let size = problem.meet(Goal::Size).unwrap();
        let bytes = |choice: &Choice| {
            problem.picked(&choice.picks).map(Way::section).sum::<u64>() + problem.program(&choice.picks).bytes()
        };
        for (conv, ways) in problem.ways.iter().enumerate() {
            for (index, way) in ways.iter().enumerate() {
                let mut picks = size.picks.clone();
                picks[conv] = index;
                let other = problem.choice(picks, Goal::Size, false).unwrap();
                let [own, other] = [&size, &other].map(|choice| (bytes(choice), choice.instructions));
                assert!(own.0 < other.0 || own.0 == other.0 && (own.1 <= other.1 || way.rows > 1), "{own:?} {other:?}");
            }
        }
        assert!(!size.names && bytes(&size) <= bytes(&problem.meet(Goal::Ram).unwrap()));
    }
}

#[test]
fn weights_are_transformed_in_ram_where_flash_is_short() {
    let mut net = Net::new(1, [3, 8, 8]);
    let x = net.conv(net.input(), 64, Conv::square(3, 1, 1), true);
    let x = net.conv(x, 64, Conv::square(3, 1, 1), true);
    let problem = problem(&quantized(&net.head(x, 4)), target::Core::CortexM4);
    let ram = problem.meet(Goal::Ram).unwrap();
    let layouts = |choice: &Choice| problem.picked(&choice.picks).map(|way| way.kernel.layout.name).collect::<Vec<_>>();
    assert!(!layouts(&ram).contains(&"taps"), "{:?}", layouts(&ram));
    // Room for code, but not for the 36,864 bytes that the smallest other layout takes more.
    let limits = Limits::new(ram.need.flash_bytes() + 20_000, 1 << 20);
    let choice = problem.meet_within(Goal::Speed, limits).unwrap();
    assert_eq!(layouts(&choice)[1], "taps");
    assert!(choice.instructions < ram.instructions * 3 / 4, "{} {}", choice.instructions, ram.instructions);
    assert!(choice.need.arena_bytes > ram.need.arena_bytes + 30_000);
}

#[test]
fn groups_become_one_only_where_products_are_cheap() {
    let shape = |groups, channels| {
        let tensor = |producer| Tensor { height: 8, width: 8, channels, producer, scale: 1.0, ..Tensor::default() };
        let node = Node {
            kernel_h: 3,
            kernel_w: 3,
            stride_h: 1,
            stride_w: 1,
            groups,
            output: 1,
            rows_per_step: 1,
            ..Node::default()
        };
        (node, vec![tensor(u16::MAX), tensor(0)])
    };
    let merges = |kernels: &CoreKernels, groups, channels| {
        let (node, tensors) = shape(groups, channels);
        let ways = ways::of(&node, &tensors, kernels);
        ways.iter().min_by_key(|way| way.instructions).unwrap().groups != groups
    };
    // Kernels for groups take groups of 8 channels, not of 12.
    assert!(merges(Core::Neon.kernels(), 4, 48));
    assert!(!merges(Core::Neon.kernels(), 8, 64) && !merges(Core::Neon.kernels(), 1, 64));
    for kernels in [ARMV6M, ARMV7M, CORTEX_M] {
        assert!(!merges(kernels, 8, 64) && !merges(kernels, 64, 64));
    }
}

#[test]
fn a_packed_model_tells_its_kernels_and_what_better_ones_cost() {
    let qgraph = small();
    let told = |goal| {
        let packed = pack_within(&qgraph, target::Core::CortexM4, goal, None).unwrap();
        let bytes = AlignedBytes::copy(&packed.bytes);
        let model = Model::from_bytes(bytes.as_slice()).unwrap();
        let problem = Problem::of_model(&model);
        let reasons = reasons(&problem, &model).unwrap();
        assert_eq!(reasons.len(), 5);
        assert_eq!(reasons.iter().map(|reason| reason.way.instructions).sum::<u64>(), packed.instructions);
        for reason in &reasons {
            assert_eq!(reason.way.weights_bytes, model.nodes()[reason.node].weights_len as usize);
            let is_fastest = matches!(reason.why, Why::Fastest | Why::Only);
            assert_eq!(reason.next.is_none(), is_fastest, "{reason:?}");
            if let Some(next) = reason.next {
                assert_eq!(next.way.instructions + next.instructions_saved, reason.way.instructions);
                assert!(next.instructions_saved > 0);
                // With that much more of both the better one fits.
                let need = Need::of(&model);
                let more = |bytes: u64, more: i64| bytes.saturating_add_signed(more);
                let limits = Limits::new(
                    more(need.flash_bytes(), next.flash_bytes.max(0)),
                    more(need.arena_bytes, next.ram_bytes.max(0)) + target::STACK_BYTES,
                );
                let better = pack_within(&qgraph, target::Core::CortexM4, Goal::Speed, Some(limits)).unwrap();
                assert!(better.instructions <= packed.instructions - next.instructions_saved, "{reason:?}");
            }
        }
        (packed, reasons)
    };
    assert!(told(Goal::Speed).1.iter().all(|reason| reason.next.is_none()));
    let (packed, reasons) = told(Goal::Ram);
    assert!(reasons.iter().any(|reason| reason.next.is_some()));
    let bytes = AlignedBytes::copy(&packed.bytes);
    let points = tradeoff(&Problem::of_model(&Model::from_bytes(bytes.as_slice()).unwrap())).unwrap();
    assert!(points.len() > 5 && points.is_sorted_by_key(|point| point.instructions), "{points:?}");
    assert!(GOALS.iter().all(|&goal| points.iter().any(|point| point.goal == Some(goal))));
    let ram = points.iter().find(|point| point.goal == Some(Goal::Ram)).unwrap();
    assert_eq!((ram.need, ram.instructions), (need(&packed), packed.instructions));
}
