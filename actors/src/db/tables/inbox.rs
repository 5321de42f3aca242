//! Table `inbox`: what callers left for the staff, and who has dealt with it.

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{Integer, Nullable, Text, Timestamptz};

use super::text::{int, text};
use crate::db::connect::statement::Statement;
use crate::db::write::record::InboxItem;

/// More characters of a text are not kept.
const LONGEST_TEXT: usize = 4_000;
/// Nor of a name.
const LONGEST_NAME: usize = 200;

/// Writes an item. Of one that is there what is not known yet is added, whatever the order; a mark that it is
/// done stays.
pub(in crate::db) fn write(item: &InboxItem) -> QueryResult<Statement> {
    let optional = |value: &Option<String>| value.as_deref().map(|value| text(value).into_owned());
    Statement::of(
        &sql_query(
            "INSERT INTO inbox AS known
                 (call_sid, dedupe_key, kind, at, from_number, name, text, language, recording_sid, duration_seconds)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
             ON CONFLICT (call_sid, dedupe_key) DO UPDATE SET
                 at = LEAST(known.at, excluded.at),
                 from_number = GREATEST(known.from_number, excluded.from_number),
                 name = GREATEST(known.name, excluded.name),
                 text = CASE WHEN (length(excluded.text), excluded.text) > (length(known.text), known.text)
                     THEN excluded.text ELSE known.text END,
                 language = GREATEST(known.language, excluded.language),
                 recording_sid = GREATEST(known.recording_sid, excluded.recording_sid),
                 duration_seconds = GREATEST(known.duration_seconds, excluded.duration_seconds)",
        )
        .bind::<Text, _>(item.call_sid.as_str())
        .bind::<Text, _>(text(&item.dedupe_key))
        .bind::<Text, _>(item.kind.as_str())
        .bind::<Timestamptz, _>(item.at)
        .bind::<Nullable<Text>, _>(optional(&item.from))
        .bind::<Nullable<Text>, _>(item.name.as_deref().map(|name| text(shortened(name, LONGEST_NAME))))
        .bind::<Text, _>(text(shortened(&item.text, LONGEST_TEXT)))
        .bind::<Nullable<Text>, _>(optional(&item.language))
        .bind::<Nullable<Text>, _>(optional(&item.recording_sid))
        .bind::<Nullable<Integer>, _>(item.duration_seconds.map(int)),
    )
}

/// The first characters, so many at most.
fn shortened(text: &str, most: usize) -> &str {
    text.char_indices().nth(most).map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(super::shortened("äöü", 2), "äö");
        assert_eq!(super::shortened("äöü", 3), "äöü");
    }
}
