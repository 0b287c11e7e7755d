#![allow(dead_code, unused_imports)]

extern crate parking_lot;
extern crate unicode_normalization;

mod audit {
    pub(crate) mod reason;
}

mod store {
    pub(crate) type Hash = [u8; 32];
}

mod identity {
    pub(crate) mod password {
        pub(crate) enum Verdict {
            Match,
            MatchOutdated,
            Mismatch,
        }
    }

    pub(crate) mod totp {
        pub(crate) struct Matched(u64);
    }

    pub(crate) mod session {
        /// Stands for `Sessions::open`.
        pub(crate) fn open(_who: super::login::Authenticated) {}
    }

    pub(crate) mod login;

    mod attempt;
}
