//! "Did you mean".

/// The name that a text with a slip or two was meant to be; a third of the letters may be wrong.
pub(crate) fn nearest<'a>(text: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let distances = known.into_iter().map(|name| {
        let most = 1 + text.len().max(name.len()) / 3;
        (strsim::damerau_levenshtein(text, name), most, name)
    });
    let near = distances.filter(|(distance, most, _)| distance <= most);
    near.min_by_key(|(distance, ..)| *distance)
        .map(|(.., name)| name)
}
