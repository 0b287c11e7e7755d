//! The work that verifiers of other products cost, done at every sign-in alike, whoever's it is:
//! its time then does not tell whose verifier is not ours yet.

use super::foreign::{Family, Foreign};

/// Least rounds of SHA-crypt; what fills up is never less.
const SHA_CRYPT_MIN: u32 = 1000;

/// The dearest verifier of each family among those that are kept; zero where there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Dues {
    des_crypt: u32,
    md5_crypt: u32,
    bcrypt: u32,
    sha256_crypt: u32,
    sha512_crypt: u32,
    pbkdf2: u32,
}

impl Dues {
    /// Reads the verifiers that are kept; those that cannot be read are never compared.
    pub(crate) fn of(verifiers: &[String]) -> Self {
        let mut dues = Self::default();
        let readable = verifiers.iter().filter_map(|v| Foreign::kept(v).ok());
        readable.for_each(|foreign| dues.add(&foreign));
        dues
    }

    /// Takes one verifier more into account.
    pub(crate) fn add(&mut self, foreign: &Foreign) {
        let (family, cost) = foreign.cost();
        if let Some(due) = self.of_family(family) {
            *due = cost.max(*due);
        }
    }

    /// Does the work that is left when `own` was compared already.
    pub(super) fn pay(mut self, password: &str, own: Option<&Foreign>) {
        let paid = own.map(Foreign::cost);
        for family in Family::ALL {
            let due = self.of_family(family).map_or(0, |due| *due);
            let paid = paid.filter(|(own, _)| *own == family);
            let paid = paid.map_or(0, |(_, cost)| cost);
            for cost in rest(family, due, paid) {
                Foreign::nobodys(family, cost).matches(password);
            }
        }
    }

    fn of_family(&mut self, family: Family) -> Option<&mut u32> {
        match family {
            Family::DesCrypt => Some(&mut self.des_crypt),
            Family::Md5Crypt => Some(&mut self.md5_crypt),
            Family::Bcrypt => Some(&mut self.bcrypt),
            Family::Sha256Crypt => Some(&mut self.sha256_crypt),
            Family::Sha512Crypt => Some(&mut self.sha512_crypt),
            Family::Pbkdf2 => Some(&mut self.pbkdf2),
            // one run of SHA-1
            Family::Sha1 => None,
        }
    }
}

/// The costs that, after one of `paid`, come to the same for each `paid` up to `due`.
fn rest(family: Family, due: u32, paid: u32) -> Vec<u32> {
    match family {
        _ if due == 0 => Vec::new(),
        Family::Sha1 => Vec::new(),
        Family::DesCrypt | Family::Md5Crypt if paid > 0 => Vec::new(),
        Family::DesCrypt | Family::Md5Crypt => vec![due],
        Family::Bcrypt if paid == 0 => vec![due],
        // each step doubles the work: 2^due = 2^paid + 2^paid + 2^(paid+1) + .. + 2^(due-1)
        Family::Bcrypt => (paid..due).collect(),
        Family::Sha256Crypt | Family::Sha512Crypt => {
            let due = due.saturating_add(SHA_CRYPT_MIN);
            vec![due.saturating_sub(paid).max(SHA_CRYPT_MIN)]
        }
        Family::Pbkdf2 if paid >= due => Vec::new(),
        Family::Pbkdf2 => vec![due - paid],
    }
}

#[cfg(test)]
mod tests {
    use super::{Dues, Family, rest};
    use crate::identity::password::Foreign;

    #[test]
    fn what_is_left_comes_to_the_same_for_everybody() {
        let sum = |family, due, paid| -> u64 {
            let work = |cost: u32| match family {
                Family::Bcrypt => 1 << cost,
                Family::Sha1
                | Family::DesCrypt
                | Family::Md5Crypt
                | Family::Sha256Crypt
                | Family::Sha512Crypt
                | Family::Pbkdf2 => u64::from(cost),
            };
            let own = if paid == 0 { 0 } else { work(paid) };
            own + rest(family, due, paid).into_iter().map(work).sum::<u64>()
        };
        for (family, due, own) in [
            (Family::DesCrypt, 25, vec![25]),
            (Family::Md5Crypt, 1000, vec![1000]),
            (Family::Bcrypt, 12, vec![4, 5, 11, 12]),
            (Family::Sha256Crypt, 5000, vec![1000, 1001, 4500, 5000]),
            (Family::Sha512Crypt, 100_000, vec![1000, 5000, 100_000]),
            (Family::Pbkdf2, 600_000, vec![1, 1000, 600_000]),
        ] {
            let nobody = sum(family, due, 0);
            for paid in own {
                assert_eq!(sum(family, due, paid), nobody, "{family:?} {paid}");
            }
            assert_eq!(sum(family, 0, 0), 0, "{family:?}: none is kept");
        }
    }

    #[test]
    fn the_dearest_of_each_family_counts() {
        let bcrypt =
            |cost| format!("$2b${cost}$abcdefghijklmnopqrstuu8HGcnEyVkGAUO2Nu40wB3qdsQ2CDtgC");
        let kept = [
            bcrypt("05"),
            bcrypt("07"),
            bcrypt("04"),
            "$apr1$abcdefgh$nPQESR5Xy6o6pZFOac3oY/".to_owned(),
            "not a verifier".to_owned(),
        ];
        let dues = Dues::of(&kept);
        let expected = Dues {
            md5_crypt: 1000,
            bcrypt: 7,
            ..Dues::default()
        };
        assert_eq!(dues, expected);
        assert_eq!(Dues::of(&[]), Dues::default());
    }

    #[test]
    fn nobodys_verifier_is_a_whole_one_of_its_cost() {
        for (family, cost) in [
            (Family::DesCrypt, 25),
            (Family::Md5Crypt, 1000),
            (Family::Bcrypt, 4),
            (Family::Sha256Crypt, 1000),
            (Family::Sha512Crypt, 6000),
            (Family::Pbkdf2, 10),
        ] {
            let foreign = Foreign::nobodys(family, cost);
            assert_eq!(foreign.cost(), (family, cost));
            assert!(!foreign.matches("a zebra under the stairs"));
            if let Foreign::Bcrypt(text) | Foreign::ShaCrypt(text) = &foreign {
                assert!(Foreign::parse(text).is_ok(), "{text}");
            }
        }
    }
}
