use curve25519_dalek::MontgomeryPoint;
use proptest::prelude::*;
use rand_core::OsRng;

use super::*;

fn hex(text: &str) -> [u8; 32] {
    let bytes = data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap();
    bytes.try_into().unwrap()
}

#[test]
fn the_vectors_of_the_rfc_hold() {
    // RFC 7748 section 5.2; the second point has its highest bit set
    for (scalar, point, product) in [
        (
            "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
            "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
            "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552",
        ),
        (
            "4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d",
            "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493",
            "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957",
        ),
    ] {
        let shared = StaticSecret::from(hex(scalar)).diffie_hellman(&PublicKey::from(hex(point)));
        assert_eq!(shared.to_bytes(), hex(product));
        assert!(shared.was_contributory());
    }
}

#[test]
fn a_thousand_rounds_of_the_rfc_hold() {
    let mut base = [0; 32];
    base[0] = 9;
    let (mut scalar, mut point) = (base, base);
    for _ in 0..1_000 {
        let product = StaticSecret::from(scalar)
            .diffie_hellman(&PublicKey::from(point))
            .to_bytes();
        point = scalar;
        scalar = product;
    }
    assert_eq!(
        scalar,
        hex("684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51")
    );
}

#[test]
fn both_sides_of_every_kind_come_to_the_same() {
    let fixed = StaticSecret::random_from_rng(OsRng);
    let reusable = ReusableSecret::random_from_rng(OsRng);
    let once = EphemeralSecret::random_from_rng(OsRng);
    let (fixed_point, reusable_point, once_point) = (
        PublicKey::from(&fixed),
        PublicKey::from(&reusable),
        PublicKey::from(&once),
    );
    assert_eq!(
        fixed.diffie_hellman(&reusable_point).to_bytes(),
        reusable.diffie_hellman(&fixed_point).to_bytes()
    );
    let shared = fixed.diffie_hellman(&once_point).to_bytes();
    assert_eq!(once.diffie_hellman(&fixed_point).to_bytes(), shared);
    // one random key is not another
    assert_ne!(fixed_point, reusable_point);
    assert_ne!(reusable_point, once_point);
}

#[test]
fn a_point_of_low_order_makes_zero_and_says_so() {
    let secret = StaticSecret::from([7; 32]);
    let mut one = [0; 32];
    one[0] = 1;
    for point in [
        [0; 32],
        one,
        hex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
        hex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    ] {
        let shared = secret.diffie_hellman(&PublicKey::from(point));
        assert_eq!(shared.to_bytes(), [0; 32]);
        assert!(!shared.was_contributory());
    }
}

#[test]
fn no_secret_is_printed() {
    let secret = StaticSecret::from([0xab; 32]);
    let shared = secret.diffie_hellman(&PublicKey::from(&secret));
    assert_eq!(format!("{secret:?}"), "StaticSecret(redacted)");
    assert_eq!(format!("{shared:?}"), "SharedSecret(redacted)");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    // points on the curve and on its twist, canonical or not
    #[test]
    fn every_product_is_that_of_another_library(scalar: [u8; 32], point: [u8; 32]) {
        let secret = StaticSecret::from(scalar);
        prop_assert_eq!(secret.to_bytes(), scalar);
        prop_assert_eq!(
            PublicKey::from(&secret).to_bytes(),
            MontgomeryPoint::mul_base_clamped(scalar).to_bytes()
        );
        prop_assert_eq!(
            secret.diffie_hellman(&PublicKey::from(point)).to_bytes(),
            MontgomeryPoint(point).mul_clamped(scalar).to_bytes()
        );
    }
}
