//! What must not compile: a permit that no allowlist made.

#[test]
fn a_permit_cannot_be_forged() {
    trybuild::TestCases::new().compile_fail("tests/forge/*.rs");
}
