//! What there is under a prefix, in all its versions, and how it is removed.

use std::collections::BTreeMap;

use aws_sdk_s3::{
    operation::list_object_versions::ListObjectVersionsOutput,
    types::{Delete, ObjectIdentifier},
};

use super::bucket::{Bucket, Object, length, version};
use crate::error::{Context, Error, Result};

/// DeleteObjects takes this many keys.
const DELETE_BATCH: usize = 1000;

/// Everything under a prefix.
#[derive(Debug, Default)]
pub struct Listing {
    /// The newest version of every object, by key.
    pub newest: BTreeMap<String, Object>,
    /// Every version there is, as key and id.
    pub versions: Vec<(String, String)>,
}

impl Bucket {
    /// All that is under `prefix`, in pages of 1,000.
    pub async fn list(&self, prefix: &str) -> Result<Listing> {
        let mut listing = Listing::default();
        let mut next = Some(Marker::default());
        while let Some(marker) = next {
            let page = self.versions(prefix, marker).await?;
            next = Marker::after(&page);
            for found in page.versions.unwrap_or_default() {
                let Some(key) = found.key else { continue };
                let id = version(found.version_id);
                listing.versions.push((key.clone(), id.clone()));
                if found.is_latest == Some(true) {
                    let (size, etag, modified) = (length(found.size), found.e_tag, found.last_modified);
                    listing.newest.insert(key, Object { size, etag, version_id: Some(id), modified });
                }
            }
        }
        Ok(listing)
    }

    /// Removes every version of every object under `prefix`, and every unfinished upload. Repeating it is harmless.
    pub async fn delete_all(&self, prefix: &str) -> Result<()> {
        for upload in self.uploads(prefix).await?.into_values().flatten() {
            self.abort(&upload).await?;
        }
        let mut next = Some(Marker::default());
        while let Some(marker) = next {
            let page = self.versions(prefix, marker).await?;
            next = Marker::after(&page);
            self.delete(all_of(page)).await?;
        }
        Ok(())
    }

    /// Removes these versions of these keys. Always by an id: what is deleted by its key alone, S3 only hides.
    pub async fn delete(&self, versions: Vec<(String, String)>) -> Result<()> {
        let all: Vec<_> = versions
            .into_iter()
            .filter_map(|(key, id)| ObjectIdentifier::builder().key(key).version_id(id).build().ok())
            .collect();
        for batch in all.chunks(DELETE_BATCH) {
            let delete = Delete::builder().set_objects(Some(batch.to_vec())).quiet(true).build();
            let delete = delete.map_err(|error| Error::internal("delete: keys", error))?;
            let request = self.client.delete_objects().bucket(&self.bucket).delete(delete);
            let answer = request.send().await.context("delete: DeleteObjects")?;
            if let [error, ..] = answer.errors() {
                return Err(Error::unavailable("delete: DeleteObjects", error.code().unwrap_or("unknown")));
            }
        }
        Ok(())
    }

    /// One page, of at most 1,000 versions.
    async fn versions(&self, prefix: &str, marker: Marker) -> Result<ListObjectVersionsOutput> {
        let Marker(key, version) = marker;
        let request = self.client.list_object_versions().bucket(&self.bucket).prefix(prefix);
        let request = request.set_key_marker(key).set_version_id_marker(version);
        request.send().await.context("list: ListObjectVersions")
    }
}

/// Where a page of versions ended: a key, and a version of it.
#[derive(Default)]
struct Marker(Option<String>, Option<String>);

impl Marker {
    fn after(page: &ListObjectVersionsOutput) -> Option<Self> {
        let more = page.is_truncated == Some(true);
        more.then(|| Self(page.next_key_marker.clone(), page.next_version_id_marker.clone()))
    }
}

/// Every version and delete marker on a page, as key and id.
fn all_of(page: ListObjectVersionsOutput) -> Vec<(String, String)> {
    let versions = page.versions.unwrap_or_default().into_iter().map(|it| (it.key, it.version_id));
    let markers = page.delete_markers.unwrap_or_default().into_iter().map(|it| (it.key, it.version_id));
    versions.chain(markers).filter_map(|(key, id)| Some((key?, version(id)))).collect()
}

#[cfg(test)]
mod tests {
    use aws_sdk_s3::types::{DeleteMarkerEntry, ObjectVersion};

    use super::*;

    #[test]
    fn what_an_engine_lists_without_an_id_is_removed_by_the_name_null() {
        let page = ListObjectVersionsOutput::builder()
            .versions(ObjectVersion::builder().key("a").build())
            .versions(ObjectVersion::builder().key("b").version_id("1").build())
            .delete_markers(DeleteMarkerEntry::builder().key("c").build());
        let expected = [("a", "null"), ("b", "1"), ("c", "null")];
        assert_eq!(all_of(page.build()), expected.map(|(key, id)| (key.to_owned(), id.to_owned())));
    }
}
