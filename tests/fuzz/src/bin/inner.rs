//! See [`postern_fuzz::inner`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| postern_fuzz::inner(bytes));
