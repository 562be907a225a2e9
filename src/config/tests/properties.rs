//! What holds for any text.

use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC*", body in "[a-z:&*\\[\\]{}!?|>'\"%@`#,\\- \n\t0-9.~<]{0,60}") {
        let _ = TracingConfig::from_yaml(&text);
        let _ = TracingConfig::from_yaml(&body);
        let _ = TracingConfig::from_yaml(&format!("{HEAD}{body}"));
        let _ = TracingConfig::from_json(&text);
        let _ = TracingConfig::from_json(&format!("{{{JSON_HEAD},{body}}}"));
    }

    #[test]
    fn no_endpoint_panics(text in any::<String>(), name in "[a-z0-9:/%@#?.\\[\\]é -]{0,24}") {
        for text in [&text, &name] {
            let _ = url::parse(text);
            let _ = CollectorAddress::from_endpoint(text);
            let _ = CollectorAddress::from_url(text);
        }
    }

    #[test]
    fn what_is_valid_is_read_back(rate in 0u32..=1_000_000, host in "[a-z][a-z0-9]{0,20}", port: u16) {
        prop_assume!(port > 0);
        let endpoint = format!("{host}:{port}");
        let expected = TracingConfig::default()
            .with_endpoint(&endpoint)
            .with_sampling_rate_per_million(rate);
        prop_assert_eq!(expected.validate(), Ok(()));
        let text = format!("{HEAD}endpoint: \"{endpoint}\"\nsamplingRatePerMillion: {rate}\n");
        prop_assert_eq!(TracingConfig::from_yaml(&text), Ok(expected));
    }
}
