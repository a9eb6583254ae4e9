use super::*;

#[cfg(not(loom))]
mod alone {
    use super::*;
    use proptest::prelude::*;

    fn seen(word: &RunWord) -> (u64, u64, Stage) {
        let (run, _) = word.look();
        (run.sequence(), run.item(), run.stage())
    }

    #[test]
    fn a_task_runs_and_ends() {
        let word = RunWord::new();
        assert_eq!(seen(&word), (0, 0, Stage::Ended));
        word.begin(5, 70);
        assert_eq!((seen(&word), word.look().1), ((5, 0, Stage::Runs), 70));
        assert_eq!(word.next_item(80), None);
        assert_eq!((seen(&word), word.look().1), ((5, 1, Stage::Runs), 80));
        assert_eq!(word.end(), None);
        assert_eq!(seen(&word), (5, 1, Stage::Ended));
        assert_eq!(word.end(), None);
    }

    #[test]
    fn a_stop_is_of_one_run() {
        let word = RunWord::new();
        word.begin(1, 0);
        let (first, _) = word.look();
        assert_eq!(word.end(), None);
        assert_eq!(word.stop(first, Stop::Item), None);
        word.begin(2, 0);
        assert_eq!(word.stop(first, Stop::Item), None);
        assert_eq!(word.stop(first, Stop::Task), None);
        assert_eq!(seen(&word), (2, 0, Stage::Runs));
        let (second, _) = word.look();
        assert!(word.stop(second, Stop::Item).is_some());
        assert_eq!(word.stop(second, Stop::Item), None);
        assert_eq!(seen(&word), (2, 0, Stage::Stops(Stop::Item)));
        assert!(word.stop(second, Stop::Task).is_some());
        assert_eq!(word.stop(second, Stop::Task), None);
        assert_eq!(word.end(), Some(Stop::Task));
        assert_eq!(seen(&word), (2, 0, Stage::Ended));
    }

    #[test]
    fn an_item_that_stops_is_followed_by_the_next() {
        let word = RunWord::new();
        word.begin(1, 0);
        let (first, _) = word.look();
        assert!(word.stop(first, Stop::Item).is_some());
        assert_eq!(word.next_item(0), Some(Stop::Item));
        assert_eq!(seen(&word), (1, 1, Stage::Runs));
        // An old look names the item that is over, but still the task.
        assert_eq!(word.stop(first, Stop::Item), None);
        assert!(word.stop(first, Stop::Task).is_some());
        assert_eq!(word.next_item(0), Some(Stop::Task));
        assert_eq!(seen(&word), (1, 1, Stage::Stops(Stop::Task)));
        assert_eq!(word.end(), Some(Stop::Task));
    }

    proptest! {
        #[test]
        fn sequence_and_item_keep_apart(sequence in 0..1u64 << 42, item in 0..1u64 << 20) {
            let word = RunWord { word: AtomicU64::new(sequence * SEQUENCE + item * ITEM + RUNS), since: AtomicU64::new(0) };
            prop_assert_eq!(seen(&word), (sequence, item, Stage::Runs));
            prop_assert_eq!(word.next_item(0), None);
            prop_assert_eq!(seen(&word), (sequence, (item + 1) % (1 << 20), Stage::Runs));
        }
    }
}

#[cfg(loom)]
mod interleaved {
    use super::*;
    use loom::sync::Arc;
    use loom::thread;

    /// The parent's stops are known to the worker exactly where they were won.
    #[test]
    fn loom_a_stop_and_an_end_agree() {
        loom::model(|| {
            let word = Arc::new(RunWord::new());
            word.begin(1, 0);
            let (run, _) = word.look();
            let theirs = Arc::clone(&word);
            let worker = thread::spawn(move || {
                let first = theirs.next_item(1);
                let last = theirs.end();
                theirs.begin(2, 2);
                (first, last, theirs.end())
            });
            let item = word.stop(run, Stop::Item).is_some();
            let task = word.stop(run, Stop::Task).is_some();
            let (first, last, other) = worker.join().unwrap();
            assert_eq!(task, last == Some(Stop::Task), "a task stops if and only if that was won");
            assert!(!item || first.is_some(), "the first item was asked to stop, and nothing else");
            assert!(item || first != Some(Stop::Item));
            assert_ne!(last, Some(Stop::Item));
            assert_eq!(other, None, "never the next task");
        });
    }
}
