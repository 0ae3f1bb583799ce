//! What a job is known to have in the bucket.

use std::collections::BTreeMap;

use super::job::Job;

impl Job {
    /// The versions that it refers to, as key and id, of a job that has ended or has no report: what it has in the bucket, but for leftovers
    /// that nobody can ask for. Those are the reaper's, which lists what there is once nothing can arrive any more, or the bucket's
    /// lifecycle's: a listing here as well would not spare that one. None when nobody has checked what there is.
    pub fn known_versions(&self) -> Option<Vec<(String, String)>> {
        // What arrived late for a run before a retry, nobody knows, nor what was put anew, nor which chunks of a log arrived, nor what a
        // report has left that did not come to its write, nor whether somebody looked at the files of a job that ended for what was gone.
        if self.run > 0
            || self.logged
            || self.is_unsettled()
            || self.stored().any(|(_, stored)| stored.put_at.is_some() || stored.lost)
        {
            return None;
        }
        let keys = self.file_keys();
        let files = match (&self.report, &self.files) {
            (None, None) => None,
            (_, files) => Some(files.as_ref().filter(|_| self.terminal)?),
        };
        let uploaded = files.into_iter().flat_map(BTreeMap::values).filter(|file| file.uploaded);
        let files = uploaded.map(|file| Some((keys.key(&file.filename), file.version_id.clone()?)));
        let payloads = self.stored().map(|(_, stored)| Some((keys.payload(stored), stored.version_id.clone())));
        files.chain(payloads).collect()
    }
}
