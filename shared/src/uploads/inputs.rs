//! Where a user sends an input. It is written once: no URL puts something else in its place.

use uuid::Uuid;

use super::targets::{Targets, furthest};
use crate::{
    error::Result,
    http::UploadTarget,
    model::{Input, OutputFile},
    outputs::{ArrivedParts, Bucket, MultipartUpload, is_in_parts, missing_parts},
};

/// The uploads of a user's inputs. S3 is the record of what has arrived.
#[derive(Debug)]
pub struct InputUploads<'a> {
    /// Where they go.
    pub bucket: &'a Bucket,
    /// Where the API is reached.
    pub api_base: String,
    /// Seconds that an upload URL works.
    pub window: i64,
    /// Sizes above this many bytes are uploaded in parts.
    pub threshold: u64,
}

impl InputUploads<'_> {
    /// The target of an input that nobody can have begun to upload.
    pub async fn first(&self, user_id: Uuid, input_id: Uuid, file: &OutputFile) -> Result<UploadTarget> {
        let key = Input::key(user_id, input_id, &file.filename);
        match is_in_parts(file, self.threshold) {
            true => self.target(&key, input_id, file, Some(self.begin(&key, file).await?)).await,
            false => self.target(&key, input_id, file, None).await,
        }
    }

    /// The target of an input: of one in parts, the parts that are missing. None when it is there. Where all parts are, the file is made
    /// of them.
    pub async fn rest(&self, user_id: Uuid, input_id: Uuid, file: &OutputFile) -> Result<Option<UploadTarget>> {
        let key = Input::key(user_id, input_id, &file.filename);
        if self.bucket.input(&key, file).await?.is_some() {
            return Ok(None);
        }
        if !is_in_parts(file, self.threshold) {
            return self.target(&key, input_id, file, None).await.map(Some);
        }
        let begun = self.bucket.uploads(&key).await?.remove(&key).unwrap_or_default();
        let (upload, mut arrived) = match furthest(self.bucket, begun.clone()).await? {
            Some(furthest) => furthest,
            // Where there is no upload, another request may have made the file of it since the look.
            None if self.bucket.input(&key, file).await?.is_some() => return Ok(None),
            None => self.begin(&key, file).await?,
        };
        if missing_parts(file, &arrived).is_empty() {
            // The URLs of an earlier answer may have brought more than it needs.
            let last = crate::outputs::parts(file).last().map_or(0, |part| part.number);
            arrived.retain(|number, _| *number <= last);
            let is_file = self.bucket.assemble_first(&upload, arrived).await?;
            self.give_up(begun.iter().filter(|begun| !is_file || begun.upload_id != upload.upload_id)).await;
            return Ok(None);
        }
        self.target(&key, input_id, file, Some((upload, arrived))).await.map(Some)
    }

    /// Gives up uploads of a file that is there. What stays because this fails, which is only logged, goes by the bucket's lifecycle.
    async fn give_up(&self, uploads: impl Iterator<Item = &MultipartUpload>) {
        for upload in uploads {
            if let Err(error) = self.bucket.abort(upload).await {
                tracing::warn!(key = upload.key, cause = ?error.cause(), "an upload could not be given up");
            }
        }
    }

    async fn begin(&self, key: &str, file: &OutputFile) -> Result<(MultipartUpload, ArrivedParts)> {
        let upload = self.bucket.begin(key, file).await?;
        Ok((upload, ArrivedParts::new()))
    }

    async fn target(
        &self,
        key: &str,
        input_id: Uuid,
        file: &OutputFile,
        upload: Option<(MultipartUpload, ArrivedParts)>,
    ) -> Result<UploadTarget> {
        let presigner = self.bucket.presigner(self.window).await?;
        let targets = Targets { presigner, threshold: self.threshold, once: true };
        let renew_url = format!("{}/inputs/{input_id}", self.api_base);
        let mut target = targets.target(key, input_id, file, renew_url)?;
        if let Some((upload, arrived)) = upload {
            target.parts = Some(targets.parts(file, &upload, &arrived)?);
        }
        Ok(target)
    }
}
