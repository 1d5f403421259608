//! Frames that nobody had time for are left out.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// Reads a source on a thread of its own, and gives the newest of its values whenever the next one is asked for.
pub(super) struct Newest<T>(Arc<Shared<T>>);

struct Shared<T> {
    slot: Mutex<Slot<T>>,
    changed: Condvar,
}

struct Slot<T> {
    newest: Option<T>,
    ended: bool,
}

impl<T: Send + 'static> Newest<T> {
    pub(super) fn of(source: impl Iterator<Item = T> + Send + 'static) -> Self {
        let slot = Mutex::new(Slot { newest: None, ended: false });
        let shared = Arc::new(Shared { slot, changed: Condvar::new() });
        let reader = Arc::downgrade(&shared);
        std::thread::spawn(move || {
            for value in source {
                // Nobody asks any more.
                let Some(shared) = reader.upgrade() else { return };
                shared.change(|slot| slot.newest = Some(value));
            }
            if let Some(shared) = reader.upgrade() {
                shared.change(|slot| slot.ended = true);
            }
        });
        Self(shared)
    }
}

impl<T> Shared<T> {
    fn change(&self, change: impl FnOnce(&mut Slot<T>)) {
        change(&mut self.slot.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }
}

impl<T> Iterator for Newest<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        let slot = self.0.slot.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = |slot: &mut Slot<T>| slot.newest.is_none() && !slot.ended;
        self.0.changed.wait_while(slot, waits).unwrap_or_else(PoisonError::into_inner).newest.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn what_came_while_nobody_asked_is_left_out() {
        let (send, receive) = mpsc::channel();
        let mut newest = Newest::of(receive.into_iter());
        send.send(1).unwrap();
        assert_eq!(newest.next(), Some(1));
        for value in 2..=9 {
            send.send(value).unwrap();
        }
        drop(send);
        // Until the reader has come to the last one, older ones may be the newest.
        let rest: Vec<i32> = newest.by_ref().collect();
        assert!(rest.last() == Some(&9) && rest.is_sorted(), "{rest:?}");
        assert_eq!(newest.next(), None);
    }

    #[test]
    fn a_source_that_nobody_asks_is_left() {
        let (send, receive) = mpsc::channel();
        drop(Newest::of(receive.into_iter()));
        // The reader takes one more value before it sees that.
        while send.send(0).is_ok() {
            std::thread::yield_now();
        }
    }
}
