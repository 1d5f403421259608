//! Updates whose power is cut at every step.

use super::flash::Fake;
use super::{digits, image, on_machine, other, scores, with_vector};
use crate::machine::Machine;
use crate::message::Refusal;
use crate::server::Store;
use crate::slots::{RECORD_LEN, Slots};
use skipstone_runtime::{Engine, Model};

const ARENA: usize = 8192;
const SLOT: u32 = 8192;
const BLOCK: usize = 448;

fn open<const WRITE: usize>(flash: Fake<WRITE>, machine: &mut Machine<'_>) -> Slots<Fake<WRITE>> {
    Slots::open(flash, [512..512 + SLOT, 1024 + SLOT..1024 + 2 * SLOT], machine)
}

fn empty<const WRITE: usize>() -> Fake<WRITE> {
    Fake::new(1024 + 2 * SLOT as usize)
}

fn checksum(stone: &[u8]) -> u32 {
    u32::from_le_bytes(stone[12..16].try_into().unwrap())
}

fn update<S: Store>(slots: &mut S, stone: &[u8], machine: &mut Machine<'_>) -> Result<u32, Refusal> {
    slots.begin(stone.len() as u32, checksum(stone))?;
    for (index, block) in stone.chunks(BLOCK).enumerate() {
        slots.write((index * BLOCK) as u32, block)?;
    }
    slots.finish(machine)
}

/// The scores that the model in the slots gives an image.
fn run<S: Store>(slots: &S, machine: &mut Machine<'_>) -> Vec<i8> {
    let model = Model::from_bytes(slots.stone().expect("there is no model")).unwrap();
    Engine::with_program(&model, machine.arena, machine.program).unwrap().run(&image(3)).unwrap().to_vec()
}

/// Cuts the power at each step of an update from one model to the other, and once more at some step of the next attempt;
/// afterwards there is the old model or the new one, and an update succeeds.
fn survives_every_cut<const WRITE: usize>() {
    let stones = [digits(), other()];
    let expected = [0, 1].map(|index| scores(stones[index].as_slice(), &image(3)));
    assert_ne!(expected[0], expected[1]);
    on_machine(ARENA, |mut machine| {
        let mut slots = open(empty::<WRITE>(), &mut machine);
        assert!(slots.stone().is_none());
        update(&mut slots, stones[0].as_slice(), &mut machine).unwrap();
        let mut flash = slots.into_inner();
        let (mut current, mut outcomes, mut cut, mut steps) = (0, [0; 2], 0, u64::MAX);
        // The last cut comes after the last step.
        while cut <= steps {
            cut += 1;
            for cut in [cut, 1 + cut * 7919 % steps.min(1000)] {
                flash.restart(Some(cut));
                let mut slots = open(flash, &mut machine);
                let new = 1 - current;
                let done = update(&mut slots, stones[new].as_slice(), &mut machine).is_ok();
                // Until the power was cut the program went on with the model that it had switched to, or the old one.
                assert_eq!(run(&slots, &mut machine), expected[if done { new } else { current }]);
                flash = slots.into_inner();
                flash.restart(None);
                let slots = open(flash, &mut machine);
                let found = run(&slots, &mut machine);
                let index = expected.iter().position(|scores| *scores == found).expect("neither old nor new");
                assert!(index == new || !done, "a model that was switched to is lost");
                outcomes[usize::from(index == new)] += 1;
                current = index;
                flash = slots.into_inner();
            }
            flash.restart(None);
            let mut slots = open(flash, &mut machine);
            current = 1 - current;
            update(&mut slots, stones[current].as_slice(), &mut machine).unwrap();
            assert_eq!(run(&slots, &mut machine), expected[current]);
            flash = slots.into_inner();
            steps = flash.steps;
        }
        let units = stones[0].as_slice().len().div_ceil(WRITE) + RECORD_LEN / WRITE;
        assert_eq!(steps, (units + (stones[0].as_slice().len() + RECORD_LEN).div_ceil(512)) as u64);
        assert!(outcomes.iter().all(|&count| count > 0), "{outcomes:?}");
    });
}

#[test]
fn a_power_cut_at_any_step_leaves_the_old_model_or_the_new_one() {
    survives_every_cut::<32>();
    survives_every_cut::<64>();
}

#[test]
fn flash_that_is_written_byte_by_byte_survives_cuts() {
    survives_every_cut::<8>();
}

#[test]
fn an_update_that_is_not_whole_or_in_order_is_refused() {
    let (old, new) = (digits(), other());
    let (old, new) = (old.as_slice(), new.as_slice());
    on_machine(ARENA, |mut machine| {
        let mut slots = open(empty::<8>(), &mut machine);
        assert_eq!(slots.finish(&mut machine), Err(Refusal::OutOfOrder));
        assert_eq!(slots.write(0, &old[..64]), Err(Refusal::OutOfOrder));
        update(&mut slots, old, &mut machine).unwrap();
        let len = new.len() as u32;
        // A block is missing, comes twice, or is too many; the end comes too early.
        type Attempt<'a> = dyn Fn(&mut Slots<Fake<8>>) -> Result<(), Refusal> + 'a;
        let attempts: [&Attempt<'_>; 4] = [
            &|slots| slots.write(64, &new[64..128]),
            &|slots| slots.write(0, &new[..64]).and_then(|()| slots.write(0, &new[..64])),
            &|slots| slots.write(0, &[new, &[0; 8]].concat()),
            &|slots| slots.write(0, &new[..63]),
        ];
        for attempt in attempts {
            slots.begin(len, checksum(new)).unwrap();
            assert_eq!(attempt(&mut slots), Err(Refusal::OutOfOrder));
            assert_eq!(slots.finish(&mut machine), Err(Refusal::OutOfOrder));
        }
        slots.begin(len, checksum(new)).unwrap();
        slots.write(0, &new[..64]).unwrap();
        assert_eq!(slots.status().unwrap().received, Some(64));
        assert_eq!(slots.finish(&mut machine), Err(Refusal::OutOfOrder));
        // Bytes that changed on the way, and a model other than the one that was announced.
        let mut damaged = new.to_vec();
        damaged[500] ^= 1;
        assert_eq!(update(&mut slots, &damaged, &mut machine), Err(Refusal::Damaged));
        slots.begin(len, checksum(old)).unwrap();
        slots.write(0, new).unwrap();
        assert_eq!(slots.finish(&mut machine), Err(Refusal::Damaged));
        assert_eq!(run(&slots, &mut machine), scores(old, &image(3)));
        assert_eq!(slots.status().unwrap().active, Some(0));
    });
}

#[test]
fn a_newer_model_that_no_longer_runs_gives_way_to_the_older_one() {
    let (old, new) = (digits(), other());
    on_machine(ARENA, |mut machine| {
        let mut slots = open(empty::<8>(), &mut machine);
        update(&mut slots, old.as_slice(), &mut machine).unwrap();
        update(&mut slots, new.as_slice(), &mut machine).unwrap();
        let status = slots.status().unwrap();
        assert_eq!((status.active, status.slots.map(|entry| entry.unwrap().sequence)), (Some(1), [1, 2]));
        let mut flash = slots.into_inner();
        flash.damage(1024 + SLOT as usize + RECORD_LEN + 700);
        let mut slots = open(flash, &mut machine);
        assert_eq!(run(&slots, &mut machine), scores(old.as_slice(), &image(3)));
        // The next update goes to the damaged one.
        update(&mut slots, new.as_slice(), &mut machine).unwrap();
        assert_eq!(run(&slots, &mut machine), scores(new.as_slice(), &image(3)));
        assert_eq!(slots.status().unwrap().active, Some(1));
    });
}

#[test]
fn a_model_whose_test_images_have_other_results_here_is_not_switched_to() {
    let old = other();
    on_machine(ARENA, |mut machine| {
        let mut slots = open(empty::<8>(), &mut machine);
        update(&mut slots, old.as_slice(), &mut machine).unwrap();
        let wrong_layer = with_vector(|sums, _| sums[3] ^= 1);
        let refused = update(&mut slots, wrong_layer.as_slice(), &mut machine);
        assert_eq!(refused, Err(Refusal::SelfTest { image: 0, node: Some(3) }));
        let wrong_score = with_vector(|_, scores| scores[9] ^= 1);
        let refused = update(&mut slots, wrong_score.as_slice(), &mut machine);
        assert_eq!(refused, Err(Refusal::SelfTest { image: 0, node: None }));
        assert_eq!(run(&slots, &mut machine), scores(old.as_slice(), &image(3)));
        let right = with_vector(|_, _| {});
        update(&mut slots, right.as_slice(), &mut machine).unwrap();
        assert_eq!(run(&slots, &mut machine), scores(right.as_slice(), &image(3)));
    });
}
