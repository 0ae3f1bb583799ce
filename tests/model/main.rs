//! Whatever fails, nothing is lost and nothing is stuck: users, miners, the reaper and a clock that jumps, over HTTP against the
//! local stack with faults, compared with a plain model after every step. `MODEL_STEPS` (400) and `MODEL_SEED` choose how many
//! steps, and which; a failure prints the seed and the shortest sequence that fails.

// A test that cannot go on says why and stops.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

mod attempts;
mod claims;
mod oracle;
mod steps;
mod stored;
mod waiting;
mod world;

use std::{
    cell::{Cell, RefCell},
    time::Instant,
};

use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use world::World;

/// Steps of one case, which begins without jobs.
const LENGTH: usize = 50;

fn variable(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn whatever_fails_nothing_is_lost_and_nothing_is_stuck() {
    let (steps, seed) = (variable("MODEL_STEPS", 400), variable("MODEL_SEED", 1));
    println!("MODEL_STEPS={steps} MODEL_SEED={seed}");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let world = RefCell::new(runtime.block_on(World::start()));
    let first = Cell::new(true);
    let started = Instant::now();

    let cases = u32::try_from(steps.div_ceil(LENGTH as u64)).expect("fewer steps");
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 200, ..Config::default() };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let run = runner.run(&steps::steps(LENGTH), |steps| {
        let taken = world.borrow().taken;
        let run = runtime.block_on(world.borrow_mut().run(&steps));
        if let Err(error) = &run
            && first.replace(false)
        {
            println!("after {taken} steps: {error}");
        }
        run.map_err(TestCaseError::fail)
    });
    let world = world.borrow();
    println!("{} steps, {} faults, {:.0} s", world.taken, world.failed, started.elapsed().as_secs_f64());
    if let Err(error) = run {
        panic!("MODEL_SEED={seed}: {error}");
    }
}
