use std::collections::BTreeMap;

use opentelemetry::baggage::KeyValueMetadata;
use proptest::prelude::*;

use super::*;
use crate::propagation::tests::Lines;

fn extracted(lines: &[&str]) -> Context {
    let headers: Vec<_> = lines.iter().map(|line| ("baggage", *line)).collect();
    BaggagePropagator::new().extract_with_context(&Context::new(), &Lines::new(&headers))
}

/// Name, value and properties of each entry, by name.
fn entries(cx: &Context) -> Vec<(String, String, String)> {
    let mut entries: Vec<_> = cx
        .baggage()
        .iter()
        .map(|(name, (value, properties))| {
            (name.to_string(), value.to_string(), properties.to_string())
        })
        .collect();
    entries.sort_unstable();
    entries
}

fn entry(name: &str, value: &str, properties: &str) -> KeyValueMetadata {
    KeyValueMetadata::new(name.to_owned(), value.to_owned(), properties)
}

#[test]
fn members_are_read_as_the_specification_says() {
    type Row<'a> = (&'a [&'a str], &'a [(&'a str, &'a str, &'a str)]);
    let rows: &[Row<'_>] = &[
        (&["a=1"], &[("a", "1", "")]),
        (&["a=1,b=2", "c=3"], &[("a", "1", ""), ("b", "2", ""), ("c", "3", "")]),
        (&[" a \t=\t 1 , b = 2 "], &[("a", "1", ""), ("b", "2", "")]),
        (&["a=b=c"], &[("a", "b=c", "")]),
        (&["a=="], &[("a", "=", "")]),
        (&["a="], &[("a", "", "")]),
        (&["a=1;p", "b=2 ; p=1 ;p=2; q = x"], &[("a", "1", "p"), ("b", "2", "p=1 ;p=2; q = x")]),
        (&["a=1;p=%C3%A4"], &[("a", "1", "p=%C3%A4")]),
        (&["a=1;p=\"x\";q"], &[("a", "1", "q")]),
        (&["a=%20%22%2C%3B%5C%25%3d%0a"], &[("a", " \",;\\%=\n", "")]),
        (&["a=%C3%A4%E2%82%AC"], &[("a", "ä€", "")]),
        (&["a=x%FFy%C3"], &[("a", "x\u{fffd}y\u{fffd}", "")]),
        (
            &["a=%,b=%4,c=%zz,d=%%41"],
            &[("a", "%", ""), ("b", "%4", ""), ("c", "%zz", ""), ("d", "%A", "")],
        ),
        (&["%41=1"], &[("%41", "1", "")]),
        (&["!#$%&'*+-.^_`|~09azAZ=1"], &[("!#$%&'*+-.^_`|~09azAZ", "1", "")]),
        (&["a=!#$%25&'()*+-./:<=>?@[]^_`{|}~"], &[("a", "!#$%&'()*+-./:<=>?@[]^_`{|}~", "")]),
        (&["a=1,a=2"], &[("a", "2", "")]),
        (&["A=1,a=2"], &[("A", "1", ""), ("a", "2", "")]),
        // Invalid members are skipped, the others stay.
        (&[",a,=1,b c=1,é=1,\"d\"=1,e=x y,f=\"x\",g=x\\,h=é,i\t=\u{7f},ok=1,"], &[("ok", "1", "")]),
        (&["", " ", ";", "=", "a;b=1"], &[]),
        (&[], &[]),
    ];
    for (lines, expected) in rows {
        let found = entries(&extracted(lines));
        let found: Vec<_> =
            found.iter().map(|(n, v, p)| (n.as_str(), v.as_str(), p.as_str())).collect();
        assert_eq!(found, *expected, "{lines:?}");
    }
}

#[test]
fn header_without_a_valid_member_leaves_the_context_as_it_was() {
    let cx = Context::new().with_baggage([entry("a", "1", "")]);
    for lines in [&[][..], &[("baggage", "")], &[("baggage", "nonsense")]] {
        let same = BaggagePropagator::new().extract_with_context(&cx, &Lines::new(lines));
        assert_eq!(outgoing(&same).as_deref(), Some("a=1"));
    }
}

#[test]
fn unchanged_baggage_is_sent_in_the_order_received() {
    let cx = extracted(&["z=1;p=1;q,a=x=y", "m=%C3%A4%25", "a=2"]);
    assert_eq!(outgoing(&cx).as_deref(), Some("z=1;p=1;q,a=2,m=%C3%A4%25"));
}

#[test]
fn changed_baggage_keeps_the_order_of_what_is_left() {
    let cx = extracted(&["z=1,y=2,x=3"]);
    let changed = [("d", "6"), ("z", "4"), ("c", "5"), ("x", "3")];
    let cx = cx.with_baggage(changed.map(|(name, value)| entry(name, value, "")));
    assert_eq!(outgoing(&cx).as_deref(), Some("z=4,x=3,c=5,d=6"));
}

#[test]
fn baggage_made_here_is_sorted_by_name() {
    let cx = Context::new().with_baggage(["c", "a", "b"].map(|name| entry(name, "1", "")));
    assert_eq!(outgoing(&cx).as_deref(), Some("a=1,b=1,c=1"));
}

#[test]
fn nothing_empty_is_sent() {
    assert_eq!(outgoing(&Context::new()), None);
    assert_eq!(outgoing(&extracted(&["a=1"]).with_cleared_baggage()), None);
}

#[test]
fn what_cannot_be_sent_is_left_out() {
    let cx = Context::new().with_baggage([
        entry("a", "1", "p\r\nx: y"),
        entry("b", "2\r\n", "p;q=\u{e9};r"),
        // Refused by `Baggage`.
        entry("c d", "3", ""),
    ]);
    assert_eq!(outgoing(&cx).as_deref(), Some("a=1,b=2%0D%0A;p;r"));
}

#[test]
fn at_most_64_members_are_read() {
    let names: Vec<_> = (0..70).map(|i| format!("k{i:02}=1")).collect();
    let cx = extracted(&[&names[..40].join(","), &names[40..].join(",")]);
    assert_eq!(outgoing(&cx), Some(names[..64].join(",")));
    // Repeated names count too.
    let repeated = ["a=1"; 64].join(",");
    assert_eq!(outgoing(&extracted(&[&repeated, "b=1"])).as_deref(), Some("a=1"));
}

#[test]
fn at_most_8192_bytes_are_read() {
    // 8 members of 1,023 bytes and 7 commas are 8,191 bytes.
    let member = |name: &str| format!("{name}={}", "v".repeat(1021));
    let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let full = names.map(member).join(",");
    assert_eq!(outgoing(&extracted(&[&full, "i=1"])), Some(full.clone()));
    let exact = format!("{full}v");
    assert_eq!(exact.len(), 8192);
    assert_eq!(outgoing(&extracted(&[&exact])), Some(exact.clone()));
    let without_last = exact.rsplit_once(',').unwrap().0.to_owned();
    assert_eq!(outgoing(&extracted(&[&format!("{exact}v")])), Some(without_last));
    // What does not fit is skipped, what fits is not.
    let huge = format!("huge={}", "v".repeat(8192));
    assert_eq!(outgoing(&extracted(&["a=1", &huge, "b=2"])).as_deref(), Some("a=1,b=2"));
}

#[test]
fn at_most_8192_bytes_are_sent() {
    // Each value triples when it is encoded.
    let member = |name| entry(name, &"\u{e9}".repeat(500), "");
    let cx =
        Context::new().with_baggage([member("a"), member("b"), member("c"), entry("d", "1", "")]);
    let sent = outgoing(&cx).unwrap();
    let names: Vec<_> = sent.split(',').map(|m| m.split('=').next().unwrap()).collect();
    assert_eq!(names, ["a", "b", "d"]);
    assert!(sent.len() <= MAX_BYTES);
}

#[test]
fn names_its_field() {
    assert_eq!(BaggagePropagator::new().fields().collect::<Vec<_>>(), ["baggage"]);
}

proptest! {
    #[test]
    fn extract_is_the_inverse_of_inject(
        map in prop::collection::btree_map(
            "[a-zA-Z0-9!#$%&'*+.^_`|~-]{1,12}",
            (any::<String>(), "([a-z]{1,3}(=[!#-+./0-9<-Z-]{0,6})?(;[a-z]{1,3}){0,2})?"),
            0..20,
        ),
    ) {
        let sent_map: BTreeMap<_, _> =
            map.iter().map(|(n, (v, p))| (n.clone(), (v.clone(), p.clone()))).collect();
        let cx = Context::new()
            .with_baggage(map.iter().map(|(n, (v, p))| entry(n, v, p)).collect::<Vec<_>>());
        let text = outgoing(&cx);
        prop_assume!(text.as_ref().is_none_or(|t| t.len() + 1000 < MAX_BYTES));
        let back = extracted(&text.iter().map(String::as_str).collect::<Vec<_>>());
        let back_map: BTreeMap<_, _> =
            entries(&back).into_iter().map(|(n, v, p)| (n, (v, p))).collect();
        prop_assert_eq!(back_map, sent_map);
        prop_assert_eq!(outgoing(&back), text);
    }

    #[test]
    fn what_was_received_is_sent_in_a_stable_form(line in "[a-d=;,% \t\"4F\\\\é]{0,60}") {
        let first = outgoing(&extracted(&[&line]));
        let again = outgoing(&extracted(&first.iter().map(String::as_str).collect::<Vec<_>>()));
        prop_assert_eq!(again, first);
    }

    #[test]
    fn arbitrary_bytes_never_panic(
        lines in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..4),
    ) {
        let headers = lines.into_iter().map(|l| ("baggage".to_owned(), l)).collect();
        if let Some(received) = extract(&Lines(headers)) {
            let _ = outgoing(&received.into_context(&Context::new()));
        }
    }
}
