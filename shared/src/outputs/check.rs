//! Which of a job's output files have arrived: S3's word, not the miner's.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    time::Duration,
};

use futures_util::{StreamExt, TryStreamExt, stream};
use uuid::Uuid;

use super::{
    allowance::Allowance,
    bucket::{Bucket, Head, Object},
    declaration::LONGEST_TYPE,
    multipart::MultipartUpload,
    parts::{self, is_in_parts},
    unwrap::Unwrapped,
    versions::Listing,
};
use crate::{
    error::{Error, Result},
    model::{Job, OutputFile, Status},
};

/// Files looked at at the same time.
const AT_ONCE: usize = 32;
/// Files that are looked at one by one. More are listed: a million looks cost $0.40, and a million listings, of 1,000 each, $5.00.
const LOOKED_AT: usize = 12;
/// Bytes of a job's files in one piece from which on others that were sent before them are searched for. A listing costs as much as
/// 64 MiB for 32 days in every 300th job. (A part that is sent again leaves nothing.)
const WORTH_A_LISTING: u64 = 64 << 20;
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

/// What is known of a file's object before the file is checked.
enum There {
    /// Nothing: to open it tells.
    Unknown,
    /// It is not there.
    Missing,
    /// It is there.
    Listed(Object),
    /// It is there, and says more of itself.
    Looked(Head),
}

/// A file that the job expects, and its object.
struct Expected {
    file_id: Uuid,
    file: OutputFile,
    key: String,
    in_parts: bool,
    there: There,
}

impl Expected {
    /// Whether it may have to be made out of parts: what is there is not it, or, declared anew, may be from before that.
    fn waits_for_parts(&self) -> bool {
        let is_it = match &self.there {
            There::Unknown | There::Missing => false,
            There::Listed(object) => self.fits(object) && !self.may_be_another(),
            There::Looked(head) => self.fits(&head.object) && head.may_be(&self.file, true),
        };
        self.in_parts && !is_it
    }

    /// Whether what is there, of this size, may be from before it was declared anew.
    fn may_be_another(&self) -> bool {
        self.file.redeclared && self.file.sha256.is_some() || self.file.cut.is_some() && self.file.replaced > 0
    }

    fn fits(&self, object: &Object) -> bool {
        self.file.size.is_none_or(|size| size == object.size)
    }
}

/// What a check saw in the bucket: once the job has ended, some of it is of no use.
#[derive(Debug, Default)]
pub struct Seen {
    /// As key and id.
    versions: BTreeSet<(String, String)>,
    /// Those are all that there were.
    listed: bool,
    /// Bytes of the files that came in one piece.
    in_one_piece: u64,
    uploads: Vec<MultipartUpload>,
}

/// Whether a check of the job's files takes more than a look at each, for many of them.
pub fn is_much_work(job: &Job, threshold: u64) -> bool {
    let files = job.files.iter().flat_map(|files| files.values());
    files.filter(|file| !file.is_declared() || is_in_parts(file, threshold)).count() > LOOKED_AT
}

/// Looks at every file that the job expects: opens envelopes, assembles parts, and records what is there. `threshold` is the
/// size above which a declared file comes in parts, `most` what all of them may have together. Everything done is done for good, so a repeat goes on from there.
pub async fn check_files(bucket: &Bucket, job: &mut Job, threshold: u64, most: u64) -> Result<Seen> {
    let files = job.files.take().unwrap_or_default();
    let allowance = Allowance::of(&files, most);
    let keys = job.file_keys();
    let listing = if files.len() > LOOKED_AT { Some(bucket.list(keys.prefix()).await?) } else { None };
    let mut looks = Vec::with_capacity(files.len());
    for (file_id, file) in files {
        let (key, in_parts) = (keys.key(&file.filename), is_in_parts(&file, threshold));
        looks.push(look(bucket, listing.as_ref(), Expected { file_id, file, key, in_parts, there: There::Unknown }));
    }
    let expected: Vec<_> = stream::iter(looks).buffer_unordered(AT_ONCE).try_collect().await?;
    let waits = expected.iter().any(Expected::waits_for_parts);
    let parts = if waits { bucket.uploads(keys.prefix()).await? } else { BTreeMap::new() };

    let checks = expected.into_iter().map(|expected| {
        let parts = expected.waits_for_parts().then(|| parts.get(&expected.key).map_or(&[][..], Vec::as_slice));
        check(bucket, expected, parts)
    });
    // Collected: what a stream maps lazily, a future that is sent to another thread may not hold.
    let checks: Vec<_> = checks.collect();
    let mut checked: Vec<Checked> = stream::iter(checks).buffer_unordered(AT_ONCE).try_collect().await?;

    let mut seen = Seen { listed: listing.is_some(), ..Seen::default() };
    seen.versions.extend(listing.into_iter().flat_map(|listing| listing.versions));
    seen.versions.extend(checked.iter_mut().flat_map(|checked| std::mem::take(&mut checked.versions)));
    seen.uploads.extend(parts.into_values().flatten());
    let (mut missing, mut notes) = (Vec::new(), Vec::new());
    notes.extend(allowance.leave_out(checked.iter_mut().map(|checked| (checked.file_id, &mut checked.file))));
    let in_one_piece = checked.iter().filter(|checked| checked.file.uploaded && !checked.in_parts);
    seen.in_one_piece = in_one_piece.filter_map(|checked| checked.file.size).sum();
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

/// Removes what nobody can ask for once the job has ended: envelopes, uploads that were sent again, cut short or never finished. What
/// no look has shown, since a later upload of the same file covers it, is searched for where the files are large enough. What stays of
/// small ones, or because something here fails, which is only logged, goes with the job or by the bucket's lifecycle.
pub async fn tidy(bucket: &Bucket, mut seen: Seen, job: &Job) {
    if !job.terminal || job.deleted_at.is_some() || job.files.is_none() {
        return;
    }
    let keys = job.file_keys();
    let files = job.files.iter().flat_map(|files| files.values());
    // By key as well: any object's version may be `null`.
    let kept = files.filter_map(|file| Some((keys.key(&file.filename), file.version_id.clone()?)));
    let kept: BTreeSet<_> = kept.collect();
    let tidied = async {
        if !seen.listed && seen.in_one_piece > WORTH_A_LISTING {
            seen.versions.extend(bucket.list(keys.prefix()).await?.versions);
        }
        bucket.delete(seen.versions.into_iter().filter(|version| !kept.contains(version)).collect()).await?;
        let aborts: Vec<_> = seen.uploads.iter().map(|upload| bucket.abort(upload)).collect();
        stream::iter(aborts).buffer_unordered(AT_ONCE).try_collect::<Vec<()>>().await?;
        Ok::<_, Error>(())
    };
    let tidied = tokio::time::timeout(TIDYING, tidied).await;
    if let Err(error) = tidied.unwrap_or_else(|_| Err(Error::unavailable("tidy", "no time left"))) {
        tracing::warn!(job.id = %job.job_id, cause = ?error.cause(), "leftovers of uploads could not be removed");
    }
}

/// What there is of a file. One that nobody declared is not looked at: its first bytes are needed in any case, and come with the rest.
async fn look(bucket: &Bucket, listing: Option<&Listing>, expected: Expected) -> Result<Expected> {
    let there = match listing {
        Some(listing) => listing.newest.get(&expected.key).cloned().map_or(There::Missing, There::Listed),
        None if !expected.file.is_declared() => There::Unknown,
        None => Box::pin(bucket.head(&expected.key, None)).await?.map_or(There::Missing, There::Looked),
    };
    Ok(Expected { there, ..expected })
}

/// One file as it was found; the note is for the owner when it is missing.
struct Checked {
    file_id: Uuid,
    file: OutputFile,
    in_parts: bool,
    note: Option<String>,
    /// Every version that was seen, as key and id.
    versions: Vec<(String, String)>,
}

/// Checks one file and writes down what was found. `parts` are its unfinished uploads, when it waits for one of them.
async fn check(bucket: &Bucket, expected: Expected, parts: Option<&[MultipartUpload]>) -> Result<Checked> {
    let mut versions = Vec::new();
    let arrival = match (&expected.there, parts) {
        (There::Missing, None) => Arrival::Missing(None),
        (There::Unknown | There::Listed(_), None) if !expected.file.is_declared() => {
            open(bucket, &expected, &mut versions).await?
        }
        (there, parts) => {
            let object = match there {
                There::Listed(object) => Some(object),
                There::Looked(head) => Some(&head.object),
                There::Unknown | There::Missing => None,
            };
            versions.extend(object.and_then(|object| object.version_id.clone()));
            let found = match object.filter(|object| expected.fits(object)) {
                Some(object) => Box::pin(declared(bucket, &expected, object)).await?,
                None => Arrival::Missing(None),
            };
            match (found, parts) {
                (Arrival::Missing(_), Some(uploads)) => Box::pin(assemble(bucket, &expected.file, uploads)).await?,
                (found, _) => found,
            }
        }
    };
    // What has arrived, too: it may turn out to be more than the job may have.
    versions.extend(match &arrival {
        Arrival::Arrived(object, _) => object.version_id.clone(),
        Arrival::Missing(_) => None,
    });
    let Expected { file_id, mut file, key, in_parts, .. } = expected;
    let note = record(&mut file, arrival);
    let versions = versions.into_iter().map(|id| (key.clone(), id)).collect();
    Ok(Checked { file_id, file, in_parts, note, versions })
}

/// A file that may be in an envelope.
async fn open(bucket: &Bucket, expected: &Expected, versions: &mut Vec<String>) -> Result<Arrival> {
    // On the heap, as below: a thousand of these futures are made at once, and few are under way.
    Ok(match Box::pin(bucket.unwrap(&expected.key)).await? {
        Some(Unwrapped::File { object, content_type, envelope }) => {
            versions.extend(envelope);
            Arrival::Arrived(object, content_type)
        }
        Some(Unwrapped::CutShort(object)) => {
            versions.extend(object.version_id);
            Arrival::Missing(Some(format!("The upload of {} was cut short", expected.file.filename)))
        }
        None => Arrival::Missing(None),
    })
}

/// S3 took no other bytes than those declared, unless they came to a URL from before the declaration.
async fn declared(bucket: &Bucket, expected: &Expected, object: &Object) -> Result<Arrival> {
    let Expected { file, key, in_parts, there, .. } = expected;
    let is_it = match there {
        _ if !expected.may_be_another() => true,
        There::Looked(head) => head.may_be(file, *in_parts),
        _ => {
            let head = bucket.head(key, object.version_id.as_deref()).await?;
            head.is_some_and(|head| head.may_be(file, *in_parts) && head.object.etag == object.etag)
        }
    };
    Ok(match is_it {
        true => Arrival::Arrived(object.clone(), None),
        false => Arrival::Missing(Some(format!("The upload of {} has not the declared SHA-256", file.filename))),
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
            return Ok(Arrival::Arrived(bucket.assemble(upload, arrived, file).await?, None));
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
