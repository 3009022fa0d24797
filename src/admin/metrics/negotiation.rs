//! Which text format is wanted: OpenMetrics where an Accept header prefers a version of it that is spoken here.

/// Versions of OpenMetrics whose readers understand 1.0's text; without a version any will do.
const SPOKEN: [Option<&str>; 3] = [None, Some("1.0.0"), Some("0.0.1")];

/// Whether OpenMetrics is wanted at least as much as the plain text format, by the values of Accept headers.
pub(super) fn wants_openmetrics<'a>(accept: impl Iterator<Item = &'a str>) -> bool {
    let (mut openmetrics, mut text, mut any) = (0.0, None, 0.0);
    for range in accept.flat_map(|value| value.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
        let (mut version, mut quality) = (None, 1.0);
        for parameter in parts {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let value = value.trim().trim_matches('"');
            match name.trim().to_ascii_lowercase().as_str() {
                "version" => version = Some(value),
                "q" => quality = value.parse().unwrap_or(0.0),
                _ => {}
            }
        }
        match kind.as_str() {
            "application/openmetrics-text" if SPOKEN.contains(&version) => {
                openmetrics = f32::max(openmetrics, quality);
            }
            "text/plain" => text = Some(f32::max(text.unwrap_or(0.0), quality)),
            "text/*" | "*/*" => any = f32::max(any, quality),
            _ => {}
        }
    }
    openmetrics > 0.0 && openmetrics >= text.unwrap_or(any)
}

#[cfg(test)]
mod tests {
    use super::wants_openmetrics;

    #[test]
    fn it_is_spoken_to_who_asks_for_it() {
        for (accept, wanted) in [
            // Prometheus 2.42 and 3.
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                true,
            ),
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                true,
            ),
            (
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,text/plain;version=0.0.4;q=0.5",
                false,
            ),
            ("application/OpenMetrics-Text; charset=utf-8", true),
            ("application/openmetrics-text; version=\"1.0.0\"", true),
            ("application/openmetrics-text; version=2.0.0", false),
            ("application/openmetrics-text;q=0", false),
            ("application/openmetrics-text;q=0.4,text/plain;q=0.5", false),
            ("application/openmetrics-text;q=0.5,text/plain;q=0.5", true),
            (
                "application/openmetrics-text;q=0.4,text/plain;q=0.3,*/*",
                true,
            ),
            ("application/openmetrics-text;q=0.4,*/*", false),
            ("text/html,application/xhtml+xml,*/*;q=0.8", false),
            ("", false),
        ] {
            assert_eq!(wants_openmetrics([accept].into_iter()), wanted, "{accept}");
        }
        let lines = ["text/plain;q=0.5", "application/openmetrics-text"];
        assert!(wants_openmetrics(lines.into_iter()));
        assert!(!wants_openmetrics([].into_iter()));
    }
}
