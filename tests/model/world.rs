//! The world: real clients of a real stack, compared with the model after every step.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::future::join_all;
use local::{EngineCall, Fault, Stack};
use reqwest::Method;
use serde_json::{Value, json};
use shared::{
    item::shards::{self, USAGE_SHARDS},
    time::Timestamp,
};
use tests::{Answer, Form, Hotkey, check_answer, dynamodb, item, s3, text};
use uuid::Uuid;

use crate::{
    claims::{self, Asks, name_of},
    oracle::{self, Call, Expected, FILES, Job, METHODS, Made, PENDING, TIMEOUT, Token, WINDOW},
    steps::{Failing, Step, What},
};

type Result<T, E = String> = std::result::Result<T, E>;

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
            let done = self.stack.run_schedule("reap-jobs").await.ok()?;
            return (done["failed"] == 0 && done["more"] == false).then_some((200, done));
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
        let mut requests = Vec::new();
        let creates = |request: &Request| matches!(request.about, About::New { .. });
        match &step.what {
            What::CreateTwice { user, key } => {
                let create = What::Create { user: *user, method: 0, key: Some(*key), body: 1, wait: Some(5_400) };
                requests.extend([self.request(&create), self.request(&create)].into_iter().flatten());
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
        if happened.is_empty() && requests.len() < 2 && seen.iter().any(Option::is_none) {
            return Err("no answer, though nothing failed".to_owned());
        }
        let made = self.compare_new(&requests, &seen, now).await?;
        self.compare_next(&requests, &seen, now, happened.is_empty())?;
        self.compare(&requests, &seen, now, rings, happened.is_empty()).await?;
        self.compare_alarm(&requests, &seen, rings).await?;
        for (request, seen) in requests.into_iter().zip(seen) {
            self.remember(request, seen, made)?;
        }
        Ok(())
    }

    fn request(&self, what: &What) -> Option<Request> {
        let stack_url = self.world.stack.url();
        let body = |value: Value| value.to_string().into_bytes();
        let named = |worker: Option<u8>| worker.map_or(Vec::new(), |worker| body(json!({"worker": name_of(worker)})));
        let signed = |person: &Person, about, method: Method, path: String, body: Vec<u8>| {
            let (headers, signature) = person.sign(&method, &path, &body, self.world.now());
            Request { about, http: Http { method, url: format!("{stack_url}{path}"), headers, body }, signature }
        };
        let with_token = |job: &usize, call, method, url: String, body| Request {
            about: About::Job(*job, call),
            http: Http { method, url, headers: Vec::new(), body },
            signature: None,
        };
        let a_job = |count: &usize| {
            let at = self.jobs.len().checked_sub(1)? - count % self.jobs.len();
            Some((at, &self.jobs[at].0))
        };
        let number = u32::try_from(self.world.taken).unwrap_or_default();
        let (users, miners) = (&self.world.users, &self.world.miners);
        Some(match what {
            What::Create { user, method, key, body: number, wait } => {
                let made = Made { method: *method, body: *number, wait: wait.map(|seconds| seconds * 1000) };
                let known = key.and_then(|key| self.by_key.get(&(*user, key)));
                let about = match known {
                    Some(job) => About::Job(*job, Call::Create { made }),
                    None => About::New { user: *user, key: *key, made },
                };
                let path = format!("/jobs/{}/{}", self.chute_id, METHODS[*method].0);
                let mut request = signed(&users[*user], about, Method::POST, path, body(oracle::content(*number)));
                if let Some(seconds) = wait {
                    request.http.url += &format!("?cancel_after={seconds}");
                }
                if let Some(key) = key {
                    request.http.headers.push(("idempotency-key".to_owned(), format!("{} {key}", self.chute_id)));
                }
                request
            }
            What::CreateTwice { .. } | What::Jump { .. } => return None,
            What::Claim { miner, worker, job } => {
                let (at, job_id) = a_job(job)?;
                let about = About::Job(at, Call::Claim { miner: *miner, worker: *worker });
                signed(&miners[*miner], about, Method::PUT, format!("/jobs/{job_id}/claim"), named(*worker))
            }
            What::Next { .. } | What::NextAgain => {
                let asks = match what {
                    What::Next { miner, worker } => Asks { miner: *miner, worker: *worker },
                    _ => self.sent.iter().rev().find_map(|request| request.about.next())?,
                };
                let (miner, body) = (&miners[asks.miner], named(asks.worker));
                let mut request = signed(miner, About::Next(asks), Method::PUT, "/jobs/claim".to_owned(), body);
                request.http.url += &format!("?chute_id={}", self.chute_id);
                request
            }
            What::Heartbeat { token } => {
                let (job, token, url) = back(&self.tokens, *token)?;
                let url = url.replace("?token=", "/heartbeat?token=");
                with_token(job, Call::Heartbeat { token: *token }, Method::PUT, url, Vec::new())
            }
            What::Finish { token, report } => {
                let (job, token, url) = back(&self.tokens, *token)?;
                let names: Vec<_> = report.files().collect();
                let content = json!({
                    "status": report.status, "result": oracle::content(report.result), "output_filenames": names,
                });
                let call = Call::Finish { token: *token, report: *report };
                with_token(job, call, Method::POST, url.clone(), body(content))
            }
            What::Upload { token, file } => {
                let (job, token, url) = back(&self.tokens, *token)?;
                let (file, url) = (FILES[*file], url.replace("?token=", "/upload?token="));
                let call = Call::Upload { token: *token, file, content: number };
                let mut request = with_token(job, call, Method::PUT, url, Form::of(file, &content(number)));
                request.http.headers.push(("content-type".to_owned(), Form::CONTENT_TYPE.to_owned()));
                request
            }
            What::Release { token } => {
                let (job, token, url) = back(&self.tokens, *token)?;
                let url = url.replace("?token=", "/release?token=");
                with_token(job, Call::Release { token: *token }, Method::PUT, url, Vec::new())
            }
            What::Complete { token } => {
                let (job, token, url) = back(&self.tokens, *token)?;
                with_token(job, Call::Complete { token: *token }, Method::PUT, url.clone(), Vec::new())
            }
            What::Put { url, envelope } => {
                let (job, file, url, given) = back(&self.urls, *url)?;
                // S3 goes by the world's clock, by which no URL ends during a test.
                if self.world.now() > given + WINDOW {
                    return None;
                }
                let run = url.split_once("/run").map_or(0, |(_, rest)| rest[..4].parse().unwrap_or_default());
                let call = Call::Put { file, content: number, run };
                let mut request = with_token(job, call, Method::PUT, url.clone(), content(number));
                if *envelope {
                    request.http.body = Form::of(file, &content(number));
                    request.http.headers.push(("content-type".to_owned(), Form::CONTENT_TYPE.to_owned()));
                }
                request
            }
            What::Cancel { user, job } => {
                let (at, job_id) = a_job(job)?;
                let user = (self.jobs[at].1[0].user + user) % 2;
                let about = About::Job(at, Call::Cancel { user });
                signed(&users[user], about, Method::PUT, format!("/jobs/{job_id}/cancel"), Vec::new())
            }
            What::Retry { user, job } => {
                let (at, job_id) = a_job(job)?;
                let user = (self.jobs[at].1[0].user + user) % 2;
                let about = About::Job(at, Call::Retry { user });
                signed(&users[user], about, Method::PUT, format!("/jobs/{job_id}/retry"), Vec::new())
            }
            What::Delete { user, job } => {
                let (at, job_id) = a_job(job)?;
                // 1 is somebody else.
                let user = (self.jobs[at].1[0].user + user) % 2;
                let about = About::Job(at, Call::Delete { user });
                signed(&users[user], about, Method::DELETE, format!("/jobs/{job_id}"), Vec::new())
            }
            What::Get { user, job } => {
                let (at, job_id) = a_job(job)?;
                let user = (self.jobs[at].1[0].user + user) % 2;
                let about = About::Job(at, Call::Get { user });
                signed(&users[user], about, Method::GET, format!("/jobs/{job_id}"), Vec::new())
            }
            What::Download { user, job, file } => {
                let (at, job_id) = a_job(job)?;
                if !self.jobs[at].1[0].terminal {
                    return None;
                }
                let user = (self.jobs[at].1[0].user + user) % 2;
                let file = FILES[*file];
                let about = About::Job(at, Call::Download { user, file });
                let file_id = Uuid::new_v5(&Uuid::try_parse(job_id).ok()?, file.as_bytes());
                let path = format!("/jobs/{job_id}/download/{file_id}");
                let mut request = signed(&users[user], about, Method::GET, path, Vec::new());
                request.http.headers.push(("accept".to_owned(), "application/json".to_owned()));
                request
            }
            What::List { miner } => {
                let path = "/jobs/claimable".to_owned();
                let mut request = signed(&miners[*miner], About::List, Method::GET, path, Vec::new());
                request.http.url += &format!("?chute_id={}", self.chute_id);
                request
            }
            What::Reap => Request {
                about: About::Reap,
                http: Http { method: Method::POST, url: String::new(), headers: Vec::new(), body: Vec::new() },
                signature: None,
            },
            What::Again { request } => {
                let mut request = back(&self.sent, *request)?.clone();
                if matches!(request.about, About::Job(_, Call::Put { .. })) {
                    return None;
                }
                // It may be known by now which job the key has made.
                if let About::New { user, key: Some(key), made } = &request.about
                    && let Some(job) = self.by_key.get(&(*user, *key))
                {
                    request.about = About::Job(*job, Call::Create { made: *made });
                }
                request
            }
            What::Steal { claim, job } => {
                let (at, job_id) = a_job(job)?;
                let claims = self.sent.iter().filter(|request| {
                    matches!(request.about, About::Job(_, Call::Claim { .. })) && request.signature.is_some()
                });
                let claims: Vec<_> = claims.collect();
                let mut request = (*back(&claims, *claim)?).clone();
                // Whether an unanswered claim has spent its signature, nobody can tell.
                request.signature.as_ref()?.spent_on?;
                let About::Job(_, call) = request.about else { return None };
                request.about = About::Job(at, call);
                request.http.url = format!("{stack_url}/jobs/{job_id}/claim");
                request
            }
        })
    }

    /// The answers and the table must be what some order of the requests makes of the model.
    async fn compare(&mut self, requests: &[Request], seen: &[Seen], now: i64, rings: bool, quiet: bool) -> Result<()> {
        for (request, seen) in requests.iter().zip(seen) {
            if let (About::List, Some(answer)) = (&request.about, seen)
                && requests.len() == 1
            {
                self.compare_list(answer, now)?;
            }
        }
        for at in 0..self.jobs.len() {
            let concerned: Vec<_> = requests
                .iter()
                .zip(seen)
                .filter_map(|(request, seen)| {
                    let (call, seen) = match &request.about {
                        About::Job(job, call) => (Some(call.clone()).filter(|_| *job == at)?, seen.as_ref()),
                        About::Reap => (Call::Reap { rings }, seen.as_ref()),
                        About::Next(asks) => (asks.call(), self.given(seen, at, quiet)?),
                        About::New { .. } | About::List => return None,
                    };
                    Some(Concerned { call, signature: request.signature.as_ref(), seen })
                })
                .collect();
            if concerned.is_empty() {
                continue;
            }
            let before = &self.jobs[at].1;
            let mut after = in_order(before, &concerned.iter().collect::<Vec<_>>(), at, now);
            if let [one, other] = &concerned[..] {
                for state in in_order(before, &[other, one], at, now) {
                    if !after.contains(&state) {
                        after.push(state);
                    }
                }
            }
            if after.is_empty() {
                return Err(format!("job {at} was {before:?} at {now}, and the answer is {seen:?}"));
            }
            if after != *before {
                let stored = async |key: &str| item(&self.world.stack, "JobsTable", "job_id", key).await;
                let job_id = &self.jobs[at].0;
                let (item, row) = (stored(job_id).await, stored(&format!("{job_id}#lease")).await);
                let alarm = stored(&alarm_of(job_id)).await;
                let miners: Vec<_> =
                    self.world.miners.iter().map(|miner| (miner.name.clone(), miner.user_id.clone())).collect();
                let possible = after.clone();
                after.iter_mut().for_each(|job| job.learn(&item));
                after.retain(|job| job.is(&item, &row, &miners) && job.has_alarm(&alarm));
                if after.is_empty() {
                    return Err(format!(
                        "job {at} may be {possible:?} at {now}, and is {item} with {row} and {alarm}; answers {seen:?}"
                    ));
                }
                let waits_now = before.iter().all(|job| job.waits_until().is_none());
                if let Some(job) = after.iter().find(|job| waits_now && job.waits_without_alarm()) {
                    return Err(format!("job {at} waits, and no alarm ends that in time: {job:?}"));
                }
                if after.iter().all(|job| job.run > before[0].run) {
                    let user = after[0].user;
                    *self.used.entry((user, Timestamp::from_millis(now).date())).or_default() += 1;
                    self.ended.remove(&at);
                }
                self.jobs[at].1 = after;
            }
        }
        Ok(())
    }

    /// What an answer to who asked for the next job says of this one: it was given; or nobody knows, because something failed; or nothing.
    fn given<'a>(&self, seen: &'a Seen, at: usize, quiet: bool) -> Option<Option<&'a (u16, Value)>> {
        match seen {
            Some((200, body)) if self.jobs[at].0 == body["job_id"] => Some(seen.as_ref()),
            None => Some(None),
            Some(_) if !quiet => Some(None),
            Some(_) => None,
        }
    }

    /// What was given to who asked for the next job must be what it had to be.
    fn compare_next(&self, requests: &[Request], seen: &[Seen], now: i64, quiet: bool) -> Result<()> {
        for (request, seen) in requests.iter().zip(seen) {
            let (About::Next(asks), Some((status, body))) = (&request.about, seen) else { continue };
            let given = self.jobs.iter().position(|(job_id, _)| body["job_id"] == *job_id);
            let was_sent = || self.sent.iter().any(|earlier| earlier.http.headers == request.http.headers);
            match (status, given, &request.signature) {
                (401, _, Some(signature)) if is_old(signature, now) || was_sent() => {}
                (_, _, Some(signature)) if is_old(signature, now) => {
                    return Err("an old signature was taken".to_owned());
                }
                (200, Some(_), _) | (204, None, _) if requests.len() > 1 => {}
                (200, Some(_), _) | (204, None, _) => {
                    claims::check(&self.jobs, *asks, given, now, quiet, !self.busy)?;
                }
                _ => return Err(format!("who asked for the next job was answered {status} {body}")),
            }
        }
        Ok(())
    }

    /// When the alarm of the chute rings.
    async fn alarm(&self) -> Option<i64> {
        let row = item(&self.world.stack, "JobsTable", "job_id", &alarm_of(&self.chute_id)).await;
        row["due_at"]["N"].as_str().and_then(|due| due.parse().ok())
    }

    /// The chute has an alarm; and where the reaper alone has heard it, that rings again as soon as the first of the jobs has waited too long.
    async fn compare_alarm(&self, requests: &[Request], seen: &[Seen], rings: bool) -> Result<()> {
        let Some(alarm) = self.alarm().await else { return Err("the chute has no alarm".to_owned()) };
        // A job that waits for a time of its own may have begun to in the same run.
        let until = |job: &Job| job.waits_until().filter(|_| job.made.wait.is_none());
        let waiting = self.jobs.iter().filter_map(|(_, states)| states.iter().filter_map(until).max());
        match (requests, seen, waiting.min()) {
            ([Request { about: About::Reap, .. }], [Some(_)], Some(first)) if rings && alarm > first => {
                Err(format!("a job waits until {first}, and the chute's alarm rings at {alarm}"))
            }
            _ => Ok(()),
        }
    }

    /// The job that nobody had heard of, when a create has made one.
    async fn compare_new(&mut self, requests: &[Request], seen: &[Seen], now: i64) -> Result<Option<usize>> {
        let new = requests.iter().zip(seen).filter_map(|(request, seen)| match request.about {
            About::New { user, key, made } => Some((user, key, made, request, seen)),
            _ => None,
        });
        let new: Vec<_> = new.collect();
        let Some((user, key, what, ..)) = new.first().copied() else { return Ok(None) };
        let mut answered = BTreeSet::new();
        let mut spent = false;
        for (.., request, seen) in &new {
            let Some((status, body)) = seen else { continue };
            let signature = request.signature.as_ref();
            spent = signature.is_some_and(|signature| signature.spent_on.is_some() || is_old(signature, now));
            match (status, spent) {
                (200, false) => drop(answered.insert(text(&body["job_id"]))),
                (401, true) => {}
                _ => return Err(format!("a create was answered {status} {body}")),
            }
        }
        let found = self.unknown_jobs(user, now).await;
        let (most, least) = (usize::from(!spent), answered.len());
        if found.len() > most || found.len() < least || !answered.is_subset(&found) {
            return Err(format!("a create made {found:?}, and the answers were {seen:?}"));
        }
        let Some(job_id) = found.into_iter().next() else { return Ok(None) };
        let made = self.jobs.len();
        if let Some(key) = key {
            self.by_key.insert((user, key), made);
        }
        *self.used.entry((user, Timestamp::from_millis(now).date())).or_default() += 1;
        self.jobs.push((job_id, vec![Job::new(user, what, now)]));
        Ok(Some(made))
    }

    /// The user's jobs on the chute that nobody knows, as the table has them.
    async fn unknown_jobs(&self, user: usize, now: i64) -> BTreeSet<String> {
        let stack = &self.world.stack;
        let request = json!({
            "TableName": stack.resource("JobsTable").unwrap(), "IndexName": "by_owner",
            "FilterExpression": "begins_with(#owner, :user) AND created_at = :now AND chute_id = :chute",
            "ExpressionAttributeNames": {"#owner": "owner"},
            "ExpressionAttributeValues": {
                ":user": {"S": self.world.users[user].user_id}, ":now": {"N": now.to_string()}, ":chute": {"S": self.chute_id},
            },
        });
        let found = dynamodb(stack, "Scan", request).await;
        let ids = found["Items"].as_array().unwrap().iter().map(|item| text(&item["job_id"]["S"]));
        ids.filter(|job_id| self.jobs.iter().all(|(known, _)| known != job_id)).collect()
    }

    fn compare_list(&self, (status, body): &(u16, Value), now: i64) -> Result<()> {
        let listed: BTreeSet<_> =
            body["jobs"].as_array().into_iter().flatten().map(|job| text(&job["job_id"])).collect();
        let is_listed =
            |job: &Job| job.status == "pending" && job.gone.is_none() && job.due <= Some(now.max(job.created));
        let pending = self.jobs.iter().filter(|(_, states)| is_listed(&states[0]));
        let pending: BTreeSet<_> = pending.map(|(job_id, _)| job_id.clone()).collect();
        if *status == 200 && listed == pending {
            return Ok(());
        }
        Err(format!("{pending:?} are pending, and the miner sees {status} {body}"))
    }

    /// What the clients have learnt.
    fn remember(&mut self, mut request: Request, seen: Seen, made: Option<usize>) -> Result<()> {
        let known = |job_id: &Value| self.jobs.iter().position(|(known, _)| job_id == known);
        let about = match (&request.about, &seen) {
            (About::Job(job, call), _) => Some((*job, call.clone())),
            (About::Next(asks), Some((200, body))) => known(&body["job_id"]).map(|job| (job, asks.call())),
            _ => None,
        };
        if let (Some((job, call)), Some((200, body))) = (&about, &seen) {
            if body.get("job_id").is_some_and(|job_id| known(job_id) != Some(*job)) {
                return Err(format!("job {job} was answered as another one: {body}"));
            }
            match call {
                Call::Claim { miner, .. } | Call::Next { miner, .. } => {
                    let attempt = u32::try_from(body["attempt"].as_u64().unwrap_or_default()).unwrap_or_default();
                    let winner = *self.winners.entry((*job, attempt)).or_insert(*miner);
                    if winner != *miner {
                        return Err(format!("attempt {attempt} of job {job} was given to two miners"));
                    }
                    let url = text(&body["job_status_url"]);
                    let claims = tests::parts_of(url.split_once("?token=").unwrap().1).1;
                    let time = |claim: &str| claims[claim].as_i64().unwrap_or_default();
                    let token = Token { attempt, claimed: time("iat"), expires: time("exp") };
                    let earlier = self.tokens.iter().find(|(of, known, _)| of == job && known.attempt == attempt);
                    match earlier {
                        Some((.., known)) if *known != url => {
                            return Err("a repeated claim has another token".to_owned());
                        }
                        Some(_) => {}
                        None => self.tokens.push((*job, token, url)),
                    }
                    if let Some(signature) = &mut request.signature {
                        signature.spent_on = Some(*job);
                    }
                }
                Call::Finish { .. } => {
                    for file in FILES {
                        if let Some(url) = body["output_storage_urls"][file].as_str() {
                            self.urls.push((*job, file, url.to_owned(), self.world.now()));
                        }
                    }
                }
                Call::Get { .. } if body["terminal"] == true => {
                    let mut body = body.clone();
                    // Presigned anew each time.
                    body.as_object_mut().unwrap().remove("job_args_url");
                    let end = self.ended.entry(*job).or_insert_with(|| body.clone());
                    if *end != body {
                        return Err(format!("job {job} ended as {end}, and now is {body}"));
                    }
                }
                _ => {}
            }
        }
        if let (About::New { .. }, Some(signature)) = (&request.about, &mut request.signature) {
            signature.spent_on = signature.spent_on.or(made);
        }
        for earlier in self.sent.iter_mut().filter(|earlier| earlier.http.headers == request.http.headers) {
            earlier.signature.clone_from(&request.signature);
        }
        if !matches!(request.about, About::List) {
            self.sent.push(request);
        }
        Ok(())
    }

    /// The faults stop, and the reaper runs on.
    async fn settle(&mut self) -> Result<()> {
        let quiet = |what: What| Step { what, meanwhile: None, faults: Vec::new() };
        self.step(&quiet(What::List { miner: 0 })).await?;
        self.compare_lists_of_owners().await?;
        for _ in 0..5 {
            self.world.stack.clock().advance(Duration::from_millis(2 * WINDOW as u64 + 100_000));
            self.step(&quiet(What::Reap)).await?;
        }
        for back in 0..self.jobs.len() {
            for user in [0, 1] {
                self.step(&quiet(What::Get { user, job: back })).await?;
                for file in 0..FILES.len() {
                    self.step(&quiet(What::Download { user, job: back, file })).await?;
                }
            }
        }
        for (at, (_, states)) in self.jobs.iter().enumerate() {
            let job = &states[0];
            // What waited has expired by now.
            if !(job.terminal || job.gone.is_some()) || (job.gone.is_some() && job.due.is_some()) || job.alarm.is_some()
            {
                return Err(format!("job {at} is stuck: {job:?}"));
            }
        }
        self.compare_objects().await?;
        for ((user, day), jobs) in &self.used {
            let first = format!("usage#{}#{day}", self.world.users[*user].user_id);
            let mut counted = 0;
            for shard in 0..USAGE_SHARDS {
                let row = item(&self.world.stack, "RegistryTable", "pk", &shards::key(first.clone(), shard)).await;
                let of_chute = row[format!("chute#{}", self.chute_id)]["N"].as_str();
                counted += of_chute.map_or(0, |count| count.parse().unwrap());
            }
            if counted != *jobs {
                return Err(format!("{jobs} jobs were created, and counted are {counted}"));
            }
        }
        Ok(())
    }

    /// Users see their jobs, and nothing else: no alarm.
    async fn compare_lists_of_owners(&self) -> Result<()> {
        for (at, user) in self.world.users.iter().enumerate() {
            let (headers, _) = user.sign(&Method::GET, "/jobs", &[], self.world.now());
            let url = format!("{}/jobs?limit=100&chute_id={}", self.world.stack.url(), self.chute_id);
            let list = Http { method: Method::GET, url, headers, body: Vec::new() };
            let Some((200, body)) = self.world.send(&list).await else { return Err("a list has no answer".to_owned()) };
            let listed = body["jobs"].as_array().into_iter().flatten().map(|job| text(&job["job_id"]));
            let own = |job: &Job| job.user == at && job.gone.is_none();
            let jobs = self.jobs.iter().filter(|(_, states)| own(&states[0])).map(|(job_id, _)| job_id.clone());
            let (listed, jobs): (BTreeSet<_>, BTreeSet<_>) = (listed.collect(), jobs.collect());
            if listed != jobs {
                return Err(format!("user {at} has {jobs:?}, and sees {listed:?}"));
            }
        }
        Ok(())
    }

    /// Every object in S3 belongs to a job that is there; but for what somebody had put who was killed before there was a job that would
    /// have referred to it, or none any more: the bucket's lifecycle removes that.
    async fn compare_objects(&self) -> Result<()> {
        let bucket = self.world.stack.resource("OutputsBucket").unwrap();
        let request = s3(&self.world.stack).list_object_versions().bucket(bucket);
        let found = request.prefix(format!("jobs/{}/", self.chute_id)).send().await.expect("S3 answers");
        for key in found.versions.unwrap_or_default().into_iter().filter_map(|version| version.key) {
            let owner = self.jobs.iter().find(|(job_id, _)| key.contains(job_id.as_str()));
            let is_left = |job: &Job| job.gone.is_some() && (job.has_objects() || !key.contains("/payloads/"));
            if owner.map_or(!key.contains("/payloads/"), |(_, states)| is_left(&states[0])) {
                return Err(format!("{key} is an orphan"));
            }
        }
        Ok(())
    }
}

/// What concerns one job: what was asked of it, and what was answered.
struct Concerned<'a> {
    call: Call,
    signature: Option<&'a Signature>,
    seen: Option<&'a (u16, Value)>,
}

/// Everything that a job may be after these requests, in this order, were answered so.
fn in_order(before: &[Job], requests: &[&Concerned<'_>], at: usize, now: i64) -> Vec<Job> {
    let mut states = before.to_vec();
    for Concerned { call, signature, seen } in requests {
        let mut next = Vec::new();
        let mut push = |job: Job| {
            if !next.contains(&job) {
                next.push(job);
            }
        };
        let is_reaper = matches!(call, Call::Reap { .. });
        let now = if is_reaper { whole_seconds(now) } else { now };
        for job in states {
            let (expected, after) = job.after(call, now);
            let refused = Expected { status: 401, fields: Vec::new() };
            let (expected, after) = match signature {
                Some(signature) if is_old(signature, now) => (refused, job.clone()),
                Some(signature) if expected.status == 200 && signature.spent_on.is_some_and(|spent| spent != at) => {
                    (refused, job.clone())
                }
                _ => (expected, after),
            };
            match seen {
                Some(answer) if expected.is(answer) => {
                    if requests.len() > 1 {
                        // Whoever else is at it may be faster than the reaper, which then leaves the job, or its alarm, to its next run; and
                        // than who has set the alarm for nothing.
                        match call {
                            Call::Reap { .. } => job.half_way(call, now).into_iter().for_each(&mut push),
                            Call::Release { .. } | Call::Finish { .. } | Call::Retry { .. } => {
                                push(Job { alarm: job.alarm_of_wait(now).or(job.alarm), ..after.clone() });
                            }
                            _ => {}
                        }
                    }
                    push(after);
                }
                Some(_) => {}
                None => {
                    job.half_way(call, now).into_iter().for_each(&mut push);
                    push(after);
                    push(job);
                }
            }
        }
        states = next;
    }
    states
}

/// A schedule tells whole seconds.
fn whole_seconds(now: i64) -> i64 {
    now.div_euclid(1000) * 1000
}

/// The key of an alarm's row.
fn alarm_of(id: &str) -> String {
    Uuid::new_v5(&Uuid::try_parse(id).expect("an id"), b"waiting").to_string()
}

impl Expected {
    fn is(&self, (status, body): &(u16, Value)) -> bool {
        *status == self.status && self.fields.iter().all(|(field, value)| body.pointer(field) == Some(value))
    }
}

fn is_old(signature: &Signature, now: i64) -> bool {
    signature.nonce.abs_diff(now.div_euclid(1000)) >= 600
}
