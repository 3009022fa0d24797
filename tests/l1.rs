//! L1 against the model of its fuzz target.

#[path = "../fuzz/src"]
mod models {
    pub mod l1;
}

use proptest::prelude::*;

/// Where one operation in some changes the mode, the sample or the lanes, little is kept for long; where none does, much.
fn operations() -> impl Strategy<Value = Vec<u8>> {
    let common =
        prop::sample::select(&[0, 1, 2, 6, 7, 8, 12, 13, 14, 16, 19, 21, 22, 23, 30, 31][..]);
    let all = 0..32_u8;
    let with = |op: BoxedStrategy<u8>| {
        prop::collection::vec((op, any::<u8>(), any::<u8>()), 1..400)
            .prop_map(|all| all.into_iter().flat_map(|(op, a, b)| [op, a, b]).collect())
    };
    prop_oneof![2 => with(common.boxed()), 1 => with(all.boxed())]
}

proptest! {
    // A few seconds' worth.
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    #[test]
    fn any_operations_leave_l1_within_what_its_model_allows(config in any::<u8>(), operations in operations()) {
        models::l1::check(&[&[config], &operations[..]].concat());
    }
}
