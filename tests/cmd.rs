//! What the command prints, in `tests/cmd/*.trycmd`; `TRYCMD=overwrite cargo test --release --test all cmd::` writes
//! it anew.

#[test]
fn output() {
    trycmd::TestCases::new()
        .env("NO_COLOR", "1")
        .env("COLUMNS", "100")
        .case("tests/cmd/*.trycmd");
}
