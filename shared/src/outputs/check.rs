//! Which of a job's output files have arrived: S3's word, not the miner's.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    time::Duration,
};

use futures_util::{StreamExt, TryStreamExt, stream};
use uuid::Uuid;

use super::{
    bucket::{Bucket, Object},
    declaration::LONGEST_TYPE,
    multipart::MultipartUpload,
    parts::{self, is_in_parts},
    unwrap::Unwrapped,
};
use crate::{
    error::{Error, Result},
    model::{Job, OutputFile, Status},
};

/// Files looked at at the same time.
const AT_ONCE: usize = 32;
/// The job has ended, and whoever ended it waits for the answer.
const TIDYING: Duration = Duration::from_secs(5);

/// Bytes that the check adds to the job's detail at most.
const LONGEST_DETAIL: usize = 16 << 10;

/// What became of one file.
enum Arrival {
    /// It is there.
    Arrived(Object, Option<String>),
    /// It is not, and perhaps more is known.
    Missing(Option<String>),
}

/// What a check saw in the bucket: once the job has ended, some of it is of no use.
#[derive(Debug, Default)]
pub struct Seen {
    versions: Vec<(String, String)>,
    uploads: Vec<MultipartUpload>,
}

/// Looks at every file that the job expects: opens envelopes, assembles parts, and records what is there. `threshold` is the
/// size above which a declared file comes in parts. Everything done is done for good, so a repeat goes on from there.
pub async fn check_files(bucket: &Bucket, job: &mut Job, threshold: u64) -> Result<Seen> {
    let files = job.files.take().unwrap_or_default();
    let keys = job.file_keys();
    let key = |file: &OutputFile| keys.key(&file.filename);
    let listing = if files.is_empty() { Default::default() } else { bucket.list(keys.prefix()).await? };
    let waits = |file: &OutputFile| {
        let object = listing.newest.get(&key(file));
        // Declared anew, it may have come before that.
        let another = object.map(|object| object.size) != file.size || (file.redeclared && file.sha256.is_some());
        is_in_parts(file, threshold) && another
    };
    let parts = if files.values().any(waits) { bucket.uploads(keys.prefix()).await? } else { BTreeMap::new() };

    let mut checks = Vec::with_capacity(files.len());
    for (file_id, file) in files {
        let key = key(&file);
        let object = listing.newest.get(&key).cloned();
        let parts = if waits(&file) { parts.get(&key).map(Vec::as_slice) } else { None };
        let in_parts = is_in_parts(&file, threshold);
        checks.push(check(bucket, key, file_id, file, object, parts, in_parts));
    }
    let checked: Vec<Checked> = stream::iter(checks).buffer_unordered(AT_ONCE).try_collect().await?;

    let seen = Seen { versions: listing.versions, uploads: parts.into_values().flatten().collect() };
    let (mut missing, mut notes) = (Vec::new(), Vec::new());
    for Checked { file, note, .. } in checked.iter().filter(|checked| !checked.file.uploaded) {
        missing.push(file.filename.clone());
        notes.extend(note.clone());
    }
    missing.sort();
    notes.sort();
    job.files = Some(checked.into_iter().map(|checked| (checked.file_id, checked.file)).collect());
    settle(job, &missing, &notes);
    Ok(seen)
}

/// Removes what nobody can ask for once the job has ended: envelopes, uploads that were sent again, cut short or never finished.
/// That it could not is only logged: the bucket's lifecycle removes it later.
pub async fn tidy(bucket: &Bucket, seen: Seen, job: &Job) {
    if !job.terminal || job.deleted_at.is_some() || job.files.is_none() {
        return;
    }
    let keys = job.file_keys();
    let files = job.files.iter().flat_map(|files| files.values());
    // By key as well: any object's version may be `null`.
    let kept = files.filter_map(|file| Some((keys.key(&file.filename), file.version_id.clone()?)));
    let kept: BTreeSet<_> = kept.collect();
    let is_left = |version: &(String, String)| !kept.contains(version);
    let tidied = async {
        if seen.versions.iter().any(is_left) {
            // A write whose answer was lost left a version that only a new listing shows.
            let versions = bucket.list(job.file_keys().prefix()).await?.versions.into_iter().filter(is_left);
            bucket.delete(versions.map(|(key, id)| (key, Some(id))).collect()).await?;
        }
        let aborts: Vec<_> = seen.uploads.iter().map(|upload| bucket.abort(upload)).collect();
        stream::iter(aborts).buffer_unordered(AT_ONCE).try_collect::<Vec<()>>().await?;
        Ok::<_, Error>(())
    };
    let tidied = tokio::time::timeout(TIDYING, tidied).await;
    if let Err(error) = tidied.unwrap_or_else(|_| Err(Error::unavailable("tidy", "no time left"))) {
        tracing::warn!(job.id = %job.job_id, cause = ?error.cause(), "leftovers of uploads could not be removed");
    }
}

/// One file as it was found; the note is for the owner when it is missing.
struct Checked {
    file_id: Uuid,
    file: OutputFile,
    note: Option<String>,
}

/// Looks at one file and writes down what was found. `parts` are its unfinished uploads, when it waits for one of them.
async fn check(
    bucket: &Bucket,
    key: String,
    file_id: Uuid,
    mut file: OutputFile,
    object: Option<Object>,
    parts: Option<&[MultipartUpload]>,
    in_parts: bool,
) -> Result<Checked> {
    let fits = |object: &Object| file.size.is_none_or(|size| size == object.size);
    let arrival = match (parts, object) {
        (Some(uploads), Some(object)) if fits(&object) => {
            match declared(bucket, &key, &file, object, in_parts).await? {
                Arrival::Missing(_) => assemble(bucket, &file, uploads).await?,
                arrived => arrived,
            }
        }
        (Some(uploads), _) => assemble(bucket, &file, uploads).await?,
        (None, Some(object)) if !file.is_declared() => match bucket.unwrap(&key, object).await? {
            Unwrapped::File(object, content_type) => Arrival::Arrived(object, content_type),
            Unwrapped::CutShort => Arrival::Missing(Some(format!("The upload of {} was cut short", file.filename))),
        },
        (None, Some(object)) if fits(&object) => declared(bucket, &key, &file, object, in_parts).await?,
        (None, _) => Arrival::Missing(None),
    };
    let note = record(&mut file, arrival);
    Ok(Checked { file_id, file, note })
}

/// S3 took no other bytes than those declared, unless they came to a URL from before the declaration.
async fn declared(bucket: &Bucket, key: &str, file: &OutputFile, object: Object, in_parts: bool) -> Result<Arrival> {
    if !file.redeclared || file.sha256.is_none() {
        return Ok(Arrival::Arrived(object, None));
    }
    let head = bucket.head(key, object.version_id.as_deref()).await?;
    Ok(match head.filter(|head| head.may_be(file, in_parts) && head.object.etag == object.etag) {
        Some(_) => Arrival::Arrived(object, None),
        None => Arrival::Missing(Some(format!("The upload of {} has not the declared SHA-256", file.filename))),
    })
}

/// Makes the object out of the parts of the first upload that has them all.
async fn assemble(bucket: &Bucket, file: &OutputFile, uploads: &[MultipartUpload]) -> Result<Arrival> {
    let mut fewest: Option<Vec<i32>> = None;
    for upload in uploads {
        let mut arrived = bucket.parts(upload).await?;
        let missing: Vec<_> = parts::missing_parts(file, &arrived).iter().map(|part| part.number).collect();
        if missing.is_empty() {
            // Declared anew, it may have more than it needs.
            let last = parts::parts(file).last().map_or(0, |part| part.number);
            arrived.retain(|number, _| *number <= last);
            return Ok(Arrival::Arrived(bucket.assemble(upload, arrived).await?, None));
        }
        if fewest.as_ref().is_none_or(|fewest| missing.len() < fewest.len()) {
            fewest = Some(missing);
        }
    }
    let note = |missing: Vec<i32>| format!("Parts of {} that are missing: {}", file.filename, spans(&missing));
    Ok(Arrival::Missing(fewest.map(note)))
}

fn record(file: &mut OutputFile, arrival: Arrival) -> Option<String> {
    match arrival {
        Arrival::Arrived(object, content_type) => {
            file.uploaded = true;
            file.size = Some(object.size);
            file.version_id = object.version_id;
            // A version says it all, but for one that can be replaced.
            file.etag = if file.is_replaceable() { object.etag } else { None };
            let content_type = content_type.filter(|kind| kind.len() <= LONGEST_TYPE);
            file.content_type = file.content_type.take().or(content_type);
            None
        }
        Arrival::Missing(note) => {
            file.uploaded = false;
            note
        }
    }
}

/// What the files make of the job.
fn settle(job: &mut Job, missing: &[String], notes: &[String]) {
    if job.status == Status::CompletePendingUploads {
        job.status = if missing.is_empty() { Status::Complete } else { Status::PartialFailure };
    }
    if missing.is_empty() {
        return;
    }
    let mut detail = job.error_detail.take().map(|detail| detail + "\n").unwrap_or_default();
    let most = detail.len() + LONGEST_DETAIL - 100;
    detail.push_str("Failed to upload files: ");
    detail.push_str(&missing.join(", "));
    for note in notes {
        detail.push('\n');
        detail.push_str(note);
    }
    if detail.len() > most {
        detail.truncate(detail.floor_char_boundary(most));
        detail.push('…');
    }
    job.error_detail = Some(detail);
}

/// `1, 3-5` for 1, 3, 4, 5.
fn spans(numbers: &[i32]) -> String {
    let mut text = String::new();
    for run in numbers.chunk_by(|a, b| a + 1 == *b) {
        let separator = if text.is_empty() { "" } else { ", " };
        // Writing to a string does not fail.
        let _ = match run {
            [one] => write!(text, "{separator}{one}"),
            [first, .., last] => write!(text, "{separator}{first}-{last}"),
            [] => Ok(()),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_a_row_are_one_span() {
        assert_eq!(spans(&[1, 3, 4, 5, 9, 10]), "1, 3-5, 9-10");
        assert_eq!(spans(&[]), "");
    }
}
