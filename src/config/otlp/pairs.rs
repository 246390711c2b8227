//! Lists of `key=value`, as W3C Baggage writes them, without metadata.

/// The entries of a list that are not empty: place from 1, and the trimmed key and value, unless there is no `=`
/// or no key. The value may contain further `=`.
pub(super) fn pairs(text: &str) -> impl Iterator<Item = (usize, Option<(&str, &str)>)> {
    let entries = text.split(',').zip(1..).filter(|(entry, _)| !entry.trim().is_empty());
    entries.map(|(entry, place)| {
        let pair = entry.split_once('=').map(|(key, value)| (key.trim(), value.trim()));
        (place, pair.filter(|(key, _)| !key.is_empty()))
    })
}

/// Puts the pair at the end, or into the place of one with the same key: the last one counts.
pub(super) fn put<K: PartialEq, V>(pairs: &mut Vec<(K, V)>, key: K, value: V) {
    match pairs.iter_mut().find(|(known, _)| *known == key) {
        Some((_, old)) => *old = value,
        None => pairs.push((key, value)),
    }
}
