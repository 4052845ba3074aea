//! `docs/caching.md` names every deviation of the school profile, in the policy's own words.

use bulaq_cache_policy::school::DEVIATIONS;

fn table() -> String {
    let row = |deviation: &bulaq_cache_policy::school::Deviation| {
        let lifted = if deviation.lifted_by_anonymous { "yes" } else { "no" };
        format!("| `{}` | {} | {} | {lifted} |\n", deviation.name, deviation.does, deviation.rfc)
    };
    DEVIATIONS.iter().map(row).collect()
}

#[test]
fn the_guide_has_the_table_of_deviations() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/caching.md");
    let guide = std::fs::read_to_string(path).unwrap();
    assert!(guide.contains(&table()), "docs/caching.md should have these rows:\n{}", table());
}
