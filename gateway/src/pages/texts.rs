//! The words of the pages: one file a language, the same keys in each.

mod de;
mod en;
mod fr;

pub(crate) use {de::DE, en::EN, fr::FR};

/// Declares the keys once; a language without one of them does not compile.
macro_rules! texts {
    ($($key:ident),+ $(,)?) => {
        /// Every text of the pages in one language; `{name}` marks what is filled in.
        #[derive(Debug)]
        pub(crate) struct Texts {
            $(pub(crate) $key: &'static str,)+
        }

        #[cfg(test)]
        impl Texts {
            /// Lists the texts with their keys.
            pub(crate) fn all(&self) -> Vec<(&'static str, &'static str)> {
                vec![$((stringify!($key), self.$key)),+]
            }
        }
    };
}

texts! {
    skip,
    language,
    help_from,
    nav_label,
    nav_apps,
    nav_account,
    sign_out,
    error_heading,
    signin_title,
    signin_lead,
    signin_aside,
    username,
    password,
    continue_,
    code,
    code_hint,
    code_title,
    code_lead,
    code_button,
    code_back,
    stepup_title,
    stepup_lead,
    stepup_button,
    stepup_back,
    error_credentials,
    error_code,
    error_expired,
    error_throttled,
    error_busy,
    error_unavailable,
    portal_title,
    portal_greeting,
    portal_apps,
    portal_none,
    portal_needs_code,
    portal_devices,
    devices_none,
    device_open,
    device_closed,
    device_never,
    device_revoked,
    class_known,
    class_managed,
    here_open,
    here_closed,
    here_open_it,
    here_not_yours,
    account_title,
    sessions_title,
    sessions_lead,
    col_door,
    col_place,
    col_created,
    col_last,
    col_device,
    col_address,
    col_class,
    col_state,
    door_web,
    door_tunnel,
    this_session,
    end,
    end_label,
    end_all,
    account_devices,
    error_not_ended,
    signed_out_title,
    signed_out_text,
    signed_out_link,
    leave_lead,
    leave_back,
    enrol_title,
    enrol_lead,
    enrol_password_step,
    enrol_rule,
    enrol_password,
    enrol_again,
    enrol_totp_step,
    enrol_scan,
    enrol_qr,
    enrol_secret,
    enrol_button,
    enrol_done_title,
    enrol_done_text,
    enrol_dead_title,
    enrol_dead_text,
    error_again,
    error_short,
    error_long,
    error_common,
    problem_request,
    problem_code,
    problem_contact,
    problem_ask_admin,
    problem_sign_in,
    problem_wait,
    bad_request_title,
    bad_request_text,
    sign_in_needed_title,
    sign_in_needed_text,
    step_up_needed_title,
    step_up_needed_text,
    denied_title,
    denied_text,
    form_refused_title,
    form_refused_text,
    not_found_title,
    not_found_text,
    method_title,
    method_text,
    too_large_title,
    too_large_text,
    type_title,
    type_text,
    misdirected_title,
    misdirected_text,
    too_many_title,
    too_many_text,
    internal_title,
    internal_text,
    bad_upstream_title,
    bad_upstream_text,
    unavailable_title,
    unavailable_text,
    upstream_timeout_title,
    upstream_timeout_text,
}

/// Puts `value` where `text` says `{name}`.
pub(crate) fn fill(text: &str, name: &str, value: &str) -> String {
    text.replace(&format!("{{{name}}}"), value)
}
