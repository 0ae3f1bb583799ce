//! What endpoints begin with: who is calling, and what the request is about.

use lambda_http::Request;
use uuid::Uuid;

use crate::{
    app::App,
    auth::{Caller, Credentials, JobClaims},
    error::{Error, Result},
    http::request::{job_token, path, path_uuid},
    model::{Delivery, Job, KeyRole, Lease, PayloadKind},
    payloads::Gone,
    tables::{Found, Read},
    time::Timestamp,
};

impl App {
    /// What the request proves about its caller, who owns jobs, before anything is read.
    pub fn credentials(&self, request: &Request) -> Result<Credentials> {
        Credentials::verify(request, &self.user_jwt_keys, KeyRole::User, &self.key_end)
    }

    /// The same of a miner: anybody else is answered 403.
    pub fn miner_credentials(&self, request: &Request) -> Result<Credentials> {
        Credentials::verify(request, &self.user_jwt_keys, KeyRole::Miner, &self.key_end)
    }

    /// Who is calling, and the job in the path, if there is one; also one that is being deleted. One round trip, and a second for
    /// hotkeys. Credentials come first, so that what runs beside this costs nothing for a caller without good ones.
    pub async fn caller_and_job(&self, credentials: Credentials, request: &Request) -> Result<(Caller, Option<Job>)> {
        let mut read = Read::default();
        if let Some(job_id) = path_uuid(request, "job_id") {
            read.job(job_id);
        }
        let (caller, mut found) = credentials.caller_beside(&self.tables, read, |_, _| ()).await?;
        Ok((caller, found.take_job()?))
    }

    /// The caller, the caller's own job in the path, and what its heartbeats have written. No round trip more.
    pub async fn owner_and_job(&self, request: &Request) -> Result<(Caller, Job, Option<Lease>)> {
        let (caller, job, mut found) = self.owner_beside(request, Read::lease).await?;
        Ok((caller, job, found.take_lease()?))
    }

    /// The caller, the caller's own job in the path, and the delivery of its webhook. No round trip more.
    pub async fn owner_and_delivery(&self, request: &Request) -> Result<(Caller, Job, Option<Delivery>)> {
        let (caller, job, mut found) = self.owner_beside(request, Read::delivery).await?;
        Ok((caller, job, found.take_delivery()?))
    }

    /// The caller and the caller's own job in the path, beside another row of the job's.
    async fn owner_beside(&self, request: &Request, also: fn(&mut Read, Uuid)) -> Result<(Caller, Job, Found)> {
        let mut read = Read::default();
        if let Some(job_id) = path_uuid(request, "job_id") {
            read.job(job_id);
            also(&mut read, job_id);
        }
        let (caller, mut found) = self.credentials(request)?.caller_beside(&self.tables, read, |_, _| ()).await?;
        let job = owned(found.take_job()?, &caller, request)?;
        Ok((caller, job, found))
    }

    /// The job in the path, which the caller owns; 404 when it does not, or when the job is being deleted.
    pub async fn own_job(&self, request: &Request) -> Result<Job> {
        let (caller, job) = self.caller_and_job(self.credentials(request)?, request).await?;
        owned(job, &caller, request)
    }

    /// The same, with the progress that its miner has told. No round trip more.
    pub async fn own_job_in_progress(&self, request: &Request, now: Timestamp) -> Result<Job> {
        let (_, job, lease) = self.owner_and_job(request).await?;
        Ok(job.with_progress(lease, now))
    }

    /// The same, with these of its payloads.
    pub async fn own_job_with(&self, request: &Request, wanted: &[PayloadKind]) -> Result<Job> {
        self.with_payloads(self.own_job(request).await?, wanted, request).await
    }

    /// The caller's own job with these of its payloads.
    pub async fn with_payloads(&self, mut job: Job, wanted: &[PayloadKind], request: &Request) -> Result<Job> {
        match self.payloads()?.load(&mut job, wanted).await? {
            None => Ok(job),
            Some(gone) => self.load_again(self.own_job(request).await?, gone, wanted).await,
        }
    }

    /// A job as it was read, with these of its payloads; None when it is being deleted meanwhile.
    pub async fn job_with(&self, mut job: Job, wanted: &[PayloadKind]) -> Result<Option<Job>> {
        let Some(gone) = self.payloads()?.load(&mut job, wanted).await? else { return Ok(Some(job)) };
        let mut read = Read::default();
        read.job(job.job_id);
        match read.run(&self.tables).await?.take_job()?.filter(|job| job.deleted_at.is_none()) {
            Some(job) => self.load_again(job, gone, wanted).await.map(Some),
            None => Ok(None),
        }
    }

    /// The job of this attempt with these of its payloads; 404 when it is being deleted, 401 when the attempt is over.
    pub async fn held_job_with(&self, claims: &JobClaims, wanted: &[PayloadKind]) -> Result<Job> {
        self.with_held_payloads(self.held_job(claims).await?, claims, wanted).await
    }

    /// The job of this attempt, as it was read, with these of its payloads.
    pub async fn with_held_payloads(&self, mut job: Job, claims: &JobClaims, wanted: &[PayloadKind]) -> Result<Job> {
        match self.payloads()?.load(&mut job, wanted).await? {
            None => Ok(job),
            Some(gone) => self.load_again(self.held_job(claims).await?, gone, wanted).await,
        }
    }

    /// The job, read again, with these of its payloads: what was gone may have gone with it, or have been replaced meanwhile, as the list
    /// of files is by every declaration.
    async fn load_again(&self, mut job: Job, gone: Gone, wanted: &[PayloadKind]) -> Result<Job> {
        let keys = job.file_keys();
        if job.stored().any(|(_, stored)| !stored.lost && keys.payload(stored) == gone.key) {
            return Err(gone.into());
        }
        match self.payloads()?.load(&mut job, wanted).await? {
            None => Ok(job),
            Some(gone) => Err(Error::unavailable("payload", format!("{} is gone, too", gone.key))),
        }
    }

    /// The same, without any.
    pub async fn held_job(&self, claims: &JobClaims) -> Result<Job> {
        let job = self.jobs.get(claims.sub).await?.ok_or_else(|| Error::no_job(claims.sub))?;
        job.held_by(claims.att)
    }

    /// The claims of the request's job token, which may be one for a single file.
    pub async fn file_claims(&self, request: &Request, now: Timestamp) -> Result<JobClaims> {
        self.any_claims(request, now).await?.for_upload()
    }

    /// The claims of the request's job token, which may be one for the input in the path.
    pub async fn input_claims(&self, request: &Request, now: Timestamp) -> Result<JobClaims> {
        self.any_claims(request, now).await?.for_download_of(path_uuid(request, "input_id"))
    }

    /// The claims of the request's job token, which has to be for the whole job.
    pub async fn job_claims(&self, request: &Request, now: Timestamp) -> Result<JobClaims> {
        self.any_claims(request, now).await?.for_job()
    }

    async fn any_claims(&self, request: &Request, now: Timestamp) -> Result<JobClaims> {
        self.job_tokens()?.verify(job_token(request)?, path_uuid(request, "job_id"), now).await
    }
}

fn owned(job: Option<Job>, caller: &Caller, request: &Request) -> Result<Job> {
    job.filter(|job| job.user_id == caller.user.user_id && job.deleted_at.is_none())
        .ok_or_else(|| Error::not_own_job(path(request, "job_id")))
}
