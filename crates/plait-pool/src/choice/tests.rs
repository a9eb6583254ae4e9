use super::*;

fn ran(seconds: f64, width: u32, handout: f64) -> Trial {
    Trial::Ran { seconds, width, handout }
}

fn unfit(why: &str) -> Trial {
    Trial::Unfit(why.into())
}

/// A plain function, 10 calls of 100 ms on 2 cores, light to carry.
fn function(waited: f64, thread: Trial, process: Trial) -> Evidence {
    Evidence {
        coroutine: false,
        cores: 2,
        batch: 10,
        call: Call { wall: 0.1, waited },
        serial: 1.0,
        trials: vec![(Engine::Thread, thread), (Engine::Process, process)],
        carriage: Some(Carriage { bytes: 100, seconds: 1e-5 }),
    }
}

/// The same as a coroutine function.
fn coroutine(waited: f64, gathered: Trial) -> Evidence {
    let mut evidence = function(waited, gathered.clone(), gathered.clone());
    evidence.coroutine = true;
    evidence.trials = vec![(Engine::Loop, gathered)];
    evidence.carriage = None;
    evidence
}

#[test]
fn evidence_leads_to_an_engine_and_its_reason() {
    let wall = |evidence: Evidence, wall: f64| Evidence {
        call: Call { wall, waited: 0.0 },
        serial: wall * f64::from(evidence.batch),
        ..evidence
    };
    let light = || ran(0.52, 2, 5e-5);
    let cases: Vec<(&str, Evidence, Engine, &[&str])> = vec![
        (
            "waits, and threads overlap",
            function(0.099, ran(0.1, 10, 2e-5), ran(0.5, 2, 5e-5)),
            Engine::Thread,
            &["Waits (I/O, sleep) for 99 % of its time", "10 at once threads ran 10 times"],
        ),
        (
            "waits, and there are more calls than threads",
            function(0.099, ran(0.2, 6, 2e-5), ran(0.5, 2, 5e-5)),
            Engine::Thread,
            &["with 6 at once", "many more at once are lighter as coroutines"],
        ),
        (
            "computes and holds the lock",
            function(0.0, ran(1.02, 6, 2e-5), ran(0.52, 2, 5e-5)),
            Engine::Process,
            &["CPU bound", "holds the interpreter lock", "0.98 times", "2 processes 1.92 times"],
        ),
        (
            "computes and releases the lock",
            function(0.0, ran(0.51, 6, 2e-5), ran(0.52, 2, 5e-5)),
            Engine::Thread,
            &["CPU bound", "releases the interpreter lock", "nothing has to be pickled"],
        ),
        (
            "computes, releases the lock, and cannot be pickled",
            function(0.0, ran(0.51, 6, 2e-5), unfit("its result cannot be pickled")),
            Engine::Thread,
            &["releases the interpreter lock", "processes are out because its result"],
        ),
        (
            "computes and releases the lock now and then",
            function(0.0, ran(0.8, 6, 2e-5), ran(0.52, 2, 5e-5)),
            Engine::Process,
            &["CPU bound", "only in part", "1.25 times"],
        ),
        (
            "threads tie with processes",
            function(0.0, ran(0.54, 6, 2e-5), ran(0.50, 2, 5e-5)),
            Engine::Thread,
            &["releases the interpreter lock"],
        ),
        (
            "an engine must earn its place",
            function(0.0, ran(0.95, 6, 2e-5), ran(0.92, 2, 5e-5)),
            Engine::Serial,
            &["CPU bound", "did not earn its place", "processes 1.09 times"],
        ),
        (
            "too small",
            wall(function(0.0, ran(2e-4, 6, 2e-5), ran(5e-4, 2, 5e-5)), 1e-6),
            Engine::Serial,
            &["Too small to hand out", "1.00 µs", "thread 20.0 µs", "process 50.0 µs"],
        ),
        (
            "too small for processes",
            wall(function(0.0, ran(3.1e-4, 6, 7e-6), ran(6e-4, 2, 6e-5)), 3e-5),
            Engine::Serial,
            &["Too small to hand out", "30.0 µs"],
        ),
        (
            "dear to carry",
            Evidence {
                carriage: Some(Carriage { bytes: 50_000_000, seconds: 0.09 }),
                ..function(0.0, ran(1.0, 6, 2e-5), ran(1.1, 2, 5e-5))
            },
            Engine::Serial,
            &["CPU bound", "50.0 MB", "90.0 ms", "costs too much"],
        ),
        (
            "cannot be pickled",
            function(0.0, ran(1.0, 6, 2e-5), unfit("its result cannot be pickled")),
            Engine::Serial,
            &[
                "CPU bound",
                "threads gained nothing",
                "processes are out because its result cannot be pickled",
            ],
        ),
        (
            "one core",
            Evidence { cores: 1, ..function(0.0, ran(1.0, 5, 2e-5), ran(1.0, 1, 5e-5)) },
            Engine::Serial,
            &["CPU bound", "one core"],
        ),
        (
            "waits behind a lock",
            function(0.099, ran(1.0, 6, 2e-5), ran(1.0, 2, 5e-5)),
            Engine::Serial,
            &["Waits", "did not overlap"],
        ),
        (
            "waits while it holds the interpreter lock",
            function(0.099, ran(1.0, 6, 2e-5), ran(0.5, 2, 5e-5)),
            Engine::Process,
            &["Waits", "waits for the interpreter lock or for a lock of its own"],
        ),
        (
            "one call",
            Evidence { batch: 1, ..function(0.0, ran(1.0, 6, 2e-5), light()) },
            Engine::Process,
            &["CPU bound", "1 process 1.92"],
        ),
        (
            "one call, and no gain",
            Evidence { batch: 1, ..function(0.0, ran(1.0, 6, 2e-5), ran(1.0, 2, 5e-5)) },
            Engine::Serial,
            &["A single call has nothing to overlap with"],
        ),
        (
            "no time for threads",
            function(0.0, Trial::NoTime, light()),
            Engine::Process,
            &["CPU bound: 2 processes", "the budget left no time for threads, a larger"],
        ),
        (
            "no time for anything",
            function(0.0, Trial::NoTime, Trial::NoTime),
            Engine::Serial,
            &[
                "CPU bound, and only one after another was measured: the budget left no time for threads or processes",
            ],
        ),
        (
            "does both",
            function(0.05, ran(0.5, 6, 2e-5), ran(0.5, 2, 5e-5)),
            Engine::Thread,
            &["Waits for 50 % of its time and computes for the rest"],
        ),
        (
            "a coroutine that waits",
            coroutine(0.099, ran(0.1, 10, 3e-6)),
            Engine::Loop,
            &["Waits", "10 at once on the loop ran 10 times"],
        ),
        (
            "a coroutine that computes",
            coroutine(0.0, ran(1.0, 10, 3e-6)),
            Engine::Serial,
            &["CPU bound", "holds the loop", "processes"],
        ),
        (
            "a coroutine that blocks",
            coroutine(0.099, ran(1.0, 10, 3e-6)),
            Engine::Serial,
            &["Waits", "blocks the loop", "in a thread"],
        ),
        (
            "a coroutine that does nothing",
            wall(coroutine(0.0, ran(3e-5, 10, 3e-6)), 3e-7),
            Engine::Serial,
            &["Too small to hand out", "300 ns", "making a task of it 3.00 µs"],
        ),
    ];
    for (name, evidence, best, words) in cases {
        let choice = choose(&evidence);
        assert_eq!(choice.best, best, "{name}: {}", choice.reason);
        for word in words {
            assert!(choice.reason.contains(word), "{name}: {word:?} is not in {:?}", choice.reason);
        }
        assert!(choice.reason.ends_with('.'), "{name}: {}", choice.reason);
        assert_eq!(choice.reason.matches(". ").count(), 0, "{name} is one sentence: {}", choice.reason);
    }
}

#[test]
fn an_engine_is_found_by_its_word() {
    for engine in Engine::ALL {
        assert_eq!(engine.to_string().parse(), Ok(engine));
    }
    assert_eq!("auto".parse::<Engine>(), Err(UnknownEngine("auto".into())));
}

#[test]
fn a_batch_that_took_no_time_has_a_choice_too() {
    let evidence = function(0.0, ran(0.0, 2, 0.0), ran(0.0, 2, 0.0));
    let evidence = Evidence { serial: 0.0, call: Call { wall: 0.0, waited: 0.0 }, ..evidence };
    assert_eq!(choose(&evidence).best, Engine::Serial);
}

mod properties {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_choice_is_the_cheapest_of_the_fast(
            serial in 1e-6f64..10.0,
            thread in proptest::option::of(1e-6f64..10.0),
            process in proptest::option::of(1e-6f64..10.0),
            share in 0.0f64..=1.0,
            batch in 1u32..1000,
        ) {
            let trial = |seconds: Option<f64>| seconds.map_or(Trial::NoTime, |seconds| ran(seconds, 2, 1e-5));
            let wall = serial / f64::from(batch);
            let mut evidence = function(0.0, trial(thread), trial(process));
            evidence.call = Call { wall, waited: wall * share };
            (evidence.serial, evidence.batch) = (serial, batch);
            let choice = choose(&evidence);
            let seconds = evidence.seconds(choice.best).unwrap();
            for engine in Engine::ALL {
                if let Some(other) = evidence.seconds(engine) {
                    prop_assert!(seconds <= other * (1.0 + NOISE) + 1e-12);
                    prop_assert!(engine >= choice.best || other > seconds, "{engine} is cheaper and as fast");
                }
            }
            prop_assert!(choice.reason.len() > 10);
        }
    }
}
