//! Which words of a turn were heard, judged by the time: pure.

/// The longest run of letters that is taken for one word. Where it is longer, no space is near.
const LONGEST_WORD: usize = 40;

/// The part of `text` that was heard in `heard_ms` of `total_ms`, cut at the end of a word. Where the script
/// has no spaces between words, it is cut between two characters.
///
/// The service does not say when each word is spoken, so speech is taken to be even.
pub fn heard_part(text: &str, heard_ms: u64, total_ms: u64) -> &str {
    if heard_ms >= total_ms {
        return text;
    }
    let characters = (text.chars().count() as u64 * heard_ms / total_ms) as usize;
    let end = text.char_indices().nth(characters).map_or(text.len(), |(at, _)| at);
    let end = last_cut(&text[..end], text[end..].chars().next()).unwrap_or(end);
    text[..end].trim_end()
}

/// The last place in `heard` where it may end if `next` follows; none where that is too far away.
fn last_cut(heard: &str, next: Option<char>) -> Option<usize> {
    let mut next = next;
    for (back, (at, before)) in heard.char_indices().rev().enumerate() {
        if next.is_none_or(|next| may_part(before, next)) {
            return Some(at + before.len_utf8());
        }
        if back == LONGEST_WORD {
            return None;
        }
        next = Some(before);
    }
    Some(0)
}

fn may_part(before: char, after: char) -> bool {
    let joined = is_joined_to_what_precedes(after) || before == '\u{200D}';
    !joined && (after.is_whitespace() || before.is_whitespace() || is_unspaced(before) || is_unspaced(after))
}

/// Of a script that is written without spaces between words, with its punctuation: Thai, Lao, Myanmar, Khmer,
/// Chinese and Japanese.
pub(crate) fn is_unspaced(c: char) -> bool {
    matches!(c,
        '\u{0E00}'..='\u{0EFF}' | '\u{1000}'..='\u{109F}' | '\u{1780}'..='\u{17FF}' | '\u{19E0}'..='\u{19FF}'
        | '\u{2E80}'..='\u{312F}' | '\u{3190}'..='\u{9FFF}' | '\u{A9E0}'..='\u{A9FF}' | '\u{AA60}'..='\u{AA7F}'
        | '\u{F900}'..='\u{FAFF}' | '\u{FF00}'..='\u{FF9F}' | '\u{20000}'..='\u{3FFFF}')
}

/// A mark that belongs to the character before it: a vowel or tone sign, a voicing mark, a variant. Closing
/// punctuation, such as a full stop, belongs to it as well.
pub(crate) fn is_joined_to_what_precedes(c: char) -> bool {
    matches!(c,
        '\u{0300}'..='\u{036F}' | '\u{0E30}'..='\u{0E3A}' | '\u{0E45}'..='\u{0E4E}' | '\u{0EB0}'..='\u{0EBC}'
        | '\u{0EC8}'..='\u{0ECE}' | '\u{102B}'..='\u{103E}' | '\u{1056}'..='\u{1059}' | '\u{17B4}'..='\u{17D3}'
        | '\u{200D}' | '\u{3001}' | '\u{3002}' | '\u{3099}' | '\u{309A}' | '\u{30FC}' | '\u{FE00}'..='\u{FE0F}'
        | '\u{FF01}' | '\u{FF0C}' | '\u{FF1F}' | '\u{FF70}' | '\u{FF9E}' | '\u{FF9F}' | '\u{E0100}'..='\u{E01EF}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_heard_is_cut_at_a_word() {
        assert_eq!(heard_part("one two three four", 500, 1000), "one two");
        assert_eq!(heard_part("one two three four", 1000, 1000), "one two three four");
        assert_eq!(heard_part("one", 500, 1000), "");
        assert_eq!(heard_part("zwölf Böcke", 300, 1000), "");
        assert_eq!(heard_part("", 0, 1000), "");
    }

    #[test]
    fn a_text_without_spaces_is_cut_between_two_characters() {
        let answer = "ご予約ありがとうございます。明日の午後三時に二名様でお席をご用意しております。ほかにご希望はございますか、お聞かせください";
        let total = answer.chars().count();
        let heard = heard_part(answer, 4_000, 5_000);
        assert!(answer.starts_with(heard));
        assert!(heard.chars().count().abs_diff(total * 4 / 5) <= 1, "{heard}");
        assert_eq!(heard_part("我们明天三点见面。", 500, 1_000), "我们明天");
        assert_eq!(heard_part("はい、わかりました", 250, 1_000), "は", "not right before the comma");
        assert_eq!(heard_part("สวัสดีครับ", 300, 1_000), "สวั", "a vowel sign stays with its letter");
    }

    #[test]
    fn words_in_a_text_without_spaces_stay_whole() {
        assert_eq!(heard_part("新しいiPhoneです", 500, 1_000), "新しい");
        assert_eq!(heard_part("안녕하세요 고객님", 700, 1_000), "안녕하세요", "Korean has spaces");
    }

    #[test]
    fn what_has_no_space_anywhere_near_is_cut_all_the_same() {
        let run = "x".repeat(200);
        assert_eq!(heard_part(&run, 500, 1_000).len(), 100);
    }
}
