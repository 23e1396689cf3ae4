//! What lies between two stages: a queue that makes the one before wait, a place for one item that is overwritten, or a
//! buffer that brings the items of several workers back into order.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, Sender, bounded};

use super::control::Control;

/// The receiving end of an edge between two stages.
pub struct Flow<T> {
    end: End<T>,
}

enum End<T> {
    Queue(Receiver<T>),
    Freshest { place: Arc<Mutex<Option<T>>>, filled: Receiver<()> },
    Reordered(Reordered<T>),
}

struct Reordered<T> {
    done: Receiver<Done<T>>,
    /// One is given back for each item that is taken.
    credits: Receiver<()>,
    /// What came before its turn: bounded by the credits.
    early: BTreeMap<u64, Option<T>>,
    next: u64,
}

/// An item's place in the order, and what became of it; `None`: its worker failed, and nothing after it is to come out.
pub(super) type Done<T> = (u64, Option<T>);

/// What a stage that waits for input is told.
pub(super) enum Received<T> {
    Item(T),
    /// The time that it wanted to wait at most is over.
    Nothing,
    /// No more comes: the stream has ended or the run is aborted.
    End,
}

/// A queue of `capacity` items.
pub(super) fn queue<T>(capacity: usize) -> (Sender<T>, Flow<T>) {
    let (sender, receiver) = bounded(capacity);
    (sender, Flow { end: End::Queue(receiver) })
}

/// A place for the freshest item.
pub(super) fn freshest<T>() -> (FreshestSender<T>, Flow<T>) {
    let place = Arc::new(Mutex::new(None));
    let (sender, filled) = bounded(1);
    (FreshestSender { place: Arc::clone(&place), filled: sender }, Flow { end: End::Freshest { place, filled } })
}

/// A buffer for the items of several workers, `credits` of which are under way at most: whoever begins an item sends a
/// credit first, and sends the item, numbered from 0, when it is done. There is room for it always.
pub(super) fn reordered<T>(credits: usize) -> (Sender<()>, Sender<Done<T>>, Flow<T>) {
    let (credit_sender, credit_receiver) = bounded(credits);
    let (sender, done) = bounded(credits);
    let reordered = Reordered { done, credits: credit_receiver, early: BTreeMap::new(), next: 0 };
    (credit_sender, sender, Flow { end: End::Reordered(reordered) })
}

/// The sending end of the place for the freshest item.
pub(super) struct FreshestSender<T> {
    place: Arc<Mutex<Option<T>>>,
    filled: Sender<()>,
}

/// What became of an item that was put into the place for the freshest.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Put {
    /// It lies there.
    Kept,
    /// It lies there, and the one before it was never taken.
    Replaced,
    /// Nobody takes any more.
    Left,
}

impl<T> FreshestSender<T> {
    /// Never waits.
    pub fn put(&self, item: T) -> Put {
        let Ok(mut place) = self.place.lock() else { return Put::Left };
        let has_replaced = place.replace(item).is_some();
        drop(place);
        match self.filled.try_send(()) {
            Err(crossbeam::channel::TrySendError::Disconnected(())) => Put::Left,
            _ if has_replaced => Put::Replaced,
            _ => Put::Kept,
        }
    }
}

impl<T> Flow<T> {
    /// Waits for the next item, until `patience` is over if there is one.
    pub(super) fn receive(&mut self, control: &Control, patience: Option<Duration>) -> Received<T> {
        let over = patience.map_or_else(crossbeam::channel::never, crossbeam::channel::after);
        match &mut self.end {
            End::Queue(receiver) => wait(receiver, control, &over),
            End::Freshest { place, filled } => loop {
                match wait(filled, control, &over) {
                    Received::Item(()) => {
                        // The item may have been taken together with the word of the one before.
                        if let Some(item) = place.lock().ok().and_then(|mut place| place.take()) {
                            return Received::Item(item);
                        }
                    }
                    Received::Nothing => return Received::Nothing,
                    Received::End => return Received::End,
                }
            },
            End::Reordered(reordered) => reordered.receive(control, &over),
        }
    }
}

impl<T> Reordered<T> {
    fn receive(&mut self, control: &Control, over: &Receiver<Instant>) -> Received<T> {
        loop {
            if let Some(item) = self.early.remove(&self.next) {
                let Some(item) = item else { return Received::End };
                self.next += 1;
                // The item's own: it lies there.
                let _ = self.credits.try_recv();
                return Received::Item(item);
            }
            match wait(&self.done, control, over) {
                Received::Item((number, item)) => {
                    self.early.insert(number, item);
                }
                Received::Nothing => return Received::Nothing,
                Received::End => return Received::End,
            }
        }
    }
}

fn wait<T>(receiver: &Receiver<T>, control: &Control, over: &Receiver<Instant>) -> Received<T> {
    // What is there is taken, however short the patience.
    crossbeam::channel::select_biased! {
        recv(receiver) -> item => item.map_or(Received::End, Received::Item),
        recv(control.aborted()) -> _ => Received::End,
        recv(over) -> _ => Received::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take<T>(flow: &mut Flow<T>) -> Option<T> {
        match flow.receive(&Control::new(), Some(Duration::ZERO)) {
            Received::Item(item) => Some(item),
            Received::Nothing | Received::End => None,
        }
    }

    #[test]
    fn the_freshest_item_is_taken_and_the_others_are_said_to_be_lost() {
        let (sender, mut flow) = freshest();
        assert_eq!([1, 2, 3].map(|item| sender.put(item)), [Put::Kept, Put::Replaced, Put::Replaced]);
        assert_eq!(take(&mut flow), Some(3));
        assert_eq!(take(&mut flow), None);
        assert_eq!(sender.put(4), Put::Kept);
        assert_eq!(take(&mut flow), Some(4));
    }

    #[test]
    fn what_lies_there_at_the_end_is_still_taken() {
        let (sender, mut flow) = freshest();
        sender.put(1);
        drop(sender);
        assert_eq!(take(&mut flow), Some(1));
        assert!(matches!(flow.receive(&Control::new(), None), Received::End));
    }

    #[test]
    fn whoever_puts_is_told_when_nobody_takes() {
        let (sender, flow) = freshest();
        drop(flow);
        assert_eq!(sender.put(1), Put::Left);
    }

    #[test]
    fn an_abort_wakes_whoever_waits() {
        let (_sender, mut flow) = freshest::<u8>();
        let control = Control::new();
        control.abort();
        assert!(matches!(flow.receive(&control, None), Received::End));
    }

    #[test]
    fn what_comes_early_waits_for_its_turn_and_a_taken_item_gives_its_credit_back() {
        let (credits, sender, mut flow) = reordered(3);
        (0..3).for_each(|_| credits.try_send(()).unwrap());
        sender.send((2, Some('c'))).unwrap();
        sender.send((1, Some('b'))).unwrap();
        assert_eq!(take(&mut flow), None);
        assert!(credits.is_full(), "items that wait for their turn keep their credits");
        sender.send((0, Some('a'))).unwrap();
        assert_eq!([take(&mut flow), take(&mut flow)], [Some('a'), Some('b')]);
        assert_eq!(credits.len(), 1);
        drop((sender, credits));
        assert_eq!(take(&mut flow), Some('c'));
        assert!(matches!(flow.receive(&Control::new(), None), Received::End));
    }

    #[test]
    fn nothing_comes_out_after_an_item_that_failed() {
        let (_credits, sender, mut flow) = reordered(3);
        sender.send((2, Some('c'))).unwrap();
        sender.send((1, None)).unwrap();
        sender.send((0, Some('a'))).unwrap();
        assert_eq!(take(&mut flow), Some('a'));
        // The workers are still there, and nobody waits for them.
        assert!(matches!(flow.receive(&Control::new(), None), Received::End));
    }
}
