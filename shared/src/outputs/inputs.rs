//! Inputs in the bucket.

use super::bucket::{Bucket, Object};
use crate::{error::Result, model::OutputFile};

impl Bucket {
    /// An input's object, once it is there. Of a file with a hash that came in one piece, S3 took no other bytes than those declared; of
    /// others, only as many. What the parts hold is the uploader's word: nobody but the uploader's own jobs reads it.
    pub async fn input(&self, key: &str, file: &OutputFile) -> Result<Option<Object>> {
        let head = self.head(key, None).await?;
        Ok(head.map(|head| head.object).filter(|object| Some(object.size) == file.size))
    }
}
