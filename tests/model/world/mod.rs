//! The world: real clients of a real stack, compared with the model after every step.

mod compare;
mod requests;
mod settle;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use futures_util::future::join_all;
use local::{EngineCall, Fault, Stack};
use reqwest::Method;
use serde_json::{Value, json};
use tests::{Answer, Hotkey, check_answer, dynamodb, item, remove_objects, text};
use uuid::Uuid;

use crate::{
    claims::Asks,
    oracle::{Call, Job, METHODS, Made, PENDING, Part, TIMEOUT, Token},
    steps::{Failing, Step, What},
};

type Result<T, E = String> = std::result::Result<T, E>;

/// Runs of the reaper that may follow one another until it has come to an end.
const RUNS: usize = 5;

/// A stack with its users and miners, who stay; every case has a chute of its own.
pub(crate) struct World {
    stack: Stack,
    http: reqwest::Client,
    users: Vec<Person>,
    miners: Vec<Person>,
    faults: Arc<Mutex<Faults>>,
    /// Every other one has a busy chute.
    cases: usize,
    /// Steps that were taken, over all cases.
    pub(crate) taken: usize,
    /// Faults that happened, over all cases.
    pub(crate) failed: usize,
}

/// Somebody with an account.
struct Person {
    /// The account, or the hotkey that signs for it.
    name: String,
    user_id: String,
    key: String,
    hotkey: Option<Hotkey>,
}

/// The faults of the present step, and those of them that happened.
#[derive(Default)]
struct Faults {
    plan: Vec<Failing>,
    calls: usize,
    happened: Vec<Fault>,
}

impl Faults {
    fn decide(&mut self, call: &EngineCall) -> Fault {
        if call.function.as_deref() == Some("admin") {
            return Fault::None;
        }
        let at = self.calls;
        self.calls += 1;
        let hit = self.plan.iter().find(|failing| (failing.first..failing.first + failing.calls).contains(&at));
        hit.map_or(Fault::None, |failing| {
            self.happened.push(failing.fault);
            failing.fault
        })
    }
}

/// A request that can be sent again as it is.
#[derive(Clone, Debug)]
struct Http {
    method: Method,
    url: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

/// A hotkey's signature.
#[derive(Clone, Debug)]
struct Signature {
    /// Seconds.
    nonce: i64,
    /// The job that it was accepted for.
    spent_on: Option<usize>,
}

/// Something to do, and what it is about.
#[derive(Clone, Debug)]
struct Request {
    about: About,
    http: Http,
    signature: Option<Signature>,
}

#[derive(Clone, Debug)]
enum About {
    Job(usize, Call),
    /// Nobody has heard of this job yet.
    New {
        user: usize,
        key: Option<u8>,
        made: Made,
    },
    /// Whichever job it turns out to be.
    Next(Asks),
    List,
    Reap,
}

impl About {
    fn next(&self) -> Option<Asks> {
        if let Self::Next(asks) = self { Some(*asks) } else { None }
    }
}

/// An answer; None when there was none, or none that tells.
type Seen = Option<(u16, Value)>;

/// One sequence of steps.
struct Case<'a> {
    world: &'a mut World,
    chute_id: String,
    /// Its jobs wait in shards, and are taken in any order.
    busy: bool,
    /// Each job's id, and what may be true of it: more than one state only while nobody can tell.
    jobs: Vec<(String, Vec<Job>)>,
    by_key: BTreeMap<(usize, u8), usize>,
    tokens: Vec<(usize, Token, String)>,
    /// Presigned URLs, and when they were given.
    urls: Vec<(usize, &'static str, String, i64)>,
    sent: Vec<Request>,
    winners: BTreeMap<(usize, u32), usize>,
    ended: BTreeMap<usize, Value>,
    used: BTreeMap<(usize, String), u64>,
    /// Jobs that were concerned when something failed.
    faulty: BTreeSet<usize>,
}

fn back<T>(list: &[T], count: usize) -> Option<&T> {
    list.iter().rev().nth(count % list.len().max(1))
}

fn content(number: u32) -> Vec<u8> {
    format!("content {number};").repeat(3).into_bytes()
}

impl World {
    pub(crate) async fn start() -> Self {
        let pending = (PENDING / 1000).to_string();
        let stack = Stack::builder().parameter("PendingSeconds", pending).start().await.expect("the stack starts");
        let faults = Arc::new(Mutex::new(Faults::default()));
        let hook = Arc::clone(&faults);
        stack.set_faults(move |call| hook.lock().unwrap().decide(call));
        stack.clock().set(1_795_000_000_000);
        let mut people = Vec::new();
        for (roles, signs) in
            [(json!([]), false), (json!([]), true), (json!(["miner"]), true), (json!(["miner"]), true)]
                .into_iter()
                .chain([(json!(["miner"]), false)])
        {
            people.push(Person::new(&stack, roles, signs).await);
        }
        let miners = people.split_off(2);
        // One of the two is busy, and has been for long.
        let busy = json!({
            "TableName": stack.resource("RegistryTable").unwrap(), "Key": {"pk": {"S": format!("user#{}", people[1].user_id)}},
            "UpdateExpression": "SET busy_since = :long", "ExpressionAttributeValues": {":long": {"N": "0"}},
        });
        dynamodb(&stack, "UpdateItem", busy).await;
        let http = jobchute::plain_http().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { stack, http, users: people, miners, faults, cases: 0, taken: 0, failed: 0 }
    }

    /// Takes the steps, lets the faults stop, and looks whether anything was lost or is stuck.
    pub(crate) async fn run(&mut self, steps: &[Step]) -> Result<()> {
        let chute_id = Uuid::new_v4().to_string();
        let method = |(name, attempts, retry_errors): (&str, u32, bool)| {
            json!({
                "name": name, "timeout": TIMEOUT / 1000, "retry": attempts - 1, "retry_errors": retry_errors, "upload": true,
            })
        };
        let busy = self.cases % 2 == 1;
        let chute = json!({
            "chute_id": chute_id, "user_id": self.users[0].user_id, "name": "c", "public": true, "version": "1",
            "busy": busy, "methods": METHODS.map(method),
        });
        self.stack.invoke("admin", json!({"command": "put_chute", "chute": chute})).await.unwrap();
        self.cases += 1;
        let mut case = Case {
            world: self,
            chute_id,
            busy,
            jobs: Vec::new(),
            by_key: BTreeMap::new(),
            tokens: Vec::new(),
            urls: Vec::new(),
            sent: Vec::new(),
            winners: BTreeMap::new(),
            ended: BTreeMap::new(),
            used: BTreeMap::new(),
            faulty: BTreeSet::new(),
        };
        for step in steps {
            case.step(step).await.map_err(|error| format!("{step:?}: {error}"))?;
        }
        case.settle().await.map_err(|error| format!("when the faults had stopped: {error}"))
    }

    fn now(&self) -> i64 {
        self.stack.clock().now()
    }

    async fn send(&self, http: &Http) -> Seen {
        let mut request = self.http.request(http.method.clone(), &http.url).body(http.body.clone());
        for (name, value) in &http.headers {
            request = request.header(name, value);
        }
        let answer = request.send().await.ok()?;
        let url = answer.url().clone();
        let answer = Answer::read(answer).await.ok()?;
        check_answer(&http.method, &url, &answer);
        let replayed = answer.header("idempotent-replayed").is_some();
        let (status, mut body) = (answer.status, answer.body);
        if replayed {
            body["replayed"] = true.into();
        }
        (status < 500).then_some((status, body))
    }

    /// Carries out a request. A download is followed to its bytes, a run of the reaper is its report.
    async fn carry_out(&self, request: &Request) -> Seen {
        if let About::Reap = request.about {
            return self.reap().await;
        }
        let (status, body) = self.send(&request.http).await?;
        let About::Job(_, Call::Download { .. }) = request.about else { return Some((status, body)) };
        if status != 200 {
            return Some((status, body));
        }
        let answer = self.http.get(text(&body["url"])).send().await.ok().filter(|answer| answer.status() == 200)?;
        let bytes = answer.bytes().await.ok()?;
        let number = String::from_utf8_lossy(&bytes).trim_start_matches("content ").split(';').next()?.parse().ok()?;
        let whole = bytes == content(number);
        Some((200, json!({"content": if whole { json!(number) } else { Value::Null }})))
    }

    /// A run of the reaper, and what it leaves to the next ones: on a busy machine it may stop for time though nothing fails.
    async fn reap(&self) -> Seen {
        for _ in 0..RUNS {
            let done = self.stack.run_schedule("reap-jobs").await.ok()?;
            let (has_failed, is_more) = (done["failed"] != 0, done["more"] == true);
            if !has_failed && !is_more {
                return Some((200, done));
            }
            println!("the reaper reports {done}");
            if has_failed || !self.is_quiet() {
                return None;
            }
        }
        None
    }

    /// Whether nothing has failed in the present step.
    fn is_quiet(&self) -> bool {
        self.faults.lock().unwrap().happened.is_empty()
    }
}

impl Person {
    async fn new(stack: &Stack, roles: Value, signs: bool) -> Self {
        let admin = async |command: Value| stack.invoke("admin", command).await.expect("the command succeeds");
        let user_id = text(&admin(json!({"command": "create_user", "roles": roles})).await["user_id"]);
        admin(json!({"command": "set_quotas", "user_id": user_id, "quotas": {"*": 1_000_000}})).await;
        let key = text(&admin(json!({"command": "create_key", "user_id": user_id})).await["key"]);
        let hotkey = if signs { Some(Hotkey::generate()) } else { None };
        if let Some(hotkey) = &hotkey {
            let address = &hotkey.address;
            admin(json!({"command": "register_hotkey", "user_id": user_id, "hotkey": address})).await;
        }
        let name = hotkey.as_ref().map_or(user_id.clone(), |hotkey| hotkey.address.clone());
        Self { name, user_id, key, hotkey }
    }

    /// The headers that prove who this is.
    fn sign(&self, method: &Method, path: &str, body: &[u8], now: i64) -> (Vec<(String, String)>, Option<Signature>) {
        let Some(hotkey) = &self.hotkey else {
            return (vec![("authorization".to_owned(), format!("Bearer {}", self.key))], None);
        };
        let nonce = now.div_euclid(1000);
        let headers = hotkey.headers_at(nonce, method.as_str(), path, body);
        let headers = headers.map(|(name, value)| (name.to_owned(), value)).to_vec();
        (headers, Some(Signature { nonce, spent_on: None }))
    }
}

impl Case<'_> {
    async fn step(&mut self, step: &Step) -> Result<()> {
        if let What::Jump { seconds } = step.what {
            self.world.stack.clock().set(self.world.now() + seconds * 1000);
            return Ok(());
        }
        if let What::Remove { job, part } = step.what {
            self.remove(job, part).await;
            return Ok(());
        }
        let mut requests = Vec::new();
        let creates = |request: &Request| matches!(request.about, About::New { .. });
        match &step.what {
            What::CreateTwice { user, key, bodies } => {
                let create = |body| What::Create { user: *user, method: 0, key: Some(*key), body, wait: Some(5_400) };
                requests.extend(bodies.iter().filter_map(|body| self.request(&create(*body))));
            }
            what => {
                requests.extend(self.request(what));
                let meanwhile = step.meanwhile.as_ref().and_then(|what| self.request(what));
                // Which of two new jobs is whose, nobody could tell.
                let meanwhile = meanwhile.filter(|other| !(creates(other) && requests.iter().any(creates)));
                // S3 and the table do not change in one write: a file that is sent while its job is completed may be taken,
                // and yet too late.
                let completes =
                    |request: &Request| matches!(request.about, About::Reap | About::Job(_, Call::Complete { .. }));
                let uploads = |request: &Request| matches!(request.about, About::Job(_, Call::Upload { .. }));
                requests.extend(meanwhile.filter(|other| {
                    !requests.iter().any(|one| completes(one) && uploads(other) || uploads(one) && completes(other))
                }));
            }
        }
        self.world.taken += requests.len();
        *self.world.faults.lock().unwrap() = Faults { plan: step.faults.clone(), ..Faults::default() };
        let now = self.world.now();
        let rings = self.alarm().await.is_some_and(|alarm| alarm <= whole_seconds(now));
        let seen = join_all(requests.iter().map(|request| self.world.carry_out(request))).await;
        let happened = std::mem::take(&mut *self.world.faults.lock().unwrap()).happened;
        self.world.stack.engines_at_rest().await;
        self.world.failed += happened.len();
        // Two at once may be in each other's way.
        let fails = |request: &Request| self.fails(request, now);
        if happened.is_empty() && requests.len() < 2 && seen.iter().any(Option::is_none) && !requests.iter().any(fails)
        {
            return Err(format!("no answer to {:?}, though nothing failed", requests[0].about));
        }
        let made = self.compare_new(&requests, &seen, now).await?;
        if !happened.is_empty() {
            self.note_faults(&requests, made);
        }
        self.compare_next(&requests, &seen, now, happened.is_empty())?;
        self.compare(&requests, &seen, now, rings, happened.is_empty()).await?;
        self.compare_alarm(&requests, &seen, rings).await?;
        for (request, seen) in requests.into_iter().zip(seen) {
            self.remember(request, seen, made)?;
        }
        Ok(())
    }
}

impl Case<'_> {
    /// Removes what a job carries from the bucket, if it carries that there.
    async fn remove(&mut self, job: usize, part: Part) {
        let Some(at) = self.jobs.len().checked_sub(1).map(|last| last - job % self.jobs.len()) else { return };
        let (job_id, states) = &mut self.jobs[at];
        let stored = item(&self.world.stack, "JobsTable", "job_id", job_id).await;
        let reference = &stored[part.attribute()]["M"];
        let Some(id) = reference["i"]["S"].as_str().filter(|_| reference["l"].is_null()) else { return };
        remove_objects(&self.world.stack, &format!("jobs/{}/", self.chute_id), id).await;
        for job in states {
            job.removed.insert(part);
        }
    }

    /// Whether that cannot be answered, because somebody has removed what it needs.
    fn fails(&self, request: &Request, now: i64) -> bool {
        let fails = |job: &Job, call: &Call| job.after(call, now).0.status == 500;
        match &request.about {
            About::Job(at, call) => self.jobs[*at].1.iter().any(|job| fails(job, call)),
            About::Next(asks) => self.jobs.iter().flat_map(|(_, states)| states).any(|job| fails(job, &asks.call())),
            About::New { .. } | About::List | About::Reap => false,
        }
    }

    /// Which jobs may have been left with something that nothing refers to.
    fn note_faults(&mut self, requests: &[Request], made: Option<usize>) {
        for request in requests {
            match request.about {
                About::Job(at, _) => drop(self.faulty.insert(at)),
                About::New { .. } => self.faulty.extend(made),
                // It puts long lists anew.
                About::Reap => {
                    let is_long = |at: &usize| self.jobs[*at].1.iter().any(|job| job.is_long);
                    self.faulty.extend((0..self.jobs.len()).filter(is_long));
                }
                About::Next(_) | About::List => {}
            }
        }
    }
}

/// A schedule tells whole seconds.
fn whole_seconds(now: i64) -> i64 {
    now.div_euclid(1000) * 1000
}

/// The key of an alarm's row.
fn alarm_of(id: &str) -> String {
    Uuid::new_v5(&Uuid::try_parse(id).expect("an id"), b"waiting").to_string()
}
fn is_old(signature: &Signature, now: i64) -> bool {
    signature.nonce.abs_diff(now.div_euclid(1000)) >= 600
}
