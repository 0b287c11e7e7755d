use super::login::*;
use super::session::open;

fn attempt(typed: AwaitingPassword, verdict: super::password::Verdict, code: CodeProof) {
    let Ok(PasswordRight::Code(half)) = typed.verified(verdict, Standing::Active, 0) else {
        return;
    };
    if let Ok(both) = half.accepted(code, Standing::Active) {
        open(both);
    }
}
