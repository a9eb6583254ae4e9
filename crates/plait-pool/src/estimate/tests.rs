use proptest::prelude::*;

use super::*;

const COSTS: Overheads = Overheads {
    thread_call: 3e-6,
    thread_trip: 25e-6,
    thread_start: 60e-6,
    thread_memory: 60_000,
    contention: 1.02,
    lock_switch: 10e-6,
    process_call: 6e-6,
    process_item: 1e-6,
    process_trip: 40e-6,
    process_start: 0.08,
    worker_start: 0.004,
    worker_memory: 9_000_000,
    byte: 3e-10,
    task: 4e-6,
    task_memory: 3_000,
};

fn machine(cores: u32) -> Machine {
    Machine { cores, others: 0.0, crowd: None, overheads: COSTS }
}

/// A call that computes in Python and is light to carry.
fn computing(seconds: f64) -> Call {
    Call {
        wall: seconds,
        cpu: seconds,
        queued: 0.0,
        process_cpu: seconds,
        held: Some(0.99),
        pauses: 0.0,
        releases: 0.0,
        stepped: 0.0,
        warm_up: 0.0,
        carried: true,
        bytes: 20.0,
        pickle: 5e-6,
        memory: 0,
    }
}

/// A call that waits.
fn waiting(seconds: f64) -> Call {
    let cpu = 50e-6_f64.min(seconds / 100.0);
    Call { cpu, process_cpu: cpu, held: Some(cpu / seconds), pauses: 1.0, ..computing(seconds) }
}

fn calls(calls: u32) -> Batch {
    Batch { calls, coroutine: false, threads: WIDEST, processes: 64 }
}

/// The best engine, and every estimate.
fn judge(call: &Call, machine: &Machine, batch: &Batch) -> (Engine, Vec<Estimate>) {
    let batch = Batch { processes: batch.processes.min(machine.cores), ..*batch };
    let all = estimate(call, machine, &batch);
    let times: Vec<_> = all.iter().map(|one| (one.engine, one.seconds)).collect();
    (best(&times, MARGIN), all)
}

fn of(all: &[Estimate], engine: Engine) -> Estimate {
    *all.iter().find(|one| one.engine == engine).unwrap()
}

fn close(found: f64, expected: f64) -> bool {
    (found / expected - 1.0).abs() < 0.05
}

#[test]
fn what_computes_in_python_runs_in_processes() {
    let (engine, all) = judge(&computing(0.01), &machine(4), &calls(100));
    assert_eq!(engine, Engine::Process);
    assert!(close(of(&all, Engine::Serial).seconds, 1.0));
    assert!(close(of(&all, Engine::Thread).seconds, 1.0));
    let process = of(&all, Engine::Process);
    assert!(close(process.seconds, 0.25), "{process:?}");
    assert_eq!((process.width, process.chunk), (4, 1));
    assert!(process.cold() > process.seconds + 0.08);
}

#[test]
fn what_lets_go_of_the_lock_runs_in_threads() {
    let call = Call { held: Some(0.02), ..computing(0.01) };
    let (engine, all) = judge(&call, &machine(4), &calls(100));
    assert_eq!(engine, Engine::Thread);
    let thread = of(&all, Engine::Thread);
    assert!(close(thread.seconds, 0.25), "{thread:?}");
    assert_eq!(thread.width, 4);
}

#[test]
fn letting_go_often_costs_threads_what_they_gain() {
    let call = Call { held: Some(0.3), releases: 1.0, ..computing(70e-6) };
    let speedup = |call: &Call| {
        let all = judge(call, &machine(2), &calls(400)).1;
        of(&all, Engine::Serial).seconds / of(&all, Engine::Thread).seconds
    };
    assert!(speedup(&call) > 1.4);
    assert!(speedup(&Call { releases: 6.0, ..call }) < 1.2);
    // Of a long call it is a trifle.
    let long = Call { held: Some(0.3), releases: 6.0, ..computing(0.01) };
    assert!(speedup(&long) > 1.6);
}

#[test]
fn what_waits_runs_in_as_many_threads_as_there_are_calls() {
    let (engine, all) = judge(&waiting(0.05), &machine(2), &calls(100));
    assert_eq!(engine, Engine::Thread);
    assert!(of(&all, Engine::Thread).seconds < 0.07);
    assert!(of(&all, Engine::Thread).width > 50);
    let few = judge(&waiting(0.05), &machine(2), &Batch { threads: 6, ..calls(60) }).1;
    // Ten waves of six.
    assert!(close(of(&few, Engine::Thread).seconds, 0.5));
}

#[test]
fn what_waits_is_given_room() {
    let (_, all) = judge(&Call { cpu: 0.0005, held: Some(0.025), ..waiting(0.02) }, &machine(2), &calls(48));
    assert_eq!(of(&all, Engine::Thread).width, 48);
    // The more it waits, the more room: the lock is busy with fewer.
    let width = |cpu: f64| {
        let call = Call { wall: 0.02, cpu, process_cpu: cpu, held: Some(cpu / 0.02), ..waiting(0.02) };
        of(&judge(&call, &machine(2), &calls(200)).1, Engine::Thread).width
    };
    assert!(width(0.0035) > 2 * width(0.0045));
    // What computes is not: more threads than cores would take turns.
    let (_, all) = judge(&Call { held: Some(0.02), ..computing(0.01) }, &machine(2), &calls(48));
    assert_eq!(of(&all, Engine::Thread).width, 2);
}

#[test]
fn what_waits_with_the_lock_held_gains_nothing_in_threads() {
    let call = Call { held: Some(1.0), ..waiting(0.05) };
    let (engine, all) = judge(&call, &machine(2), &calls(100));
    assert!(close(of(&all, Engine::Thread).seconds, 5.0));
    assert_eq!(engine, Engine::Process);
}

#[test]
fn half_waiting_half_computing_is_bound_by_the_lock() {
    let call = Call { held: Some(0.5), cpu: 0.01, process_cpu: 0.01, pauses: 1.0, ..computing(0.02) };
    let (_, all) = judge(&call, &machine(2), &calls(50));
    let thread = of(&all, Engine::Thread);
    assert!(thread.width >= 2 && (0.5..0.56).contains(&thread.seconds), "{thread:?}");
}

#[test]
fn what_is_tiny_stays_unless_chunks_pay() {
    let (engine, _) = judge(&computing(1e-6), &machine(2), &calls(1000));
    assert_eq!(engine, Engine::Serial);
    let heavy = Call { pickle: 40e-6, ..computing(10e-6) };
    assert_eq!(judge(&heavy, &machine(2), &calls(10_000)).0, Engine::Serial);
    let (engine, all) = judge(&Call { pickle: 2e-6, ..computing(12e-6) }, &machine(2), &calls(10_000));
    assert_eq!(engine, Engine::Process);
    assert!(of(&all, Engine::Process).chunk > 1);
}

#[test]
fn a_single_call_stays_where_it_is() {
    for call in [computing(0.01), waiting(0.01)] {
        assert_eq!(judge(&call, &machine(8), &calls(1)).0, Engine::Serial);
    }
}

#[test]
fn what_fills_the_cores_itself_is_not_handed_out() {
    let product = Call { held: Some(0.01), process_cpu: 0.078, ..computing(0.02) };
    assert_eq!(judge(&product, &machine(4), &calls(50)).0, Engine::Serial);
    // With twice the cores there is room for another.
    assert_eq!(judge(&product, &machine(8), &calls(50)).0, Engine::Thread);
}

#[test]
fn what_is_dear_to_carry_stays() {
    let heavy = Call { bytes: 1e8, pickle: 0.05, ..computing(0.05) };
    let (engine, all) = judge(&heavy, &machine(2), &calls(10));
    assert_eq!(engine, Engine::Serial);
    assert!(of(&all, Engine::Process).seconds > of(&all, Engine::Serial).seconds);
}

#[test]
fn what_cannot_be_carried_has_no_estimate_for_processes() {
    let (engine, all) = judge(&Call { carried: false, ..computing(0.05) }, &machine(2), &calls(10));
    assert_eq!(engine, Engine::Serial);
    assert!(all.iter().all(|one| one.engine != Engine::Process));
}

#[test]
fn time_in_the_queue_is_no_waiting() {
    // Half of its time it had no core: two others want the two.
    let call = Call { wall: 0.02, queued: 0.01, ..computing(0.01) };
    let busy = Machine { others: 3.0, ..machine(2) };
    let (engine, all) = judge(&call, &busy, &calls(50));
    assert!(close(of(&all, Engine::Serial).seconds, 1.0), "{all:?}");
    // Two of ours get 0.8 of the two cores.
    assert!(close(of(&all, Engine::Process).seconds, 50.0 * 0.01 / 0.8), "{all:?}");
    assert_eq!(engine, Engine::Process);
}

#[test]
fn a_crowd_of_threads_gets_more_of_a_busy_machine() {
    let busy = Machine { others: 2.0, ..machine(2) };
    let call = Call { held: Some(0.01), ..computing(0.01) };
    let (engine, all) = judge(&call, &busy, &calls(40));
    assert_eq!(engine, Engine::Thread);
    assert!(of(&all, Engine::Thread).width > 10, "{all:?}");
    assert!(of(&all, Engine::Thread).seconds < 0.9 * of(&all, Engine::Process).seconds);
    // On a quiet one there is nothing to get.
    assert_eq!(of(&judge(&call, &machine(2), &calls(40)).1, Engine::Thread).width, 2);
    // A library with threads of its own has a crowd already.
    let product = Call { process_cpu: 0.02, ..call };
    assert_eq!(judge(&product, &busy, &calls(40)).0, Engine::Serial);
    // What waits is let in before those that never rest.
    let mix = Call { held: Some(0.5), cpu: 0.005, process_cpu: 0.005, pauses: 1.0, ..computing(0.01) };
    let thread = of(&judge(&mix, &busy, &calls(40)).1, Engine::Thread);
    assert!((0.2..0.25).contains(&thread.seconds), "{thread:?}");
}

/// A machine of two cores beside two others, and what 32 threads get of it.
fn crowded(locked: Option<f64>, free: Option<f64>) -> Machine {
    Machine { others: 2.0, crowd: Some(Crowd { threads: 32, locked, free }), ..machine(2) }
}

#[test]
fn threads_take_turns_at_the_lock_where_that_was_seen_to_help() {
    let call = Call { wall: 0.015, queued: 0.005, held: Some(1.0), ..computing(0.01) };
    let (engine, all) = judge(&call, &crowded(Some(0.95), Some(0.7)), &calls(40));
    assert_eq!(engine, Engine::Thread);
    // One thread has two thirds of a core.
    assert!(close(of(&all, Engine::Serial).seconds, 0.6), "{all:?}");
    let thread = of(&all, Engine::Thread);
    assert!(thread.width > 20 && close(thread.seconds, 0.4 * (1.1 + 0.02) / 0.95), "{thread:?}");
    // Two processes have less, as any crowd has that never rests.
    let process = of(&all, Engine::Process).seconds;
    assert!(0.4 / process < 0.95 && 0.4 / process > 0.6, "{all:?}");
    // Where it was not, and where nothing was measured, they do not.
    for machine in [crowded(Some(0.67), None), Machine { crowd: None, ..crowded(None, None) }] {
        let (engine, all) = judge(&call, &machine, &calls(40));
        assert_eq!(engine, Engine::Process);
        let thread = of(&all, Engine::Thread).seconds;
        assert!(thread >= 0.6 && close(thread, 0.6 * COSTS.contention), "{all:?}");
    }
    // On a quiet machine there is nothing to get: an old measurement changes nothing.
    let quiet = Machine { others: 0.0, ..crowded(Some(0.5), Some(0.5)) };
    assert_eq!(estimate(&call, &quiet, &calls(40)), estimate(&call, &machine(2), &calls(40)));
}

#[test]
fn a_crowd_without_the_lock_gets_what_was_measured() {
    let call = Call { held: Some(0.01), ..computing(0.01) };
    let seconds = |machine: &Machine| of(&estimate(&call, machine, &calls(320)), Engine::Thread).seconds;
    // All of its threads together count as one to the kernel.
    assert!(close(seconds(&crowded(None, Some(0.67))), 3.2 / 0.67));
    assert!(close(seconds(&crowded(None, Some(1.5))), 3.2 / 1.5));
    // Each of them counts.
    let machine = Machine { crowd: None, ..crowded(None, None) };
    let dealt = 2.0 * 32.0 / 34.0;
    assert!((0.95..=1.0).contains(&(crowded(None, Some(dealt)).crowd(8.0) / machine.dealt(8.0))));
    assert!(close(crowded(None, Some(dealt)).crowd(32.0), dealt));
}

#[test]
fn a_slow_first_call_is_paid_wherever_the_function_is_new() {
    let (_, all) = judge(&Call { warm_up: 0.3, ..computing(0.01) }, &machine(2), &calls(10));
    let serial = of(&all, Engine::Serial);
    assert!(close(serial.seconds, 0.1) && close(serial.cold(), 0.4));
    let process = of(&all, Engine::Process);
    assert!(close(process.seconds, 0.05) && close(process.warm_up, 0.3));
}

#[test]
fn coroutines_overlap_what_they_await_and_nothing_else() {
    let batch = Batch { coroutine: true, ..calls(100) };
    let call = Call { held: None, stepped: 50e-6, ..waiting(0.05) };
    let (engine, all) = judge(&call, &machine(2), &batch);
    assert_eq!(engine, Engine::Loop);
    assert!(of(&all, Engine::Loop).seconds < 0.06);
    let blocking = Call { stepped: 0.05, ..call };
    assert_eq!(judge(&blocking, &machine(2), &batch).0, Engine::Serial);
    assert_eq!(judge(&Call { stepped: 0.01, ..computing(0.01) }, &machine(2), &batch).0, Engine::Serial);
}

#[test]
fn the_cheapest_of_equals_is_taken() {
    use Engine::{Process, Serial, Thread};
    assert_eq!(best(&[(Process, 1.0), (Thread, 1.04), (Serial, 2.0)], 0.05), Thread);
    assert_eq!(best(&[(Process, 1.0), (Thread, 1.06), (Serial, 1.05)], 0.05), Serial);
    assert_eq!(best(&[], 0.05), Serial);
    assert_eq!(best(&[(Process, f64::NAN)], 0.05), Serial);
}

/// What is said about each engine of a plain call on two cores.
fn said(call: Call, batch: u32, waits: &[(&str, f64)], engine: Engine) -> String {
    let (machine, batch) = (machine(2), Batch { processes: 2, ..calls(batch) });
    let all = estimate(&call, &machine, &batch);
    let waits: Vec<_> = waits.iter().map(|(what, share)| ((*what).to_owned(), *share)).collect();
    let facts =
        Facts { call: &call, machine: &machine, batch: &batch, waits: &waits, uncarried: None, all: &all };
    sentence(&facts, engine)
}

#[test]
fn reasons_are_in_plain_terms() {
    assert_eq!(
        said(Call { held: Some(0.98), ..computing(0.01) }, 50, &[], Engine::Thread),
        "holds the interpreter lock 98 % of the time: threads cannot help"
    );
    assert_eq!(
        said(waiting(0.05), 200, &[("socket", 0.97), ("lock", 0.02)], Engine::Thread),
        "waits 99 % of the time on a socket: 200 at once are cheaper as coroutines than as threads"
    );
    assert!(
        said(Call { pickle: 2e-6, ..computing(12e-6) }, 10_000, &[], Engine::Process)
            .starts_with("12.0 µs a call: handing it out costs more than it saves; use chunks of ")
    );
    let heavy = Call { bytes: 1e8, pickle: 0.05, ..computing(0.05) };
    assert!(said(heavy, 10, &[], Engine::Process).starts_with("carrying 100.0 MB there and back takes"));
    assert_eq!(
        said(Call { held: Some(0.01), process_cpu: 0.04, ..computing(0.02) }, 10, &[], Engine::Serial),
        "its library computes on several cores already"
    );
}

prop_compose! {
    fn any_call()(
        wall in 1e-7_f64..1.0,
        computing in 0.0_f64..=1.0,
        queued in 0.0_f64..=1.0,
        spread in 1.0_f64..4.0,
        held in proptest::option::of(0.0_f64..=1.0),
        pauses in 0.0_f64..10.0,
        releases in 0.0_f64..100.0,
        warm_up in 0.0_f64..1.0,
        bytes in 0.0_f64..1e8,
        pickle in 0.0_f64..0.1,
    ) -> Call {
        let cpu = wall * computing;
        Call {
            wall, cpu, queued: (wall - cpu) * queued, process_cpu: cpu * spread, held, pauses, releases, stepped: cpu,
            warm_up, carried: true, bytes, pickle, memory: 0,
        }
    }
}

prop_compose! {
    fn any_machine()(cores in 1_u32..16, others in 0.0_f64..20.0, scale in 0.01_f64..100.0) -> Machine {
        let overheads = Overheads {
            thread_call: COSTS.thread_call * scale,
            thread_trip: COSTS.thread_trip * scale,
            process_call: COSTS.process_call * scale,
            process_item: COSTS.process_item * scale,
            process_trip: COSTS.process_trip * scale,
            task: COSTS.task * scale,
            ..COSTS
        };
        Machine { cores, others, crowd: None, overheads }
    }
}

prop_compose! {
    fn any_crowd()(
        threads in any::<u32>(),
        locked in proptest::option::of(0.0_f64..=1.0),
        free in proptest::option::of(0.0_f64..=16.0),
    ) -> Crowd {
        Crowd { threads, locked, free }
    }
}

prop_compose! {
    /// One that was measured, or was not.
    fn known_machine()(machine in any_machine(), crowd in proptest::option::of(any_crowd())) -> Machine {
        Machine { crowd, ..machine }
    }
}

prop_compose! {
    fn any_batch()(
        calls in 1_u32..3000, coroutine in any::<bool>(), threads in 1_u32..40, processes in 1_u32..16,
    ) -> Batch {
        Batch { calls, coroutine, threads, processes }
    }
}

/// The engines whose time exceeds what it may be, but for rounding.
fn above(found: &[Estimate], bound: impl Fn(&Estimate) -> f64) -> Vec<Estimate> {
    found.iter().filter(|one| one.seconds > bound(one) * (1.0 + 1e-6)).copied().collect()
}

fn cheaper(machine: &Machine, factor: f64) -> Machine {
    let costs = machine.overheads;
    let overheads = Overheads {
        thread_call: costs.thread_call * factor,
        thread_trip: costs.thread_trip * factor,
        lock_switch: costs.lock_switch * factor,
        process_call: costs.process_call * factor,
        process_item: costs.process_item * factor,
        process_trip: costs.process_trip * factor,
        byte: costs.byte * factor,
        task: costs.task * factor,
        ..costs
    };
    Machine { overheads, ..*machine }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn estimates_are_times(call in any_call(), machine in known_machine(), batch in any_batch()) {
        for one in estimate(&call, &machine, &batch) {
            prop_assert!(one.seconds.is_finite() && one.seconds > 0.0, "{one:?}");
            prop_assert!(one.cold() >= one.seconds);
            prop_assert!((1..=batch.calls).contains(&one.width));
            prop_assert!((1..=batch.calls).contains(&one.chunk));
        }
    }

    #[test]
    fn nonsense_gives_no_nonsense(wall in any::<f64>(), cpu in any::<f64>(), queued in any::<f64>(),
        held in any::<f64>(), pickle in any::<f64>(), calls in any::<u32>()) {
        let call = Call { wall, cpu, queued, held: Some(held), pickle, ..computing(1.0) };
        let batch = Batch { calls, coroutine: false, threads: 4, processes: 4 };
        for one in estimate(&call, &machine(2), &batch) {
            prop_assert!(!one.seconds.is_nan() && one.seconds >= 0.0, "{one:?}");
        }
    }

    #[test]
    fn no_engine_beats_the_cores_and_the_calls(call in any_call(), machine in known_machine(),
        batch in any_batch()) {
        let calls = f64::from(batch.calls);
        for one in estimate(&call, &machine, &batch) {
            let floor = (calls * call.cpu / f64::from(machine.cores)).max(call.wall - call.queued);
            prop_assert!(one.seconds >= floor * (1.0 - 1e-6), "{one:?} is under {floor}");
        }
    }

    #[test]
    fn dearer_handing_out_makes_nothing_faster(call in any_call(), machine in known_machine(),
        batch in any_batch(), factor in 0.0_f64..1.0) {
        let dear = estimate(&call, &machine, &batch);
        let cheap = estimate(&call, &cheaper(&machine, factor), &batch);
        for (cheap, dear) in cheap.iter().zip(&dear) {
            // The narrowest of equals is taken, which may be a little slower.
            prop_assert!(cheap.seconds <= dear.seconds * 1.05, "{cheap:?} {dear:?}");
        }
    }

    #[test]
    fn dearer_carriage_makes_processes_no_faster(call in any_call(), machine in known_machine(),
        batch in any_batch(), factor in 0.0_f64..1.0) {
        let light = Call { bytes: call.bytes * factor, pickle: call.pickle * factor, ..call };
        let batch = Batch { coroutine: false, ..batch };
        let seconds = |call| of(&estimate(&call, &machine, &batch), Engine::Process).seconds;
        prop_assert!(seconds(light) <= seconds(call) * 1.05);
    }

    #[test]
    fn more_calls_take_longer(call in any_call(), machine in known_machine(), batch in any_batch(),
        more in 1_u32..1000) {
        let few = estimate(&call, &machine, &batch);
        let many = estimate(&call, &machine, &Batch { calls: batch.calls + more, ..batch });
        prop_assert_eq!(above(&few, |one| of(&many, one.engine).seconds * 1.05), vec![]);
    }

    #[test]
    fn more_cores_make_nothing_slower(call in any_call(), machine in any_machine(), batch in any_batch()) {
        let more = Machine { cores: machine.cores + 1, ..machine };
        let few = estimate(&call, &machine, &batch);
        prop_assert_eq!(above(&estimate(&call, &more, &batch), |one| of(&few, one.engine).seconds * 1.05), vec![]);
    }

    #[test]
    fn what_others_do_makes_nothing_faster(call in any_call(), machine in known_machine(),
        batch in any_batch(), more in 0.0_f64..10.0) {
        let busier = Machine { others: machine.others + more, ..machine };
        let loaded = estimate(&call, &busier, &batch);
        prop_assert_eq!(above(&estimate(&call, &machine, &batch), |one| of(&loaded, one.engine).seconds * 1.05), vec![]);
    }

    #[test]
    fn holding_the_lock_longer_makes_threads_no_faster(call in any_call(), machine in known_machine(),
        batch in any_batch(), low in 0.0_f64..=1.0, high in 0.0_f64..=1.0) {
        let batch = Batch { coroutine: false, ..batch };
        let seconds = |held| {
            of(&estimate(&Call { held: Some(held), ..call }, &machine, &batch), Engine::Thread).seconds
        };
        prop_assert!(seconds(low.min(high)) <= seconds(low.max(high)) * 1.05);
    }

    #[test]
    fn a_crowd_has_what_there_is(machine in known_machine(), threads in 1.0_f64..1000.0) {
        let (crowd, locked) = (machine.crowd(threads), machine.locked(threads));
        prop_assert!(crowd > 0.0 && crowd <= f64::from(machine.cores).min(threads), "{crowd}");
        prop_assert!(locked > 0.0 && locked <= 1.0, "{locked}");
        prop_assert!(crowd <= machine.crowd(threads + 1.0) * (1.0 + 1e-9));
    }

    #[test]
    fn threads_gain_nothing_for_what_holds_the_lock(seconds in 1e-6_f64..1.0, machine in any_machine(),
        calls in 1_u32..1000) {
        let call = Call { held: Some(1.0), ..computing(seconds) };
        let all = estimate(&call, &machine, &Batch { calls, coroutine: false, threads: 32, processes: 1 });
        prop_assert!(of(&all, Engine::Thread).seconds >= of(&all, Engine::Serial).seconds * 0.999);
    }

    #[test]
    fn the_best_is_near_the_fastest(times in proptest::collection::vec(1e-6_f64..10.0, 4)) {
        let times: Vec<_> = Engine::ALL.into_iter().zip(times).collect();
        let taken = best(&times, MARGIN);
        let fastest = times.iter().map(|(_, seconds)| *seconds).fold(f64::INFINITY, f64::min);
        let seconds = times.iter().find(|(engine, _)| *engine == taken).unwrap().1;
        prop_assert!(seconds <= fastest * (1.0 + MARGIN));
    }
}
