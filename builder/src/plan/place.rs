//! Offsets for rings that are alive at different times.

use std::cmp::Reverse;

/// Offsets are multiples of this: kernels read words.
const WORD: usize = 4;

/// Times that offsets are tried in another order.
const TRIES: usize = 40;

/// Bytes that something occupies from one step to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) bytes: usize,
    /// First and last step, both included.
    pub(super) first: usize,
    pub(super) last: usize,
}

impl Span {
    fn meets(&self, other: &Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

/// The most bytes that are alive at one step, and the first step with so many. No placement needs less.
pub(super) fn peak(spans: &[Span]) -> (usize, usize) {
    let mut events: Vec<(usize, bool, usize)> = Vec::with_capacity(2 * spans.len());
    for span in spans {
        events.push((span.first, true, span.bytes));
        events.push((span.last + 1, false, span.bytes));
    }
    // At one step, what ends comes before what begins.
    events.sort_unstable_by_key(|&(step, begins, _)| (step, begins));
    let (mut alive, mut most) = (0, (0, 0));
    for (step, begins, bytes) in events {
        if begins {
            alive += bytes;
            if alive > most.0 {
                most = (alive, step);
            }
        } else {
            alive -= bytes;
        }
    }
    most
}

/// An offset for each span, so that no two that meet in time share a byte, and the end of the highest.
///
/// First fit in several orders, the largest, the longest and the earliest first and disturbed copies of these, until
/// nothing is wasted.
pub(super) fn place(spans: &[Span]) -> (Vec<usize>, usize) {
    let length = |span: &Span| span.last - span.first + 1;
    let by = |key: &dyn Fn(&Span) -> (Reverse<usize>, usize)| {
        let mut order: Vec<usize> = (0..spans.len()).collect();
        order.sort_by_key(|&index| key(&spans[index]));
        order
    };
    let orders = [
        by(&|span| (Reverse(span.bytes), span.first)),
        by(&|span| (Reverse(length(span).saturating_mul(span.bytes)), span.first)),
        by(&|span| (Reverse(length(span)), usize::MAX - span.bytes)),
        by(&|span| (Reverse(usize::MAX - span.first), usize::MAX - span.bytes)),
    ];
    let least = peak(spans).0;
    let mut random = 1u64;
    let mut best: Option<(Vec<usize>, usize)> = None;
    for attempt in 0..TRIES {
        let mut order = orders[attempt % orders.len()].clone();
        if attempt >= orders.len() {
            for _ in 0..order.len().div_ceil(6) {
                let mut draw = || {
                    random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    (random >> 33) as usize % spans.len()
                };
                let (a, b) = (draw(), draw());
                order.swap(a, b);
            }
        }
        let placed = first_fit(spans, &order);
        if best.as_ref().is_none_or(|(_, end)| placed.1 < *end) {
            best = Some(placed);
        }
        if best.as_ref().is_some_and(|(_, end)| *end <= least) {
            break;
        }
    }
    best.unwrap_or_default()
}

fn first_fit(spans: &[Span], order: &[usize]) -> (Vec<usize>, usize) {
    let mut offsets = vec![0; spans.len()];
    let mut placed: Vec<usize> = Vec::with_capacity(spans.len());
    let mut taken: Vec<(usize, usize)> = Vec::new();
    let mut highest = 0;
    for &index in order {
        let span = &spans[index];
        taken.clear();
        taken.extend(
            placed
                .iter()
                .filter(|&&other| spans[other].meets(span))
                .map(|&other| (offsets[other], offsets[other] + spans[other].bytes.next_multiple_of(WORD))),
        );
        taken.sort_unstable();
        let mut offset = 0;
        for &(start, end) in &taken {
            if offset + span.bytes <= start {
                break;
            }
            offset = offset.max(end);
        }
        offsets[index] = offset;
        placed.push(index);
        highest = highest.max(offset + span.bytes.next_multiple_of(WORD));
    }
    (offsets, highest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn spans_that_do_not_meet_share_bytes() {
        let span = |bytes, first, last| Span { bytes, first, last };
        let spans = [span(100, 0, 3), span(60, 4, 9), span(40, 4, 6), span(40, 7, 9)];
        let (offsets, end) = place(&spans);
        assert_eq!((peak(&spans), end), ((100, 0), 100));
        assert_eq!(offsets[2], offsets[3]);
        assert_eq!(place(&[]), (Vec::new(), 0));
    }

    proptest! {
        #[test]
        fn no_two_that_meet_share_a_byte(spans in prop::collection::vec((1usize..50, 0usize..20, 0usize..8), 1..20)) {
            let spans: Vec<Span> =
                spans.into_iter().map(|(words, first, more)| Span { bytes: 4 * words, first, last: first + more }).collect();
            let (offsets, end) = place(&spans);
            prop_assert!(end >= peak(&spans).0);
            for (a, span) in spans.iter().enumerate() {
                prop_assert!(offsets[a] % WORD == 0 && offsets[a] + span.bytes <= end);
                for (b, other) in spans.iter().enumerate().skip(a + 1).filter(|(_, other)| other.meets(span)) {
                    prop_assert!(offsets[a] + span.bytes <= offsets[b] || offsets[b] + other.bytes <= offsets[a]);
                }
            }
        }
    }
}
