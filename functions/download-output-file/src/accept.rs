//! What `Accept` asks for: the file, or JSON that tells where it is. (RFC 9110, section 12.5.1.)

use mediatype::{
    MediaType, MediaTypeList, Name, ReadParams,
    names::{_STAR, APPLICATION, JSON},
};

const Q: Name<'static> = Name::new_unchecked("q");

/// Whether JSON is preferred to the file. It has to be asked for, by name or as `application/*`: whoever takes anything gets the file,
/// and so does whoever takes both alike, as axios does without being told (`application/json, text/plain, */*`). `application/json`
/// itself always means ours, also for a file that is JSON.
pub(crate) fn prefers_json(accept: &str, content_type: Option<&str>) -> bool {
    // What is no media type says nothing.
    let ranges: Vec<_> = MediaTypeList::new(accept).flatten().collect();
    let exactly = |ty: Name<'_>, subty: Name<'_>| weight(&ranges, |range| range.ty == ty && range.subty == subty);
    let (named, application) = (exactly(APPLICATION, JSON), exactly(APPLICATION, _STAR));
    let json = named.or(application).unwrap_or(0.0);

    let kind = content_type.and_then(|kind| MediaType::parse(kind).ok());
    let of_kind = kind.and_then(|kind| match kind.ty == APPLICATION && kind.subty == JSON {
        true => application,
        false => exactly(kind.ty, kind.subty).or_else(|| exactly(kind.ty, _STAR)),
    });
    let file = of_kind.or_else(|| exactly(_STAR, _STAR)).unwrap_or(0.0);
    json > file
}

/// The weight of the ranges that are meant, the highest when there are several; None when none is there.
fn weight(ranges: &[MediaType<'_>], is_meant: impl Fn(&MediaType<'_>) -> bool) -> Option<f32> {
    ranges.iter().filter(|range| is_meant(range)).map(quality).reduce(f32::max)
}

/// 1 unless the range says otherwise; a weight that is none makes the range count for nothing.
fn quality(range: &MediaType<'_>) -> f32 {
    let weight = |text: &str| text.parse().ok().filter(|weight| (0.0..=1.0).contains(weight)).unwrap_or(0.0);
    range.get_param(Q).map_or(1.0, |value| weight(&value.unquoted_str()))
}
