//! The closed list of reason codes that journal, log and answer share.

// Sign-in and sessions.
pub(crate) const SIGNED_IN: &str = "signed-in";
pub(crate) const BAD_PASSWORD: &str = "bad-password";
pub(crate) const BAD_CODE: &str = "bad-code";
pub(crate) const BAD_RECOVERY_CODE: &str = "bad-recovery-code";
pub(crate) const RECOVERY_CODE_USED: &str = "recovery-code-used";
pub(crate) const RECOVERY_CODES_MADE: &str = "recovery-codes-made";
pub(crate) const NEW_PLACE: &str = "new-place";
pub(crate) const CONFIRMED: &str = "confirmed";
pub(crate) const TOTP_REPLACED: &str = "totp-replaced";
pub(crate) const TOTP_RESET: &str = "totp-reset";
pub(crate) const IMPORTED: &str = "imported";
pub(crate) const IMPORTED_RIGHT: &str = "imported-password-right";
pub(crate) const LINK_AWAITS: &str = "link-awaits";
pub(crate) const APP_CLOCK_OFF: &str = "app-clock-off";
pub(crate) const CODE_REPLAYED: &str = "code-replayed";
pub(crate) const THROTTLED: &str = "throttled";
pub(crate) const OVERLOADED: &str = "overloaded";
pub(crate) const HALF_EXPIRED: &str = "half-expired";
pub(crate) const USER_UNKNOWN: &str = "user-unknown";
pub(crate) const USER_DISABLED: &str = "user-disabled";
pub(crate) const NO_CREDENTIALS: &str = "no-credentials";
pub(crate) const SIGNED_OUT: &str = "signed-out";
pub(crate) const IDLE: &str = "idle";
pub(crate) const EXPIRED: &str = "expired";
pub(crate) const REVOKED: &str = "revoked";
pub(crate) const REPLACED: &str = "replaced";
pub(crate) const USER_CHANGED: &str = "user-changed";
pub(crate) const STEP_UP: &str = "step-up";
pub(crate) const EXTENDED: &str = "extended";
pub(crate) const STEP_UP_NEEDED: &str = "step-up-needed";
pub(crate) const REASON_NEEDED: &str = "reason-needed";
pub(crate) const NOT_SIGNED_IN: &str = "not-signed-in";
pub(crate) const ENROLLED: &str = "enrolled";
pub(crate) const ENROL_LINK_MADE: &str = "enrol-link-made";
pub(crate) const ENROL_LINK_BAD: &str = "enrol-link-bad";
pub(crate) const RESET_LINK_MADE: &str = "reset-link-made";
pub(crate) const RESET_LINK_BAD: &str = "reset-link-bad";
pub(crate) const MAIL_QUEUE_FULL: &str = "mail-queue-full";
pub(crate) const MAIL_REFUSED: &str = "mail-refused";
pub(crate) const MAIL_TOO_OLD: &str = "mail-too-old";

// Keys.
pub(crate) const MASTER_KEY: &str = "master-key";
pub(crate) const STATEMENT_KEY: &str = "statement-key";

// Guessing.
pub(crate) const MANY_FAILURES: &str = "many-failures";
pub(crate) const MANY_LIMITS: &str = "many-limits";
pub(crate) const MANY_PROBES: &str = "many-probes";
pub(crate) const MANY_SCANS: &str = "many-scans";
pub(crate) const BY_OPERATOR: &str = "by-operator";
pub(crate) const BAN_SPARED: &str = "ban-spared";
pub(crate) const SPRAYING: &str = "spraying";

// Decisions.
pub(crate) const RULE: &str = "rule";
pub(crate) const OWN_PAGE: &str = "own-page";
pub(crate) const PREFLIGHT: &str = "preflight";
pub(crate) const GUARD: &str = "guard";
pub(crate) const NO_RULE: &str = "no-rule";
pub(crate) const NO_SUCH_APP: &str = "no-such-app";
pub(crate) const NO_SUCH_SERVICE: &str = "no-such-service";
pub(crate) const POLICY: &str = "policy";
pub(crate) const QUARANTINE: &str = "quarantine";
pub(crate) const DEVICE_MISMATCH: &str = "device-mismatch";
pub(crate) const DEVICE_REVOKED: &str = "device-revoked";
pub(crate) const DEVICE_ADDED: &str = "device-added";
pub(crate) const DEVICE_MARKED: &str = "device-marked";
pub(crate) const DEVICE_RENAMED: &str = "device-renamed";
pub(crate) const DEVICE_CLEARED: &str = "device-cleared";
pub(crate) const KEY_SEEN_TWICE: &str = "key-seen-twice";
pub(crate) const DEVICE_PSK_CHANGED: &str = "device-psk-changed";
pub(crate) const DEVICE_IMPORTED: &str = "device-imported";
pub(crate) const DEVICE_MOVED: &str = "device-moved";
pub(crate) const DEVICE_PROOF_OLD: &str = "device-proof-old";
pub(crate) const DEVICE_IDLE: &str = "device-idle";
pub(crate) const DEVICE_PROVED: &str = "device-proved";
pub(crate) const HEADLESS: &str = "headless";
pub(crate) const TOKEN_BAD: &str = "token-bad";
pub(crate) const TOKEN_OTHER_APP: &str = "token-of-other-app";
pub(crate) const TOKEN_NOT_TAKEN: &str = "token-not-taken";
pub(crate) const TOKEN_MADE: &str = "token-made";
pub(crate) const TOKEN_EXPIRED: &str = "token-expired";

// Requests and flows.
pub(crate) const BAD_REQUEST: &str = "bad-request";
pub(crate) const TOO_LARGE: &str = "too-large";
pub(crate) const RATE_LIMITED: &str = "rate-limited";
pub(crate) const SENSITIVE_LIMITED: &str = "sensitive-limited";
pub(crate) const TOO_MANY_CONNECTIONS: &str = "too-many-connections";
pub(crate) const TIMEOUT: &str = "timeout";
pub(crate) const APP_BUSY: &str = "app-busy";
pub(crate) const APP_RESTS: &str = "app-rests";
pub(crate) const MAINTENANCE: &str = "maintenance";
pub(crate) const UPSTREAM_DOWN: &str = "upstream-down";
pub(crate) const UPSTREAM_BAD: &str = "upstream-bad";
pub(crate) const UPSTREAM_TLS: &str = "upstream-tls";
pub(crate) const UPSTREAM_OUTSIDE: &str = "upstream-outside";
pub(crate) const CLIENT_GONE: &str = "client-gone";
pub(crate) const COMPLETE: &str = "complete";
pub(crate) const RESET: &str = "reset";
pub(crate) const INTERNAL: &str = "internal";
pub(crate) const UNREACHABLE: &str = "unreachable";

// Administration and the gateway itself.
pub(crate) const CREATED: &str = "created";
pub(crate) const CHANGED: &str = "changed";
pub(crate) const REMOVED: &str = "removed";
pub(crate) const ENABLED: &str = "enabled";
pub(crate) const DISABLED: &str = "disabled";
pub(crate) const PASSWORD_SET: &str = "password-set";
pub(crate) const APPLIED: &str = "applied";
pub(crate) const REJECTED: &str = "rejected";
pub(crate) const HELD: &str = "held";
pub(crate) const CACHED: &str = "cached";
pub(crate) const UNCONFIRMED: &str = "unconfirmed";
pub(crate) const ROLLED_BACK: &str = "rolled-back";
pub(crate) const RENEWED: &str = "renewed";
pub(crate) const NOT_RENEWED: &str = "not-renewed";
pub(crate) const SELF_TEST: &str = "self-test";
pub(crate) const ORDER_FAILED: &str = "order-failed";
pub(crate) const ENDS_SOON: &str = "ends-soon";
pub(crate) const RESTORED: &str = "restored";
pub(crate) const START: &str = "start";
pub(crate) const STOP: &str = "stop";
pub(crate) const CLOCK_FORWARD: &str = "clock-forward";
pub(crate) const CLOCK_BACK: &str = "clock-back";

// The journal about itself.
pub(crate) const JOURNAL_REPAIRED: &str = "journal-repaired";
pub(crate) const JOURNAL_RECOVERED: &str = "journal-recovered";
pub(crate) const JOURNAL_CUT: &str = "journal-cut";
pub(crate) const JOURNAL_HEAD_BAD: &str = "journal-head-bad";
pub(crate) const JOURNAL_TAIL_BAD: &str = "journal-tail-bad";
pub(crate) const JOURNAL_OVERRUN: &str = "journal-overrun";
pub(crate) const JOURNAL_READ: &str = "journal-read";

/// Every code a record may carry.
pub(crate) const ALL: &[&str] = &[
    SIGNED_IN,
    BAD_PASSWORD,
    BAD_CODE,
    BAD_RECOVERY_CODE,
    RECOVERY_CODE_USED,
    RECOVERY_CODES_MADE,
    NEW_PLACE,
    CONFIRMED,
    TOTP_REPLACED,
    TOTP_RESET,
    IMPORTED,
    IMPORTED_RIGHT,
    LINK_AWAITS,
    APP_CLOCK_OFF,
    CODE_REPLAYED,
    THROTTLED,
    OVERLOADED,
    HALF_EXPIRED,
    USER_UNKNOWN,
    USER_DISABLED,
    NO_CREDENTIALS,
    SIGNED_OUT,
    IDLE,
    EXPIRED,
    REVOKED,
    REPLACED,
    USER_CHANGED,
    STEP_UP,
    EXTENDED,
    STEP_UP_NEEDED,
    REASON_NEEDED,
    NOT_SIGNED_IN,
    ENROLLED,
    ENROL_LINK_MADE,
    ENROL_LINK_BAD,
    RESET_LINK_MADE,
    RESET_LINK_BAD,
    MAIL_QUEUE_FULL,
    MAIL_REFUSED,
    MAIL_TOO_OLD,
    MANY_FAILURES,
    MANY_LIMITS,
    MANY_PROBES,
    MANY_SCANS,
    BY_OPERATOR,
    BAN_SPARED,
    SPRAYING,
    RULE,
    OWN_PAGE,
    PREFLIGHT,
    GUARD,
    NO_RULE,
    NO_SUCH_APP,
    NO_SUCH_SERVICE,
    POLICY,
    QUARANTINE,
    DEVICE_MISMATCH,
    DEVICE_REVOKED,
    DEVICE_ADDED,
    DEVICE_MARKED,
    DEVICE_RENAMED,
    DEVICE_CLEARED,
    KEY_SEEN_TWICE,
    DEVICE_PSK_CHANGED,
    DEVICE_IMPORTED,
    DEVICE_MOVED,
    DEVICE_PROOF_OLD,
    DEVICE_IDLE,
    DEVICE_PROVED,
    HEADLESS,
    TOKEN_BAD,
    TOKEN_OTHER_APP,
    TOKEN_NOT_TAKEN,
    TOKEN_MADE,
    TOKEN_EXPIRED,
    BAD_REQUEST,
    TOO_LARGE,
    RATE_LIMITED,
    SENSITIVE_LIMITED,
    TOO_MANY_CONNECTIONS,
    TIMEOUT,
    APP_BUSY,
    APP_RESTS,
    MAINTENANCE,
    UPSTREAM_DOWN,
    UPSTREAM_BAD,
    UPSTREAM_TLS,
    UPSTREAM_OUTSIDE,
    CLIENT_GONE,
    COMPLETE,
    RESET,
    INTERNAL,
    UNREACHABLE,
    CREATED,
    CHANGED,
    REMOVED,
    ENABLED,
    DISABLED,
    PASSWORD_SET,
    APPLIED,
    REJECTED,
    HELD,
    CACHED,
    UNCONFIRMED,
    ROLLED_BACK,
    RENEWED,
    NOT_RENEWED,
    SELF_TEST,
    ORDER_FAILED,
    ENDS_SOON,
    RESTORED,
    START,
    STOP,
    CLOCK_FORWARD,
    CLOCK_BACK,
    JOURNAL_REPAIRED,
    JOURNAL_RECOVERED,
    JOURNAL_CUT,
    JOURNAL_HEAD_BAD,
    JOURNAL_TAIL_BAD,
    JOURNAL_OVERRUN,
    JOURNAL_READ,
];

/// Tells whether a code is on the list.
#[cfg(test)]
pub(crate) fn is_known(code: &str) -> bool {
    ALL.contains(&code)
}

#[cfg(test)]
mod tests {
    use super::{ALL, is_known};

    #[test]
    fn codes_are_kebab_case_and_unique() {
        for code in ALL {
            assert!(code.split('-').all(|word| {
                !word.is_empty()
                    && word
                        .bytes()
                        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
            }));
            assert_eq!(
                ALL.iter().filter(|other| *other == code).count(),
                1,
                "{code}"
            );
        }
    }

    #[test]
    fn a_code_off_the_list_is_unknown() {
        assert!(is_known("bad-password"));
        assert!(!is_known("bad password"));
    }
}
