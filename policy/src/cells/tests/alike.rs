//! Places that a diff does not look into, against every combination of their classes.

use super::exact::altered;
use super::{load, long};
use crate::cells::alike::Alike;
use crate::cells::{Grid, Split, World, joint_places};
use crate::compile::Policy;
use crate::naive::world::{Dice, USERS, add_like, sources};
use crate::source::Sources;

const GUARDS: [&str; 6] = [
    "who = \"@g1\"",
    "who = \"u3\"\nfrom = \"z1\"",
    "from = \"z0\"",
    "who = [\"@g0\", \"u1\"]\non = \"app.a\"",
    "who = \"any-user\"\nwhen = \"s1\"",
    "device-not = \"known\"\nunless-when = \"s0\"",
];

fn other(dice: &mut Dice, line: &str) -> Option<String> {
    match line {
        "disabled = true" => Some("disabled = false".to_owned()),
        "disabled = false" => Some("disabled = true".to_owned()),
        _ if line.starts_with("who = ") => Some(format!("who = {}", dice.some(&USERS, 1))),
        _ => altered(dice, line),
    }
}

/// The first policy with one line that says something else, or with one more guard.
fn nudged(dice: &mut Dice, first: &Sources) -> Option<Policy> {
    for _ in 0..200 {
        let mut changed = Sources::new();
        let guard = dice.chance(2);
        let mut moved = guard;
        let chosen = dice.roll(first.files().count());
        for (at, file) in first.files().enumerate() {
            let mut lines: Vec<String> = first.text(file).lines().map(str::to_owned).collect();
            let line = dice.roll(lines.len());
            if at == chosen && !guard {
                let said = other(dice, &lines[line]);
                moved |= said.as_deref() != Some(&*lines[line]);
                lines.splice(line..=line, said);
            }
            add_like(&mut changed, first, file, format!("{}\n", lines.join("\n")));
        }
        if guard {
            let text = dice.pick(&GUARDS);
            let text = format!("postern = 1\n[deny.more]\n{text}\nreason = \"r\"\n");
            changed.add("more.toml", text);
        }
        if moved && let Ok(loaded) = crate::load(&changed) {
            return Some(loaded.policy);
        }
    }
    None
}

#[test]
fn p8_a_place_that_is_left_out_has_no_change_and_most_of_the_others_have() {
    let (mut left_out, mut looked_into, mut changed) = (0, 0, 0);
    for seed in 0..if long() { 6_000 } else { 60 } {
        let mut dice = Dice(seed);
        let first = sources(&mut dice);
        let a = load(&first);
        let Some(b) = nudged(&mut dice, &first) else {
            continue;
        };
        let policies = [&a, &b];
        let mut world = World::new(&policies);
        let mut alike = Alike::new(&world, policies);
        for place in joint_places(&policies) {
            let skipped = alike.place(&mut world, &place.sides);
            let mut differs = false;
            Grid::new(&mut world, &place.sides, &Split::default()).run(|_, _, decisions| {
                differs |= decisions[0].outcome != decisions[1].outcome;
            });
            assert!(!(skipped && differs), "{seed} {}", place.id);
            left_out += u32::from(skipped);
            looked_into += u32::from(!skipped);
            changed += u32::from(differs);
        }
    }
    assert!(
        left_out >= 200 && changed >= 20 && changed * 3 >= looked_into,
        "{left_out} {looked_into} {changed}"
    );
}
