use super::*;
use crate::layer::encoded::{Recorded, records_and_replaced};

const LIMITS: ValueLimits = ValueLimits { length: usize::MAX, span_bytes: 64 * 1024 };

fn decoded(attributes: &Attributes) -> Vec<(u8, Recorded<'_>)> {
    records(attributes.bytes())
        .filter_map(|record| match record {
            Record::Attribute { field, value } => Some((field, value)),
            _ => None,
        })
        .collect()
}

#[test]
fn values_come_back_with_their_types() {
    let mut a = Attributes::default();
    a.bool(0, true, LIMITS);
    a.i64(1, -5, LIMITS);
    a.u64(2, u64::MAX, LIMITS);
    a.f64(3, 1.5, LIMITS);
    a.i128(4, i128::MIN, LIMITS);
    a.u128(5, u128::MAX, LIMITS);
    a.str(6, "grüße", LIMITS);
    a.formatted(7, format_args!("{:?}", Some(1)), LIMITS);
    assert_eq!(
        decoded(&a),
        [
            (0, Recorded::Bool(true)),
            (1, Recorded::I64(-5)),
            (2, Recorded::U64(u64::MAX)),
            (3, Recorded::F64(1.5)),
            (4, Recorded::I128(i128::MIN)),
            (5, Recorded::U128(u128::MAX)),
            (6, Recorded::Str("grüße")),
            (7, Recorded::Str("Some(1)")),
        ]
    );
}

#[test]
fn a_field_recorded_again_has_its_last_value_only() {
    let mut a = Attributes::default();
    a.i64(1, 1, LIMITS);
    a.str(2, "x", LIMITS);
    a.str(1, "now text", LIMITS);
    let mut late = Attributes::default();
    late.i64(2, 7, LIMITS);
    a.append(&late, LIMITS);
    assert_eq!(decoded(&a), [(1, Recorded::Str("now text")), (2, Recorded::I64(7))]);
}

#[test]
fn a_field_recorded_for_ever_takes_bounded_room() {
    let mut a = Attributes::default();
    for i in 0..100_000_u64 {
        a.formatted(3, format_args!("progress {i}"), LIMITS);
        a.u64(4, i, LIMITS);
    }
    assert_eq!(decoded(&a), [(3, Recorded::Str("progress 99999")), (4, Recorded::U64(99_999))]);
    assert_eq!(a.dropped(), 0);
    assert!(a.bytes().len() < 4096, "{}", a.bytes().len());
}

#[test]
fn what_finds_no_room_is_counted() {
    let limits = ValueLimits { length: usize::MAX, span_bytes: 64 };
    let mut a = Attributes::default();
    a.str(0, &"x".repeat(40), limits);
    a.str(1, &"y".repeat(40), limits);
    a.bool(2, true, limits);
    assert_eq!(a.dropped(), 1);
    assert_eq!(decoded(&a).len(), 2);
}

#[test]
fn long_values_are_cut_at_a_character() {
    let limits = ValueLimits { length: 3, span_bytes: 1024 };
    let mut a = Attributes::default();
    a.str(0, "äöüß", limits);
    a.formatted(1, format_args!("{}{}", "ab", "cdef"), limits);
    a.formatted(2, format_args!("ä{}", "öüß"), limits);
    assert_eq!(
        decoded(&a),
        [(0, Recorded::Str("äöü")), (1, Recorded::Str("abc")), (2, Recorded::Str("äöü"))]
    );
}

#[test]
fn a_panicking_debug_leaves_a_note_and_whole_records() {
    struct Bad;
    impl fmt::Debug for Bad {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("half")?;
            panic!("in Debug")
        }
    }
    let mut a = Attributes::default();
    a.formatted(0, format_args!("{Bad:?}"), LIMITS);
    a.i64(1, 1, LIMITS);
    assert_eq!(
        decoded(&a),
        [(0, Recorded::Str("(panicked while being formatted)")), (1, Recorded::I64(1))]
    );
}

#[test]
fn errors_keep_their_sources() {
    #[derive(Debug)]
    struct Outer(std::num::ParseIntError);
    impl fmt::Display for Outer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("outer")
        }
    }
    impl std::error::Error for Outer {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&self.0)
        }
    }
    let mut a = Attributes::default();
    a.error(0, &Outer("x".parse::<i32>().unwrap_err()), LIMITS);
    assert_eq!(decoded(&a), [(0, Recorded::Error(vec!["outer", "invalid digit found in string"]))]);
}

#[test]
fn events_and_late_settings_keep_their_order() {
    let mut event = Attributes::default();
    event.i64(0, 3, LIMITS);
    let mut a = Attributes::default();
    a.name("first", LIMITS);
    assert!(a.event(99, &event, LIMITS));
    a.status(StatusCode::Error, "why", LIMITS);
    a.side_attribute();
    let all: Vec<_> = records(a.bytes()).collect();
    assert_eq!(all[0], Record::Name("first"));
    let Record::Event { ticks: 99, dropped: 0, attributes } = &all[1] else { panic!("{all:?}") };
    assert_eq!(
        records(attributes).collect::<Vec<_>>(),
        [Record::Attribute { field: 0, value: Recorded::I64(3) }]
    );
    assert_eq!(all[2..], [Record::Status(StatusCode::Error, "why"), Record::SideAttribute]);
}

#[test]
fn a_field_keeps_its_place_when_what_it_held_is_cleared_away() {
    let mut a = Attributes::default();
    a.i64(70, 0, LIMITS);
    a.i64(1, 0, LIMITS);
    (1..10_000).for_each(|value| a.i64(70, value, LIMITS));
    assert!(a.bytes().len() < 4_096, "{}", a.bytes().len());
    let fields = records_and_replaced(a.bytes()).filter_map(|(_, record)| match record {
        Record::Attribute { field, .. } => Some(field),
        _ => None,
    });
    assert_eq!(fields.take(2).collect::<Vec<_>>(), [70, 1]);
    assert_eq!(decoded(&a), [(1, Recorded::I64(0)), (70, Recorded::I64(9_999))]);
}

#[test]
fn the_last_failure_that_tells_something_is_kept() {
    let mut a = Attributes::default();
    a.fail("", LIMITS);
    a.fail("first", LIMITS);
    a.status(StatusCode::Ok, "", LIMITS);
    (0..10_000).for_each(|at| a.fail(&format!("no {at}"), LIMITS));
    a.fail("", LIMITS);
    let all: Vec<_> = records(a.bytes()).collect();
    assert_eq!(
        all,
        [Record::Status(StatusCode::Ok, ""), Record::Status(StatusCode::Error, "no 9999")]
    );
    assert!(a.bytes().len() < 4_096 && a.dropped() == 0, "{}", a.bytes().len());
}

proptest::proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
        let _ = records(&bytes).count();
        let _ = records_and_replaced(&bytes).count();
    }
}
