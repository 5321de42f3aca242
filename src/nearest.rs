//! The name that was probably meant by one that nobody knows.

/// A name with more slips than this is another one.
const MAX_SLIPS: usize = 3;
/// For each of so many letters one slip is forgiven.
const LETTERS_A_SLIP: usize = 5;

/// The known name that a name, which is not known, is close to.
pub fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str> + Clone) -> Option<&'a str> {
    if known.clone().any(|known| known == name) {
        return None;
    }
    let folded = fold(name);
    let allowed = |length: usize| (length / LETTERS_A_SLIP).clamp(1, MAX_SLIPS);
    let slips = known.map(|known| (slips(&folded, &fold(known)), known));
    let (slips, known) = slips.min()?;
    (slips <= allowed(known.len().min(folded.len()))).then_some(known)
}

/// Small letters are large ones, and many are one: `PROXIES` is `PROXY`.
fn fold(name: &str) -> Vec<char> {
    let name = name.to_ascii_uppercase();
    let one = name.strip_suffix("IES").map(|stem| format!("{stem}Y"));
    one.unwrap_or(name).chars().collect()
}

/// How many letters are wrong, missing, too many or exchanged with their neighbour.
fn slips(one: &[char], other: &[char]) -> usize {
    if one.len().abs_diff(other.len()) > MAX_SLIPS {
        return usize::MAX;
    }
    let mut rows = [vec![0; other.len() + 1], vec![0; other.len() + 1], (0..=other.len()).collect()];
    for (i, a) in one.iter().enumerate() {
        rows.rotate_left(1);
        rows[2][0] = i + 1;
        for (j, b) in other.iter().enumerate() {
            let mut least = (rows[1][j] + usize::from(a != b)).min(rows[1][j + 1] + 1).min(rows[2][j] + 1);
            if i > 0 && j > 0 && one[i - 1] == *b && other[j - 1] == *a {
                least = least.min(rows[0][j - 1] + 1);
            }
            rows[2][j + 1] = least;
        }
    }
    rows[2][other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_counted_as_people_make_them() {
        let count = |one: &str, other: &str| {
            slips(&one.chars().collect::<Vec<_>>(), &other.chars().collect::<Vec<_>>())
        };
        assert_eq!(count("PORT", "PORT"), 0);
        assert_eq!([count("POT", "PORT"), count("PPORT", "PORT"), count("PROT", "PORT")], [1, 1, 1]);
        assert_eq!(count("", "ABC"), 3);
        assert_eq!(count("ABCD", ""), usize::MAX);
    }
}
