//! The one way to declare metrics: [`metrics!`](crate::metrics!) makes a struct of a part's metrics, beside
//! the part's code.

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{
    Counter, Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry, Result,
};

/// Where metrics are registered.
pub trait Registrar {
    /// Fails if there are metrics of these names already.
    fn register(&self, metrics: Box<dyn Collector>) -> Result<()>;
}

impl Registrar for Registry {
    fn register(&self, metrics: Box<dyn Collector>) -> Result<()> {
        Self::register(self, metrics)
    }
}

/// The metrics of one part, as [`metrics!`](crate::metrics!) declares them. A clone counts into the same
/// ones.
pub trait MetricSet: Collector + Clone + Sized + 'static {
    /// Makes the metrics without registering them.
    ///
    /// # Errors
    /// A name or a label is invalid.
    fn build() -> Result<Self>;

    /// Makes the metrics and registers them.
    ///
    /// # Errors
    /// `registry` has metrics of these names already.
    fn register(registry: &dyn Registrar) -> Result<Self> {
        let set = Self::build()?;
        registry.register(Box::new(set.clone()))?;
        Ok(set)
    }

    /// Registers metrics whose values `read` sets at each scrape. Scrapes can read at the same time.
    ///
    /// # Errors
    /// `registry` has metrics of these names already.
    fn register_read(
        self,
        registry: &dyn Registrar,
        read: impl Fn(&Self) + Send + Sync + 'static,
    ) -> Result<()> {
        registry.register(Box::new(Read { set: self, read }))
    }
}

/// Metrics that are read at each scrape.
struct Read<S, R> {
    set: S,
    read: R,
}

impl<S: MetricSet, R: Fn(&S) + Send + Sync> Collector for Read<S, R> {
    fn desc(&self) -> Vec<&Desc> {
        self.set.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        (self.read)(&self.set);
        self.set.collect()
    }
}

/// Declares the metrics of a part: a struct with a field for each. A field's doc comment is the metric's help
/// text. Labels follow the name. A label whose values are known lists them, because nobody sees how a series
/// has grown that begins with its first event: each combination of known values is shown from the start, at
/// 0. The buckets of a histogram stand in braces. Fields that are no metrics stand in `beside`; they begin
/// with their default.
///
/// ```
/// use actors::metrics::MetricSet as _;
/// use prometheus::{Histogram, IntCounterVec};
///
/// actors::metrics! {
///     /// The metrics of the mail.
///     pub struct MailMetrics {
///         /// Mails that were to be sent, by result: `sent` or `failed`.
///         mails: IntCounterVec = "mails_total" ["result" = &["sent", "failed"]];
///         /// How long sending took.
///         durations: Histogram = "mail_duration_seconds" {&[0.1, 1.0, 10.0]};
///     }
/// }
///
/// let metrics = MailMetrics::register(&prometheus::Registry::new()).unwrap();
/// metrics.mails.with_label_values(&["sent"]).inc();
/// metrics.durations.observe(0.5);
/// ```
#[macro_export]
macro_rules! metrics {
    (
        $(#[$about:meta])*
        $visible:vis struct $name:ident {
            $(
                $(#[doc = $help:literal])+
                $field_visible:vis $field:ident: $kind:ty = $metric:literal
                    $([$($label:literal $(= $values:expr)?),+])? $({$buckets:expr})?;
            )+
        }
        $(beside {
            $($(#[$about_other:meta])* $other_visible:vis $other:ident: $other_kind:ty;)+
        })?
    ) => {
        $(#[$about])*
        #[derive(Clone)]
        $visible struct $name {
            $($(#[doc = $help])+ $field_visible $field: $kind,)+
            $($($(#[$about_other])* $other_visible $other: $other_kind,)+)?
        }

        impl $crate::metrics::MetricSet for $name {
            fn build() -> ::prometheus::Result<Self> {
                Ok(Self {
                    $($field: <$kind as $crate::metrics::Kind>::declared(
                        $metric,
                        &[$($help),+],
                        &[$($($label),+)?],
                        &[$($(&[$($values)?]),+)?],
                        &[$($buckets)?],
                    )?,)+
                    $($($other: ::std::default::Default::default(),)+)?
                })
            }
        }

        impl ::prometheus::core::Collector for $name {
            fn desc(&self) -> ::std::vec::Vec<&::prometheus::core::Desc> {
                let all: &[&dyn ::prometheus::core::Collector] = &[$(&self.$field),+];
                all.iter().flat_map(|metric| metric.desc()).collect()
            }

            fn collect(&self) -> ::std::vec::Vec<::prometheus::proto::MetricFamily> {
                let all: &[&dyn ::prometheus::core::Collector] = &[$(&self.$field),+];
                all.iter().flat_map(|metric| metric.collect()).collect()
            }
        }
    };
}

/// What [`metrics!`](crate::metrics!) needs to know of each kind of metric.
#[doc(hidden)]
pub trait Kind: Collector + Sized {
    fn build(name: &str, help: &str, labels: &[&str], buckets: &[f64]) -> Result<Self>;

    /// Shows the series with these labels from the start, at 0.
    fn show(&self, _: &[&str]) {}

    /// `help` is the lines of the doc comment, `known` the values of each label, where they are known.
    fn declared(
        name: &str,
        help: &[&str],
        labels: &[&str],
        known: &[&[&[&str]]],
        buckets: &[&[f64]],
    ) -> Result<Self> {
        let lines: Vec<_> = help.iter().map(|line| line.trim()).collect();
        let metric = Self::build(name, lines.join(" ").trim_end_matches('.'), labels, &buckets.concat())?;
        combinations(known).iter().for_each(|labels| metric.show(labels));
        Ok(metric)
    }
}

/// Every combination of the values of labels; none where those of one are not known.
fn combinations<'a>(known: &[&[&[&'a str]]]) -> Vec<Vec<&'a str>> {
    known.iter().fold(vec![vec![]], |series, values| {
        let values = values.concat();
        let with = |labels: &[_]| values.iter().map(|value| [labels, &[*value]].concat()).collect::<Vec<_>>();
        series.iter().flat_map(|labels| with(labels)).collect()
    })
}

macro_rules! plain {
    ($($kind:ty),+) => {$(
        impl Kind for $kind {
            fn build(name: &str, help: &str, _: &[&str], _: &[f64]) -> Result<Self> {
                Self::new(name, help)
            }
        }
    )+};
}

macro_rules! labelled {
    ($($kind:ty),+) => {$(
        impl Kind for $kind {
            fn build(name: &str, help: &str, labels: &[&str], _: &[f64]) -> Result<Self> {
                Self::new(Opts::new(name, help), labels)
            }

            fn show(&self, labels: &[&str]) {
                self.with_label_values(labels);
            }
        }
    )+};
}

plain!(IntCounter, Counter, IntGauge, Gauge);
labelled!(IntCounterVec, IntGaugeVec);

impl Kind for Histogram {
    fn build(name: &str, help: &str, _: &[&str], buckets: &[f64]) -> Result<Self> {
        Self::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec()))
    }
}

impl Kind for HistogramVec {
    fn build(name: &str, help: &str, labels: &[&str], buckets: &[f64]) -> Result<Self> {
        Self::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), labels)
    }

    fn show(&self, labels: &[&str]) {
        self.with_label_values(labels);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    crate::metrics! {
        struct Bus {
            /// Passengers, by age and by
            /// class.
            passengers: IntCounterVec = "passengers_total"
                ["age" = &["child", "adult"], "class" = &["1", "2"]];
            /// Stops, by place.
            stops: IntCounterVec = "stops_total" ["place"];
            /// Free seats.
            seats: IntGauge = "free_seats";
            /// How late it was.
            late: Histogram = "late_seconds" {&[60.0, 600.0]};
        }
        beside {
            driver: String;
        }
    }

    fn families(registry: &Registry) -> Vec<(String, String, usize)> {
        let told = |family: MetricFamily| {
            (family.name().to_owned(), family.help().to_owned(), family.get_metric().len())
        };
        registry.gather().into_iter().map(told).collect()
    }

    #[test]
    fn a_set_is_registered_with_the_help_of_its_comments_and_every_series_that_can_be_known() {
        let registry = Registry::new();
        let bus = Bus::register(&registry).unwrap();
        assert_eq!(bus.driver, "");
        let told = |name: &str, help: &str, series| (name.to_owned(), help.to_owned(), series);
        let before = [
            told("free_seats", "Free seats", 1),
            told("late_seconds", "How late it was", 1),
            told("passengers_total", "Passengers, by age and by class", 4),
        ];
        assert_eq!(families(&registry), before);
        bus.stops.with_label_values(&["depot"]).inc();
        assert_eq!(families(&registry).last(), Some(&told("stops_total", "Stops, by place", 1)));
        bus.late.observe(100.0);
        let buckets = registry.gather()[1].get_metric()[0].get_histogram().get_bucket().to_vec();
        assert_eq!(buckets.iter().map(|bucket| bucket.upper_bound()).collect::<Vec<_>>(), [60.0, 600.0]);
    }

    #[test]
    fn a_name_is_registered_once() {
        let registry = Registry::new();
        Bus::register(&registry).unwrap();
        assert!(Bus::register(&registry).is_err());
    }

    #[test]
    fn what_is_read_is_read_at_each_scrape() {
        let registry = Registry::new();
        let bus = Bus::build().unwrap();
        bus.clone().register_read(&registry, |bus| bus.seats.set(bus.seats.get() + 1)).unwrap();
        assert_eq!(bus.seats.get(), 0);
        registry.gather();
        registry.gather();
        assert_eq!(bus.seats.get(), 2);
    }
}
