//! What lies between two stages: a queue that makes the one before wait, or a place for one item that is overwritten.

use std::sync::{Arc, Mutex};

use crossbeam::channel::{Receiver, Sender, bounded};

use super::control::Control;

/// The receiving end of an edge between two stages.
pub struct Flow<T> {
    end: End<T>,
}

enum End<T> {
    Queue(Receiver<T>),
    Freshest { place: Arc<Mutex<Option<T>>>, filled: Receiver<()> },
}

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
    pub(super) fn receive(&self, control: &Control, patience: Option<std::time::Duration>) -> Received<T> {
        match &self.end {
            End::Queue(receiver) => wait(receiver, control, patience),
            End::Freshest { place, filled } => loop {
                match wait(filled, control, patience) {
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
        }
    }
}

fn wait<T>(receiver: &Receiver<T>, control: &Control, patience: Option<std::time::Duration>) -> Received<T> {
    let over = patience.map_or_else(crossbeam::channel::never, crossbeam::channel::after);
    crossbeam::channel::select! {
        recv(receiver) -> item => item.map_or(Received::End, Received::Item),
        recv(control.aborted()) -> _ => Received::End,
        recv(over) -> _ => Received::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn take<T>(flow: &Flow<T>) -> Option<T> {
        match flow.receive(&Control::new(), Some(Duration::ZERO)) {
            Received::Item(item) => Some(item),
            Received::Nothing | Received::End => None,
        }
    }

    #[test]
    fn the_freshest_item_is_taken_and_the_others_are_said_to_be_lost() {
        let (sender, flow) = freshest();
        assert_eq!([1, 2, 3].map(|item| sender.put(item)), [Put::Kept, Put::Replaced, Put::Replaced]);
        assert_eq!(take(&flow), Some(3));
        assert_eq!(take(&flow), None);
        assert_eq!(sender.put(4), Put::Kept);
        assert_eq!(take(&flow), Some(4));
    }

    #[test]
    fn what_lies_there_at_the_end_is_still_taken() {
        let (sender, flow) = freshest();
        sender.put(1);
        drop(sender);
        assert_eq!(take(&flow), Some(1));
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
        let (_sender, flow) = freshest::<u8>();
        let control = Control::new();
        control.abort();
        assert!(matches!(flow.receive(&control, None), Received::End));
    }
}
