//! What a program tells on `GET /metrics`, in Prometheus' text format.

/// One page of metrics.
#[derive(Debug, Clone, Default)]
pub struct MetricsPage(String);

impl MetricsPage {
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The sum over the series of this name that have these labels; none if there is none.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let wanted: Vec<_> = labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
        let values = self.0.lines().filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            let (labels, value) = match rest.strip_prefix('{') {
                Some(rest) => rest.split_once("} ")?,
                None => ("", rest.strip_prefix(' ')?),
            };
            let has = |wanted: &String| labels.split(',').any(|label| label == wanted);
            wanted.iter().all(has).then_some(())?;
            value.split(' ').next()?.parse::<f64>().ok().filter(|value| value.is_finite())
        });
        values.reduce(|sum, value| sum + value)
    }

    /// A series that appears with its first event: 0 before.
    pub fn count(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.sum(name, labels).unwrap_or_default()
    }

    /// The bounds of a histogram's buckets and how many observations were at most that much, rising, over the
    /// series that have one of these values for `label`.
    pub fn buckets(&self, name: &str, label: &str, values: &[&str]) -> Vec<(f64, f64)> {
        let bucket = format!("{name}_bucket");
        let mut bounds: Vec<f64> = self.0.lines().filter_map(|line| bound(line, &bucket)).collect();
        bounds.sort_by(f64::total_cmp);
        bounds.dedup();
        let count = |bound: f64| {
            let bound = if bound.is_infinite() { "+Inf".to_owned() } else { bound.to_string() };
            values.iter().map(|value| self.count(&bucket, &[(label, value), ("le", &bound)])).sum()
        };
        bounds.into_iter().map(|bound| (bound, count(bound))).collect()
    }
}

fn bound(line: &str, bucket: &str) -> Option<f64> {
    let (labels, _) = line.strip_prefix(bucket)?.strip_prefix('{')?.split_once('}')?;
    let bound = labels.split(',').find_map(|label| label.strip_prefix("le=\""))?.trim_end_matches('"');
    if bound == "+Inf" { Some(f64::INFINITY) } else { bound.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> MetricsPage {
        MetricsPage::new(
            "# TYPE a counter\n\
             a{route=\"x\",result=\"ok\"} 3\n\
             a{route=\"y\",result=\"ok\"} 4 1700000000\n\
             a{route=\"y\",result=\"failed\"} 5\n\
             ab 100\n\
             gauge 2.5\n\
             nothing NaN\n\
             d_bucket{route=\"x\",le=\"0.5\"} 1\n\
             d_bucket{route=\"x\",le=\"5\"} 2\n\
             d_bucket{route=\"x\",le=\"+Inf\"} 3\n\
             d_bucket{route=\"y\",le=\"5\"} 10\n"
                .to_owned(),
        )
    }

    #[test]
    fn series_are_summed_by_name_and_labels() {
        assert_eq!(page().sum("a", &[]), Some(12.0));
        assert_eq!(page().sum("a", &[("result", "ok")]), Some(7.0));
        assert_eq!(page().sum("a", &[("result", "ok"), ("route", "y")]), Some(4.0));
        assert_eq!(page().sum("gauge", &[]), Some(2.5));
        assert_eq!((page().sum("a", &[("result", "o")]), page().sum("nothing", &[])), (None, None));
    }

    #[test]
    fn a_histogram_is_read_over_several_of_its_series() {
        assert_eq!(
            page().buckets("d", "route", &["x", "y"]),
            [(0.5, 1.0), (5.0, 12.0), (f64::INFINITY, 3.0)]
        );
        assert!(page().buckets("none", "route", &["x"]).is_empty());
    }
}
