//! What is asked, as requests over HTTP, and what the clients learn from the answers.

use reqwest::Method;
use serde_json::{Value, json};
use tests::{Form, text};
use uuid::Uuid;

use super::{About, Case, Http, Person, Request, Result, Seen, back, content};
use crate::{
    claims::{Asks, name_of},
    oracle::{self, Call, FILES, METHODS, Made, Token, WINDOW},
    steps::What,
};

impl Case<'_> {
    pub(super) fn request(&self, what: &What) -> Option<Request> {
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
            What::CreateTwice { .. } | What::Remove { .. } | What::Jump { .. } => return None,
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
                let content = json!({
                    "status": report.status, "result": oracle::content(report.result), "output_filenames": report.names(),
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

    /// What the clients have learnt.
    pub(super) fn remember(&mut self, mut request: Request, seen: Seen, made: Option<usize>) -> Result<()> {
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
}
