//! Long computations on threads of their own: the most urgent first, and strangers' on a thread that does nothing else, so that no
//! other ever waits behind one. How many strangers' computations there are is bounded by the engine, which hands out a few at a time.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

use tokio::sync::mpsc;

use super::driver::Input;
use crate::engine::{Job, JobId, Urgency};

/// Threads for what is not strangers', at most.
const MAX_THREADS: usize = 4;

/// The threads and what they have to do.
#[derive(Debug)]
pub struct Jobs {
    shared: Arc<Shared>,
    inputs: mpsc::Sender<Input>,
    /// Threads for all but strangers, and for strangers: how many there may be, and how many there are.
    limits: [usize; 2],
    threads: [usize; 2],
}

#[derive(Debug, Default)]
struct Shared {
    queues: Mutex<Queues>,
    more: Condvar,
}

#[derive(Debug, Default)]
struct Queues {
    /// By urgency.
    waiting: [VecDeque<(JobId, Job)>; 3],
    /// Threads of each kind that have nothing to do.
    idle: [usize; 2],
    over: bool,
}

/// Which of the two kinds of threads does it.
fn kind(urgency: Urgency) -> usize {
    usize::from(urgency == Urgency::Stranger)
}

impl Queues {
    fn next(&mut self, kind: usize) -> Option<(JobId, Job)> {
        let [ours, known, strangers] = &mut self.waiting;
        match kind {
            0 => ours.pop_front().or_else(|| known.pop_front()),
            _ => strangers.pop_front(),
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queues> {
        // No thread panics while it holds this.
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for something to do; `None` when it is over.
    fn next(&self, kind: usize) -> Option<(JobId, Job)> {
        let mut queues = self.lock();
        loop {
            if queues.over {
                return None;
            }
            if let Some(next) = queues.next(kind) {
                return Some(next);
            }
            queues.idle[kind] += 1;
            queues = self
                .more
                .wait(queues)
                .unwrap_or_else(PoisonError::into_inner);
            queues.idle[kind] -= 1;
        }
    }
}

/// How many computations for strangers run at a time: half of the processors are theirs.
pub fn for_strangers() -> usize {
    (processors() / 2).max(1)
}

fn processors() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

impl Jobs {
    /// No thread yet; what they compute goes to `inputs`.
    pub fn new(inputs: mpsc::Sender<Input>) -> Jobs {
        Jobs {
            shared: Arc::default(),
            inputs,
            limits: [processors().clamp(2, MAX_THREADS), for_strangers()],
            threads: [0, 0],
        }
    }

    /// Computes as soon as a thread is free; an [`Input::JobDone`] tells what came of it.
    pub fn start(&mut self, id: JobId, job: Job) {
        let kind = kind(job.urgency);
        let mut queues = self.shared.lock();
        let queue = &mut queues.waiting[job.urgency as usize];
        queue.push_back((id, job));
        let waiting: usize = match kind {
            0 => queues.waiting[..2].iter().map(VecDeque::len).sum(),
            _ => queues.waiting[2].len(),
        };
        let more = waiting > queues.idle[kind] && self.threads[kind] < self.limits[kind];
        drop(queues);
        // The two kinds wait for the same sign, so that one alone might wake the wrong one.
        self.shared.more.notify_all();
        if more && self.thread(kind) {
            self.threads[kind] += 1;
        }
    }

    fn thread(&self, kind: usize) -> bool {
        let (shared, inputs) = (Arc::clone(&self.shared), self.inputs.clone());
        let work = move || {
            while let Some((id, job)) = shared.next(kind) {
                let run = std::panic::AssertUnwindSafe(|| job.run());
                let result = std::panic::catch_unwind(run).ok();
                if inputs.blocking_send(Input::JobDone(id, result)).is_err() {
                    return;
                }
            }
        };
        let name = ["computing", "strangers"][kind];
        let thread = thread::Builder::new().name(name.to_owned()).spawn(work);
        thread.is_ok()
    }
}

impl Drop for Jobs {
    fn drop(&mut self) {
        // A computation that is still running is of no use to anyone.
        self.shared.lock().over = true;
        self.shared.more.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, channel};

    /// A computation that waits until it may end.
    fn slow(urgency: Urgency) -> (Job, std::sync::mpsc::Sender<()>) {
        let (end, ended): (_, Receiver<()>) = channel();
        let job = Job::new("waiting", move || {
            let _ = ended.recv();
        });
        (job.urgent(urgency), end)
    }

    fn quick(urgency: Urgency) -> Job {
        Job::new("counting", || 1 + 1).urgent(urgency)
    }

    async fn done(arriving: &mut mpsc::Receiver<Input>) -> u64 {
        match arriving.recv().await {
            Some(Input::JobDone(JobId(id), Some(_))) => id,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn d1_nothing_waits_behind_a_stranger_and_the_urgent_goes_first() {
        let (inputs, mut arriving) = mpsc::channel(16);
        let mut jobs = Jobs::new(inputs);
        jobs.limits = [1, 1];
        let (stranger, end_stranger) = slow(Urgency::Stranger);
        jobs.start(JobId(1), stranger);
        for id in 2..5 {
            jobs.start(JobId(id), quick(Urgency::Stranger));
        }
        jobs.start(JobId(5), quick(Urgency::Ours));
        assert_eq!(done(&mut arriving).await, 5);
        let (known, end_known) = slow(Urgency::Known);
        jobs.start(JobId(6), known);
        // It is running once nothing waits.
        while jobs.shared.lock().waiting[1].front().is_some() {
            tokio::task::yield_now().await;
        }
        jobs.start(JobId(7), quick(Urgency::Known));
        jobs.start(JobId(8), quick(Urgency::Ours));
        end_known.send(()).unwrap();
        let order = [
            done(&mut arriving).await,
            done(&mut arriving).await,
            done(&mut arriving).await,
        ];
        assert_eq!(order, [6, 8, 7]);
        end_stranger.send(()).unwrap();
        for id in 1..5 {
            assert_eq!(done(&mut arriving).await, id);
        }
        assert_eq!(jobs.threads, [1, 1]);
    }

    #[tokio::test]
    async fn a_computation_that_panics_is_told_and_the_thread_goes_on() {
        let (inputs, mut arriving) = mpsc::channel(16);
        let mut jobs = Jobs::new(inputs);
        jobs.limits = [1, 1];
        jobs.start(JobId(1), Job::new("panicking", || panic!("on purpose")));
        assert!(matches!(
            arriving.recv().await,
            Some(Input::JobDone(JobId(1), None))
        ));
        jobs.start(JobId(2), quick(Urgency::Ours));
        assert_eq!(done(&mut arriving).await, 2);
    }
}
