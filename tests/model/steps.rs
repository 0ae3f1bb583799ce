//! What happens, as data that shrinks: any step means something in any state, so that any of them can be left out.

use std::time::Duration;

use local::Fault;
use proptest::{collection::vec, prelude::*};

use crate::oracle::{Part, Report};

/// One thing that somebody does, or two at the same time, and what goes wrong meanwhile.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) what: What,
    pub(crate) meanwhile: Option<What>,
    pub(crate) faults: Vec<Failing>,
}

/// A fault of the engine calls of one step, from the `first` on, `calls` of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failing {
    pub(crate) first: usize,
    pub(crate) calls: usize,
    pub(crate) fault: Fault,
}

/// Jobs, tokens, URLs and earlier requests are counted back from the newest.
#[derive(Clone, Debug)]
pub(crate) enum What {
    Create {
        user: usize,
        method: usize,
        key: Option<u8>,
        body: u8,
        /// Seconds that it waits, where that is a time of its own.
        wait: Option<i64>,
    },
    /// Two creates with one `Idempotency-Key` at the same time, of the same arguments or of others.
    CreateTwice {
        user: usize,
        key: u8,
        bodies: [u8; 2],
    },
    Claim {
        miner: usize,
        worker: Option<u8>,
        job: usize,
    },
    Next {
        miner: usize,
        worker: Option<u8>,
    },
    /// Whoever has asked for the next job last asks again.
    NextAgain,
    Heartbeat {
        token: usize,
    },
    Release {
        token: usize,
    },
    Finish {
        token: usize,
        report: Report,
    },
    Upload {
        token: usize,
        file: usize,
    },
    Complete {
        token: usize,
    },
    Put {
        url: usize,
        envelope: bool,
    },
    Cancel {
        user: usize,
        job: usize,
    },
    Retry {
        user: usize,
        job: usize,
    },
    Delete {
        user: usize,
        job: usize,
    },
    Get {
        user: usize,
        job: usize,
    },
    Download {
        user: usize,
        job: usize,
        file: usize,
    },
    List {
        miner: usize,
    },
    Reap,
    /// Somebody removes what a job carries from the bucket.
    Remove {
        job: usize,
        part: Part,
    },
    /// The very same request, with the very same signature.
    Again {
        request: usize,
    },
    /// The signature of an earlier claim, on another job.
    Steal {
        claim: usize,
        job: usize,
    },
    /// The clock jumps by so many seconds, also back.
    Jump {
        seconds: i64,
    },
}

pub(crate) fn steps(count: usize) -> impl Strategy<Value = Vec<Step>> {
    vec(step(), count)
}

fn step() -> impl Strategy<Value = Step> {
    (what(), prop::option::weighted(0.2, what()), prop_oneof![2 => Just(Vec::new()), 1 => vec(failing(), 1..3)])
        .prop_map(|(what, meanwhile, faults)| Step { what, meanwhile, faults })
}

fn failing() -> impl Strategy<Value = Failing> {
    let fault = prop_oneof![
        Just(Fault::FailBefore(500)),
        Just(Fault::FailBefore(503)),
        Just(Fault::FailAfter),
        Just(Fault::Throttle),
        Just(Fault::Cut),
        Just(Fault::KillFunction),
        Just(Fault::KillAfter),
        (1_u64..30).prop_map(|millis| Fault::Delay(Duration::from_millis(millis))),
    ];
    // The SDK tries three times: four calls in a row fail for good.
    (0_usize..6, prop_oneof![2 => Just(1_usize), 1 => Just(4)], fault).prop_map(|(first, calls, fault)| Failing {
        first,
        calls,
        fault,
    })
}

fn what() -> impl Strategy<Value = What> {
    let recent = || prop_oneof![3 => Just(0_usize), 2 => Just(1), 1 => 2_usize..5];
    let user = || prop_oneof![5 => Just(0_usize), 1 => Just(1)];
    prop_oneof![
        5 => (0_usize..2, prop_oneof![1 => Just(0_usize), 2 => Just(1), 2 => Just(2)], prop::option::of(0_u8..2), size(), wait())
            .prop_map(|(user, method, key, body, wait)| What::Create { user, method, key, body, wait }),
        1 => (0_usize..2, 2_u8..5, size(), size()).prop_map(|(user, key, one, other)| What::CreateTwice { user, key, bodies: [one, other] }),
        1 => (recent(), part()).prop_map(|(job, part)| What::Remove { job, part }),
        10 => (0_usize..3, worker(), recent()).prop_map(|(miner, worker, job)| What::Claim { miner, worker, job }),
        10 => (0_usize..3, worker()).prop_map(|(miner, worker)| What::Next { miner, worker }),
        12 => Just(What::NextAgain),
        10 => recent().prop_map(|token| What::Heartbeat { token }),
        3 => recent().prop_map(|token| What::Release { token }),
        10 => (recent(), report()).prop_map(|(token, report)| What::Finish { token, report }),
        3 => (recent(), 0_usize..2).prop_map(|(token, file)| What::Upload { token, file }),
        8 => recent().prop_map(|token| What::Complete { token }),
        10 => (recent(), any::<bool>()).prop_map(|(url, envelope)| What::Put { url, envelope }),
        4 => (user(), recent()).prop_map(|(user, job)| What::Cancel { user, job }),
        6 => (user(), recent()).prop_map(|(user, job)| What::Retry { user, job }),
        4 => (user(), recent()).prop_map(|(user, job)| What::Delete { user, job }),
        4 => (user(), recent()).prop_map(|(user, job)| What::Get { user, job }),
        3 => (user(), recent(), 0_usize..2).prop_map(|(user, job, file)| What::Download { user, job, file }),
        1 => (0_usize..3).prop_map(|miner| What::List { miner }),
        12 => Just(What::Reap),
        10 => recent().prop_map(|request| What::Again { request }),
        2 => (recent(), recent()).prop_map(|(claim, job)| What::Steal { claim, job }),
        14 => prop_oneof![
            4 => Just(91_i64),
            4 => Just(3_700),
            1 => Just(7_300),
            3 => prop_oneof![Just(10_i64), Just(59), Just(61)],
            1 => prop_oneof![Just(1_i64), Just(-1), Just(599), Just(-600)],
        ]
        .prop_map(|seconds| What::Jump { seconds }),
    ]
}

/// As long as the deployment says, or a time of its own, shorter or longer.
fn wait() -> impl Strategy<Value = Option<i64>> {
    prop_oneof![2 => Just(None), 1 => Just(Some(10)), 1 => Just(Some(90)), 1 => Just(Some(5_400)), 1 => Just(Some(20_000))]
}

fn worker() -> impl Strategy<Value = Option<u8>> {
    prop_oneof![1 => Just(None), 3 => Just(Some(0)), 1 => Just(Some(1))]
}

fn part() -> impl Strategy<Value = Part> {
    prop_oneof![Just(Part::Arguments), Just(Part::Result), Just(Part::List)]
}

/// Small ones and those that are stored apart, and now and then the largest.
fn size() -> impl Strategy<Value = u8> {
    prop_oneof![8 => Just(0_u8), 8 => Just(1), 1 => Just(2)]
}

fn report() -> impl Strategy<Value = Report> {
    let status = prop_oneof![3 => Just("complete"), 1 => Just("error"), 1 => Just("cancelled")];
    let is_long = prop_oneof![2 => Just(false), 1 => Just(true)];
    let parts = (status, size(), 0_u8..4, is_long);
    parts.prop_map(|(status, result, files, is_long)| Report { status, result, files, is_long })
}
