//! The file that a request is about.

use shared::{
    App, Error, Result,
    auth::JobClaims,
    model::{Job, OutputFile, PayloadKind},
};

/// The job and its file `path`, while the miner may still send it. A file token opens its own file only.
pub(crate) async fn expected_file(app: &App, claims: &JobClaims, path: &str) -> Result<(Job, OutputFile)> {
    if claims.filename.as_ref().is_some_and(|only| only != path) {
        return Err(Error::bad_job_token());
    }
    let job = app.held_job_with(claims, &[PayloadKind::Files]).await?;
    let file = job.output_file(path)?.clone();
    if job.terminal { Err(Error::already_finished()) } else { Ok((job, file)) }
}
