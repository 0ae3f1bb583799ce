//! The bytes that the files of one job may have together: what a job can cost.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use crate::{
    error::{Error, Result},
    model::OutputFile,
};

/// 413 when more is declared of these files than a job may have.
pub fn check_declared<'a>(files: impl IntoIterator<Item = &'a OutputFile>, most: u64) -> Result<()> {
    let all = files.into_iter().filter_map(|file| file.size).fold(0, u64::saturating_add);
    match all <= most {
        true => Ok(()),
        false => {
            Err(Error::TooLarge(format!("The declared files have {all} bytes together, and a job may have {most}")))
        }
    }
}

/// What a job may have, and of which of its files the size was declared before it was known what has arrived.
pub(super) struct Allowance {
    most: u64,
    declared: BTreeSet<Uuid>,
}

impl Allowance {
    pub(super) fn of(files: &BTreeMap<Uuid, OutputFile>, most: u64) -> Self {
        let declared = files.iter().filter(|(_, file)| file.size.is_some()).map(|(file_id, _)| *file_id);
        // A report that was taken holds, though a job may have less by now.
        let promised = files.values().filter_map(|file| file.size).fold(0, u64::saturating_add);
        Self { most: most.max(promised), declared: declared.collect() }
    }

    /// Counts the files that have arrived: first those that were declared, which the report was taken with, then the others, both in the
    /// order of their names. One that does not fit any more has not arrived, and the ones after it still may. The note, for the
    /// owner, names all that were left out.
    pub(super) fn leave_out<'a>(&self, files: impl IntoIterator<Item = (Uuid, &'a mut OutputFile)>) -> Option<String> {
        let mut arrived: Vec<_> = files.into_iter().filter(|(_, file)| file.uploaded).collect();
        arrived.sort_by(|(a_id, a), (b_id, b)| {
            let is_undeclared = |file_id| !self.declared.contains(file_id);
            is_undeclared(a_id).cmp(&is_undeclared(b_id)).then_with(|| a.filename.cmp(&b.filename))
        });
        let (mut taken, mut beyond) = (0_u64, Vec::new());
        for (_, file) in arrived {
            let with_it = taken.saturating_add(file.size.unwrap_or(0));
            if with_it <= self.most {
                taken = with_it;
                continue;
            }
            // Without a version it is nothing that the job keeps: its bytes go as soon as the job has ended.
            (file.uploaded, file.version_id, file.etag) = (false, None, None);
            beyond.push(&*file.filename);
        }
        beyond.sort_unstable();
        (!beyond.is_empty())
            .then(|| format!("Beyond the {} bytes that a job may have: {}", self.most, beyond.join(", ")))
    }
}
